"""Strictly ordered queues in every storm: the actors and faults of :mod:`.scenario`, and what order means.

By true time: of a group nobody begins a message while somebody may rely on a claim of another; nobody begins a message
before those that its producer enqueued earlier, and was told of, are completed or dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from s3queue import producing
from s3queue.core import claiming
from s3queue.core.draft import Draft
from s3queue.core.keys import ObjectName, group_of
from s3queue.core.ledger import Ledger
from s3queue.core.ordering import Turns
from s3queue.errors import S3QueueError
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.naming import Naming
from s3queue.protocol.outcomes import Delivery
from s3queue.queue import Queue
from tests.simulation.bucket import Faults
from tests.simulation.history import _lines, _places
from tests.simulation.mutant import Mutant
from tests.simulation.plots import Scenario
from tests.simulation.scenario import Outcome, Run
from tests.simulation.storms import LONG, STORMS
from tests.simulation.world import Actor, SimClock

ORDERED: dict[str, Faults] = {
    name: storm for name, storm in STORMS.items() if name not in ("wild clocks", "night", *LONG)
} | {
    "jumping clocks": Faults(skew_s=0.9, jump=0.1),
    "slow births": Faults(slow_birth=0.3, skew_s=0.9),
}
"""The storms. Clocks that differ by more than two seconds cost order; nights are about moves alone, long storms
about coordinators."""
ORDERED_STORMS = tuple(ORDERED)
Place = tuple[str, str, int]
"""Group, producer, and which of the producer's messages it is."""


@dataclass
class _Begun:
    """A message at work, in the hands of somebody."""

    group: str
    id: str
    trusted: Callable[[], bool]


