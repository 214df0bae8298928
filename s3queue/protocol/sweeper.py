"""The sweep: finds what crashes, slow writes and lost answers left behind, and brings each to its end.

Without a coordinator every worker sweeps now and then; the ledger says when the last sweep was, so that one does.
"""

from __future__ import annotations

from dataclasses import dataclass

from s3queue.core.keys import MAX_PRIORITY
from s3queue.core.ledger import Ledger, Line
from s3queue.core.transitions import Adopt, Listing, Request, Swept
from s3queue.core.upkeep import prunable
from s3queue.errors import CorruptObject
from s3queue.protocol import journal
from s3queue.protocol.janitor import PER_REQUEST, Janitor
from s3queue.protocol.lane import Lane
from s3queue.protocol.moves import ORPHANED_MS, finish_orphans

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

    def step(self) -> Sweep | None:
        """Sweep if it is time and nobody else has; None if not. Moves left behind are finished as soon as they are seen."""
        now = self._lane.clock.monotonic()
        if now >= self._look_at and self._orphans():
            self._look_at = now + self._patience_ms / 1000
            self._lane.committer.read()
            finish_orphans(self._lane, self._orphans())
        if now < self._next_at:
            return None
        self._next_at = now + self.interval_s * (0.75 + 0.5 * self._lane.ids.random())
        ledger = self._lane.committer.refresh(1.0)
        if self._lane.now_ms() - ledger.swept_at_ms < self.interval_s * 500:
            return None
        return self.sweep()

    def sweep(self) -> Sweep:
        """Sweep now."""
        lane = self._lane
        lane.committer.read()
        judged = lane.committer.ledger
        listings = tuple(self._below_cursor(judged, rank) for rank in self._ranks(judged))
        try:
            (late, ghosts), readable = self._judge(judged, listings), True
        except CorruptObject as error:  # nobody can tell the strays apart: they wait, and the journal is kept
            lane.events.emit("error", error=error, doing="telling late arrivals from ghosts")
            late, ghosts, readable = [], [], False
        if ghosts:
            self._delete(ghosts)
        requests: list[Request] = [Swept()]
        if late:
            requests.append(Adopt(tuple(late), judged.revision))
        replies = lane.committer.commit(*requests, fresh=True)
        for ticket in replies[0]:
            lane.events.emit("message-recovered", worker=ticket.worker, count=ticket.size)
        adopted = replies[1] if late else None
        moved = finish_orphans(lane, self._orphans())
        forgotten = self._retire_left_behind()
        if readable:
            journal.expire(lane)
        self._delete_ghost_letters()
        return Sweep(
            rescued=sum(ticket.size for ticket in replies[0]),
            adopted=len(adopted or ()),
            ghosts=len(ghosts),
            moved=moved,
            forgotten=forgotten,
        )

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

    def _judge(self, judged: Ledger, listings: tuple[Listing, ...]) -> tuple[list[str], list[str]]:
        """Return late arrivals and ghosts among the names that the cursor has passed.

        The journal is read after the ledger: a name that is settled and forgotten in between is found in it, and one
        that is forgotten after the journal was read voids the judgement (see :class:`Adopt`).
        """
        known = judged.held_names() | judged.settled.keys()
        strays = [name for listing in listings for name in listing.names if name not in known]
        if not strays:
            return [], []
        settled = journal.read(self._lane)
        return [name for name in strays if name not in settled], [name for name in strays if name in settled]

    def _delete(self, names: list[str]) -> None:
        for start in range(0, len(names), PER_REQUEST):
            self._lane.inbox.delete(names[start : start + PER_REQUEST])

    def _delete_ghost_letters(self) -> None:
        """Delete once more what was replayed or discarded lately: a second copy may have landed since."""
        try:
            gone = journal.read(self._lane, letters=True)
        except CorruptObject as error:
            self._lane.events.emit("error", error=error, doing="looking for ghosts of dead letters")
            return
        keys = [self._lane.keys.letter(name) for name in sorted(gone)]
        for start in range(0, len(keys), PER_REQUEST):
            self._lane.store.delete_many(keys[start : start + PER_REQUEST])
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
