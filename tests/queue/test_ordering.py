"""Ordered queues as applications see them: turns, retries, what cannot be read, bad input, what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import InvalidName, InvalidSetting, NonRetriable, Queue, RetryPolicy
from s3queue.protocol import arrivals
from s3queue.store.port import Store
from tests.queue.places import Place, body, heard, keys, payloads, plant
from tests.store.faulty import Wrapper

AT_ONCE = RetryPolicy(base_s=0)


def test_a_strict_queue_hands_out_one_message_at_a_time_whatever_its_group(place: Place) -> None:
    queue = place.open(order="strict")
    queue.enqueue_many(["a", "b"], group="x/y")
    queue.enqueue("c")
    (first,) = queue.receive(10)
    assert first.payload == "a"
    assert queue.receive(10) == []
    first.ack()
    assert payloads(queue) == ["b", "c"]


def test_groups_go_side_by_side_and_who_has_none_goes_unordered(place: Place) -> None:
    queue = place.open(order="strict-group")
    for group in ("a/1", "b", None):
        queue.enqueue_many([1, 2], group=group)
        place.clock.advance(0.01)
    held = queue.receive(10)
    assert [(message.group, message.payload) for message in held] == [("a/1", 1), ("b", 1), (None, 1), (None, 2)]
    held[0].ack()
    assert [(message.group, message.payload) for message in queue.receive(10)] == [("a/1", 2)]


def test_names_sort_as_enqueued_though_the_clock_stands_still_or_goes_back(place: Place) -> None:
    queue = place.open(order="strict")
    for number in range(30):
        queue.enqueue(number)
        if number == 15:
            place.clock.skew_ms = -500
    place.clock.advance(1)
    assert payloads(queue) == list(range(30))


def test_a_retry_holds_back_what_follows_and_a_death_lets_it_go_on(place: Place) -> None:
    queue = place.open(order="strict", retry=RetryPolicy(base_s=60, cap_s=60, jitter=0), max_attempts=2)
    queue.enqueue_many(["bad", "good"])
    (message,) = queue.receive()
    message.nack("no")
    assert queue.receive(wait=30) == []
    place.clock.advance(31)
    (message,) = queue.receive()
    assert (message.payload, message.attempt) == ("bad", 2)
    message.release()
    (message,) = queue.receive()
    assert message.payload == "bad"
    message.nack("no")
    assert payloads(queue) == ["good"]
    queue.enqueue("new")
    assert queue.dlq.replay(filter=lambda letter: True).refused == {}
    assert payloads(queue) == ["new", "bad"], "what is replayed goes to the end"


def test_a_message_whose_worker_died_comes_before_what_follows(place: Place) -> None:
    queue, other = place.open(order="strict"), place.open()
    queue.enqueue_many([1, 2])
    queue.receive()
    place.clock.advance(33)
    assert payloads(other) == [1, 2]


def test_what_cannot_be_read_holds_back_its_group_until_it_is_mended_or_gone(place: Place) -> None:
    queue = place.open(order="strict-group")
    for payload in ("a1", "a2"):
        queue.enqueue(payload, group="a")
    queue.enqueue("b", group="b")
    key = keys(queue, "inbox/")[0]
    was = body(queue, key)
    plant(queue, key, b"{")
    errors = heard(queue, "error")
    assert payloads(queue) == ["b"]
    assert key in str(errors[0].error)
    plant(queue, key, was)
    place.clock.advance(301)
    assert payloads(queue) == ["a1", "a2"]


def test_a_missing_message_does_not_end_process_once(place: Place) -> None:
    queue = place.open(order="strict")
    for number in range(3):
        queue.enqueue(number)
    (message,) = queue.receive()
    queue.connect().store.delete(queue.root + keys(queue, "inbox/")[1])
    message.ack()
    seen: list[Any] = []
    assert queue.process_once(seen.append) == 1
    assert seen == [2]
    assert queue.count("missing") == 1


def test_a_retry_that_vanished_is_missed_by_a_sweep(place: Place) -> None:
    queue = place.open(order="strict", retry=AT_ONCE)
    queue.enqueue_many(["a", "b"])
    queue.receive()[0].nack("no")
    queue.connect().flush()
    (retry,) = [key for key in keys(queue, "inbox/") if "-1." in key]
    queue.connect().store.delete(queue.root + retry)
    place.clock.advance(60)
    assert queue.receive() == []
    place.clock.advance(90)
    assert payloads(queue) == ["b"]
    assert queue.count("missing") == 1


class SlowPut(Wrapper):
    """A store on which the next PUT of a message takes its time."""

    def __init__(self, store: Store, place: Place) -> None:
        super().__init__(store)
        self.place, self.delay_s = place, 0.0

    def put(self, key: str, body: bytes, mode: Any) -> str:
        if "/inbox/" in key and self.delay_s:
            delay_s, self.delay_s = self.delay_s, 0.0
            self.while_it_waits()
            self.place.clock.advance(delay_s)
            self.while_it_waits()
        return self.inner.put(key, body, mode)

    def while_it_waits(self) -> None:
        """Let others work: a message of theirs, claimed and done."""
        other = self.place.open()
        other.enqueue("other", group="b")
        payloads(other)


def test_a_message_that_was_long_on_its_way_is_not_passed_over(place: Place) -> None:
    slow = SlowPut(place.open(order="strict-group").connect().store, place)
    queue = Queue("jobs", store=slow, clock=place.clock, probe=False)
    for delay_s in (1.5, 5.0):  # the cursor has not come by; it has
        slow.delay_s = delay_s
        queue.enqueue("first", group="a")
        queue.enqueue("second", group="a")
        place.clock.advance(1)
        assert payloads(place.open()) == ["first", "second"]
    assert arrivals.SLOW_MS <= 1500


def test_dedup_works_in_order(place: Place) -> None:
    queue = place.open(order="strict")
    ids = [queue.enqueue(payload, dedup_id=key) for payload, key in (("a", "1"), ("b", "2"), ("a again", "1"))]
    assert ids[0] == ids[2] != ids[1]
    assert payloads(queue) == ["a", "b"]


def test_pause_and_truncate_work_in_order(place: Place) -> None:
    queue = place.open(order="strict", retry=RetryPolicy(base_s=60))
    queue.enqueue_many(["a", "b"])
    queue.pause()
    assert queue.receive() == []
    queue.resume()
    queue.receive()[0].nack("no")
    assert queue.truncate() == 2
    queue.enqueue("c")
    assert payloads(queue) == ["c"]


def test_lifo_takes_the_newest_first(place: Place) -> None:
    queue = place.open(order="lifo")
    for number in range(5):
        queue.enqueue(number)
        place.clock.advance(0.01)
    assert payloads(queue)[:5] == [4, 3, 2, 1, 0]
    queue.enqueue("old")
    place.clock.advance(0.01)
    queue.enqueue("new")
    place.clock.advance(1.5)
    (message,) = queue.receive(1)
    assert message.payload == "new"


@pytest.mark.parametrize("options", [{"delay": 1}, {"priority": 3}])
def test_an_ordered_message_waits_for_nothing_but_those_before_it(place: Place, options: dict[str, Any]) -> None:
    queue = place.open(order="strict-group")
    with pytest.raises(InvalidSetting, match=r"strict-group.*no group"):
        queue.enqueue("x", group="a", **options)
    assert keys(queue, "inbox/") == []
    queue.enqueue("unordered", **options)
    with pytest.raises(InvalidSetting, match="order is 'strict'"):
        place.open("other", order="strict").enqueue("x", **options)


@pytest.mark.parametrize("group", ["", "x" * 201, "a\nb", 7])
def test_what_cannot_be_a_group_is_refused(place: Place, group: Any) -> None:
    queue = place.open(order="strict-group")
    with pytest.raises(InvalidName, match="group"):
        queue.enqueue("x", group=group)
    assert keys(queue, "inbox/") == []


def test_a_strict_queue_has_one_lane_and_stays_strict(place: Place) -> None:
    with pytest.raises(InvalidSetting, match="one lane"):
        place.open(order="strict", lanes=2)
    queue = place.open(order="strict")
    queue.connect()
    with pytest.raises(InvalidSetting, match="stays one"):
        queue.configure(order="fifo")


@pytest.mark.parametrize("order", ["strict", "strict-group"])
def test_a_queue_that_has_had_several_lanes_cannot_become_strict(place: Place, order: str) -> None:
    queue = place.open(lanes=4)
    queue.enqueue_many(range(3))
    queue.configure(lanes=1)
    with pytest.raises(InvalidSetting, match=f"order is '{order}', and the queue has had 4 lanes.*make another queue"):
        queue.configure(lanes=1, order=order)
    assert queue.connect().register.connect().order == "fifo"


def test_what_a_strict_queue_costs(place: Place) -> None:
    """A PUT to enqueue, a PUT to settle one and claim the next, a GET to read it; a LIST now and then."""
    queue = place.open(order="strict")
    count = 60
    for number in range(count):
        queue.enqueue(number)
    place.clock.advance(1)
    before = queue.meter.snapshot()
    seen: list[Any] = []
    assert queue.process_once(seen.append) == count
    assert seen == list(range(count))
    asked = {at: n - before.get(at, 0) for at, n in queue.meter.snapshot().items()}
    assert sum(n for (verb, what, _), n in asked.items() if (verb, what) == ("PUT", "ledger")) <= count + 4
    assert sum(n for (verb, what, _), n in asked.items() if (verb, what) == ("LIST", "inbox")) <= 5
    assert sum(n for (verb, what, _), n in asked.items() if (verb, what) == ("GET", "inbox")) == count


def test_a_non_retriable_failure_lets_the_next_have_its_turn(place: Place) -> None:
    queue = place.open(order="strict", retry=AT_ONCE, max_attempts=3)
    queue.enqueue_many(["never", "fine"])
    seen: list[Any] = []

    def handle(payload: str) -> None:
        seen.append(payload)
        if payload == "never":
            raise NonRetriable(payload)

    queue.process_once(handle)
    assert seen == ["never", "fine"]
