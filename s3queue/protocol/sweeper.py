"""The sweep: finds what crashes, slow writes and lost answers left behind, and brings each to its end.

Without a coordinator every worker sweeps now and then; the ledger says when the last sweep was, so that one does.
"""

from __future__ import annotations

from dataclasses import dataclass

from s3queue.core.keys import MAX_PRIORITY, visible_at_ms_of
from s3queue.core.ledger import Ledger, Line
from s3queue.core.transitions import Listing, Missing, Swept
from s3queue.core.upkeep import prunable
from s3queue.errors import CorruptObject, NotFound
from s3queue.protocol import journal
from s3queue.protocol.arrivals import take_in
from s3queue.protocol.janitor import Janitor
from s3queue.protocol.lane import Lane
from s3queue.protocol.moves import ORPHANED_MS, finish_orphans
from s3queue.store.port import delete_all, fetch

SWEEP_INTERVAL_S = 30.0
LEFT_BEHIND_MS = 120_000
"""How long settled objects are left to the process that settled them."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did: messages rescued and adopted, ghosts deleted, moves finished, names forgotten."""

    rescued: int = 0
    adopted: int = 0
    ghosts: int = 0
    moved: int = 0
    forgotten: int = 0


class Sweeper:
    """Sweeps one lane, a :meth:`step` at a time; two at once only do the work twice."""

    def __init__(self, lane: Lane, janitor: Janitor, interval_s: float = SWEEP_INTERVAL_S) -> None:
        self._lane = lane
        self._janitor = janitor
        self.interval_s = interval_s
        self._next_at = lane.clock.monotonic() + interval_s * lane.ids.random()
        self._patience_ms = int(ORPHANED_MS * (1 + lane.ids.random()))  # so that one process is the first
        self._look_at = 0.0

    def step(self, *, eager: bool = False) -> Sweep | None:
        """Sweep if it is time and nobody else has; None if not. Moves left behind are finished as soon as they are seen.

        ``eager``: do not wait for a turn of one's own; for a process that may end before it comes.
        """
        now = self._lane.clock.monotonic()
        if now >= self._look_at and self._orphans():
            self._look_at = now + self._patience_ms / 1000
            self._lane.committer.read()
            finish_orphans(self._lane, self._orphans())
        if now < self._next_at and not eager:
            return None
        self._next_at = now + self.interval_s * (0.75 + 0.5 * self._lane.ids.random())
        ledger = self._lane.committer.refresh(1.0)
        if abs(self._lane.now_ms() - ledger.swept_at_ms) < self.interval_s * 500:
            return None
        return self.sweep()

    def sweep(self) -> Sweep:
        """Sweep now."""
        lane = self._lane
        lane.committer.read()
        judged = lane.committer.ledger
        listings = tuple(self._below_cursor(judged, rank) for rank in self._ranks(judged))
        rescued = self._note_sweep()
        try:
            adopted, ghosts = take_in(lane, [name for listing in listings for name in listing.names])
        except CorruptObject as error:  # nobody can tell the strays apart: they wait, and the journal is kept
            lane.events.emit("error", error=error, doing="telling late arrivals from ghosts")
            adopted, ghosts = 0, 0
        else:
            journal.expire(lane)
        if rescued or adopted:
            lane.announce()
        moved = finish_orphans(lane, self._orphans())
        self._look_for_retries()
        forgotten = self._retire_left_behind()
        self._delete_ghost_letters()
        return Sweep(rescued, adopted, ghosts, moved, forgotten)

    def _note_sweep(self) -> int:
        """Rescue what stalled and note the sweep, so that nobody else makes one too; return the messages rescued."""
        lane = self._lane
        (stalled,) = lane.committer.commit(Swept(), fresh=True)
        for ticket in stalled:
            lane.events.emit("message-recovered", worker=ticket.worker, count=ticket.size)
        return sum(ticket.size for ticket in stalled)

    def _orphans(self) -> list[Line]:
        """Return the lines, in the ledger as last seen, that whoever decided them has evidently left."""
        seen = self._lane.committer.record.cached
        if seen is None or seen.value is None:
            return []
        before_ms = self._lane.now_ms() - self._patience_ms
        return [line for line in seen.value.outbox.values() if line.decided_at_ms < before_ms]

    def _ranks(self, ledger: Ledger) -> list[int]:
        in_use = {MAX_PRIORITY - priority for priority in self._lane.settings().priorities}
        return sorted(in_use | ledger.cursors.keys())

    def _below_cursor(self, ledger: Ledger, rank: int) -> Listing:
        cursor, at = ledger.cursor(rank), self._lane.now_ms()
        names = tuple(self._lane.inbox.names(rank, until=cursor)) if cursor else ()
        return Listing(rank, names, at)

    def _look_for_retries(self) -> None:
        """Let groups go on that a retry holds back which was written and is not there any more; a GET for each overdue."""
        lane, before_ms = self._lane, self._lane.now_ms() - LEFT_BEHIND_MS
        ledger = lane.committer.ledger
        known = ledger.held_names()
        gone = []
        for name in ledger.held_back.values():
            if visible_at_ms_of(name) < before_ms and name not in known:
                try:
                    fetch(lane.store, lane.inbox.key(name))
                except NotFound as error:
                    lane.events.emit("error", error=error, doing=f"waiting for {name}, which holds back its group")
                    gone.append(name)
        if gone:
            lane.committer.commit(Missing(tuple(gone)), fresh=True)

    def _delete_ghost_letters(self) -> None:
        """Delete once more what was replayed or discarded lately: a second copy may have landed since."""
        try:
            gone = journal.read(self._lane, letters=True)
        except CorruptObject as error:
            self._lane.events.emit("error", error=error, doing="looking for ghosts of dead letters")
            return
        delete_all(self._lane.store, [self._lane.keys.letter(name) for name in sorted(gone)])
        if gone:
            journal.expire(self._lane, letters=True)

    def _retire_left_behind(self) -> int:
        ledger, now = self._lane.committer.ledger, self._lane.now_ms()
        old = [
            name
            for name, at_ms in ledger.settled.items()
            if at_ms + LEFT_BEHIND_MS < now and prunable(ledger.settled, ledger.cursors, name, now)
        ]
        return self._janitor.retire(old) if old else 0
