"""Hints, and the port through which they travel.

A hint says "it may be worth a look now". Nothing may depend on one: it can be lost, repeated, late or forged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

MESSAGES: Final = "messages"
"""There are new messages in a lane's inbox."""
TICKETS: Final = "tickets"
"""There are new tickets in a lane's ledger."""
KINDS: Final = (MESSAGES, TICKETS)
MAX_HINT_BYTES: Final = 1024
MAX_CARD_BYTES: Final = 64 << 10
_MAX_LANE = 9_999
_MAX_WORKER = 200


@dataclass(frozen=True, slots=True)
class Hint:
    """``kind`` (one of :data:`KINDS`) happened in ``lane``; ``worker`` is whom it is meant for, '' for everybody."""

    kind: str
    lane: int = 0
    worker: str = ""

    def encode(self) -> bytes:
        """Return the hint as it travels."""
        return json.dumps({"kind": self.kind, "lane": self.lane, "worker": self.worker}).encode()


def decode(data: bytes) -> Hint | None:
    """Return the hint in ``data``, None if it is none: whoever reaches the backend can write there."""
    found = _object(data, MAX_HINT_BYTES)
    kind, lane, worker = found.get("kind"), found.get("lane"), found.get("worker")
    if kind not in KINDS or type(lane) is not int or not 0 <= lane <= _MAX_LANE:
        return None
    if not isinstance(worker, str) or len(worker) > _MAX_WORKER:
        return None
    return Hint(kind, lane, worker)


def encode_card(info: Mapping[str, Any]) -> bytes:
    """Return what a worker tells of itself, as it travels."""
    return json.dumps(dict(info)).encode()


def decode_card(data: bytes) -> dict[str, Any] | None:
    """Return what a worker tells of itself, None if it cannot be read."""
    return _object(data, MAX_CARD_BYTES) or None


def _object(data: bytes, limit: int) -> dict[str, Any]:
    try:
        found = json.loads(data) if len(data) <= limit else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


Stop = Callable[[], None]


class Hints(Protocol):
    """A backend. No method waits for it or fails with it, except :meth:`presence`, which waits a few seconds at most."""

    @property
    def name(self) -> str:
        """The backend, for people: without passwords."""
        ...

    @property
    def reaches_all(self) -> bool:
        """Whether a hint reaches everybody who listens, not just one of them."""
        ...

    @property
    def up(self) -> bool:
        """Whether hints travel, as far as is known."""
        ...

    def announce(self, hint: Hint) -> None:
        """Send a hint soon, together with others; forget it if that is not possible."""
        ...

    def listen(self, callback: Callable[[Hint], None]) -> Stop:
        """Call ``callback`` with each hint, in a thread of the backend, until the function returned is called."""
        ...

    def present(self, worker: str, info: Mapping[str, Any], ttl_s: float) -> Stop:
        """Show ``worker`` and ``info`` (JSON) to others until the function returned is called.

        It is renewed while this process lives, and gone ``ttl_s`` seconds after its death.
        """
        ...

    def presence(self) -> dict[str, dict[str, Any]] | None:
        """Return who is present, by worker; None if the backend is down or has no such thing."""
        ...

    def close(self) -> None:
        """Send what waits to be sent, for a second at most, and stop."""
        ...


class NoHints:
    """The default: the bucket alone. Workers find messages by polling."""

    name = "s3"
    reaches_all = True
    up = False

    def announce(self, hint: Hint) -> None: ...

    def listen(self, callback: Callable[[Hint], None]) -> Stop:  # noqa: ARG002 - nothing will be heard
        return nothing

    def present(self, worker: str, info: Mapping[str, Any], ttl_s: float) -> Stop:  # noqa: ARG002 - nobody will see
        return nothing

    def presence(self) -> dict[str, dict[str, Any]] | None:
        return None

    def close(self) -> None: ...


def nothing() -> None:
    """Stop what never began."""
