"""Handlers that do nothing but note when they began."""

from __future__ import annotations

import time
from array import array
from typing import Any

from s3queue import Context
from s3queue.clock import to_ms


def now_ms() -> int:
    """Return wall-clock time in milliseconds."""
    return time.time_ns() // 1_000_000


class Noop:
    """Does nothing. Four bytes a message are kept of when it began, so that a worker's memory shows the engine's."""

    def __init__(self) -> None:
        self.waits_ms = array("i")
        self.first_start_ms = 0
        self.last_end_ms = 0
        self.ready_at_ms = 0

    def __call__(self, payload: Any, ctx: Context) -> None:
        started_ms = now_ms()
        self.first_start_ms = self.first_start_ms or started_ms
        # A backlog that was enqueued before the clock ran waits from then on.
        self.waits_ms.append(started_ms - max(to_ms(ctx.enqueued_at), self.ready_at_ms))
        try:
            self.work(payload)
        finally:
            self.last_end_ms = now_ms()

    def work(self, payload: Any) -> None:
        """Do nothing."""


class Failing(Noop):
    """Fails every attempt at a message whose payload says so."""

    def work(self, payload: Any) -> None:
        """Raise for what is to die."""
        if payload.get("dies"):
            raise RuntimeError(f"message {payload['number']} is to fail")


HANDLERS = {"noop": Noop, "failing": Failing}
