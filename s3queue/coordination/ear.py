"""A caller's side of hints: somebody who waits for messages for a while, and looks again when told of some."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from s3queue.clock import Clock
from s3queue.coordination.port import MESSAGES, Hint, Hints, NoHints, Stop

LEAST_S: Final = 0.25
"""Least time between two looks that hints are the reason for, as for workers: each look is billed."""


class Ear:
    """Waits during a ``with`` block, shorter if a hint tells of messages. It listens from the first wait on, not before."""

    def __init__(self, hints: Hints, clock: Clock) -> None:
        self._hints, self._clock = hints, clock
        self._told = threading.Event()
        self._heeded_at = float("-inf")
        self._silence: Stop | None = None

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or soon after a hint; at most four times a second for that reason."""
        if isinstance(self._hints, NoHints):
            self._clock.sleep(seconds)
            return
        if self._silence is None:
            self._silence = self._hints.listen(self._hear)
        until = self._clock.monotonic() + seconds
        if self._told.wait(seconds):
            soonest = min(until, self._heeded_at + LEAST_S)
            self._clock.sleep(max(0.0, soonest - self._clock.monotonic()))
            self._told.clear()
            self._heeded_at = self._clock.monotonic()

    def _hear(self, hint: Hint) -> None:
        if hint.kind == MESSAGES:
            self._told.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._silence is not None:
            self._silence()
