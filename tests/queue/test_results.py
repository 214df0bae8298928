"""Results: the attempt that was recorded has the last word, and whoever asks in vain is told why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise, permutations
from typing import Any

import pytest

from s3queue import InvalidName, InvalidSetting, LeaseLost, NonRetriable, Queue
from s3queue.core.kept import Result, decode_result, encode_result
from s3queue.core.message import Failure
from s3queue.core.transitions import Reset
from s3queue.errors import CorruptObject, NoResult
from s3queue.protocol import results
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.runtime.handler import store_result
from s3queue.store.memory import MemoryStore
from tests.protocol.interleavings import Actor, every_order
from tests.protocol.rig import Bucket, Killed, Mortal, Process
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, body, heard, keys, plant
from tests.store.faulty import Faulty


def claim(queue: Queue) -> Delivery:
    (delivery,) = queue.connect().consumer.exchange(1)
    return delivery


def finish(queue: Queue, delivery: Delivery, value: Any) -> Recorded:
    """End an attempt well: keep what the handler returned, and return the outcome."""
    return store_result(queue.connect().consumer, delivery, value)


def lose(queue: Queue, delivery: Delivery) -> None:
    """Take the claim away, as an operator does, or a rescue."""
    queue.connect().lane.committer.commit(Reset(frozenset({delivery.handle.ticket_id})), fresh=True)


def test_a_worker_that_was_too_slow_does_not_write_over_the_recorded_result(place: Place, clock: ManualClock) -> None:
    slow, quick = place.open(results=True), place.open()
    message_id = slow.enqueue("a")
    late = claim(slow)
    clock.advance(40)
    recorded = finish(quick, claim(quick), "quick")
    quick.connect().consumer.settle(recorded)
    with pytest.raises(LeaseLost):
        slow.connect().consumer.settle(finish(slow, late, "slow"))
    assert quick.result(message_id) == "quick"


def test_nor_does_one_that_does_not_know_that_it_was_too_slow(place: Place) -> None:
    slow, quick = place.open(results=True), place.open()
    message_id = slow.enqueue("a")
    late = claim(slow)
    lose(quick, late)
    first = claim(quick)
    for delivery, value in ((late, "slow"), (first, "quick"), (late, "slow")):
        results.keep(slow.connect().lane, delivery, value)
    assert slow.result(message_id) == "quick"


def test_one_that_finds_out_writes_nothing(place: Place, clock: ManualClock) -> None:
    slow, quick = place.open(results=True), place.open()
    slow.enqueue("a")
    late = claim(slow)
    lose(quick, late)
    clock.advance(28)  # its lease is near its end, so it asks
    finish(slow, late, "slow")
    assert keys(slow, "results/") == []


def last_words() -> list[Any]:
    """Return the result that is there in the end, for every order in which those of three claims reach the store."""
    found = []
    for tokens in permutations((3, 5, 9)):
        worlds: list[tuple[Bucket, str]] = []

        def world(
            tokens: tuple[int, ...] = tokens, worlds: list[tuple[Bucket, str]] = worlds
        ) -> tuple[Any, list[Actor]]:
            bucket = Bucket.new()
            sample = bucket.process(results=True)
            sample.put("a")
            (delivery,) = sample.claim()
            worlds.append((bucket, delivery.id))
            return bucket.memory, [keeper(bucket, delivery, token) for token in tokens]

        for _, returned in every_order(world):
            bucket, message_id = worlds.pop()
            assert returned == [None] * 3
            found.append(results.read(bucket.process(results=True).lane, message_id, 0))
    return found


def keeper(bucket: Bucket, delivery: Delivery, token: int) -> Actor:
    mine = replace(delivery, handle=replace(delivery.handle, token=token))
    bucket.processes += 1
    number = bucket.processes
    return lambda store: results.keep(Process(bucket, store, number, {}).lane, mine, token)


def test_the_last_claim_has_the_last_word_in_every_order() -> None:
    found = last_words()
    assert len(found) > 200
    assert set(found) == {9}


def test_without_the_rule_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Result, "gives_way_to", lambda there, mine: there != mine)
    assert set(last_words()) > {9}


def test_claims_in_different_lanes_are_told_apart_by_their_times() -> None:
    first = Result("m", 1, 100, lane=3, token=900, claimed_at_ms=50)
    replayed = Result("m", 2, 300, lane=0, token=2, claimed_at_ms=250)
    assert first.gives_way_to(replayed)
    assert not replayed.gives_way_to(first)
    assert not first.gives_way_to(first)
    assert not first.gives_way_to(replace(first, token=899, claimed_at_ms=999))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 4))
def test_a_worker_that_dies_at_any_request_leaves_no_completed_message_without_a_result(step: int, after: bool) -> None:
    clock = ManualClock()
    memory = MemoryStore(clock)
    mortal = Mortal(memory, after=after)
    dying = Queue("jobs", store=mortal, clock=clock, probe=False, results=True)
    message_id = dying.enqueue("a")
    delivery = claim(dying)
    mortal.dies_at = mortal.calls + step
    try:
        dying.connect().consumer.settle(finish(dying, delivery, "first"))
    except Killed:
        pass
    else:
        assert step == 3
    with Queue("jobs", store=memory, clock=clock, probe=False) as other:
        completed = other.count("completed")
        assert not completed or other.result(message_id) == "first"
        clock.advance(60)
        other.process_once(lambda _: "second")
        assert other.count("completed") == 1
        assert other.result(message_id) == ("first" if completed else "second")


@pytest.mark.parametrize("word", ["lost", "down"])
def test_a_lost_answer_costs_no_attempt(word: str) -> None:
    clock = ManualClock()
    faulty = Faulty(MemoryStore(clock))
    queue = Queue("jobs", store=faulty, clock=clock, probe=False, results=True)
    message_id = queue.enqueue("a")
    delivery = claim(queue)
    faulty.script(puts=[word])
    queue.connect().consumer.settle(finish(queue, delivery, "once"))
    assert queue.result(message_id) == "once"
    assert queue.stats().failed == 0


def test_a_result_that_cannot_be_read_is_left_and_the_message_is_done(place: Place) -> None:
    queue = place.open(results=True)
    message_id = queue.enqueue("a")
    key = plant(queue, f"results/{message_id}.json", b"mine")
    told = heard(queue, "error")
    queue.process_once(lambda payload: payload)
    assert body(queue, f"results/{message_id}.json") == b"mine"
    assert [event.error.key for event in told] == [key]
    assert queue.count("completed") == 1
    with pytest.raises(CorruptObject):
        queue.result(message_id)


def test_a_result_under_another_messages_key_is_corrupt(place: Place) -> None:
    queue = place.open(results=True)
    ids = queue.enqueue_many(["a", "b"])
    plant(queue, f"results/{ids[0]}.json", encode_result(Result(ids[1], "b", 1)))
    with pytest.raises(CorruptObject, match=ids[1]):
        queue.result(ids[0])


def test_a_result_says_whose_it_is(place: Place) -> None:
    queue = place.open(results=True)
    message_id = queue.enqueue("a")
    queue.process_once(lambda payload: payload * 2)
    kept = decode_result(body(queue, f"results/{message_id}.json"), "")
    assert (kept.id, kept.value, kept.lane) == (message_id, "aa", 0)
    assert kept.token > 0
    assert kept.claimed_at_ms > 0


# --- asking for one


def test_waiting_ends_when_the_result_is_there(place: Place, clock: ManualClock) -> None:
    queue, worker = place.open(results=True), place.open()
    message_id = queue.enqueue("a", delay=20)
    store = queue.connect().lane.store
    looked, get = [], store.get

    def look(key: str, if_none_match: str | None = None) -> Any:
        if "results/" in key:
            looked.append(clock.monotonic())
            if len(looked) == 14:
                worker.process_once(lambda payload: payload * 3)
        return get(key, if_none_match)

    store.get = look  # type: ignore[method-assign]
    started = clock.monotonic()
    assert queue.result(message_id, wait=3600) == "aaa"
    gaps = [round(later - before, 3) for before, later in pairwise(looked)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 0.1
    assert clock.monotonic() - started < 120


def test_waiting_ends_in_time(place: Place, clock: ManualClock) -> None:
    queue = place.open(results=True)
    message_id = queue.enqueue("a")
    started = clock.monotonic()
    with pytest.raises(NoResult, match="no result yet") as refusal:
        queue.result(message_id, wait=7)
    assert 7 <= clock.monotonic() - started < 7.1
    assert (refusal.value.found, refusal.value.message_id) == ("unfinished", message_id)


@pytest.mark.parametrize("wait", [0, 3600])
def test_of_a_dead_message_it_is_told_that_it_is_dead(place: Place, clock: ManualClock, wait: int) -> None:
    queue = place.open(results=True)
    ids = queue.enqueue_many(["a", "b"])

    def handler(payload: str) -> str:
        if payload == "a":
            raise NonRetriable("no use")
        return payload

    queue.process_once(handler)
    started = clock.monotonic()
    with pytest.raises(NoResult, match=r"is dead.*dlq\.get") as refusal:
        queue.result(ids[0], wait=wait)
    assert refusal.value.found == "dead"
    assert clock.monotonic() - started < 60
    queue.dlq.replay(ids[0])
    queue.process_once(lambda payload: payload)
    assert queue.result(ids[0]) == "a"


def test_a_result_that_may_have_been_and_gone_is_told_from_one_to_come(place: Place, clock: ManualClock) -> None:
    queue = place.open(results=True, result_ttl=3600)
    message_id = queue.enqueue("a")
    clock.advance(3601)
    with pytest.raises(NoResult, match="kept for the queue's result_ttl") as refusal:
        queue.result(message_id)
    assert refusal.value.found == "gone"


def test_with_results_off_nobody_waits(queue: Queue, clock: ManualClock) -> None:
    message_id = queue.enqueue("a")
    started = clock.monotonic()
    with pytest.raises(NoResult, match=r"keeps none.*results=True") as refusal:
        queue.result(message_id, wait=60)
    assert refusal.value.found == "off"
    assert clock.monotonic() == started


def test_results_kept_before_they_were_turned_off_are_still_there(place: Place) -> None:
    queue = place.open(results=True)
    message_id = queue.enqueue("a")
    queue.process_once(lambda payload: payload)
    queue.configure(results=False)
    assert queue.result(message_id) == "a"


@pytest.mark.parametrize("bad", ["", "nobody", "../queue", "0123456789abcdefghjk-0\n", None, 7])
def test_what_is_no_id_is_refused(queue: Queue, bad: Any) -> None:
    with pytest.raises(InvalidName):
        queue.result(bad)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), 86_401, True, "5", None])
def test_what_is_no_time_to_wait_is_refused(queue: Queue, bad: Any) -> None:
    with pytest.raises(InvalidSetting, match="wait"):
        queue.result(queue.enqueue("a"), wait=bad)


# --- history and deduplication keys, as applications have them


def test_history_through_the_queue(place: Place, clock: ManualClock) -> None:
    queue = place.open(history=True)
    ids = queue.enqueue_many(["a", "b"], group="eu", priority=3)
    clock.advance(5)
    queue.process_once(lambda _: clock.advance(2))
    records = list(place.open().history(since=datetime.fromtimestamp(clock.now_ms() / 1000 - 60, UTC)))
    assert [record.id for record in records] == ids
    assert [(record.wait_ms, record.run_ms) for record in records] == [(5000, 2000), (7000, 2000)]
    assert {(record.group, record.priority) for record in records} == {("eu", 3)}


def test_a_key_that_was_cleared_can_be_enqueued_again(place: Place, clock: ManualClock) -> None:
    queue = place.open()
    first = queue.enqueue("a", dedup_id="k")
    held = queue.dedup_lookup("k")
    assert held is not None
    assert held.message_id == first
    assert queue.dedup_lookup("other") is None
    clock.advance(10)
    assert queue.clear_processed_cache(older_than=60) == 0
    assert queue.clear_processed_cache(older_than=5) == 1
    assert queue.dedup_lookup("k") is None
    assert queue.enqueue("b", dedup_id="k") != first
    assert queue.clear_processed_cache() == 1
    assert queue.clear_processed_cache() == 0
    assert sorted(message.payload for message in queue.peek()) == ["a", "b"]


@pytest.mark.parametrize("bad", [-1, float("nan"), True, "1h"])
def test_what_is_no_age_is_refused(queue: Queue, bad: Any) -> None:
    queue.enqueue("a", dedup_id="k")
    with pytest.raises(InvalidSetting, match="older_than"):
        queue.clear_processed_cache(bad)
    assert queue.dedup_lookup("k") is not None
    with pytest.raises(InvalidName):
        queue.dedup_lookup("")


def test_a_failed_attempt_tells_of_itself_only_in_history(place: Place) -> None:
    queue = place.open(history=True, results=True)
    message_id = queue.enqueue("a")
    consumer = queue.connect().consumer
    consumer.settle(consumer.failed(claim(queue), Failure("ValueError", "no")))
    queue.close()
    (record,) = place.open().history()
    assert (record.outcome, record.error) == ("retry", "no")
    with pytest.raises(NoResult):
        place.open().result(message_id)
