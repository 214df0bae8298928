"""The coordinator of a lane: one worker lists and sweeps for all and hands the others what it cannot hold itself.

Its lease lies in the ledger (:mod:`s3queue.core.dispatch`), so it costs no request of its own while there is work: it is
taken, renewed and given up with commits that are made anyway. Nothing depends on there being one, or only one.
"""

from __future__ import annotations

from collections.abc import Sequence

from s3queue.core.dispatch import MAX_PARTS
from s3queue.core.ledger import Leader, Ledger, held_by
from s3queue.core.transitions import Lead, Listing, Publish, Published
from s3queue.protocol.attention import Attention
from s3queue.protocol.lane import Lane

LEASE_MS = 20_000
"""How long a term lasts unless it is renewed; a dead coordinator is replaced within twice that."""
TRUST = 0.9
"""The share of a term in which the coordinator relies on it."""
JITTER_S = 2.0
"""Workers that start together try to lead, and say that they are there, at different times within this."""
MAX_POLL_S = 5.0
"""How long an idle worker waits between two looks, in a small fleet."""
_TTL_MARGIN_MS = 5_000
CROWDED = 0.5
"""Four races lost in a row or so: fewer, fuller workers then."""
_READING_S = 0.25
"""How long a coordinator with followers reads what it has claimed before it looks again."""


def idle_poll_s(fleet: int, max_poll_s: float = MAX_POLL_S) -> float:
    """Return how seldom, in seconds, each of so many idle workers looks for assignments.

    ``max_poll_s`` in fleets of up to forty; beyond, ever more seldom, so that the looks of all cost what those of forty
    do, up to six times that.
    """
    return max_poll_s * min(max(fleet / 40, 1.0), 6.0)


class Coordinator:
    """This process' part in coordinating one lane: candidate, coordinator, or follower of another."""

    def __init__(
        self, lane: Lane, *, candidate: bool = True, lease_ms: int = LEASE_MS, max_poll_s: float = MAX_POLL_S
    ) -> None:
        self._lane = lane
        self.max_poll_s = max_poll_s
        self._candidate, self._lease_ms = candidate, lease_ms
        self._begins_at = lane.clock.monotonic() + JITTER_S * lane.ids.random()
        self._trusted_until = float("-inf")
        self._until_ms = 0
        self._epoch = 0
        self._seen_epoch = 0
        self._attention = Attention()
        self.at_home = True

    @property
    def instance(self) -> str:
        """The name of this process in the ledger."""
        return self._lane.committer.writer

    @property
    def leads(self) -> bool:
        """Whether this process may act as coordinator now: its term is not near its end."""
        return self._epoch > 0 and self._lane.clock.monotonic() < self._trusted_until

    @property
    def joins(self) -> bool:
        """Whether this process would write for no other reason than to be known here."""
        return self.at_home and self._settled_in

    @property
    def _settled_in(self) -> bool:
        return self._lane.clock.monotonic() >= self._begins_at

    def is_led(self, ledger: Ledger, *, ago_s: float = 0.0) -> bool:
        """Whether somebody else coordinates (or did so long ago): this process lists nothing, and takes what it is assigned."""
        leader = ledger.led_at(self._lane.now_ms() - int(min(ago_s, 3600.0) * 1000))
        return leader is not None and leader.instance != self.instance

    def proposal(self, ledger: Ledger) -> Lead | None:
        """Return what to propose with the next commit: to take the lead where there is none, or to go on."""
        self._step_down()
        if not self._candidate or self.is_led(ledger):
            return None
        return Lead(self._lane.worker, self.instance, self._lease_ms) if self.leads or self._settled_in else None

    def _step_down(self) -> None:
        if self._epoch and not self.leads:
            self._demote("its term could not be renewed in time")

    def withdraw(self) -> None:
        """Lead no more."""
        if self._epoch:
            self._demote("its worker leaves")

    def _demote(self, why: str) -> None:
        epoch, self._epoch = self._epoch, 0
        self._lane.events.emit(
            "coordinator-demoted", worker=self._lane.worker, epoch=epoch, lane=self._lane.number, why=why
        )

    def note(self, leader: Leader, started: float) -> None:
        """Take note of who leads, as a commit begun at monotonic time ``started`` has it."""
        if leader.instance != self.instance:
            if self._epoch:
                self._demote(f"{leader.worker} leads")
        elif leader.until_ms:
            promoted = leader.epoch != self._epoch
            if promoted or leader.until_ms > self._until_ms:
                self._until_ms, self._trusted_until = leader.until_ms, started + TRUST * self._lease_ms / 1000
            self._epoch = leader.epoch
            if promoted:
                self._tell("coordinator-promoted", leader)
        self.observe(leader)

    def observe(self, leader: Leader | None) -> None:
        """Tell of a coordinator that was not known before."""
        if leader is not None and leader.epoch > self._seen_epoch:
            self._seen_epoch = leader.epoch
            self._tell("coordinator-elected", leader)

    def _tell(self, event: str, leader: Leader) -> None:
        self._lane.events.emit(event, worker=leader.worker, epoch=leader.epoch, lane=self._lane.number)

    # -- dispatch --

    def watch(self, ledger: Ledger) -> None:
        """Take note of who is awake, from a ledger seen by the coordinator."""
        self._attention.watch(ledger, self._lane.clock.monotonic())

    def demand(self, ledger: Ledger) -> int:
        """Return how many messages to look for beside its own: what the others have room for, as far as it can be assigned.

        Twice what all do who are awake shows well enough whether others must be woken.
        """
        held, me, rooms = held_by(ledger.tickets.values()), self._lane.worker, ledger.rooms
        room = sum(max(0, most - held.get(worker, 0)) for worker, most in rooms.items() if worker != me)
        crew = sum(rooms.get(worker, 0) for worker in (me, *self._attention.awake(self._lane.clock.monotonic())))
        parts = sum(len(ticket.parts) for ticket in ledger.tickets.values())
        return min(room, 2 * crew, max(0, MAX_PARTS - parts))

    def share(self, room: int, ledger: Ledger, read_s: float) -> int:
        """Return how much of its room a coordinator claims at once, as others wait while it reads."""
        if len(ledger.rooms) < 2 or not read_s:
            return room
        return min(room, max(1, int(_READING_S / read_s)))

    def publication(self, listings: Sequence[Listing], skip: frozenset[str]) -> Publish | None:
        """Return the proposal to assign what is left of the listings; None for who does not lead."""
        if not self.leads or self._lane.settings().strict:
            return None
        fleet = len(self._lane.committer.ledger.rooms)
        ttl_ms = int(2000 * idle_poll_s(fleet, self.max_poll_s)) + _TTL_MARGIN_MS
        now, seen = self._lane.clock.monotonic(), self._attention
        return Publish(
            self._lane.worker,
            self.instance,
            self._epoch,
            ttl_ms,
            tuple(listings),
            skip,
            awake=seen.awake(now),
            short=seen.is_short(now),
            crowded=self._lane.committer.crowding > CROWDED,
        )

    def published(self, reply: Published) -> None:
        """Take note of what became of a proposal."""
        self._attention.gave(reply.tickets, self._lane.clock.monotonic(), behind=reply.behind)
        if reply.tickets:
            messages = sum(ticket.size for ticket in reply.tickets)
            self._lane.events.emit(
                "tickets-published",
                lane=self._lane.number,
                count=len(reply.tickets),
                messages=messages,
                epoch=reply.tickets[0].epoch,
                workers=list(dict.fromkeys(ticket.assigned_to for ticket in reply.tickets)),
            )
