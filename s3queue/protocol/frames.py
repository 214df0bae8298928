"""pandas DataFrames from a declared schema: the same columns and dtypes whether there are rows or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s3queue.core.message import DeadLetter
from s3queue.protocol.census import STATES
from s3queue.protocol.viewing import MessageView

if TYPE_CHECKING:
    import pandas as pd

UTC_TIME = "datetime64[us, UTC]"
Schema = Mapping[str, str | Sequence[str]]
"""dtype by column; a sequence of words stands for an ordered categorical of these."""

MESSAGES: Schema = {
    "id": "str",
    "state": STATES,
    "enqueued_at": UTC_TIME,
    "visible_at": UTC_TIME,
    "priority": "Int64",
    "attempts": "Int64",
    "max_attempts": "Int64",
    "group": "str",
    "worker": "str",
    "token": "Int64",
    "claimed_at": UTC_TIME,
    "expires_at": UTC_TIME,
    "dead_at": UTC_TIME,
    "reason": "str",
    "error_type": "str",
    "error_message": "str",
    "payload": "object",
    "headers": "object",
    "lane": "Int64",
    "key": "str",
}
"""The columns of :meth:`s3queue.Queue.to_dataframe`."""
LETTERS: Schema = {
    "id": "str",
    "dead_at": UTC_TIME,
    "enqueued_at": UTC_TIME,
    "reason": "str",
    "attempts": "Int64",
    "error_type": "str",
    "error_message": "str",
    "traceback": "str",
    "worker": "str",
    "payload": "object",
    "priority": "Int64",
    "group": "str",
    "headers": "object",
    "source": "str",
}
"""The columns of :meth:`s3queue.protocol.dead_letters.DeadLetters.to_dataframe`."""


def to_dataframe(schema: Schema, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a frame with a row for each of ``rows``, which has every column; needs pandas.

    A time (``…_at``) is given in ms since the epoch, None or 0 for none; where an integer or a text is None, it is missing or ''.
    """
    import pandas as pd

    values: dict[str, list[Any]] = {name: [] for name in schema}
    for row in rows:
        for name, column in values.items():
            column.append(row[name])
    return pd.DataFrame({name: _series(pd, values[name], dtype) for name, dtype in schema.items()})


def _series(pd: Any, values: list[Any], dtype: str | Sequence[str]) -> Any:
    if not isinstance(dtype, str):
        return pd.Series(values, dtype=pd.CategoricalDtype(list(dtype), ordered=True))
    if dtype == UTC_TIME:
        times = pd.Series([value or None for value in values], dtype="Int64")
        return pd.to_datetime(times, unit="ms", utc=True).astype(UTC_TIME)
    if dtype == "str":
        values = ["" if value is None else value for value in values]
    return pd.Series(values, dtype=dtype)


def message_row(view: MessageView, max_attempts: int) -> dict[str, Any]:
    """Return the row of a message; ``max_attempts``: the queue's, for those that have none of their own."""
    message, last = view.message, view.errors[-1] if view.errors else None
    return {
        "id": view.id,
        "state": view.state,
        "enqueued_at": message.enqueued_at_ms,
        "visible_at": view.visible_at_ms,
        "priority": message.priority,
        "attempts": message.attempts,
        "max_attempts": message.max_attempts or max_attempts,
        "group": message.group,
        "worker": view.worker,
        "token": view.token or None,
        "claimed_at": view.claimed_at_ms,
        "expires_at": view.expires_at_ms,
        "dead_at": view.dead_at_ms,
        "reason": view.reason,
        "error_type": last.type if last else "",
        "error_message": last.message if last else "",
        "payload": view.payload,
        "headers": dict(message.headers),
        "lane": view.lane,
        "key": view.key,
    }


def letter_row(letter: DeadLetter | MessageView) -> dict[str, Any]:
    """Return the row of a dead letter, without ``source``; ``error_*``, ``traceback`` and ``worker`` are of the last attempt."""
    message, last = letter.message, letter.errors[-1] if letter.errors else None
    return {
        "id": letter.id,
        "dead_at": letter.dead_at_ms,
        "enqueued_at": message.enqueued_at_ms,
        "reason": letter.reason,
        "attempts": message.attempts,
        "error_type": last.type if last else "",
        "error_message": last.message if last else "",
        "traceback": last.traceback if last else "",
        "worker": last.worker if last else "",
        "payload": letter.payload,
        "priority": message.priority,
        "group": message.group or "",
        "headers": dict(message.headers),
    }
