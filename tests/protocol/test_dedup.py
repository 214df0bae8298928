"""One key, one message: under crashes at every request, lost answers, rivals, and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from s3queue import InvalidName, Queue
from s3queue.store.memory import MemoryStore
from s3queue.store.port import Store
from tests.protocol.rig import Killed, Mortal
from tests.queue.clocks import ManualClock
from tests.store.faulty import Faulty

REQUESTS = 5
"""Reserve, look for a notice, look again at the reservation, write, mark."""
PUTS = 3
"""Reserve, write, mark."""


class World:
    """A bucket in memory, its clock, and what was executed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore(self.clock)
        self.executed: Counter[Any] = Counter()

    def queue(self, store: Store | None = None, **options: Any) -> Queue:
        queue = Queue("jobs", store=store or self.memory, clock=self.clock, probe=False, **options)
        queue.settings  # noqa: B018 - connects, so that what follows is the enqueue alone
        return queue

    def work(self) -> None:
        """Process and sweep as long as there is anything; late arrivals take a sweep."""
        for _ in range(4):
            self.queue().process_once(lambda payload: self.executed.update([payload]))
            self.clock.advance(40)

    def settled_id(self) -> str:
        return self.queue().enqueue("again", dedup_id="key")


@pytest.fixture
def world() -> World:
    return World()


def count_requests(world: World) -> int:
    mortal = Mortal(world.memory)
    queue = world.queue(mortal)
    before = mortal.calls
    queue.enqueue("first", dedup_id="other")
    return mortal.calls - before


def test_the_first_takes_three_writes_and_two_reads(world: World) -> None:
    assert count_requests(world) == REQUESTS


def test_a_second_enqueue_returns_the_id_of_the_first(world: World) -> None:
    queue = world.queue()
    first = queue.enqueue("first", dedup_id="key")
    assert queue.enqueue("second", dedup_id="key") == first
    assert queue.enqueue("third", dedup_id="another") != first
    assert queue.count("pending") == 2
    world.work()
    assert queue.enqueue("late", dedup_id="key") == first
    assert queue.count("pending") == 0
    assert world.executed == {"first": 1, "third": 1}


@pytest.mark.parametrize("processed_between", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, REQUESTS + 1))
def test_a_producer_that_dies_at_any_request_swallows_and_doubles_nothing(
    world: World, step: int, after: bool, processed_between: bool
) -> None:
    mortal = Mortal(world.memory, after=after)
    queue = world.queue(mortal)
    mortal.dies_at = mortal.calls + step
    with pytest.raises(Killed):
        queue.enqueue("first", dedup_id="key")
    if processed_between:
        world.work()
    second = world.queue().enqueue("second", dedup_id="key")
    assert world.queue().enqueue("third", dedup_id="key") == second
    world.work()
    assert sum(world.executed.values()) == 1
    assert world.settled_id() == second


@pytest.mark.parametrize("lost", range(PUTS))
def test_a_lost_answer_at_any_request_makes_one_message(world: World, lost: int) -> None:
    faulty = Faulty(world.memory)
    queue = world.queue(faulty)
    faulty.script(puts=["ok"] * lost + ["lost"])
    first = queue.enqueue("first", dedup_id="key")
    assert world.queue().enqueue("second", dedup_id="key") == first
    world.work()
    assert world.executed == {"first": 1}


@pytest.mark.parametrize("late", range(PUTS))
def test_a_write_that_lands_after_its_message_was_processed_runs_nothing_twice(world: World, late: int) -> None:
    faulty = Faulty(world.memory)
    queue = world.queue(faulty)
    faulty.script(puts=["ok"] * late + ["late"])
    first = queue.enqueue("first", dedup_id="key")
    world.work()
    faulty.land()
    world.work()
    assert world.executed == {"first": 1}
    assert world.settled_id() == first


@pytest.mark.parametrize("step", range(1, PUTS + 1))
def test_a_rival_between_any_two_requests_gets_the_same_message(world: World, step: int) -> None:
    faulty = Faulty(world.memory)
    queue = world.queue(faulty)
    rivals: list[str] = []
    calls = 0

    def rival() -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            rivals.append(world.queue().enqueue("rival", dedup_id="key"))

    faulty.before_put = rival
    assert queue.enqueue("first", dedup_id="key") == rivals[0]
    world.work()
    assert sum(world.executed.values()) == 1


def test_a_key_is_free_again_after_its_time(world: World) -> None:
    queue = world.queue(dedup_ttl=60)
    first = queue.enqueue("first", dedup_id="key")
    world.clock.advance(59)
    assert queue.enqueue("second", dedup_id="key") == first
    world.clock.advance(2)
    assert queue.enqueue("third", dedup_id="key") != first
    world.work()
    assert world.executed == {"first": 1, "third": 1}


def test_a_message_is_found_wherever_it_has_got_to(world: World) -> None:
    """Its mark was lost; it is in the inbox, in flight, then settled: never written a second time."""

    def stand(look: Callable[[], None]) -> None:
        mortal = Mortal(world.memory)
        queue = world.queue(mortal)
        mortal.dies_at = mortal.calls + REQUESTS
        with pytest.raises(Killed):
            queue.enqueue("first", dedup_id=look.__name__)
        look()
        world.queue().enqueue("second", dedup_id=look.__name__)

    def waiting() -> None:
        return None

    def in_flight() -> None:
        for message in world.queue().receive():
            message.ack()

    stand(waiting)
    stand(in_flight)
    world.work()
    assert set(world.executed) <= {"first"}
    assert world.queue().count("completed") == 2


def test_a_hostile_key_is_refused_and_an_odd_one_is_none(world: World) -> None:
    queue = world.queue()
    for bad in ("", "a\nb", "x" * 1001):
        with pytest.raises(InvalidName, match=r"dedup_id.*printable characters"):
            queue.enqueue("first", dedup_id=bad)
    assert queue.count("pending") == 0
    assert queue.enqueue("first", dedup_id="../ä/\\:*") == queue.enqueue("second", dedup_id="../ä/\\:*")
