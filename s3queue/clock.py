"""The only module that reads the clock or sleeps; everything else is handed a :class:`Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time. The simulation has its own."""

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def to_datetime(at_ms: int) -> datetime:
    """Return the aware UTC datetime of ``at_ms`` milliseconds since the epoch."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    """Return milliseconds since the epoch of an aware datetime; ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone")
    return int(at.timestamp() * 1000)


def iso(at: datetime) -> str:
    """Return an aware UTC datetime as ISO 8601, to the second: ``2026-11-24T16:45:31Z``."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
