"""Removes what is settled: *delete, mark its deduplication key, write the journal, let the ledger forget*, in this order.

The journal (``settled/{lane}/…``) tells a message that arrives late from the ghost of one that was processed. A producer
that has died may be followed by another after any time: see :mod:`.dedup`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from s3queue.batches import batched
from s3queue.core.keys import rank_in
from s3queue.core.ledger import Ledger
from s3queue.core.transitions import Prune
from s3queue.core.upkeep import prunable
from s3queue.protocol import dedup, journal
from s3queue.protocol.lane import Lane
from s3queue.store.port import PER_REQUEST

DELETE_AT = 100
DELETE_AFTER_S = 1.0
"""Settled objects are deleted when there are this many, or this long after the first: a request each time."""
JOURNAL_AT = 250
JOURNAL_AFTER_S = 60.0
"""Deleted names go to the journal when there are this many, or this long after the first: a PUT each time. Each process
takes half of it or more, as workers that were woken together would write to the ledger together again."""
_TOUCHED_KEPT = 10_000


class Janitor:
    """Cleans up after the commits of this process; what a crash leaves, the sweeper's :meth:`retire` finds."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        self._touched: dict[str, None] = {}  # in order: a run must not depend on how strings hash
        self._settled: dict[str, float] = {}
        self._deleted: dict[str, float] = {}
        self._journal_after_s = JOURNAL_AFTER_S * (0.5 + 0.5 * lane.ids.random())

    def note(self, names: Iterable[str]) -> None:
        """Take note of objects that this process had a hand in; they get deleted once they are settled."""
        with self._lock:
            self._touched.update(dict.fromkeys(names))

    def _look(self, now: float) -> None:
        """See which of the objects noted are settled by now, and forget those that are nobody's any more."""
        ledger = self._lane.committer.ledger
        with self._lock:
            settled = [name for name in self._touched if name in ledger.settled]
            for name in settled:
                if name not in self._deleted:
                    self._settled.setdefault(name, now)
                del self._touched[name]
            if len(self._touched) > _TOUCHED_KEPT:
                held = ledger.held_names()
                self._touched = {name: None for name in self._touched if name in held}

    def tick(self, *, flush: bool = False) -> None:
        """Delete and journal what is due; with ``flush`` all there is."""
        now = self._lane.clock.monotonic()
        self._look(now)
        if flush or _due(self._settled, now, DELETE_AT, DELETE_AFTER_S):
            while self._delete() and flush:
                pass
        if flush or _due(self._deleted, now, JOURNAL_AT, self._journal_after_s):
            while self._journal() and flush:
                pass

    def _delete(self) -> bool:
        """Delete up to a request of settled objects; return whether there were some and all of them are gone."""
        with self._lock:
            names = list(self._settled)[:PER_REQUEST]
        if not names:
            return False
        left = set(self._lane.inbox.delete(names))
        now = self._lane.clock.monotonic()
        with self._lock:
            for name in names:
                if name not in left:
                    self._settled.pop(name, None)
                    self._lane.inbox.forget(name)
                    self._deleted[name] = now
        return not left

    def _journal(self) -> bool:
        """Journal up to a request of names that the ledger may forget, those above the cursor wait; return whether it did."""
        ledger, now = self._lane.committer.ledger, self._lane.now_ms()
        with self._lock:
            # Names that another process retired meanwhile are nobody's business any more.
            self._deleted = {name: at for name, at in self._deleted.items() if name in ledger.settled}
            names = [name for name in self._deleted if prunable(ledger.settled, ledger.cursors, name, now)]
            for name in self._deleted.keys() - set(names):
                self._deleted[name] = self._lane.clock.monotonic()
        names = self._delete_again(names[:PER_REQUEST], ledger)
        names = self._without_open_keys(names)
        if names:
            journal.write(self._lane, names)
            self._lane.committer.defer(Prune(tuple(names)))
        with self._lock:
            for name in names:
                self._deleted.pop(name, None)
        return bool(names)

    def _delete_again(self, names: list[str], ledger: Ledger) -> list[str]:
        """Return the names without those above the cursor that could not be deleted once more.

        A copy that landed late lies unseen as long as the ledger knows its name, and sweeps look below the cursor only:
        forgotten above it, it would be claimed for new.
        """
        above = [name for name in names if name > ledger.cursor(rank_in(name))]
        left = set(self._lane.inbox.delete(above)) if above else set()
        return [name for name in names if name not in left]

    def _without_open_keys(self, names: list[str]) -> list[str]:
        unsure = dedup.note_written(self._lane, names)
        now = self._lane.clock.monotonic()
        with self._lock:
            self._deleted |= {name: now for name in names if name in unsure and name in self._deleted}
        return [name for name in names if name not in unsure]

    def retire(self, names: list[str]) -> int:
        """Delete, journal and forget settled objects, whoever settled them; return how many were forgotten."""
        forgotten = 0
        for some in batched(names, PER_REQUEST):
            left = set(self._lane.inbox.delete(some))
            gone = self._without_open_keys([name for name in some if name not in left])
            if gone:
                journal.write(self._lane, gone)
                (count,) = self._lane.committer.commit(Prune(tuple(gone)))
                forgotten += count
        return forgotten


def _due(names: dict[str, float], now: float, at: int, after_s: float) -> bool:
    if len(names) >= at:
        return True
    first = next(iter(names.values()), None)
    return first is not None and now - first > after_s
