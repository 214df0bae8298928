"""Rows and frames into files: CSV, JSON lines, Parquet. A file is whole or not there."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from s3queue.batches import batched
from s3queue.clock import to_datetime
from s3queue.core.message import storable
from s3queue.errors import InvalidInput, InvalidSetting, S3QueueError
from s3queue.protocol.frames import UTC_TIME, Schema
from s3queue_admin.progress import Told
from s3queue_admin.rows import Row, Rows, fit
from s3queue_admin.text import cell, json_text

if TYPE_CHECKING:
    import pandas as pd

FORMATS: Final = ("csv", "jsonl", "parquet")
_GROUP: Final = 5_000
"""Rows of a row group of Parquet, and how many a frame hands out at a time."""


def export(
    rows: Rows | pd.DataFrame,
    format: str | None,  # noqa: A002 - the name users look for
    path: str | Path | IO[str],
    *,
    on_progress: Told = "bar",
) -> int:
    """Write rows or a frame to ``path`` and return how many rows; one after the other, in memory of a fixed size.

    ``format``: csv, jsonl or parquet; None: by the name's ending. ``path``: a file, replaced when the new one is whole,
    or an open text file (not for parquet).

    *csv* is for people and spreadsheets: one line a row, texts made harmless (what does not print as an escape, formulas
    behind an apostrophe), payloads as JSON. *jsonl* (ASCII) and *parquet* hold texts exactly; in parquet payloads are JSON
    texts. Times are UTC. Raises InvalidSetting for another format, S3QueueError if pyarrow is not installed for parquet,
    or if the file cannot be written.
    """
    kind = _format(format, path)
    source = rows if isinstance(rows, Rows) else _of_frame(rows)
    if not isinstance(path, str | Path):
        if kind == "parquet":
            raise InvalidInput("Parquet cannot go into a text file.", remedy="Give the path of a file.")
        return _TEXTS[kind](source, path, on_progress)
    try:
        with _replacing(Path(path)) as part:
            if kind == "parquet":
                return _parquet(source, part, on_progress)
            with part.open("w", encoding="utf-8", newline="") as out:
                return _TEXTS[kind](source, out, on_progress)
    except OSError as error:
        raise S3QueueError(
            f"{str(path)!r} cannot be written: {error.strerror or error}.", remedy="Give another path."
        ) from error


def _format(kind: str | None, path: str | Path | IO[str]) -> str:
    if kind is None and isinstance(path, str | Path):
        kind = Path(path).suffix[1:].lower()
    if kind not in FORMATS:
        raise InvalidSetting(f"There is no format {kind!r}.", remedy=f"Use one of {', '.join(FORMATS)}.")
    return kind


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside this one, whose file takes its place if all goes well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


# -- texts ------------------------------------------------------------------------------------------------------------


def _csv(rows: Rows, out: IO[str], on_progress: Told) -> int:
    writer, done = csv.writer(out, lineterminator="\n"), 0
    writer.writerow([cell(name) for name in rows.schema])
    for done, row in enumerate(rows.watched(on_progress), 1):  # noqa: B007 - returned
        writer.writerow([_cell(dtype, row[name]) for name, dtype in rows.schema.items()])
    return done


def _cell(dtype: str | Sequence[str], value: Any) -> Any:
    if dtype == "object":
        return cell("" if value is None else json_text(value))
    value = _json(dtype, value)
    return cell(value) if isinstance(value, str) else value


def _jsonl(rows: Rows, out: IO[str], on_progress: Told) -> int:
    done = 0
    for done, row in enumerate(rows.watched(on_progress), 1):  # noqa: B007 - returned
        line = {name: _json(dtype, row[name]) for name, dtype in rows.schema.items()}
        out.write(json.dumps(line, default=str) + "\n")
    return done


def _json(dtype: str | Sequence[str], value: Any) -> Any:
    """Return the value as JSON has it: times as ISO 8601 in UTC, what is missing as null, a text that is missing as ''."""
    if dtype == UTC_TIME:
        return _when(value) if value else None
    if dtype == "str":
        return "" if value is None else str(value)
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN is not
        return None
    return value


def _when(at_ms: int) -> str:
    fitting = fit({"at": UTC_TIME}, {"at": at_ms}, exact=True)["at"]
    return to_datetime(fitting).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_TEXTS: Final[Mapping[str, Callable[[Rows, IO[str], Told], int]]] = {"csv": _csv, "jsonl": _jsonl}


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(rows: Rows, path: Path, on_progress: Told) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise S3QueueError(
            "Parquet needs pyarrow, which is not installed.",
            remedy="Install it (pip install 's3queue[parquet]'), or use csv or jsonl.",
        ) from None
    types = {
        "str": pa.string(),
        "object": pa.string(),
        "Int64": pa.int64(),
        "float64": pa.float64(),
        "boolean": pa.bool_(),
        UTC_TIME: pa.timestamp("ms", "UTC"),
    }
    words = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    schema = pa.schema(
        [(name, types[dtype] if isinstance(dtype, str) else words) for name, dtype in rows.schema.items()]
    )
    done = 0
    with pq.ParquetWriter(path, schema) as writer:
        for some in batched(rows.watched(on_progress), _GROUP):
            done += len(some)
            fitting = [fit(rows.schema, row, exact=True) for row in some]
            columns = [
                pa.array([_packed(dtype, row[name]) for row in fitting], schema.field(name).type)
                for name, dtype in rows.schema.items()
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return done


def _packed(dtype: str | Sequence[str], value: Any) -> Any:
    if dtype == UTC_TIME:
        return value or None
    if dtype == "object":
        return None if value is None else json.dumps(value, default=str)
    return storable(value or "") if dtype == "str" else value


# -- frames -----------------------------------------------------------------------------------------------------------


def _of_frame(frame: pd.DataFrame) -> Rows:
    """Return the rows of a frame, whose schema is read off its dtypes."""
    schema: Schema = {str(name): _dtype(frame.dtypes.iloc[at]) for at, name in enumerate(frame.columns)}

    def read() -> Iterator[Row]:
        for start in range(0, len(frame), _GROUP):
            for values in frame.iloc[start : start + _GROUP].itertuples(index=False, name=None):
                yield {name: _value(dtype, value) for (name, dtype), value in zip(schema.items(), values, strict=True)}

    return Rows(schema, read, label="writing", total=lambda: len(frame))


def _dtype(dtype: Any) -> str | Sequence[str]:
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        return [str(each) for each in dtype.categories]
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return UTC_TIME
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return "Int64"
    if pd.api.types.is_float_dtype(dtype):
        return "float64"
    return "object" if pd.api.types.is_object_dtype(dtype) else "str"


def _value(dtype: str | Sequence[str], value: Any) -> Any:
    import pandas as pd

    if isinstance(value, dict | list | tuple | str):
        return value
    if value is None or pd.isna(value) is True:
        return None
    if isinstance(value, datetime):
        at = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(at.timestamp() * 1000) if dtype == UTC_TIME else at.isoformat()
    return value.item() if hasattr(value, "item") else value
