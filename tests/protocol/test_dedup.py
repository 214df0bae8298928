"""One key, one message: under crashes at every request, lost answers, rivals, and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from s3queue import InvalidName, Queue
from s3queue.core.keys import dedup_mark, dedup_of
from s3queue.errors import CorruptObject, StoreRefused
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, Object, Store, walk
from tests.protocol.rig import Killed, Mortal
from tests.queue.clocks import ManualClock
from tests.store.faulty import Faulty, Wrapper

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

    def forget(self) -> None:
        """Let workers go on until ledger and journal know nothing of what was settled."""
        for _ in range(40):
            self.queue().process_once(lambda payload: self.executed.update([payload]))
            self.clock.advance(300)
        assert not walked(self.memory, "jobs/settled/")
        assert not self.queue().connect().lane.committer.refresh(0).settled

    def settled_id(self) -> str:
        return self.queue().enqueue("again", dedup_id="key")


@pytest.fixture
def world() -> World:
    return World()


def walked(store: Store, prefix: str) -> list[str]:
    return list(walk(store, prefix))


def die_before_marking(world: World, dedup_id: str = "key") -> None:
    mortal = Mortal(world.memory)
    queue = world.queue(mortal)
    mortal.dies_at = mortal.calls + REQUESTS
    with pytest.raises(Killed):
        queue.enqueue("first", dedup_id=dedup_id)


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


@pytest.mark.parametrize("between", [None, World.work, World.forget])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, REQUESTS + 1))
def test_a_producer_that_dies_at_any_request_swallows_and_doubles_nothing(
    world: World, step: int, after: bool, between: Callable[[World], None] | None
) -> None:
    mortal = Mortal(world.memory, after=after)
    queue = world.queue(mortal)
    mortal.dies_at = mortal.calls + step
    with pytest.raises(Killed):
        queue.enqueue("first", dedup_id="key")
    if between is not None:
        between(world)
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
        die_before_marking(world, look.__name__)
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


@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_dies_at_any_request_leaves_no_key_whose_message_could_come_back(after: bool) -> None:
    for step in count(1):
        world = World()
        die_before_marking(world)
        survived = work_mortally(world, step, after=after)
        world.forget()
        world.executed.clear()
        world.queue().enqueue("second", dedup_id="key")
        world.forget()
        assert not world.executed, f"died at request {step}"
        if survived:
            return


def work_mortally(world: World, step: int, *, after: bool) -> bool:
    """Work until there is nothing left to clean up, or death at that request; return whether there was none."""
    mortal = Mortal(world.memory, after=after)
    queue = world.queue(mortal)
    mortal.dies_at = mortal.calls + step
    with suppress(Killed):
        for _ in range(4):
            queue.process_once(lambda payload: world.executed.update([payload]))
            world.clock.advance(1300)
        return True
    return False


def change(world: World, verb: str) -> None:
    """Do away with the message that waits, in some other way than by processing it."""
    queue = world.queue()
    if verb == "truncate":
        queue.truncate()
    else:
        queue.cancel([view.id for view in queue.messages("pending")])


@pytest.mark.parametrize("verb", ["cancel", "truncate"])
def test_what_was_thrown_away_is_enqueued_by_nobody_who_asks_for_its_key_later(world: World, verb: str) -> None:
    die_before_marking(world)
    change(world, verb)
    world.forget()
    world.queue().enqueue("second", dedup_id="key")
    world.forget()
    assert not world.executed


def test_a_message_tried_again_under_another_name_has_marked_its_key(world: World) -> None:
    die_before_marking(world)

    def fail(payload: Any) -> None:
        raise ValueError(payload)

    world.queue(max_attempts=2).process_once(fail)
    world.forget()
    assert world.executed == {"first": 1}
    world.queue().enqueue("second", dedup_id="key")
    world.forget()
    assert world.executed == {"first": 1}


class Counting(Wrapper):
    """A store that takes down what is read."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.read: list[str] = []

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        self.read.append(key)
        return super().get(key, if_none_match)


class Keyless(Wrapper):
    """A store whose user may not read deduplication keys."""

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        if "/dedup/" in key:
            raise StoreRefused("403", reason="access-denied", key=key)
        return super().get(key, if_none_match)


def test_a_name_stays_in_the_ledger_until_its_key_could_be_marked(world: World) -> None:
    die_before_marking(world)
    world.queue().enqueue("other")
    queue = world.queue(Keyless(world.memory))
    told: list[Any] = []
    queue.on("error", told.append)
    for _ in range(40):
        queue.process_once(lambda payload: world.executed.update([payload]))
        world.clock.advance(300)
    assert {event.doing.split(" of ")[0] for event in told} == {"marking the deduplication key"}
    (name,) = queue.connect().lane.committer.refresh(0).settled
    assert dedup_of(name) == dedup_mark("key")
    world.forget()
    world.queue().enqueue("second", dedup_id="key")
    world.forget()
    assert world.executed == {"first": 1, "other": 1}


def test_a_corrupt_key_is_told_of_and_holds_nothing_up(world: World) -> None:
    die_before_marking(world)
    key = f"jobs/dedup/{dedup_mark('key')}.json"
    world.memory.put(key, b"torn", OVERWRITE)
    told: list[Any] = []
    for _ in range(40):
        queue = world.queue()
        queue.on("error", told.append)
        queue.process_once(lambda payload: world.executed.update([payload]))
        world.clock.advance(300)
    assert key in {event.error.key for event in told}
    assert not world.queue().connect().lane.committer.refresh(0).settled
    with pytest.raises(CorruptObject):
        world.queue().enqueue("second", dedup_id="key")


def test_the_worker_reads_each_key_once(world: World) -> None:
    """What it costs beside the enqueue: a GET, as the producer has marked it."""
    queue = world.queue()
    for number in range(20):
        queue.enqueue(number, dedup_id=f"key-{number}")
    counting = Counting(world.memory)
    worker = world.queue(counting)
    for _ in range(40):
        worker.process_once(lambda payload: None)
        world.clock.advance(300)
    assert sorted(key for key in counting.read if "/dedup/" in key) == sorted(walked(world.memory, "jobs/dedup/"))


def test_a_hostile_key_is_refused_and_an_odd_one_is_none(world: World) -> None:
    queue = world.queue()
    for bad in ("", "a\nb", "x" * 1001):
        with pytest.raises(InvalidName, match=r"dedup_id.*printable characters"):
            queue.enqueue("first", dedup_id=bad)
    assert queue.count("pending") == 0
    assert queue.enqueue("first", dedup_id="../ä/\\:*") == queue.enqueue("second", dedup_id="../ä/\\:*")
