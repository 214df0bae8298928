"""Small parts of what findings say: names, counts, times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from s3queue.text import counted


def few(names: Iterable[str], most: int = 3) -> str:
    """Return the first few names and how many more there are."""
    every = sorted(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def messages_are(number: int, what: str) -> str:
    """Return ``1 message is pending``, ``2 messages are pending``."""
    return f"{counted(number, 'message is', 'messages are')} {what}"


def days(seconds: float) -> str:
    """Return seconds as days."""
    number = seconds / 86_400
    return "1 day" if number == 1 else f"{number:g} days"


def moment(at: datetime | None) -> str:
    """Return a time in UTC, to the second; a question mark for None."""
    return "?" if at is None else at.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")


def ago(ms: float) -> str:
    """Return how long ago that is, of milliseconds."""
    return f"{timedelta(seconds=round(ms / 1000))} ago"
