"""Rows of a declared schema, read as they are wanted: from a bucket into a frame or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from s3queue.batches import batched
from s3queue.errors import InvalidInput, InvalidSetting
from s3queue.protocol import frames as engine
from s3queue.protocol.frames import UTC_TIME, Schema
from s3queue_admin.grouping import LATEST_MS
from s3queue_admin.progress import Told, watched
from s3queue_admin.text import harmless, lines

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
MAX_ROWS: Final = 1_000_000
"""Frames with more rows are refused, unless told otherwise: they are in memory as a whole."""
_CHUNK: Final = 5_000
"""How many rows are there as Python objects before they are packed into columns."""
_INT64: Final = (1 << 63) - 1


class Rows:
    """Rows of a schema, each a mapping by column, times in ms since the epoch; read anew each time they are iterated.

    ``read`` returns an iterator over what is looked at: rows, and None for what makes none; ``total`` how much that will
    be, if it is known. What the bucket's hook hides is hidden in them; texts are as they are until they are shown (see
    :meth:`to_dataframe`).
    """

    def __init__(
        self,
        schema: Schema,
        read: Callable[[], Iterable[Row | None]],
        *,
        label: str = "reading",
        total: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.schema, self.label = schema, label
        self._read, self._total = read, total

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self._read() if row is not None)

    def watched(self, on_progress: Told = "bar") -> Iterator[Row]:
        """Yield the rows and tell how much was looked at; see :mod:`s3queue_admin.progress`."""
        seen = watched(self._read(), on_progress, label=self.label, total=self._total)
        return (row for row in seen if row is not None)

    def only(self, columns: Iterable[str]) -> Rows:
        """Return the rows with these columns alone, in this order; InvalidSetting for one that there is none of."""
        wanted = list(columns)
        for name in wanted:
            if name not in self.schema:
                raise InvalidSetting(f"There is no column {name!r}.", remedy=f"Use some of {', '.join(self.schema)}.")
        schema = {name: self.schema[name] for name in wanted}

        def read() -> Iterator[Row | None]:
            return (row and {name: row[name] for name in wanted} for row in self._read())

        return Rows(schema, read, label=self.label, total=self._total)

    def to_dataframe(
        self,
        *,
        columns: Iterable[str] | None = None,
        max_rows: int | None = MAX_ROWS,
        exact: bool = False,
        on_progress: Told = "bar",
    ) -> pd.DataFrame:
        """Return a pandas DataFrame with a row each; the same columns and dtypes when there are none. Times are UTC.

        Characters that do not print (terminal escapes, marks that reorder text) are written as escapes, so that a frame
        can be shown; ``exact``: they are not. Frames are in memory as a whole: ``columns`` leaves the others out,
        and InvalidInput is raised for more than ``max_rows`` (None: no limit). ``on_progress``: a function of how many
        are done and of how many, "bar" for a progress bar if stderr is a terminal, None for neither. Needs pandas.
        """
        if columns is not None:
            return self.only(columns).to_dataframe(max_rows=max_rows, exact=exact, on_progress=on_progress)
        import pandas as pd

        parts, done = [engine.to_dataframe(self.schema, ())], 0
        rows = (fit(self.schema, row, exact=exact) for row in self.watched(on_progress))
        for some in batched(rows, _CHUNK):
            done += len(some)
            if max_rows is not None and done > max_rows:
                raise InvalidInput(
                    f"There are more than {max_rows:,} rows.",
                    remedy="Narrow the filter, choose columns, export to a file (which takes no memory), or give max_rows.",
                )
            parts.append(engine.to_dataframe(self.schema, some))
        return pd.concat(parts[1:], ignore_index=True) if done else parts[0]

    def head(self, count: int) -> list[Row]:
        """Return the first rows; no more is read than they need, and a little."""
        return list(islice(self, count))


def fit(schema: Schema, row: Row, *, exact: bool) -> Row:
    """Return the row as its columns can hold it: strangers write numbers and times that no column has."""
    made = dict(row)
    for name, dtype in schema.items():
        value = made[name]
        if value is None or value == "":
            continue
        if dtype == "str":
            made[name] = value if exact else lines(value)
        elif dtype == "object":
            made[name] = value if exact else harmless(value)
        elif dtype == UTC_TIME:
            made[name] = min(max(value, 0), LATEST_MS)
        elif dtype == "Int64":
            made[name] = min(max(value, -_INT64), _INT64)
    return made
