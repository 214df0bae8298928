"""A lane: one ledger, one inbox, and what the agents on them share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from s3queue.clock import Clock
from s3queue.core.keys import Keys
from s3queue.core.payload import PayloadCodec, Seal
from s3queue.core.settings import Settings
from s3queue.errors import CorruptObject, S3QueueError
from s3queue.events import Events
from s3queue.ids import Ids
from s3queue.protocol.committer import Committer
from s3queue.protocol.inbox import Inbox, Scanner
from s3queue.protocol.naming import Naming
from s3queue.store.port import Store
from s3queue.telemetry import OFF, Telemetry

ASIDE_S = 60.0
"""How long a lane whose ledger cannot be read is left alone before it is looked at again."""

T = TypeVar("T")
R = TypeVar("R")


class Spread(Protocol):
    """Calls a function for each item, at the same time where there are threads for it; returns all results."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> list[R]:
        """Return ``[function(item) for item in items]``; the first error is raised after all have ended."""
        ...


def one_by_one(function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
    """Do the work in the caller's thread."""
    return [function(item) for item in items]


@dataclass(slots=True)
class Standing:
    """What a process is to the others: its worker id, and until when (monotonic) nobody takes it for dead.

    ``present_until`` is without end for a process that is in no registry; ``present_since`` is when it was last back
    after it might have been taken for dead. ``capacity``: how many messages it would hold if there were as many. ``note``
    takes down each outcome of its own that was recorded; ``telemetry`` measures what it does. ``announce`` tells others,
    who may hear of it, that messages of a lane have become visible; it takes the lane's number, and never waits or fails.
    """

    worker: str
    present_until: float = float("inf")
    present_since: float = float("-inf")
    capacity: int = 0
    spread: Spread = field(default=one_by_one)
    note: Callable[[Any], object] = field(default=bool)
    telemetry: Telemetry = OFF
    announce: Callable[[int], object] = field(default=bool)


@dataclass(slots=True)
class Lane:
    """What one process knows of a lane. ``settings`` is a function, as they can change while the process runs.

    ``abroad`` takes the key of another queue's ledger, in the same bucket, and returns that lane, for its books alone.

    ``once`` is the store without retries, for a request that must not be sent a second time. ``trouble``: why the lane is
    left alone until ``aside_until`` (monotonic), the others going on.
    """

    number: int
    standing: Standing
    store: Store
    once: Store
    keys: Keys
    committer: Committer
    inbox: Inbox
    scanner: Scanner
    events: Events
    settings: Callable[[], Settings]
    clock: Clock
    ids: Ids
    codec: PayloadCodec
    naming: Naming
    abroad: Callable[[str], Lane]
    trouble: CorruptObject | None = None
    aside_until: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_aside(self) -> bool:
        """Whether the lane is left alone for the time being, as its ledger cannot be read."""
        return self.clock.monotonic() < self.aside_until

    def sets_aside(self, error: S3QueueError) -> bool:
        """Leave the lane alone for a while if the error says that its ledger cannot be read; return whether it does.

        Told once each time: what is corrupt stops its own lane, and no flood of errors hides the others'.
        """
        if not isinstance(error, CorruptObject) or error.key != self.committer.record.key:
            return False
        with self._lock:
            told = self.is_aside
            self.trouble, self.aside_until = error, self.clock.monotonic() + ASIDE_S
        if not told:
            self.events.emit("error", error=error, doing=f"working in lane {self.number}")
        return True

    def is_back(self) -> None:
        """Note that the ledger can be read: what is held in the lane is extended and recorded as before, from now on."""
        if self.trouble is not None:
            with self._lock:
                self.trouble, self.aside_until = None, float("-inf")

    @property
    def worker(self) -> str:
        """The id of this process among the workers."""
        return self.standing.worker

    @property
    def spread(self) -> Spread:
        """How work is spread over threads, if there are any."""
        return self.standing.spread

    @property
    def is_present(self) -> bool:
        """Whether nobody may take this process for dead now, so that it can rely on what it claims."""
        return self.standing.present_since <= self.clock.monotonic() < self.standing.present_until

    def announce(self, visible_at_ms: int = 0) -> None:
        """Tell others that there are messages which are durable and visible from then on, unless that is yet to come."""
        if visible_at_ms <= self.now_ms():
            self.standing.announce(self.number)

    @property
    def seal(self) -> Seal:
        """The codecs that can be read."""
        return Seal((self.codec,))

    def now_ms(self) -> int:
        """Return store time."""
        return self.store.now_ms()
