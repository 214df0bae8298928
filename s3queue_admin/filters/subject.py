"""What a filter is asked about: a message, or only in which state and queue one would be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

from s3queue.core.message import AttemptError
from s3queue.protocol.viewing import MessageView
from s3queue_admin.grouping import fingerprint
from s3queue_admin.text import json_text

_BELOW = re.compile(r"([^/]+)/(?:inbox/\d+|dlq)/[^/]*\Z", re.ASCII)
ANY: Final = "*"
"""The segment of a path that stands for every member."""


class Known:
    """A message of which no more is known than its ``state`` and its ``queue`` ('' if not even that)."""

    def __init__(self, state: str, queue: str = "") -> None:
        self.state, self.queue = state, queue


class Subject(Known):
    """A message as filters see it at ``now_ms`` (store time); what costs time is worked out once, when it is asked for."""

    def __init__(self, view: MessageView, now_ms: int) -> None:
        match = _BELOW.search(view.key)
        super().__init__(view.state, match[1] if match else "")
        self.view, self.now_ms = view, now_ms

    @property
    def is_stalled(self) -> bool:
        """Whether it is claimed past the end of its lease."""
        return self.view.is_stalled(self.now_ms)

    @property
    def last(self) -> AttemptError | None:
        """The last attempt's error."""
        return self.view.errors[-1] if self.view.errors else None

    @property
    def error(self) -> str:
        """The last attempt's error: type and message."""
        return f"{self.last.type}: {self.last.message}" if self.last else ""

    @property
    def worker(self) -> str:
        """Who has it, or else had it last: its claim's worker, its ticket's, that of the last attempt."""
        return self.view.worker or self.view.assigned_to or (self.last.worker if self.last else "")

    @property
    def since_ms(self) -> int:
        """When it came into its state: died, was claimed, became visible; when it was enqueued, if it is visible later."""
        view = self.view
        since = {"dead": view.dead_at_ms, "processing": view.claimed_at_ms, "pending": view.visible_at_ms}
        return since.get(view.state, 0) or view.message.enqueued_at_ms

    @cached_property
    def payload_text(self) -> str:
        """The payload as compact JSON."""
        return json_text(self.view.payload)

    @cached_property
    def payload_bytes(self) -> int:
        """How long the payload is as compact JSON in UTF-8."""
        return len(self.payload_text.encode(errors="replace"))

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of its error."""
        return fingerprint(self.view)

    @cached_property
    def everything(self) -> str:
        """What bare words are looked for in, one below the other, in lower case."""
        errors = (f"{each.type}: {each.message}" for each in self.view.errors)
        return "\n".join([self.view.id, self.view.reason, *errors, self.payload_text]).casefold()


def members(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """Yield what lies at a path of a JSON value: nothing if there is none, all members for ``*``, those of a list at its end."""
    if not path:
        yield value
        if isinstance(value, list | tuple):
            yield from value
        return
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        if first in value:
            yield from members(value[first], rest)
        elif first == ANY:
            for item in value.values():
                yield from members(item, rest)
    elif isinstance(value, list | tuple):
        if first == ANY:
            for item in value:
                yield from members(item, rest)
        elif first.isascii() and first.isdigit() and len(first) < 10 and int(first) < len(value):
            yield from members(value[int(first)], rest)
