"""Data on stdout: plain aligned tables for people, JSON for programs."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from s3queue.cli.options import FAILED, JSON, Failed
from s3queue.clock import iso, to_datetime
from s3queue.text import cells, clean, cut

MAX_CELL: Final = 300
"""Columns that one cell may take where the width of the terminal is not the limit."""
GAP: Final = "  "
"""What is between two columns."""


def emit(output: str, data: Any, text: str, *, done: str = "") -> None:
    """Write ``data`` as JSON (ASCII, so that nothing in it can act on a terminal) or ``text``, as ``output`` says.

    ``done``: what must be known even if stdout cannot be written; without it, a reader who has left is no matter.
    """
    put(json.dumps(data, indent=2) if output == JSON else text, done=done)


def put(text: str, *, done: str = "") -> None:
    """Write ``text`` and a line break to stdout; ``done`` as for :func:`emit`."""
    try:
        click.echo(text)
    except OSError as error:
        if error.errno == errno.EPIPE and not done:
            raise  # click ends in silence
        sys.stdout = None  # nor will there be a complaint at exit that the rest could not be written
        told = f"{done}; but stdout" if done else "stdout"
        raise Failed(f"{told} cannot be written: {error.strerror}.", FAILED) from error


def when(at_ms: int) -> str:
    """Return a time for people and programs: ISO 8601, to the second, UTC."""
    return iso(to_datetime(at_ms))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """Return rows under their column names, numbers to the right; control characters become escapes.

    Lines are cut at ``width`` columns (default: the terminal's; a pipe has 300 a cell).
    """
    lines = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(columns, *lines, strict=True)]
    numeric = [bool(rows) and all(isinstance(row[index], int | float) for row in rows) for index in range(len(columns))]
    limit = width or terminal_width()
    return "\n".join(aligned(line, widths, numeric, limit) for line in [list(columns), *lines])


def record(facts: Mapping[str, object]) -> str:
    """Return one fact a line: name, value, aligned."""
    names = max(map(len, facts), default=0)
    return "\n".join(f"{name:<{names}}{GAP}{_cell(value)}".rstrip() for name, value in facts.items())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return cut(clean(str(value)), MAX_CELL)


def aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool], limit: int | None) -> str:
    """Return a line of a table: each text cut to its width and padded, on the left where ``right``, all cut at ``limit``."""
    padded = []
    for text, width, to_right in zip(line, widths, right, strict=True):
        shown = cut(text, width)
        space = " " * (width - cells(shown))
        padded.append(space + shown if to_right else shown + space)
    whole = GAP.join(padded).rstrip()
    return whole if limit is None else cut(whole, limit)


def terminal_width() -> int | None:
    """Return how many columns the terminal has that stdout is; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
