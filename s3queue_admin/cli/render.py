"""Data on stdout in four forms: tables for people; JSON, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any, Final

from s3queue.cli.render import GAP, MAX_CELL, aligned, put, terminal_width
from s3queue.text import cells, cut
from s3queue_admin.text import cell, json_text, plain

TABLE: Final = "table"
OUTPUTS: Final = (TABLE, "json", "jsonl", "csv")
_LEAST: Final = 10
"""A column of text is not made narrower than this to fit a terminal."""
_ROOMY: Final = 130
_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))

Facts = Mapping[str, Any]


# -- values -----------------------------------------------------------------------------------------------------------


def data(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, times as ISO 8601 in UTC, what JSON cannot hold as text."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: data(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(data(key)): data(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [data(item) for item in value]
    return str(value)


def when(at: datetime | None) -> str:
    """Return a time for people, to the second, UTC; '' for none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"


def span(seconds: float | None, units: int = 2) -> str:
    """Return a span of time for people in two ``units`` at most: ``350ms``, ``12s``, ``4m 10s``, ``2d 3h``; '' for None."""
    if seconds is None:
        return ""
    if abs(seconds) < 1:
        return "0s" if round(seconds * 1000) == 0 else f"{seconds * 1000:.0f}ms"
    sign, rest = "-" if seconds < 0 else "", round(abs(seconds))
    parts: list[str] = []
    for size, unit in _SPANS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == units:
            break
    return sign + " ".join(filter(None, parts))


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago that was, or how soon it will be: ``5m ago``, ``in 12s``; '' for None."""
    if at is None:
        return ""
    seconds = (now - at).total_seconds()
    return f"{span(seconds, 1)} ago" if seconds >= 0 else f"in {span(-seconds, 1)}"


def dollars(amount: float | None) -> str:
    """Return US dollars with as many digits as tell something; '' for None."""
    if amount is None:
        return ""
    if amount and abs(amount) < 0.01:
        shown = f"${amount:.2g}" if abs(amount) >= 0.0001 else f"${amount:.6f}".rstrip("0")
        return shown if shown.strip("$-0.") else "$0.00"
    return f"${amount:,.2f}"


# -- four forms -------------------------------------------------------------------------------------------------------


def emit_rows(output: str, rows: Sequence[Facts], text: Callable[[], str], *, columns: Sequence[str] = ()) -> None:
    """Write rows: ``text()`` as the table; each row as an object or a line. ``columns``: CSV's, if there may be no row."""
    if output == TABLE:
        put(text())
    elif output == "json":
        put(json.dumps([data(row) for row in rows], indent=2))
    elif output == "jsonl":
        if rows:
            put("\n".join(json.dumps(data(row)) for row in rows))
    else:
        put(csv_text(columns or (list(rows[0]) if rows else ()), rows))


def emit(output: str, facts: Facts, text: Callable[[], str], *, done: str = "") -> None:
    """Write one thing: ``text()`` for people, else as an object, or a CSV of one row; ``done`` as for the engine's."""
    if output == TABLE:
        put(text(), done=done)
    elif output == "csv":
        put(csv_text(list(facts), [facts]), done=done)
    else:
        put(json.dumps(data(facts), indent=2 if output == "json" else None), done=done)


def csv_text(columns: Sequence[str], rows: Iterable[Facts]) -> str:
    """Return CSV: texts made harmless for terminals and spreadsheets, lists and objects as JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(name) for name in columns])
    writer.writerows([_csv_cell(data(row.get(name))) for name in columns] for row in rows)
    return out.getvalue().rstrip("\n")


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return cell(json_text(value))
    return cell(value) if isinstance(value, str) else value


# -- tables -----------------------------------------------------------------------------------------------------------


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, wide: Sequence[str] = (), width: int | None = None
) -> str:
    """Return rows under their column names, numbers to the right; nothing in them can act on a terminal.

    To fit ``width`` columns (default: the terminal's; without one there is no limit) the ``wide`` columns are made narrower
    first, then lines are cut.
    """
    lines = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(columns, *lines, strict=True)]
    limit = width or terminal_width()
    if limit is not None:
        _narrow(widths, [index for index, name in enumerate(columns) if name in wide], limit)
    right = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(columns))]
    return "\n".join(aligned(line, widths, right, limit) for line in [list(columns), *lines])


def record(facts: Facts) -> str:
    """Return one fact a line: name, value, aligned; a value that is None is a heading, those below it are indented."""
    names = max((cells(name) for name in facts), default=0)
    limit = terminal_width() or MAX_CELL
    lines = (f"{name}{' ' * (names - cells(name))}{GAP}{_cell(value)}".rstrip() for name, value in facts.items())
    return "\n".join(cut(line, max(limit, names + _LEAST)) for line in lines)


def _narrow(widths: list[int], wide: Sequence[int], limit: int) -> None:
    over = sum(widths) + len(GAP) * (len(widths) - 1) - limit
    while over > 0 and wide:
        widest = max(wide, key=lambda index: widths[index])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1
        over -= 1


def _is_number(value: object) -> bool:
    return value in ("", None) or (isinstance(value, int | float) and not isinstance(value, bool)) or _is_amount(value)


def _is_amount(value: object) -> bool:
    return isinstance(value, str) and value[:1] == "$"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return plain(value, MAX_CELL)


def is_narrow() -> bool:
    """Whether there is a terminal that has no room for several columns of text."""
    width = terminal_width()
    return width is not None and width < _ROOMY
