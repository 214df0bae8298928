"""How much a worker takes and how often it looks: as much as it can do soon, as seldom as it may."""

from __future__ import annotations

from dataclasses import dataclass

HORIZON_S = 1.0
"""How far ahead a worker holds work: more than a claim takes on a slow day."""
MAX_HELD_BYTES = 64 << 20
HINTED_S = 0.25
"""Least time between two looks that hints are the reason for: a busy producer hints all day, and every look is billed."""
SPREAD_S = 0.02
"""Over how long the workers spread that one hint reaches."""
ENOUGH = 8
"""How many handlers must have ended to tell how long one takes: one quick message says little of the hundred behind it."""
_SLOW_START = 2
_GROWTH = 8


@dataclass(slots=True)
class Prefetch:
    """How many messages to hold: enough for the next second; few at first, eightfold as often as that is too little.

    Never more than a quarter of the visibility timeout's work, ``limit``, or 64 MiB of payloads.
    """

    concurrency: int
    limit: int
    mean_s: float = 0.0
    _seen: int = 0
    _target: int = 0

    def __post_init__(self) -> None:
        self._target = self.concurrency * _SLOW_START

    def observe(self, seconds: float) -> None:
        """Take note of how long a handler took."""
        self._seen += 1
        self.mean_s = seconds if not self.mean_s else self.mean_s + 0.1 * (seconds - self.mean_s)

    def grow(self) -> None:
        """Take note that there was more work than was held."""
        if self._seen < ENOUGH:
            return  # they may be slow
        self._target = min(self._target * _GROWTH, self.limit)

    def want(self, lease_s: float, bytes_each: float) -> int:
        """Return how many messages to hold."""
        return max(self.concurrency, min(self._target, self._most(lease_s, bytes_each, 0.0)))

    def capacity(self, lease_s: float, bytes_each: float, read_s: float) -> int:
        """Return how many it would come to hold if there were as many; reading one takes it ``read_s`` seconds in all."""
        return self._most(lease_s, bytes_each, read_s) if self._seen >= ENOUGH else self.want(lease_s, bytes_each)

    def _most(self, lease_s: float, bytes_each: float, read_s: float) -> int:
        horizon_s = min(HORIZON_S, lease_s / 4)
        soon = self.concurrency * (1 + horizon_s / max(self.mean_s, 1e-6))
        fits = MAX_HELD_BYTES / max(bytes_each, 1.0)
        return max(self.concurrency, int(min(self.limit, soon, horizon_s / max(read_s, 1e-6), fits)))


@dataclass(slots=True)
class Polling:
    """When to list for new messages: at once while there are some, then less and less often.

    ``interval_s`` after a look that found little, up to ``max_interval_s`` after many that found nothing, at once after
    a hint; ``random`` in [0, 1) spreads workers.
    """

    interval_s: float
    max_interval_s: float
    due_at: float = 0.0
    others_due_at: float = 0.0
    _current_s: float = 0.0
    _heeded_at: float = float("-inf")
    _hinted_at: float | None = None

    def next_at(self, room: int, *, leads: bool) -> float:
        """Return when to look next: with room for oneself, or as coordinator for others when there is none."""
        return self.due_at if room > 0 else self.others_due_at if leads else float("inf")

    def looked_for_others(self, now: float, wait_s: float, random: float) -> None:
        """Take note of a look by a coordinator: another for others alone is due in ``wait_s`` seconds or so.

        When it looks for itself is another matter: its own claims must not wait for that.
        """
        self.others_due_at = now + wait_s * (0.75 + 0.5 * random)

    def hint(self, now: float, random: float) -> None:
        """Take note of a hint that there are messages; in any thread."""
        at = max(now + SPREAD_S * random, self._heeded_at + HINTED_S)
        # First this, then due_at: found() does it the other way round, so whoever is last, the hint is not lost.
        self._hinted_at = at
        self.due_at = min(self.due_at, at)

    def look(self, now: float) -> None:
        """Take note that a look begins: hints that came before it have been heeded."""
        if self._hinted_at is not None:
            self._heeded_at, self._hinted_at = now, None

    def found(self, now: float, count: int, room: int, random: float) -> None:
        """Take note of a look that got ``count`` of ``room`` messages."""
        if count >= room:
            self._current_s, self.due_at = self.interval_s, now
            return
        self._current_s = (
            self.interval_s if count else min(max(self._current_s, self.interval_s) * 1.5, self.max_interval_s)
        )
        self.due_at = now + self._current_s * (0.75 + 0.5 * random)
        if (hinted_at := self._hinted_at) is not None:
            self.due_at = min(self.due_at, hinted_at)

    def failed(self, now: float, random: float) -> None:
        """Take note of a look that failed."""
        self.found(now, 0, 1, random)
        self.others_due_at = self.due_at
