"""A page: sections of tables, figures and texts, each with its scope; what it says may be a stranger's until it is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from s3queue_admin.reports.plots import Plot

Tone = Literal["", "error", "warning", "info"]
MOST_ROWS: Final = 50
"""Rows of a table; how many more there are is told below it."""
Cell = str | int | float | datetime | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; ``tones`` colours rows, by number. ``more``: how many rows are left out."""

    title: str
    scope: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    tones: tuple[Tone, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot."""

    title: str
    scope: str
    plot: Plot


@dataclass(frozen=True, slots=True)
class Code:
    """A text that keeps its lines, such as a traceback."""

    title: str
    scope: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence or two."""

    text: str


Block = Table | Figure | Code | Note


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All of a report; ``scope`` is what it is of, and of when."""

    title: str
    scope: tuple[str, ...]
    sections: tuple[Section, ...]


def table(
    title: str, scope: str, columns: tuple[str, ...], rows: list[tuple[Cell, ...]], tones: tuple[Tone, ...] = ()
) -> Table | None:
    """Return a table of the first rows; None without any."""
    if not rows:
        return None
    return Table(title, scope, columns, tuple(rows[:MOST_ROWS]), tones[:MOST_ROWS], max(0, len(rows) - MOST_ROWS))
