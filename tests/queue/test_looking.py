"""Looking without touching: counts of every state, peeking, results."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import InvalidSetting, NotFound, Queue, RetryPolicy
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, keys


def test_an_empty_queue_has_nothing(queue: Queue) -> None:
    stats = queue.stats()
    numbers = {name: value for name, value in stats.as_dict().items() if name not in ("at_ms", "latency_ms", "paused")}
    assert set(numbers.values()) == {0}
    assert (stats.unfinished, stats.paused) == (0, False)


def test_every_state_is_counted(place: Place, clock: ManualClock) -> None:
    queue = place.open(retry=RetryPolicy(base_s=60, jitter=0), visibility_timeout=30)
    queue.enqueue_many(range(10))
    queue.enqueue_many(range(4), delay=600)
    clock.advance(2)
    first, second, third, fourth, *_ = queue.receive(5)
    first.ack()
    second.nack("later")
    third.dead("never")
    fourth.release()
    stats = queue.stats()
    assert (stats.pending, stats.scheduled, stats.processing, stats.stalled) == (6, 5, 1, 0)
    assert (stats.completed, stats.failed, stats.retried, stats.dead, stats.died) == (1, 2, 1, 1, 1)
    assert stats.unfinished == 12
    assert sum(stats.latency_ms.values()) == 1
    assert stats.latency_ms == {2048: 1}
    assert stats.at_ms == clock.now_ms()


@pytest.mark.parametrize("state", ["pending", "scheduled", "processing", "dead", "completed", "failed", "retried"])
def test_count_tells_one_number_of_the_stats(queue: Queue, state: str) -> None:
    queue.enqueue_many(range(9))
    queue.enqueue(1, delay=60)
    first, second, third, *_ = queue.receive(5)
    first.ack()
    second.nack(after=60)
    third.dead("no")
    assert queue.count(state) == getattr(queue.stats(), state)
    assert queue.count(state) > 0


@pytest.mark.parametrize("state", ["waiting", "at_ms", "paused", "latency_ms", "", "oldest_age_s"])
def test_an_unknown_state_is_refused_with_the_known_ones(queue: Queue, state: str) -> None:
    with pytest.raises(InvalidSetting, match="pending, scheduled, processing, dead, completed"):
        queue.count(state)


def test_a_claim_past_its_lease_is_stalled(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a")
    queue.receive()
    clock.advance(31)
    stats = queue.stats()
    assert (stats.processing, stats.stalled) == (1, 1)


def test_the_oldest_age_counts_from_visibility(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a", delay=10)
    clock.advance(5)
    queue.enqueue("b", delay=100)
    assert queue.stats().oldest_age_s == 0
    clock.advance(12)
    assert queue.stats().oldest_age_s == 7
    queue.receive()
    assert queue.stats().oldest_age_s == 0


def test_the_oldest_age_knows_of_what_was_claimed_and_given_back(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a")
    clock.advance(5)
    (message,) = queue.receive()
    message.release()
    clock.advance(1)
    assert queue.stats().oldest_age_s == 6


def test_stats_read_no_message(queue: Queue) -> None:
    queue.enqueue_many(range(1500))
    before = queue.meter.total("GET", "inbox")
    assert queue.count("pending") == 1500
    assert queue.meter.total("GET", "inbox") == before


def test_peek_shows_what_comes_next_and_claims_nothing(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("ordinary")
    clock.advance(0.001)
    queue.enqueue("next")
    queue.enqueue("urgent", priority=9, headers={"h": "x"})
    queue.enqueue("later", delay=60)
    found = queue.peek()
    assert [message.payload for message in found] == ["urgent", "ordinary", "next", "later"]
    assert (found[0].headers, found[0].priority, found[0].attempts) == ({"h": "x"}, 9, 0)
    assert queue.count("pending") == 3
    assert [message.payload for message in queue.receive()] == ["urgent", "ordinary", "next"]


def test_peek_passes_over_what_is_claimed_or_done(queue: Queue) -> None:
    queue.enqueue_many(range(6))
    first, second, third = queue.receive(3)
    first.ack()
    second.release()
    assert third.payload == 2
    assert [message.payload for message in queue.peek()] == [1, 3, 4, 5]


@pytest.mark.parametrize(("limit", "seen"), [(0, 0), (-1, 0), (3, 3), (100, 6)])
def test_peek_obeys_its_limit(queue: Queue, limit: int, seen: int) -> None:
    queue.enqueue_many(range(3))
    queue.enqueue_many(range(3))
    assert len(queue.peek(limit)) == seen


@pytest.mark.parametrize("value", [None, 0, {"url": "https://example.org", "n": [1, 2]}, "text"])
def test_a_result_is_kept_where_results_are_on(place: Place, value: Any) -> None:
    queue = place.open(results=True)
    message_id = queue.enqueue("a")
    with pytest.raises(NotFound):
        queue.result(message_id)
    queue.process_once(lambda _: value)
    assert place.open().result(message_id) == value


def test_no_result_is_kept_where_results_are_off(queue: Queue) -> None:
    message_id = queue.enqueue("a")
    queue.process_once(lambda payload: payload)
    assert keys(queue, "results/") == []
    with pytest.raises(NotFound, match=message_id):
        queue.result(message_id)


def test_a_failed_attempt_leaves_no_result(place: Place) -> None:
    queue = place.open(results=True)
    message_id = queue.enqueue("a")

    def fail(payload: str) -> None:
        raise ValueError(payload)

    queue.process_once(fail)
    with pytest.raises(NotFound):
        queue.result(message_id)
