"""Deduplication keys are forgotten under the eyes of producers: in every order of requests, a key in use stays in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from s3queue.core.codec import decode_reservation
from s3queue.core.kept import Forgetting, decode_forgetting, encode_forgetting
from s3queue.core.keys import ObjectName, dedup_mark, message_id_at
from s3queue.core.message import Message
from s3queue.errors import NewerFormat, StoreUnavailable
from s3queue.protocol import dedup, forgetting, retention
from s3queue.protocol.dedup import enqueue_once
from s3queue.protocol.lane import Lane
from s3queue.store.memory import MemoryStore
from s3queue.store.port import Store
from s3queue.store.record import Record, Version
from tests.protocol.interleavings import Actor, every_order, give_way
from tests.protocol.rig import KEYS, Bucket, Killed, Mortal, Process
from tests.queue.clocks import ManualClock
from tests.store.faulty import Faulty

TTL_MS = 86_400_000
KEY = "order-17"
RESERVATION = KEYS.reservation(dedup_mark(KEY))


def enqueue(lane: Lane, payload: str = "new") -> str:
    now = lane.now_ms()
    name = ObjectName(9, now, lane.ids.new(now), 1, dedup=dedup_mark(KEY))
    return enqueue_once(lane, name, Message(message_id_at(name.id, 0), payload, now), TTL_MS)


def sweep(lane: Lane) -> int | None:
    before = lane.now_ms() - retention.DEDUP_KEPT_MS
    return forgetting.forget(lane, [RESERVATION], lambda held: held.expires_at_ms < before, lambda error: None)


class GivesWay(ManualClock):
    """A clock on which who sleeps lets the others go on, and no time passes: what is under way takes no minute."""

    def sleep(self, seconds: float) -> None:  # noqa: ARG002 - the face of a clock
        give_way()


class World:
    """A bucket in which a key was used long ago, and producers and sweepers on their way."""

    def __init__(self, *roles: Callable[[Lane], Any]) -> None:
        clock = GivesWay() if roles else ManualClock()
        self.bucket = Bucket(clock, MemoryStore(clock))
        enqueue(self.bucket.process().lane, "old")
        for name in self.bucket.inbox():
            self.bucket.memory.delete(KEYS.message(0, name))
        self.bucket.clock.advance(2 * TTL_MS / 1000)
        self.roles = roles

    def actors(self) -> Sequence[Actor]:
        return [self._actor(role) for role in self.roles]

    def _actor(self, role: Callable[[Lane], Any]) -> Actor:
        self.bucket.processes += 1
        number = self.bucket.processes

        def act(store: Store) -> Any:
            return role(Process(self.bucket, store, number, {}).lane)

        return act

    def one_message(self, ids: set[str]) -> bool:
        """Whether the key has one message, now and for whoever asks next."""
        return len(ids | {enqueue(self.bucket.process().lane, "next")}) == 1 and len(self.bucket.inbox()) == 1


def judged_orders(*roles: Callable[[Lane], Any], preemptions: int | None = None) -> Iterator[tuple[list[int], bool]]:
    """Yield each order, and whether the key came to have two messages in it."""
    worlds: list[World] = []

    def world() -> tuple[Store, Sequence[Actor]]:
        worlds.append(World(*roles))
        return worlds[-1].bucket.memory, worlds[-1].actors()

    for order, returned in every_order(world, preemptions):
        ids = {each for role, each in zip(roles, returned, strict=True) if role is enqueue}
        assert all(isinstance(each, str) for each in ids), ids
        yield order, not worlds.pop().one_message(ids)


def test_a_producer_and_a_sweeper_in_every_order() -> None:
    judged = list(judged_orders(enqueue, sweep))
    assert [order for order, broken in judged if broken] == []
    assert len(judged) > 200


@pytest.mark.parametrize(
    ("preemptions", "orders"), [(1, 40), pytest.param(2, 100, marks=pytest.mark.slow)], ids=["one", "two"]
)
@pytest.mark.parametrize("roles", [(enqueue, enqueue, sweep), (enqueue, sweep, sweep)], ids=["rivals", "two sweepers"])
def test_three_processes_in_every_order_with_few_interruptions(
    roles: tuple[Callable[[Lane], Any], ...], preemptions: int, orders: int
) -> None:
    judged = list(judged_orders(*roles, preemptions=preemptions))
    assert [order for order, broken in judged if broken] == []
    assert len(judged) > orders


class NeverReadsAgain(Record[Any]):
    """A record whose owner trusts what it saw or wrote last."""

    def read(self) -> Version[Any]:
        return self.cached or super().read()

    def write(self, value: Any, over: Version[Any]) -> Version[Any]:
        self._cached = None
        return super().write(value, over)


@pytest.mark.parametrize(
    ("module", "name", "without"),
    [
        (dedup, "wait_until_kept", lambda lane, key: None),
        (dedup, "Record", NeverReadsAgain),
        (forgetting, "_unchanged", lambda lane, key, etag: True),
    ],
    ids=["no look at the notice", "no second look at the reservation", "no second look by the sweeper"],
)
def test_each_rule_is_needed(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, without: Any) -> None:
    monkeypatch.setattr(module, name, without)
    assert any(broken for _, broken in judged_orders(enqueue, sweep))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 7))
def test_a_sweeper_that_dies_at_any_request_holds_nobody_up_for_long(step: int, after: bool) -> None:
    world = World()
    mortal = Mortal(world.bucket.memory, dies_at=step, after=after)
    with pytest.raises(Killed):
        sweep(world.bucket.process(mortal).lane)
    started = world.bucket.clock.monotonic()
    first = enqueue(world.bucket.process().lane)
    assert world.bucket.clock.monotonic() - started < 70
    assert world.one_message({first})
    world.bucket.clock.advance(3 * TTL_MS / 1000)
    assert sweep(world.bucket.process().lane) == 1
    assert world.bucket.listed("dedup/") == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 7))
def test_a_producer_that_dies_in_the_middle_of_a_sweep_swallows_nothing(step: int, after: bool) -> None:
    world = World()
    faulty = Faulty(world.bucket.memory)
    mortal = Mortal(world.bucket.memory, dies_at=step, after=after)

    def producer() -> None:
        faulty.before_put = lambda: None
        with pytest.raises(Killed):
            enqueue(world.bucket.process(mortal).lane)

    faulty.before_put = producer  # when the sweeper puts up its notice
    sweep(world.bucket.process(faulty).lane)
    assert len({enqueue(world.bucket.process().lane) for _ in range(2)}) == 1
    assert len(world.bucket.inbox()) == 1


def test_one_sweeper_at_a_time_and_the_notice_of_a_dead_one_ends() -> None:
    world = World()
    lane = world.bucket.process().lane
    until = lane.now_ms() + forgetting.NOTICE_MS
    world.bucket.plant(KEYS.forgetting, encode_forgetting(Forgetting("dead", frozenset({"x"}), until)))
    assert sweep(lane) is None
    assert world.bucket.listed("dedup/") == [RESERVATION]
    world.bucket.clock.advance(63)
    assert sweep(lane) == 1
    assert decode_forgetting(world.bucket.copy_of(KEYS.forgetting), "").names == frozenset()


def test_a_sweeper_that_was_held_up_deletes_nothing() -> None:
    world = World()
    faulty = Faulty(world.bucket.memory)
    puts = []

    def stall() -> None:
        puts.append(1)
        if len(puts) == 1:
            world.bucket.clock.advance(forgetting.SEND_WITHIN_S + 1)

    faulty.before_put = stall
    assert sweep(world.bucket.process(faulty).lane) is None
    assert world.bucket.listed("dedup/") == [RESERVATION]


def test_a_deletion_without_an_answer_leaves_the_notice_until_it_ends() -> None:
    world = World()
    faulty = Faulty(world.bucket.memory)
    faulty.script(others=["ok", "ok", "ok", "down"])  # reservation, notice, reservation, deletion
    with pytest.raises(StoreUnavailable):
        sweep(world.bucket.process(faulty).lane)
    assert faulty.requests[-1] == "delete_many"  # and it was not sent again
    notice = decode_forgetting(world.bucket.copy_of(KEYS.forgetting), "")
    assert notice.names == {RESERVATION.removeprefix(KEYS.dedup).removesuffix(".json")}


def test_a_notice_that_nobody_can_read_stops_the_forgetting_alone() -> None:
    world = World()
    world.bucket.plant(KEYS.forgetting, b"garbage")
    with pytest.raises(Exception, match=r"forgetting\.json.*not readable"):
        sweep(world.bucket.process().lane)
    assert world.one_message({enqueue(world.bucket.process().lane)})
    world.bucket.plant(KEYS.forgetting, b'{"format":"s3queue.forgetting/2"}')
    world.bucket.clock.advance(2 * TTL_MS / 1000)
    with pytest.raises(NewerFormat):  # what it means may be that this key is being deleted
        enqueue(world.bucket.process().lane)
    assert world.bucket.copy_of(KEYS.forgetting) == b'{"format":"s3queue.forgetting/2"}'


def test_clearing_forgets_what_is_older_and_leaves_what_is_foreign() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    first = enqueue(process.lane)
    foreign = KEYS.dedup + "notes.txt"
    corrupt = KEYS.reservation(dedup_mark("corrupt"))
    bucket.plant(foreign, b"mine")
    bucket.plant(corrupt, b"garbage")
    bucket.clock.advance(100)
    assert retention.clear(process.lane, 200_000) == 0
    assert enqueue(process.lane) == first
    assert retention.clear(process.lane, 50_000) == 1
    second = enqueue(process.lane)
    assert second != first
    assert retention.clear(process.lane, None) == 1
    assert sorted(bucket.listed("dedup/")) == sorted([foreign, corrupt])
    assert len([text for text in process.errors() if "notes.txt" in text]) == 3  # once a call


def test_clearing_waits_for_a_sweeper_at_work() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    enqueue(process.lane)
    held = decode_reservation(bucket.copy_of(RESERVATION), "")
    assert held.written
    until = process.lane.now_ms() + forgetting.NOTICE_MS
    bucket.plant(KEYS.forgetting, encode_forgetting(Forgetting("other", frozenset({"x"}), until)))
    started = bucket.clock.monotonic()
    assert retention.clear(process.lane, None) == 1
    assert 60 <= bucket.clock.monotonic() - started < 70
