"""Going through the messages of a plan: batch by batch, at a pace, under the lock, until it is done or stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final, TypeVar

from s3queue.core.keys import lane_of_letter, parse_letter
from s3queue.errors import OutcomeUnknown, S3QueueError, StoreUnavailable
from s3queue.protocol.changing import Changed
from s3queue.protocol.locks import Lock
from s3queue.protocol.viewing import MessageView
from s3queue_admin.actions.costs import batch_size
from s3queue_admin.actions.model import Progress, Stop, Tally

if TYPE_CHECKING:
    from s3queue_admin.actions.planning import Plan

LOCK: Final = "s3queue-admin.letters"
"""Replays and discards hold it: a letter that one of them has in hand is nobody else's."""
LOCK_TTL_S: Final = 60.0
T = TypeVar("T", MessageView, str)


def id_of_letter(name: str) -> str:
    """Return the id of the message whose letter has this name."""
    parsed = parse_letter(name)
    return parsed[1] if parsed is not None else name


class Run:
    """Goes through the messages of a plan, batch by batch."""

    def __init__(self, plan: Plan, lock: Lock | None, on_progress: Progress | None, stop: Stop) -> None:
        self.plan, self.tally = plan, Tally(refused=dict(plan.refused))
        self._lock, self._on_progress, self._stop = lock, on_progress, stop
        self._clock = plan.queue.connect().lane.clock
        self._next_at_s = self._clock.monotonic()
        self._size = batch_size(plan)

    def each(self, items: Sequence[T], change: Callable[[Sequence[T]], Changed], id_of: Callable[[T], str]) -> None:
        """Change all, unless told to stop; an error ends it, with what was under way noted as unknown."""
        tally, total, through = self.tally, len(items), 0
        for some in self._batches(items):
            self._keep_pace(len(some))
            if self._stop():
                tally.stopped = True
                return
            try:
                self._keep_lock()
                changed = change(some)
            except S3QueueError as error:
                partly = getattr(error, "changed", Changed())
                tally.done += partly.done
                tally.refused |= partly.refused
                if _in_doubt(error) or _in_doubt(error.__cause__):
                    tally.unknown += [
                        id_ for id_ in map(id_of, some) if id_ not in partly.done and id_ not in partly.refused
                    ]
                raise
            tally.done += changed.done
            tally.refused |= changed.refused
            through += len(some)
            if self._on_progress is not None:
                self._on_progress(through, total)
        self._keep_lock()

    def _batches(self, items: Sequence[T]) -> Iterator[list[T]]:
        """Yield batches of one lane each, which is a commit: if it fails, what was done before is known."""
        for _, own in groupby(sorted(items, key=_lane_of), _lane_of):
            while some := list(islice(own, self._size)):
                yield some

    def _keep_pace(self, count: int) -> None:
        """Wait until these may go, renewing the lock meanwhile. What a slow store held up is not made up for."""
        per_s = self.plan.options.get("per_s")
        if per_s is None:
            return
        while (wait_s := self._next_at_s - self._clock.monotonic()) > 0:
            if self._stop():
                return
            self._clock.sleep(min(wait_s, LOCK_TTL_S / 4))
            self._keep_lock()
        self._next_at_s = max(self._next_at_s, self._clock.monotonic()) + count / per_s

    def _keep_lock(self) -> None:
        if self._lock is None:
            return
        if self._lock.due_in_s <= 0:
            self._lock.renew()
        self._lock.check()


def _lane_of(item: MessageView | str) -> int:
    return lane_of_letter(item) if isinstance(item, str) else item.lane


def _in_doubt(error: BaseException | None) -> bool:
    return isinstance(error, OutcomeUnknown) or (isinstance(error, StoreUnavailable) and error.maybe_applied)