class OrderedRun(Run):
    """A run whose queue is strictly ordered, in groups or as a whole."""

    def __init__(self, scenario: Scenario, order: str, *, keep_trace: bool = False) -> None:
        self.order = order
        super().__init__(scenario, keep_trace=keep_trace)
        self.places: dict[str, Place] = {}
        self.finished: set[str] = set()
        self._begun: list[_Begun] = []
        self._seen = Ledger()
        self.world.after_step = self._look

    def queue(self, actor: Actor) -> Queue:
        """Return the production queue, ordered."""
        queue = super().queue(actor)
        queue._wanted = replace(queue._wanted, order=self.order)
        return queue

    def produce(self, actor: Actor) -> None:
        """Enqueue messages one after the other into few groups, in ones and in many."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        left, serial = self.scenario.messages, 0
        while left > 0:
            count = min(left, random.choice((1, 1, 1, 2, 5)))
            left -= count
            group = random.choice("ab") if self.order == "strict-group" else ""
            numbers = range(serial, serial + count)
            payloads = [{"plan": self._plan(), "group": group} for _ in numbers]
            serial += count
            try:
                ids = queue.enqueue_many(payloads, group=group or None)
            except S3QueueError as error:
                self.world.note(f"{actor.name} is not told: {error}")
            else:
                self.history.acked.update(ids)
                self.places.update({id_: (group, actor.name, n) for id_, n in zip(ids, numbers, strict=True)})
            clock.sleep(random.choice((0, 0, 0.2, 2, 8)))
        self.producing -= 1

    def _execute(self, actor: Actor, consumer: Consumer, delivery: Delivery) -> None:
        if not consumer.is_trusted(delivery):
            consumer.drop(delivery)
            return
        begun = _Begun(delivery.message.payload["group"], delivery.id, lambda: consumer.is_trusted(delivery))
        self._check_turn(actor, begun)
        self._begun.append(begun)
        try:
            super()._execute(actor, consumer, delivery)
        finally:
            self._begun.remove(begun)

    def _check_turn(self, actor: Actor, begun: _Begun) -> None:
        for other in self._begun:
            if other.group == begun.group and other.id != begun.id and other.trusted():
                self.history.violation(f"one in flight: {actor.name} begins {begun.id} while {other.id} is at work")
        place, over = self.places.get(begun.id), self.finished | self.history.expired
        for id_, (group, by, n) in self.places.items():
            if place is not None and (group, by) == place[:2] and n < place[2] and id_ not in over:
                self.history.violation(f"order: {actor.name} begins {by}'s {place[2]} before {n} is done")

    def _look(self) -> None:
        """See which messages came to an end with the last step."""
        before, after = self._seen, self.history.ledger
        if after is before:
            return
        self._seen = after
        was, now, moving = _places(before), _places(after), _lines(before)
        self.finished.update(self.history.ids.get(spot, "?") for spot in was if spot not in now and spot not in moving)
        self.finished.update(line.message_id for line in after.outbox.values() if line.kind == "dead")


def ordered_scenario(seed: int) -> tuple[Scenario, str]:
    """Return the scenario of a seed, and the queue's order: the storms take turns, as do the orders."""
    name = ORDERED_STORMS[seed % len(ORDERED_STORMS)]
    storm = ORDERED[name]
    order = ("strict", "strict-group")[seed // len(ORDERED_STORMS) % 2]
    if name == "slow births":  # a queue that is empty now and then, so that its cursor follows close behind
        return Scenario(seed, workers=4, producers=3, messages=8, faults=replace(storm), poison=False), order
    return Scenario(seed, workers=2 + seed % 3, messages=15, faults=replace(storm), poison=name != "calm"), order


def play_ordered(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed."""
    found, order = ordered_scenario(seed)
    return OrderedRun(found, order, keep_trace=keep_trace).play()


# -- the rules, taken away one at a time --


def _held_back_ignored() -> Any:
    return patch.object(Draft, "pass_turn", lambda self, name, target="": None)


def _in_flight_unchecked() -> Any:
    original = Turns.__init__

    def begin(self: Any, tickets: Any, held_back: Any, ended: Any = ()) -> None:
        original(self, tickets, held_back, ended)
        self._busy.clear()

    return patch.object(Turns, "__init__", begin)


def _skipped_ignored() -> Any:
    original = claiming._Taking.__init__

    def begin(self: Any, claim: claiming.Claim, draft: Draft, now: int) -> None:
        original(self, claim, draft, now)
        readable = [
            replace(ticket, parts=tuple(part for part in ticket.parts if ticket.claimed or part.name not in claim.skip))
            for ticket in draft.tickets.values()
        ]
        held_back = {group: name for group, name in draft.held_back.items() if name not in claim.skip}
        self.turns = Turns(readable, held_back)

    return patch.object(claiming._Taking, "__init__", begin)


@contextmanager
def _listing_first() -> Iterator[None]:
    available, listed = claiming._Taking.from_available, claiming._Taking.from_listing
    kept: list[Any] = []

    def from_available(self: Any, rank: int, free: Any) -> None:
        kept[:] = [rank, free]
        if not self.claim.listings:
            available(self, rank, free)

    def from_listing(self: Any, listing: claiming.Listing) -> None:
        listed(self, listing)
        available(self, *kept)

    with (
        patch.object(claiming._Taking, "from_available", from_available),
        patch.object(claiming._Taking, "from_listing", from_listing),
        patch.object(Turns, "may_list", lambda self, name: not self.is_busy(group_of(name))),
        patch.object(Turns, "ready", lambda self: 0),
    ):
        yield


def _place_not_kept() -> Any:
    return patch.object(producing, "keep_place", lambda lane, name, took_ms: None)


def _names_unordered() -> Any:
    def name(self: Naming, rank: int, at_ms: int, count: int, group: str = "") -> ObjectName:
        return ObjectName(rank, at_ms, self._ids.new(at_ms), count, group)

    return patch.object(Naming, "name", name)


ORDER_MUTANTS = (
    Mutant("retry does not hold back", "a retry holds back what follows", _held_back_ignored),
    Mutant("in flight unchecked", "one in flight per group", _in_flight_unchecked),
    Mutant(
        "skipped ignored",
        "what cannot be read holds back its group",
        _skipped_ignored,
        ("vandals", "lasting throttling"),
    ),
    Mutant("listing first", "what was given back comes before what a listing shows", _listing_first),
    Mutant(
        "place not kept",
        "the cursor does not pass an ordered object that was long on its way",
        _place_not_kept,
        ("slow births",),
    ),
    Mutant("names unordered", "the names of one producer sort as given", _names_unordered, ("jumping clocks",)),
)
"""Each must be caught; :mod:`tests.simulation.test_ordering` says within how many seeds."""
