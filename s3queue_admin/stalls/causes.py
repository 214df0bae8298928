"""What is stuck: each ticket, and each lane whose messages wait, with cause, evidence and remedy; and getting it going.

A claim is nothing to worry about as long as its worker lives and its lease is extended. Everything else has one of these
causes, judged from a snapshot alone; a message that may have killed workers (``poison``) is told beside it.

==================  ===========================================================================================
code                is
==================  ===========================================================================================
``worker-dead``     its worker's heartbeat stopped: the coordinator rescues it, a worker there must be
``clock-skew``      times in the books that cannot be: somebody's clock is wrong, so its lease ends too late
``stalled``         its lease ended and no sweep has rescued it
``worker-unlisted`` its worker is in no registry: ``receive``, a burst, or dead for long; it runs out
``held-long``       its worker lives and extends: a handler hangs, or a manual ack is missing
``poison``          claims of several workers ran out on it: it may be what kills them
``paused-backlog``  messages wait, and the queue is paused
``no-workers``      messages wait, and nobody works
``no-coordinator``  messages wait, workers live, and none coordinates: each lists for itself
``not-swept``       a lane with claims or moves has not been swept for long
==================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from s3queue.clock import to_datetime, to_ms
from s3queue.core.claiming import RESCUE_MARGIN_MS
from s3queue.core.ledger import Ticket
from s3queue.protocol.roster import presences
from s3queue.queue import Queue
from s3queue.text import counted
from s3queue_admin import picture
from s3queue_admin.catalogue import KINDS
from s3queue_admin.picture import Books
from s3queue_admin.snapshot import LaneView, QueueSnapshot, Severity

HELD: Final = timedelta(minutes=5)
"""How long a message may be in the hands of a living worker before it is long; and ten visibility timeouts, if that is more."""
SWEPT_MS: Final = 300_000
POISON: Final = 2
"""From so many claims that ran out a message may be what ends workers."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Something that does not get on: ``messages`` of a ticket, or those that wait in a lane (``ticket`` '').

    ``since``: when it should have got on, or was claimed. ``keys``: the objects concerned, the first hundred.
    """

    code: str
    severity: Severity
    title: str
    evidence: str
    remedy: str
    lane: int
    messages: int
    since: datetime | None = None
    ticket: str = ""
    worker: str = ""
    token: int = 0
    keys: tuple[str, ...] = ()


def look(queue: Queue) -> QueueSnapshot:
    """Return the queue as it is now, without its locks and schedules."""
    connection = queue.connect()
    lane, stats = connection.lane, queue.stats()
    committers = [(agents.lane.number, agents.lane.committer) for agents in connection.lanes.all()]
    books = [Books(number, committer.record.key, committer.ledger) for number, committer in committers]
    now, entries = lane.now_ms(), presences(lane)
    return QueueSnapshot(
        queue=queue.name,
        location=lane.store.location,
        root=queue.root,
        taken_at=to_datetime(now),
        listed_at=to_datetime(now),
        took_s=0.0,
        requests={},
        settings=connection.register.current(),
        stats=stats,
        spans={},
        lanes=tuple(picture.show_lane(each, now) for each in books),
        workers=picture.show_workers(entries, books, now),
        locks=(),
        schedules=(),
    )


def stuck(place: QueueSnapshot | Queue, *, held: timedelta | None = None) -> list[Stuck]:
    """Return what is stuck, errors first, the longest stuck first; of a queue a snapshot is taken.

    ``held``: how long a living worker may have a message (default: five minutes, or ten visibility timeouts).
    """
    snapshot = look(place) if isinstance(place, Queue) else place
    limit = held or max(HELD, 10 * timedelta(seconds=snapshot.settings.visibility_timeout_s))
    found = [each for lane in snapshot.lanes for each in _Judge(snapshot, lane, limit).all()]
    late = snapshot.taken_at
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda each: (order[each.severity], each.since or late, each.lane, each.ticket))


class _Judge:
    """Judges one lane."""

    def __init__(self, snapshot: QueueSnapshot, lane: LaneView, held: timedelta) -> None:
        self._snapshot, self._lane, self._held = snapshot, lane, held
        self._now = to_ms(snapshot.taken_at)
        self._workers = {worker.worker: worker for worker in snapshot.workers}

    def all(self) -> Iterator[Stuck]:
        for ticket in self._lane.ledger.tickets.values():
            yield from self.ticket(ticket)
        yield from self.waiting()

    def ticket(self, ticket: Ticket) -> Iterator[Stuck]:
        """Yield the cause for which a ticket is stuck, if it is, and whether a message in it may kill workers."""
        if ticket.claimed:
            cause = self._cause(ticket)
            if cause is not None:
                yield self._of(ticket, *cause)
        worst = max(ticket.parts, key=lambda part: len(part.rescues))
        if len({rescue.worker for rescue in worst.rescues}) >= POISON:
            names = ", ".join(dict.fromkeys(rescue.worker for rescue in worst.rescues))
            size = sum(part.size for part in ticket.parts if len(part.rescues) >= POISON)
            told = f"Claims of {names} ran out on {worst.name}, the last {self._ago(worst.rescues[-1].rescued_at_ms)}."
            yield replace(self._of(ticket, "poison", told, worst.rescues[0].rescued_at_ms), messages=size)

    def _cause(self, ticket: Ticket) -> tuple[str, str, int] | None:
        """Return code, evidence, and since when."""
        worker, now = self._workers.get(ticket.worker), self._now
        lease_ms = self._snapshot.settings.lease_ms
        held_ms, over_ms = now - ticket.claimed_at_ms, now - ticket.expires_at_ms
        beat = f", last heartbeat {self._ago(worker.presence.beat_at_ms)}" if worker and worker.presence else ""
        if worker is not None and worker.state == "dead":
            return (
                "worker-dead",
                f"{ticket.worker} is dead{beat}; it claimed {self._ago(ticket.claimed_at_ms)}.",
                now - held_ms,
            )
        beat_ms = worker.presence.beat_at_ms if worker is not None and worker.presence is not None else now
        ahead_ms = max(-held_ms, beat_ms - now)
        if ahead_ms > RESCUE_MARGIN_MS:
            told = f"The clock of {ticket.worker} is {ahead_ms / 1000:.1f} s ahead: its leases end that much too late."
            return "clock-skew", told, now
        if over_ms > RESCUE_MARGIN_MS:
            swept = self._lane.ledger.swept_at_ms
            told = f"The lease of {ticket.worker} ended {self._ago(ticket.expires_at_ms)}{beat}; "
            return (
                "stalled",
                f"{told}{f'last sweep {self._ago(swept)}' if swept else 'never swept'}.",
                ticket.expires_at_ms,
            )
        if worker is None or worker.state == "unlisted":
            if held_ms <= lease_ms:
                return None
            told = f"{ticket.worker} is in no registry, and has held it for {span(held_ms)}."
            return "worker-unlisted", told, ticket.claimed_at_ms
        if held_ms > self._held.total_seconds() * 1000:
            times = held_ms // max(lease_ms // 2, 1)
            told = f"{ticket.worker} lives{beat}, and has held it for {span(held_ms)}: extended some {times} times."
            return "held-long", told, ticket.claimed_at_ms
        return None

    def waiting(self) -> Iterator[Stuck]:
        """Yield why the lane's messages wait, if they should not."""
        snapshot, lane, ledger = self._snapshot, self._lane, self._lane.ledger
        stats, pending = snapshot.stats, snapshot.stats.pending
        waiting = counted(pending, "message waits", "messages wait")
        first = lane.number == 0
        since = to_ms(snapshot.taken_at) - int(stats.oldest_age_s * 1000)
        if ledger.paused and pending:
            yield self._at("paused-backlog", f"Lane {lane.number} is paused; {waiting} in the queue.", since)
        if first and pending and not snapshot.living and stats.oldest_age_s > snapshot.settings.visibility_timeout_s:
            told = f"{waiting}, the oldest for {span(int(stats.oldest_age_s * 1000))}; no worker is alive."
            yield self._at("no-workers", told, since)
        leads = lane.coordinator is not None and lane.coordinator.leads
        if pending and snapshot.living and not leads and stats.oldest_age_s > snapshot.settings.visibility_timeout_s:
            told = f"{counted(len(snapshot.living), 'worker lives', 'workers live')}, and none coordinates lane {lane.number}."
            yield self._at("no-coordinator", told, since)
        busy = any(ticket.claimed for ticket in ledger.tickets.values()) or bool(ledger.outbox)
        if busy and ledger.swept_at_ms and self._now - ledger.swept_at_ms > SWEPT_MS:
            told = f"Lane {lane.number} holds claims or moves, and was last swept {self._ago(ledger.swept_at_ms)}."
            yield self._at("not-swept", told, ledger.swept_at_ms)

    def _of(self, ticket: Ticket, code: str, evidence: str, since_ms: int) -> Stuck:
        names = [part.name for part in ticket.parts[:100]]
        keys = tuple(f"{self._snapshot.root}inbox/{self._lane.number:04d}/{name}.json" for name in names)
        found = self._at(code, evidence, since_ms)
        return replace(
            found, messages=ticket.size, ticket=ticket.id, worker=ticket.worker, token=ticket.token, keys=keys
        )

    def _at(self, code: str, evidence: str, since_ms: int) -> Stuck:
        found, waiting = KINDS[code].found(evidence, queue=self._snapshot.queue), self._snapshot.stats.pending
        since = to_datetime(since_ms)
        return Stuck(
            code,
            found.severity,
            found.title,
            evidence,
            found.remedy,
            self._lane.number,
            waiting,
            since,
            keys=(self._lane.key,),
        )

    def _ago(self, at_ms: int) -> str:
        return f"{span(self._now - at_ms)} ago" if at_ms <= self._now else f"in {span(at_ms - self._now)}"


def span(ms: int) -> str:
    """Return a time span in words."""
    seconds = ms / 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
