"""Messages as an operator sees them, made up."""

from __future__ import annotations

from typing import Any

from s3queue.core.message import AttemptError, Message
from s3queue.protocol.viewing import MessageView

NOW_MS = 1_750_000_000_000
HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red]<script>alert(1)</script>=cmd|' /C calc'!A0\u202egnp.exe\r\n\x00\x85"


def seen(
    state: str = "dead",
    payload: Any = None,
    *,
    queue: str = "emails",
    error: tuple[str, str] | None = None,
    traceback: str = "",
    by: str = "w9",
    **fields: Any,
) -> MessageView:
    """Return a message in that state; ``error``: type and message of its last attempt, made ``by`` that worker."""
    attempts = fields.pop("attempts", 1 if error else 0)
    errors = (AttemptError(1, NOW_MS - 60_000, *error, traceback, by),) if error else ()
    message = Message(
        fields.pop("id", "m1"),
        payload,
        fields.pop("enqueued_at_ms", NOW_MS - 3_600_000),
        attempts=attempts,
        group=fields.pop("group", None),
        priority=fields.pop("priority", 0),
        headers=fields.pop("headers", {}),
        errors=errors,
    )
    place = "dlq" if state == "dead" else "inbox/0000"
    known: dict[str, Any] = {"dead_at_ms": NOW_MS - 60_000} if state == "dead" else {}
    return MessageView(message, state, 0, "x", 0, f"a/{queue}/{place}/x.json", **(known | fields))
