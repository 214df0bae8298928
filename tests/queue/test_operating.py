"""Pausing, truncating, deleting and configuring a queue that others use at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import InvalidInput, InvalidSetting, LeaseLost, Queue, QueueGone, RetryPolicy
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, keys, payloads, plant


def test_a_paused_queue_hands_out_nothing_and_takes_everything(place: Place, clock: ManualClock) -> None:
    queue, other = place.open(), place.open()
    queue.enqueue("before")
    assert other.peek()
    queue.pause()
    queue.enqueue("meanwhile")
    assert other.receive() == []
    assert other.process_once(lambda _: None) == 0
    assert queue.stats().paused is True
    queue.resume()
    clock.advance(2.5)
    assert sorted(payloads(other)) == ["before", "meanwhile"]
    assert queue.stats().paused is False


def test_what_is_in_flight_can_be_settled_while_paused(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue_many(range(4))
    first, second, third, fourth = queue.receive()
    queue.pause()
    first.ack()
    second.nack(after=1)
    third.extend(60)
    fourth.release()
    third.dead("no")
    queue.resume()
    clock.advance(2)
    stats = queue.stats()
    assert (stats.completed, stats.dead, stats.pending) == (1, 1, 2)


def test_pausing_twice_is_pausing(queue: Queue) -> None:
    queue.enqueue("a")
    queue.pause()
    queue.pause()
    queue.resume()
    assert payloads(queue) == ["a"]


def test_truncate_throws_away_what_waits_and_what_is_claimed(place: Place, clock: ManualClock) -> None:
    queue, worker = place.open(), place.open()
    queue.enqueue_many(range(2500))
    queue.enqueue("later", delay=600)
    queue.enqueue("urgent", priority=9)
    claimed = worker.receive(5)
    claimed.pop().ack()
    claimed.pop().nack(after=60)
    assert queue.truncate() == 2501
    assert queue.stats().unfinished == 0
    for message in claimed:
        with pytest.raises(LeaseLost):
            message.ack()
    clock.advance(700)
    assert worker.receive() == []
    stats = queue.stats()
    assert (stats.unfinished, stats.completed, stats.discarded) == (0, 1, 2501)
    assert keys(queue, "inbox/") == []


def test_truncate_counts_the_retries_of_this_process_too(queue: Queue) -> None:
    queue.enqueue("a")
    (message,) = queue.receive()
    message.nack(after=60)
    assert queue.truncate() == 1


def test_a_truncated_queue_goes_on(queue: Queue) -> None:
    queue.enqueue("old")
    queue.truncate()
    queue.enqueue("new")
    assert payloads(queue) == ["new"]


@pytest.mark.parametrize(("options", "left"), [({}, 1), ({"dead_letters": True}, 0)])
def test_truncate_takes_dead_letters_only_if_told(queue: Queue, options: dict[str, bool], left: int) -> None:
    queue.enqueue("a")
    queue.receive()[0].dead("no")
    queue.enqueue("b")
    assert queue.truncate(**options) == 1
    assert queue.count("dead") == left


def test_an_unfinished_queue_is_not_deleted_by_mistake(queue: Queue) -> None:
    queue.enqueue("waits")
    queue.enqueue("dies")
    queue.receive(1)[0].dead("no")
    with pytest.raises(InvalidInput, match=r"1 message and 1 dead letter.*force=True"):
        queue.delete()
    assert queue.stats().unfinished == 1


def test_a_deleted_queue_leaves_nothing(place: Place) -> None:
    queue, neighbour = place.open(), place.open("jobs-2")
    neighbour.enqueue("untouched")
    queue.enqueue("a")
    queue.process_once(lambda payload: payload)
    queue.delete()
    assert queue._open().store.list(queue.root).entries == ()
    assert not queue.exists()
    assert payloads(neighbour) == ["untouched"]


def test_force_deletes_with_everything_in_it(queue: Queue) -> None:
    queue.enqueue_many(range(1200))
    queue.receive(3)[0].dead("no")
    plant(queue, "inbox/0000/9/foreign.txt", b"foreign")
    assert queue.delete(force=True) >= 5
    assert not queue.exists()


def test_whoever_holds_a_deleted_queue_is_told(place: Place, clock: ManualClock) -> None:
    queue, other = place.open(), place.open()
    queue.enqueue("a")
    (message,) = other.receive()
    queue.delete(force=True)
    clock.advance(5)
    with pytest.raises(QueueGone, match="deleted"):
        message.ack()
    with pytest.raises(QueueGone):
        other.receive()


def test_a_deleted_queue_can_be_made_anew(queue: Queue) -> None:
    queue.enqueue("old")
    queue.delete(force=True)
    queue.enqueue("new")
    assert payloads(queue) == ["new"]


def test_settings_are_shared_and_the_first_ones_count(place: Place) -> None:
    place.open(visibility_timeout=77, max_attempts=9).connect()
    second = place.open(visibility_timeout=5, max_attempts=1)
    assert (second.settings.visibility_timeout_s, second.settings.max_attempts) == (77, 9)


def test_a_change_of_settings_reaches_the_other_processes(place: Place, clock: ManualClock) -> None:
    queue, other = place.open(), place.open()
    assert other.settings.max_attempts == 3
    retry = RetryPolicy(base_s=2, factor=3, cap_s=50, jitter=0.25)
    changed = queue.configure(
        max_attempts=8, visibility_timeout=99, failure="retry", retry=retry, results=True, max_payload_bytes=5000
    )
    clock.advance(20)
    seen = other.settings
    assert seen == changed
    assert (seen.max_attempts, seen.visibility_timeout_s, seen.failure) == (8, 99, "retry")
    assert (seen.retry, seen.results, seen.max_payload_bytes) == (retry, True, 5000)


def test_what_is_not_named_is_not_changed(place: Place) -> None:
    queue = place.open(max_attempts=9, visibility_timeout=50)
    queue.enqueue("a", priority=3)
    queue.configure(max_attempts=2)
    settings = queue.settings
    assert (settings.max_attempts, settings.visibility_timeout_s, settings.priorities) == (2, 50, (3, 0))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_attempts": 0},
        {"colour": "red"},
        {"lanes": 0},
        {"lanes": 10_000},
        {"lanes": "many"},
        {"order": "random"},
        {"failure": "maybe"},
    ],
)
def test_a_bad_change_is_refused_and_changes_nothing(queue: Queue, changes: dict[str, Any]) -> None:
    before = queue.settings
    with pytest.raises(InvalidSetting, match="Use"):
        queue.configure(**changes)
    assert queue.settings == before
