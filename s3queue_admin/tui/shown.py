"""Numbers and times in few characters."""

from __future__ import annotations

from datetime import datetime

from s3queue_admin.cli.render import dollars, span

__all__ = ["ago", "bytes_text", "dollars", "number", "rate", "short", "span", "until"]


def number(value: float) -> str:
    """Return a count in five characters at most: ``999``, ``12.3k``, ``4.5M``."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if abs(value) >= size:
            scaled = value / (1000 if unit == "k" else size)
            return f"{scaled:.1f}{unit}" if abs(scaled) < 100 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def rate(value: float | None) -> str:
    """Return something a second: ``0``, ``0.25``, ``12.5``, ``1234``; a dash if it is not known yet."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else number(value)


def short(seconds: float | None) -> str:
    """Return a span of time in one unit: ``12s``, ``4m``; a dash if it is not known."""
    return "–" if seconds is None else span(seconds, 1)


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago that was in one unit, ``''`` for None."""
    return "" if at is None else span(max(0.0, (now - at).total_seconds()), 1)


def until(at: datetime | None, now: datetime) -> str:
    """Return how long it is until then: ``12s``, or ``-3s`` if it is past; ``''`` for None."""
    return "" if at is None else span((at - now).total_seconds(), 1)


def bytes_text(size: int) -> str:
    """Return a size: ``512 B``, ``1.5 KB``, ``3.2 MB``."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
