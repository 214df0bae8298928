"""The fields of a filter: what each of them reads of a message, and which operators it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from s3queue.protocol.census import STATES
from s3queue_admin.filters.subject import Subject

STALLED: Final = "stalled"
STATE_WORDS: Final = (*STATES, STALLED)
Kind = Literal["state", "queue", "text", "digest", "number", "duration", "size", "time", "payload", "headers"]
ORDERED: Final = ("<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, what its values are, what it means, and how it is read of a message (a time: with what time it is)."""

    name: str
    kind: Kind
    meaning: str
    read: Callable[[Subject], Any]

    @property
    def operators(self) -> tuple[str, ...]:
        """What may stand between the field and a value."""
        if self.kind in ("state", "digest"):
            return (":", "=", "!=")
        if self.kind in ("queue", "text"):
            return (":", "=", "!=", "~")
        return (":", "=", "!=", *(("~",) if self.kind in ("payload", "headers") else ()), *ORDERED)


def _error(subject: Subject) -> tuple[str, ...]:
    last = subject.last
    return (last.type, last.message, subject.error) if last else ("",)


FIELDS: Final = {
    field.name: field
    for field in (
        Field("state", "state", f"{', '.join(STATES)}; stalled: processing past its lease", lambda s: s.state),
        Field("queue", "queue", "name of the queue", lambda s: s.queue),
        Field("id", "text", "id of the message", lambda s: s.view.id),
        Field("group", "text", "group of the message", lambda s: s.view.message.group or ""),
        Field("worker", "text", "who has it, or else had it last", lambda s: s.worker),
        Field("reason", "text", "why it is dead", lambda s: s.view.reason),
        Field("error", "text", "the last attempt's error: its type, its message, or both as 'type: message'", _error),
        Field("traceback", "text", "the last attempt's traceback", lambda s: s.last.traceback if s.last else ""),
        Field("fingerprint", "digest", "kind of error, by the first of eight hex digits", lambda s: s.fingerprint),
        Field("key", "text", "key of the object that holds it", lambda s: s.view.key),
        Field("ticket", "text", "id of its ticket", lambda s: s.view.ticket),
        Field("attempts", "number", "attempts that failed", lambda s: s.view.message.attempts),
        Field("priority", "number", "0 to 9", lambda s: s.view.message.priority),
        Field("rescues", "number", "how often it was taken from a dead worker", lambda s: s.view.rescues),
        Field("lane", "number", "number of its lane", lambda s: s.view.lane),
        Field("age", "duration", "time in its state: since visible, claimed, dead; scheduled: since enqueued",
              lambda s: s.now_ms - s.since_ms),
        Field("size", "size", "bytes of its payload as JSON", lambda s: s.payload_bytes),
        Field("enqueued_at", "time", "when it was enqueued", lambda s: (s.view.message.enqueued_at_ms, s.now_ms)),
        Field("visible_at", "time", "when it became or becomes visible", lambda s: (s.view.visible_at_ms, s.now_ms)),
        Field("claimed_at", "time", "when it was claimed", lambda s: (s.view.claimed_at_ms, s.now_ms)),
        Field("expires_at", "time", "when its lease ends", lambda s: (s.view.expires_at_ms, s.now_ms)),
        Field("dead_at", "time", "when it died", lambda s: (s.view.dead_at_ms, s.now_ms)),
        Field("payload", "payload", "the payload, or what is at a path in it: payload.user.id, payload.list.0, payload.*",
              lambda s: s.view.payload),
        Field("headers", "headers", "the headers, or one of them: headers.trace", lambda s: dict(s.view.message.headers)),
    )
}  # fmt: skip
"""Every field by name."""
OTHER_NAMES: Final = {
    "status": "state",
    "err": "error",
    "exception": "error",
    "error_type": "error",
    "error_message": "error",
    "message": "error",
    "body": "payload",
    "data": "payload",
    "header": "headers",
    "tries": "attempts",
    "retries": "attempts",
    "attempt": "attempts",
    "prio": "priority",
    "created": "enqueued_at",
    "died": "dead_at",
    "died_at": "dead_at",
    "host": "worker",
    "message_id": "id",
}
"""What other tools call them, to be suggested."""
