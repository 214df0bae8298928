"""What a consumer asks for when it looks for messages: the lead, a claim, assignments for others; and where it looks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from s3queue.core.keys import MAX_PRIORITY
from s3queue.core.ledger import Ledger
from s3queue.core.ordering import Turns
from s3queue.core.transitions import Claim, Claimed, Listing, Request
from s3queue.protocol.coordinator import Coordinator
from s3queue.protocol.lane import Lane
from s3queue.protocol.outcomes import Delivery

MAX_OBJECTS = 256
"""How many objects one claim takes at most: each is a GET, and the lease runs while they are read."""
_LEDGER_AGE_S = 2.0
"""How old the ledger in hand may be for a claim, if others are not likely to have written meanwhile."""

Ending = Collection[tuple[str, str, int]]
"""(ticket id, name, index) of messages whose outcome is about to be recorded."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request on its way and what its reply is for. Kept while in doubt: the committer knows it again if it landed."""

    request: Request
    take: Callable[[Any], object]
    outcomes: int = 0

    def conclude(self, reply: Any) -> list[Delivery]:
        """Use the reply; return what a claim got."""
        got = self.take(reply)
        return got if isinstance(got, list) else []


class Search:
    """One process' looks at one lane: listing for itself, or leaving that to the lane's coordinator."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._skip: dict[str, float] = {}
        self.coordinator: Coordinator | None = None
        """This process' part in coordination; without one it claims for itself, whoever leads."""

    @property
    def leads(self) -> bool:
        """Whether this process coordinates the lane."""
        return self.coordinator is not None and self.coordinator.leads

    def is_led(self) -> bool:
        """Whether another process coordinated the lane when the ledger was last seen."""
        committer = self._lane.committer
        seen = committer.record.cached
        ledger = seen.value if seen is not None else None
        if self.coordinator is None or ledger is None:
            return False
        return self.coordinator.is_led(ledger, ago_s=committer.age_s)

    @property
    def is_on_duty(self) -> bool:
        """Whether the lane is this process' to keep in order: its coordinator's, or anybody's at home while there is none."""
        if self.coordinator is None:
            return True
        return self.leads or (self.coordinator.at_home and not self.is_led())

    def skip(self, name: str, seconds: float) -> None:
        """Leave an object alone for a while."""
        self._skip[name] = self._lane.clock.monotonic() + seconds

    def ask(
        self,
        room: int,
        *,
        suspects: bool,
        take: Callable[[Claimed], object],
        ending: Ending = (),
        read_s: float = 0.0,
    ) -> list[Sent]:
        """Return requests for up to ``room`` messages, in their order; ``take`` gets what is claimed.

        ``ending``: messages whose outcomes go with the same commit. ``read_s``: how long it takes to read a message, if
        that is known.
        """
        now = self._lane.clock.monotonic()
        self._skip = {name: until for name, until in self._skip.items() if until > now}
        skip, coordinator = frozenset(self._skip), self.coordinator
        follows = coordinator is not None and not coordinator.leads
        committer = self._lane.committer
        committer.comes_first = self.leads
        ledger = committer.refresh(0.0 if follows else _LEDGER_AGE_S)
        if coordinator is not None and coordinator.leads:
            coordinator.watch(ledger)
            room = coordinator.share(room, ledger, read_s)
        listings = self._listings(ledger, room, skip, ending)
        sent = []
        if coordinator is not None:
            coordinator.observe(ledger.leader)
            lead = coordinator.proposal(ledger)
            if lead is not None:
                sent.append(Sent(lead, lambda leader: coordinator.note(leader, now)))
        if room > 0:
            sent.append(Sent(self._claim(room, listings, skip, suspects=suspects), take))
        if coordinator is not None:
            publish = coordinator.publication(listings, skip)
            if publish is not None:
                sent.append(Sent(publish, coordinator.published))
        return sent

    def _listings(self, ledger: Ledger, room: int, skip: frozenset[str], ending: Ending) -> tuple[Listing, ...]:
        lane, coordinator, wanted, turns = self._lane, self.coordinator, room, None
        settings = lane.settings()
        if settings.strict:
            turns = Turns(ledger.tickets.values(), ledger.held_back, ending)
            if settings.order == "strict":
                wanted = turns.room(settings.group_mark(None), lane.now_ms())
            wanted -= turns.ready()
            if wanted <= 0:
                return ()
        if coordinator is not None and not settings.strict:
            if coordinator.is_led(ledger):
                return ()
            wanted += coordinator.demand(ledger) if coordinator.leads else 0
        ranks = [MAX_PRIORITY - priority for priority in settings.priorities]
        return lane.scanner.listings(ledger, ranks, wanted, skip, order=settings.order, turns=turns)

    def _claim(self, room: int, listings: tuple[Listing, ...], skip: frozenset[str], *, suspects: bool) -> Claim:
        lane, settings, coordinator = self._lane, self._lane.settings(), self.coordinator
        return Claim(
            lane.worker,
            room,
            settings.lease_ms,
            listings,
            skip,
            suspects,
            settings.max_attempts,
            MAX_OBJECTS,
            instance=lane.committer.writer,
            follows=coordinator is not None and not settings.strict,
            joins=coordinator is not None and coordinator.joins,
            capacity=lane.standing.capacity,
            newest=settings.order == "lifo",
        )
