"""The only module that uses randomness; everything else is handed an :class:`Ids`."""

from __future__ import annotations

import random
import secrets
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts like the numbers it writes
_TIME_DIGITS = 10


class Ids(Protocol):
    """A source of identifiers and jitter. The simulation seeds its own."""

    def new(self, at_ms: int) -> str:
        """Return an identifier nobody else will make: 20 characters that sort by ``at_ms``."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


def encode(number: int, width: int) -> str:
    """Return ``number`` in ``width`` base-32 digits."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def decode(digits: str) -> int:
    """Return the number that these base-32 digits write; ValueError if they are none."""
    number = 0
    for digit in digits:
        number = number * 32 + _ALPHABET.index(digit)
    return number


def made_at_ms(id_: str) -> int | None:
    """Return when an identifier was made; None if it tells no time."""
    try:
        return decode(id_[:_TIME_DIGITS]) if len(id_) > _TIME_DIGITS else None
    except ValueError:
        return None


def successor(id_: str) -> str:
    """Return the identifier that sorts right behind ``id_``; nobody else makes it, but for a chance of 2⁻⁵⁰."""
    return encode(decode(id_) + 1, len(id_))


class SystemIds:
    """Identifiers from the operating system's randomness: 48 bits of time, 50 random bits."""

    def new(self, at_ms: int) -> str:
        return encode(at_ms, 10) + encode(secrets.randbits(50), 10)

    def random(self) -> float:
        return random.random()  # noqa: S311 - jitter, not a secret


class SeededIds:
    """Identifiers that repeat with the seed, for tests and simulation."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - wanted: the same every time

    def new(self, at_ms: int) -> str:
        return encode(at_ms, 10) + encode(self._random.getrandbits(50), 10)

    def random(self) -> float:
        return self._random.random()
