"""A clock that a test moves, and waiting for what other threads do."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock
from time import monotonic

from s3queue.clock import Clock

START_MS = 1_750_000_000_000


class ManualClock:
    """Time that passes only when a test moves it or somebody sleeps on it.

    ``skew_ms`` sets the wall clock wrong; monotonic time does not know of it.
    """

    def __init__(self, start_ms: int = START_MS) -> None:
        self._lock = Lock()
        self._start_ms = start_ms
        self._passed_ms = 0
        self.skew_ms = 0

    def now_ms(self) -> int:
        return self._start_ms + self._passed_ms + self.skew_ms

    def monotonic(self) -> float:
        return self._passed_ms / 1000

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        with self._lock:
            self._passed_ms += max(1, round(seconds * 1000))


def eventually(condition: Callable[[], bool], timeout_s: float = 20) -> bool:
    """Return whether ``condition`` comes true within the time; looks again every few milliseconds."""
    deadline, never = monotonic() + timeout_s, Event()
    while not condition():
        if monotonic() > deadline:
            return False
        never.wait(0.01)
    return True


def as_time_passes(clock: Clock, step_s: float, condition: Callable[[], bool]) -> Callable[[], bool]:
    """Return ``condition``, asked each time after another step on a clock whose sleep takes no time."""

    def asked() -> bool:
        clock.sleep(step_s)
        return condition()

    return asked
