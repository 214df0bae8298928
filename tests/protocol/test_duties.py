"""What coordinators do for the whole queue: each duty killed at every request, made by two at once, failing alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from s3queue.core.keys import message_id_at
from s3queue.core.ledger import Ledger
from s3queue.core.message import Message
from s3queue.errors import CorruptObject, LeaseLost, StoreUnavailable
from s3queue.protocol import schedules
from s3queue.protocol.locks import Lock, list_locks, sweep_locks
from s3queue.store.port import Store
from tests.protocol.interleavings import Actor, every_order
from tests.protocol.rig import KEYS, Bucket, Deaths, Process, drain
from tests.protocol.test_registry import DEAD_S, coordinating, member
from tests.protocol.test_retention import DAY_S, kept, reservation, result

HOURS: dict[str, Any] = {"visibility_timeout_s": 4 * 3600.0}


def put_into(process: Process, number: int, payload: Any) -> None:
    lane = process.connection.lanes.of(number).lane
    now = lane.now_ms()
    name = lane.naming.name(9, now, 1, "")
    lane.inbox.write(name, [Message(message_id_at(name.id, 0), payload, now)])


def ledger(process: Process, number: int) -> Ledger:
    return process.connection.lanes.of(number).lane.committer.read().value or Ledger()


def with_a_dead_worker(lanes: int) -> tuple[Bucket, Callable[[], None]]:
    """Return a bucket with a worker that died with a message of each lane in hand; and it, coming back to complete them."""
    bucket = Bucket.new()
    dead = bucket.process(**HOURS, lanes=lanes)
    member(dead)
    for number in range(lanes):
        put_into(dead, number, number)
    held = dead.claim()
    bucket.clock.advance(DEAD_S)
    return bucket, lambda: dead.complete(*held)


# -- dead workers --


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_rescue_that_is_killed_at_any_request_is_finished_by_the_next(after: bool) -> None:
    deaths = Deaths(after=after)
    for _ in deaths:
        bucket, comes_back = with_a_dead_worker(2)
        with deaths.of(bucket) as store:
            bucket.process(store, **HOURS).connection.duties.rescue_from_the_dead()
        heir = bucket.process(**HOURS)
        heir.connection.duties.rescue_from_the_dead()
        assert bucket.listed("workers/") == []
        assert [ledger(heir, number).counters["rescued"] for number in range(2)] == [1, 1]
        assert sorted(delivery.message.payload for delivery in heir.claim()) == [0, 1]
        with pytest.raises(LeaseLost):
            comes_back()
    assert deaths.at > 8, "it has hardly any request"


@pytest.mark.parametrize("claims", [False, True], ids=["two", "two and a claim"])
def test_rescues_at_once_in_every_order_take_a_message_once_and_only_from_the_dead(claims: bool) -> None:
    buckets: list[Bucket] = []

    def rescue(store: Store) -> int:
        return buckets[-1].process(store, **HOURS).connection.duties.rescue_from_the_dead()

    def claim(store: Store) -> list[Any]:
        return [delivery.message.payload for delivery in buckets[-1].process(store, **HOURS).claim()]

    def world() -> tuple[Store, Sequence[Actor]]:
        bucket, _ = with_a_dead_worker(1)
        buckets.append(bucket)
        return bucket.memory, [rescue, rescue, *([claim] if claims else [])]

    orders = 0
    for order, (one, two, *others) in every_order(world, preemptions=1 if claims else 3):
        orders += 1
        bucket = buckets.pop()
        assert one + two == 1, order
        after = bucket.ledger()
        assert after.counters["rescued"] == 1, order
        held = [ticket for ticket in after.tickets.values() if ticket.claimed]
        assert len(held) == sum(len(payloads) for payloads in others), order
        assert bucket.listed("workers/") == [], order
    assert orders > 30


def test_a_lane_that_cannot_be_read_keeps_the_dead_on_the_books_and_the_others_go_on() -> None:
    bucket, _ = with_a_dead_worker(2)
    key = KEYS.ledger(0)
    whole = bucket.copy_of(key)
    bucket.plant(key, b"{")
    process = bucket.process(**HOURS)
    assert process.connection.duties.rescue_from_the_dead() == 1
    assert process.connection.duties.rescue_from_the_dead() == 0
    assert bucket.listed("workers/") == [KEYS.worker("w1")]
    assert bucket.copy_of(key) == b"{"
    assert len(process.errors()) == 1
    assert key in process.errors()[0]
    bucket.plant(key, whole)
    bucket.clock.advance(61)
    assert process.connection.duties.rescue_from_the_dead() == 1
    assert bucket.listed("workers/") == []


# -- all of them --


def duties(process: Process, rounds: int = 3) -> None:
    """Do every duty of a connection, each some times; a coordinator does them when they are due."""
    for _ in range(rounds):
        for duty in process.connection.duties._duties:
            duty.step()
        process.clock.advance(601)


def busy_bucket() -> Bucket:
    """Return a bucket with work for each duty: a dead worker, a tick, an old result, reservation and lock."""
    bucket = Bucket.new()
    first = bucket.process(**HOURS, result_ttl_s=7 * DAY_S, dedup_ttl_s=DAY_S)
    result(first)
    reservation(first, "key")
    Lock(first.lane, "lock", ttl_s=10, wait_s=0, renew_s=3, keeper=None).acquire().release()
    bucket.clock.advance(8 * DAY_S)
    dead = bucket.process(**HOURS)
    member(dead)
    dead.put("held")
    dead.claim()
    message = Message("", "tick", dead.lane.now_ms())
    schedules.define(dead.lane, "job", cron="7 15 23 6 *", timezone="UTC", message=message, catch_up="one")
    bucket.clock.advance(DEAD_S)
    return bucket


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_coordinator_killed_at_any_request_of_any_duty_leaves_the_rest_to_the_next(after: bool) -> None:
    deaths = Deaths(after=after)
    for where in deaths:
        bucket = busy_bucket()
        with deaths.of(bucket) as store:
            duties(bucket.process(store))
        duties(bucket.process())
        assert kept(bucket) == set(), where
        assert bucket.listed("workers/") == [], where
        assert not [ticket for ticket in bucket.ledger().tickets.values() if ticket.claimed], where
        assert drain(bucket) == {"held": 1, "tick": 1, None: 1}, where
        sweep_locks(bucket.process().lane)
        assert bucket.listed("locks/") == [], where
    assert deaths.at > 30


def test_two_coordinators_at_once_do_every_duty_once() -> None:
    bucket = busy_bucket()
    both = [bucket.process(), bucket.process()]
    for _ in range(3):
        for one, other in zip(*(process.connection.duties._duties for process in both), strict=True):
            one.step()
            other.step()
        bucket.clock.advance(601)
    assert kept(bucket) == set()
    assert list_locks(both[0].lane) == []
    assert drain(bucket) == {"held": 1, "tick": 1, None: 1}
    counters = bucket.ledger().counters
    assert (counters["rescued"], counters["ticked"]) == (2, 1)


def test_a_duty_that_fails_stops_no_other_and_is_tried_again_when_it_is_due() -> None:
    bucket = Bucket.new()
    process = coordinating(bucket)
    done: Counter[str] = Counter()

    def fails(error: Exception) -> None:
        done["failing"] += 1
        raise error

    def counts() -> None:
        done["sound"] += 1

    agent = process.connection.duties
    agent._duties = agent._duties[:0]
    agent.add(partial(fails, StoreUnavailable("down")), 10)
    agent.add(partial(fails, CorruptObject("q/x", "no")), 10)
    agent.add(counts, 10)
    for _ in range(4):  # a quarter of a second apart
        agent.step()
        bucket.clock.advance(0.25)
    assert done == {"failing": 2, "sound": 1}
    assert [event.doing for event in process.told if event.name == "error"] == [
        f"coordinating ({fails.__qualname__})"
    ] * 2
    bucket.clock.advance(11)
    agent.step()
    assert done == {"failing": 4, "sound": 2}


def test_a_duty_with_a_defect_holds_up_the_others_for_one_step_at_most() -> None:
    process = coordinating(Bucket.new())
    done: list[str] = []
    agent = process.connection.duties
    agent._duties = agent._duties[:0]
    agent.add(list[int]().pop, 10)
    agent.add(lambda: done.append("sound"), 10)
    with pytest.raises(IndexError):
        agent.step()
    agent.step()
    assert done == ["sound"]


def test_who_does_not_lead_has_no_duties() -> None:
    bucket = Bucket.new()
    coordinating(bucket)
    other = bucket.process()
    other.connection.duties.add(lambda: pytest.fail("it has none"), 1)
    other.connection.duties.step()
    assert other.told == []
