"""Receiving: claims, their ends, and who may settle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3queue import InvalidSetting, LeaseLost, NonRetriable, Queue
from s3queue.received import ReceivedMessage
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, heard, keys, plant

LEASE_S = 30
RESCUED_S = LEASE_S + 3  # a lease is left alone for two seconds past its end


def receive_one(queue: Queue) -> ReceivedMessage:
    (message,) = queue.receive(1)
    return message


def test_acked_is_completed_and_its_object_goes(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a")
    receive_one(queue).ack()
    stats = queue.stats()
    assert (stats.completed, stats.unfinished, stats.failed) == (1, 0, 0)
    for _ in range(2):
        clock.advance(5)
        assert queue.receive() == []
    assert keys(queue, "inbox/") == []


def test_claimed_is_hidden_from_others(place: Place) -> None:
    mine, theirs = place.open(), place.open()
    mine.enqueue("a")
    message = receive_one(mine)
    assert theirs.receive() == []
    message.ack()


def test_two_processes_share_one_object_without_overlap(place: Place) -> None:
    mine, theirs = place.open(), place.open()
    mine.enqueue_many(range(10))
    first, second = mine.receive(4), theirs.receive(10)
    assert [message.payload for message in first] == [0, 1, 2, 3]
    assert [message.payload for message in second] == [4, 5, 6, 7, 8, 9]
    for message in first + second:
        message.ack()
    assert mine.stats().completed == 10


def test_what_is_received_is_not_kept_by_what_is_processed(place: Place, clock: ManualClock) -> None:
    queue, other = place.open(visibility_timeout=LEASE_S), place.open()
    queue.enqueue_many(["mine", "its"])
    mine = receive_one(queue)
    assert queue.process_once(lambda _: clock.advance(20)) == 1
    clock.advance(RESCUED_S - 20)
    assert [message.id for message in other.receive()] == [mine.id]


def test_receive_takes_no_more_than_asked_for(queue: Queue) -> None:
    queue.enqueue_many(range(25))
    assert [len(queue.receive()), len(queue.receive(7)), len(queue.receive(100))] == [10, 7, 8]


def test_receive_waits_for_what_becomes_visible(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("later", delay=3)
    started = clock.monotonic()
    (message,) = queue.receive(wait=60)
    assert message.payload == "later"
    assert 3 <= clock.monotonic() - started <= 8


def test_receive_gives_up_when_its_wait_is_over(queue: Queue, clock: ManualClock) -> None:
    started = clock.monotonic()
    assert queue.receive(wait=20) == []
    assert 20 <= clock.monotonic() - started < 21


def test_an_unsettled_claim_ends_and_another_process_gets_it(place: Place, clock: ManualClock) -> None:
    mine, theirs = place.open(visibility_timeout=LEASE_S), place.open()
    mine.enqueue("a")
    lost = receive_one(mine)
    clock.advance(RESCUED_S)
    found = receive_one(theirs)
    assert (found.id, found.payload, found.attempt) == (lost.id, "a", 2)
    assert found.token > lost.token
    assert mine.stats().rescued == 1


@pytest.mark.parametrize("settle", ["ack", "nack", "dead", "extend"])
def test_a_rescued_claim_can_settle_nothing(place: Place, clock: ManualClock, settle: str) -> None:
    mine, theirs = place.open(visibility_timeout=LEASE_S), place.open()
    events = heard(mine, "lease-lost")
    mine.enqueue("a")
    lost = receive_one(mine)
    clock.advance(RESCUED_S)
    found = receive_one(theirs)
    arguments: dict[str, tuple[Any, ...]] = {"dead": ("reason",), "extend": (60,)}
    with pytest.raises(LeaseLost, match="idempotent") as refusal:
        getattr(lost, settle)(*arguments.get(settle, ()))
    assert (refusal.value.message_id, refusal.value.token) == (lost.id, lost.token)
    assert [event.token for event in events] == [lost.token]
    found.ack()
    stats = mine.stats()
    assert (stats.completed, stats.dead, stats.unfinished) == (1, 0, 0)


def test_a_late_ack_counts_if_nobody_has_rescued_the_message(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a")
    message = receive_one(queue)
    clock.advance(10 * LEASE_S)
    message.ack()
    assert queue.stats().completed == 1


def test_what_a_process_forgets_to_settle_comes_back_to_it(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("forgotten")
    receive_one(queue)
    seen = 0
    for _ in range(6):
        clock.advance(LEASE_S * 0.6)
        seen += len(queue.receive())
    assert seen >= 1


def test_extend_keeps_the_claim(place: Place, clock: ManualClock) -> None:
    mine, theirs = place.open(visibility_timeout=LEASE_S), place.open()
    mine.enqueue("a")
    message = receive_one(mine)
    message.extend(300)
    clock.advance(250)
    assert theirs.receive() == []
    message.ack()
    assert mine.stats().completed == 1


def test_released_goes_back_at_once_and_the_attempt_does_not_count(place: Place) -> None:
    mine, theirs = place.open(), place.open()
    mine.enqueue("a")
    receive_one(mine).release()
    found = receive_one(theirs)
    assert (found.payload, found.attempt) == ("a", 1)


def test_the_token_only_grows(queue: Queue) -> None:
    queue.enqueue("a")
    tokens = []
    for _ in range(4):
        message = receive_one(queue)
        tokens.append(message.token)
        message.release()
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("again", ["ack", "nack", "release"])
def test_a_message_is_settled_once(queue: Queue, again: str) -> None:
    queue.enqueue("a")
    message = receive_one(queue)
    message.ack()
    if again == "release":
        message.release()
    else:
        with pytest.raises(LeaseLost):
            getattr(message, again)()
    stats = queue.stats()
    assert (stats.completed, stats.failed, stats.unfinished) == (1, 0, 0)


def test_acks_of_many_threads_each_count_once(queue: Queue) -> None:
    queue.enqueue_many(range(40))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ReceivedMessage.ack, queue.receive(40)))
    stats = queue.stats()
    assert (stats.completed, stats.unfinished) == (40, 0)


def test_nacked_is_tried_again_after_the_time_asked_for(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a", headers={"h": "1"}, group="g", priority=2)
    receive_one(queue).nack("not yet", after=7)
    assert queue.count("scheduled") == 1
    clock.advance(6.9)
    assert queue.receive() == []
    clock.advance(0.1)
    message = receive_one(queue)
    assert (message.payload, message.attempt, message.headers, message.group, message.priority) == (
        "a",
        2,
        {"h": "1"},
        "g",
        2,
    )


def test_a_nack_with_an_error_says_what_it_was(place: Place) -> None:
    queue = place.open(max_attempts=1)
    queue.enqueue("a")
    receive_one(queue).nack(ValueError("broken"))
    (letter,) = queue.dlq.list()
    assert [(error.type, error.message) for error in letter.errors] == [("ValueError", "broken")]


def test_a_nack_with_a_non_retriable_error_is_final(queue: Queue) -> None:
    queue.enqueue("a")
    receive_one(queue).nack(NonRetriable("hopeless"))
    (letter,) = queue.dlq.list()
    assert (letter.reason, letter.errors[0].message) == ("non-retriable", "hopeless")


def test_dead_moves_the_message_to_the_dead_letters(queue: Queue) -> None:
    queue.enqueue("a")
    receive_one(queue).dead("no such customer")
    (letter,) = queue.dlq.list()
    assert letter.errors[0].message == "no such customer"
    assert queue.stats().unfinished == 0


@pytest.mark.parametrize("after", [-5, 1e12, float("nan"), "5", True])
def test_a_nack_for_an_impossible_time_is_refused(queue: Queue, after: Any) -> None:
    queue.enqueue("a")
    message = receive_one(queue)
    with pytest.raises(InvalidSetting, match="Use 0 to"):
        message.nack("later", after=after)
    message.ack()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "60"])
def test_an_impossible_extension_is_refused(queue: Queue, seconds: Any) -> None:
    queue.enqueue("a")
    message = receive_one(queue)
    with pytest.raises(InvalidSetting, match="Use 0 to"):
        message.extend(seconds)
    message.ack()


@pytest.mark.parametrize("count", [0, -1, 10_001, 1.5, "3", None])
def test_a_bad_number_of_messages_is_refused(queue: Queue, count: Any) -> None:
    with pytest.raises(InvalidSetting, match="1 to 10000"):
        queue.receive(count)


def test_an_unreadable_object_does_not_hide_those_behind_it(queue: Queue, clock: ManualClock) -> None:
    plant(queue, f"inbox/0000/9/{clock.now_ms() - 1000:013d}-0123456789abcdefghjk-500.json", b"garbage")
    queue.enqueue("behind")
    assert [message.payload for message in queue.receive()] == ["behind"]
