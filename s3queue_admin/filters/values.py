"""What the values of a filter mean: numbers, durations, sizes, times, patterns."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

UNITS_MS: Final = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
UNITS_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}
MAX_PATTERN: Final = 1000
REGEX_TIMEOUT_S: Final = 1.0
"""How long one regular expression may take on one text: some take years."""
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|[smhdw])", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([a-z]*)", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T_ ](\d\d):?(\d\d)?(?::?(\d\d)(?:\.(\d{1,6}))?)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_EPOCH = datetime.fromtimestamp(0, UTC)


def number(text: str) -> int | float | None:
    """Return the number that ``text`` writes, exactly if it is whole; None if it is none."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if set(text) & set(".eE") else int(text)


def duration_ms(text: str) -> int | None:
    """Return the ms of ``10m``, ``1h30m``, ``1.5d``, ``250ms``; None if it is none."""
    at, total = 0, 0.0
    while at < len(text):
        match = _PART.match(text, at)
        if not match:
            return None
        total += float(match[1]) * UNITS_MS[match[2]]
        at = match.end()
    return round(total) if text else None


def size_bytes(text: str) -> int | None:
    """Return the bytes of ``4096``, ``10kb`` (10,000), ``1MiB``; None if it is none."""
    match = _SIZE.fullmatch(text)
    if not match or match[2].lower() not in UNITS_BYTES:
        return None
    return round(float(match[1]) * UNITS_BYTES[match[2].lower()])


@dataclass(frozen=True, slots=True)
class Moment:
    """A span of time in ms since the epoch, or from now if ``relative``: what a day, a minute or a second named stands for."""

    start_ms: int
    end_ms: int
    relative: bool = False

    def span(self, now_ms: int) -> tuple[int, int]:
        """Return where it begins and ends (excluded) if it is now ``now_ms``."""
        base = now_ms if self.relative else 0
        return base + self.start_ms, base + self.end_ms


def moment(text: str) -> Moment | None:
    """Return the time of ``2026-01-31``, ``2026-01-31T07:15``, ``…:30.5Z``, ``…+02:00`` (UTC without), ``-10m``, ``now``."""
    if text == "now":
        return Moment(0, 1, relative=True)
    if text[:1] in ("-", "+"):
        away = duration_ms(text[1:])
        if away is None:
            return None
        away = -away if text[0] == "-" else away
        return Moment(away, away + 1, relative=True)
    return _absolute(text)


def _absolute(text: str) -> Moment | None:
    match = _TIME.fullmatch(text)
    if not match:
        return None
    day, hours, minutes, seconds, fraction, zone = match.groups()
    written = f"{day}T{hours or '00'}:{minutes or '00'}:{seconds or '00'}.{(fraction or '').ljust(6, '0')}"
    try:
        at = datetime.fromisoformat(written + (zone or "Z"))
        start_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
    spans = ((fraction, 1), (seconds, 1000), (minutes, 60_000), (hours, 3_600_000))
    length = next((length for given, length in spans if given), 86_400_000)
    return Moment(start_ms, start_ms + length)


def glob(pattern: str) -> Callable[[str], bool]:
    """Return whether a text is the pattern, where ``*`` stands for any text and ``?`` for any character."""
    if not set(pattern) & {"*", "?"}:
        return pattern.__eq__
    matcher = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda text: matcher.match(text) is not None


def regex(pattern: str) -> Callable[[str], bool]:
    """Return whether a regular expression is found in a text, upper and lower case alike.

    Raises ValueError if it is none; the function returned raises TimeoutError. By the module ``regex``, as the standard
    library's would hold up the whole process over ``(a+)+$``.
    """
    import regex as engine

    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"it has {len(pattern)} characters, the limit is {MAX_PATTERN}")
    try:
        matcher = engine.compile(pattern, engine.IGNORECASE)
    except Exception as error:  # noqa: BLE001 - its own error, and others for what it cannot digest
        raise ValueError(str(error) or type(error).__name__) from None
    return lambda text: matcher.search(text, timeout=REGEX_TIMEOUT_S) is not None
