"""Rows that are no messages, as filters see them: one language for all lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from s3queue.core.message import Message
from s3queue.protocol.viewing import MessageView
from s3queue_admin.filters import Filter, FilterError, parse
from s3queue_admin.filters.lexer import Literal, write_value
from s3queue_admin.filters.nodes import Or, joined


def sought(
    id: str,  # noqa: A002 - the field of a filter
    facts: Any,
    *,
    state: str = "pending",
    at_ms: int = 0,
    queue: str = "",
    worker: str = "",
    reason: str = "",
    **known: Any,
) -> MessageView:
    """Return a row as the filter's fields read it: ``id:``, ``worker:``, ``state:``, ``age>`` (since ``at_ms``), ``queue:``.

    ``facts`` is what else is shown of it: bare words are looked for in it, ``payload.<name>`` reads one of them.
    ``known``: other fields of a MessageView.
    """
    message = Message(id, facts, at_ms)
    return MessageView(
        message,
        state,
        known.pop("lane", 0),
        "",
        0,
        f"{queue}/inbox/0/row",
        visible_at_ms=at_ms,
        claimed_at_ms=at_ms,
        dead_at_ms=at_ms,
        worker=worker,
        reason=reason,
        **known,
    )


def is_meant(chosen: Filter, row: MessageView, now_ms: int) -> bool:
    """Whether the filter matches; a pattern that takes too long on a row does not."""
    try:
        return chosen.matches(row, now_ms)
    except FilterError:
        return False


def exactly(field: str, names: Iterable[str]) -> Filter:
    """Return the filter of claimed messages whose field is one of these names, whatever is written in them."""
    one_of = [parse(f"{field}={write_value(Literal(name, 0, quoted=True))}").root for name in names]
    return parse("state:processing") & Filter(joined(Or, one_of))
