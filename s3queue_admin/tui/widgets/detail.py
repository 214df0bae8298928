"""All about one thing, in a box that scrolls: headings, facts, lines, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from s3queue.text import cells
from s3queue_admin.text import plain

BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_STYLES: Final = {
    "good": "$success",
    "warn": "$warning",
    "bad": "$error",
    "dim": "$dim",
    "accent": "$accent",
    "strong": "bold",
    "bars": "$primary",
}
"""The tones, as those of a table."""
Part = str | tuple[str, str]
"""A text, or a text and its tone; a stranger's text may be in it."""


class Told:
    """What a box shows, put together line by line."""

    def __init__(self) -> None:
        self._parts: list[str | tuple[str, str]] = []

    def line(self, *parts: Part) -> Told:
        """Add a line."""
        for part in parts:
            text, tone = part if isinstance(part, tuple) else (part, "")
            self._parts.append((plain(text), _STYLES[tone]) if tone else plain(text))
        self._parts.append("\n")
        return self

    def head(self, text: str, *more: Part) -> Told:
        """Add a heading, and what stands beside it."""
        return self.line((text, "strong"), *more)

    def facts(self, *facts: tuple[str, str] | tuple[str, str, str]) -> Told:
        """Add facts, one a line: name, value and, if it has one, its tone. Those without a value are left out."""
        shown = [fact for fact in facts if fact[1]]
        width = max((cells(fact[0]) for fact in shown), default=0)
        for name, value, *tone in shown:
            self.line((name.ljust(width + 2), "dim"), (value, tone[0]) if tone else value)
        return self

    def bars(self, rows: Sequence[tuple[str, float, str]], width: int) -> Told:
        """Add bars, one a line: name, value, and how that is written; the longest bar has ``width`` cells."""
        names = max((cells(plain(name)) for name, _, _ in rows), default=0)
        most = max((value for _, value, _ in rows), default=0.0)
        for name, value, text in rows:
            space = " " * (names - cells(plain(name)) + 1)
            self.line((f"{name}{space}", "dim"), (bar(value, most, width).ljust(width), "bars"), f" {text}")
        return self

    def content(self) -> Content:
        """Return it as a widget shows it."""
        parts = self._parts[:-1] if self._parts and self._parts[-1] == "\n" else self._parts
        return Content.assemble(*parts)


def bar(value: float, most: float, width: int) -> str:
    """Return a bar that has ``width`` cells where ``value`` is ``most``; a sliver at least for what is not nothing."""
    steps = len(BLOCKS) - 1
    eighths = max(1, round(value / most * width * steps)) if value > 0 and most > 0 else 0
    whole, rest = divmod(min(eighths, width * steps), steps)
    return BLOCKS[-1] * whole + (BLOCKS[rest] if rest else "")


class Detail(VerticalScroll):
    """The box; :meth:`tell` shows something else in it."""

    def compose(self) -> ComposeResult:
        """Make what is scrolled."""
        yield Static()

    def tell(self, told: Told) -> None:
        """Show this."""
        self.query_one(Static).update(told.content())
