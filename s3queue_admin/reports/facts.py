"""What a report is about: the numbers of a bucket's queues, each with the time and the window it is of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from s3queue.clock import to_datetime, to_ms
from s3queue_admin.cost import Measured
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot, percentile

SPANS: Final = 60
"""Into how many spans a window is divided, at most."""
_WIDTHS_S: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000),
)


@dataclass(frozen=True, slots=True)
class Window:
    """The time from ``since`` to ``until`` in spans of ``width_s``, the first of which begins at a round time before."""

    since: datetime
    until: datetime
    width_s: int
    first_ms: int
    spans: int

    @classmethod
    def of(cls, since: datetime, until: datetime) -> Window:
        """Return the window with spans as short as :data:`SPANS` allows."""
        seconds = (until - since).total_seconds()
        longest = _WIDTHS_S[-1]
        fitting = (width for width in _WIDTHS_S if seconds / width <= SPANS - 1)
        width = next(fitting, -(-int(seconds) // (SPANS - 1) // longest + 1) * longest)
        first_ms = to_ms(since) // (width * 1000) * (width * 1000)
        return cls(since, until, width, first_ms, (to_ms(until) - first_ms) // (width * 1000) + 1)

    def index(self, at_ms: int) -> int | None:
        """Return the number of the span that holds a time; None if the window does not."""
        if not to_ms(self.since) <= at_ms <= to_ms(self.until):
            return None
        return (at_ms - self.first_ms) // (self.width_s * 1000)

    def starts(self) -> list[datetime]:
        """Return when each span begins."""
        return [to_datetime(self.first_ms) + timedelta(seconds=self.width_s * number) for number in range(self.spans)]


@dataclass(frozen=True, slots=True)
class Sample:
    """A dead letter of a kind, as it may be shown: what the bucket's hook hides is hidden."""

    id: str
    attempts: int
    worker: str
    dead_at: datetime
    reason: str
    error: str
    traceback: str
    payload: str


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Dead letters of a kind, of those that were read: how many, from when to when, by span, and the last of them."""

    fingerprint: str
    title: str
    count: int
    first_at: datetime
    last_at: datetime
    spans: tuple[int, ...]
    sample: Sample


@dataclass(frozen=True, slots=True)
class Deaths:
    """The dead letters that there are: by their names ``total``, of which ``before`` the window and ``after`` it.

    ``spans`` counts those within it, ``first_at`` and ``last_at`` are the first and the last of them. Of these, the
    newest were read to tell ``kinds``; ``unread`` could not be.
    """

    total: int
    before: int
    after: int
    spans: tuple[int, ...]
    first_at: datetime | None
    last_at: datetime | None
    read: int
    unread: int
    kinds: tuple[ErrorKind, ...]

    @property
    def within(self) -> int:
        """How many are in the window."""
        return sum(self.spans)


@dataclass(frozen=True, slots=True)
class Activity:
    """The attempts of a window by span, as history has them: how many ended how, how long they waited and ran (ms).

    Waits and runs are percentiles by span, None without attempts: upper bounds, at most a fifth too high. ``until``: up to
    when records were read; ``cut``: there are more.
    """

    records: int
    until: datetime
    cut: bool
    outcomes: Mapping[str, tuple[int, ...]]
    wait_ms: Mapping[str, tuple[float | None, ...]]
    run_ms: Mapping[str, tuple[float | None, ...]]
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue: as it was, and what happened in the window; ``notes``: what could not be told, and why."""

    now: QueueSnapshot
    deaths: Deaths
    activity: Activity | None
    cost: Measured | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report tells. ``requests``: how many were made for it; ``made_at``: when, by this machine's clock."""

    bucket: BucketSnapshot
    window: Window
    queues: Mapping[str, QueueFacts]
    made_at: datetime
    requests: int
    usd: float
    as_of: datetime | None = None
    notes: tuple[str, ...] = field(default=())


class Percentiles:
    """Percentiles of times by span, of any number of them: counts by bounds that grow by a fifth."""

    def __init__(self, spans: int) -> None:
        self._counts: list[dict[int, int]] = [{} for _ in range(spans)]

    def add(self, span: int, ms: int) -> None:
        """Count one time."""
        bound = _BOUNDS[min(bisect_left(_BOUNDS, ms), len(_BOUNDS) - 1)]
        self._counts[span][bound] = self._counts[span].get(bound, 0) + 1

    def at(self, share: float) -> tuple[float | None, ...]:
        """Return the percentile of each span in ms, None for one without times."""
        return tuple(float(percentile(counts, share)) if counts else None for counts in self._counts)


def _bounds() -> list[int]:
    bounds = [0, 1]
    while bounds[-1] < 366 * 86_400_000:
        bounds.append(max(bounds[-1] + 1, bounds[-1] * 6 // 5))
    return bounds


_BOUNDS: Final = _bounds()
