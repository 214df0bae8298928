"""Every event of a queue without a worker, with its fields."""

from __future__ import annotations

import logging

import pytest

from s3queue import InvalidSetting, LeaseLost, Queue, RetryPolicy
from s3queue.errors import StoreUnavailable
from s3queue.events import EVENTS, Event
from s3queue.store.memory import MemoryStore
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, heard, keys, plant
from tests.store.faulty import Faulty


def fields(events: list[Event], name: str) -> list[dict[str, object]]:
    return [event.fields for event in events if event.name == name]


def test_the_life_of_a_message_is_told(place: Place, clock: ManualClock) -> None:
    queue = place.open(max_attempts=2, retry=RetryPolicy(base_s=10, jitter=0), worker_id="me")
    events = heard(queue)
    started = clock.now_ms()
    ids = queue.enqueue_many(["bad", "good"])
    (key,) = keys(queue, "inbox/")

    def handler(payload: str) -> None:
        clock.advance(0.5)
        if payload == "bad":
            raise ValueError("no")

    queue.process_once(handler)
    clock.advance(20)
    queue.process_once(handler)
    queue.dlq.replay(ids[0])
    bad, good = ids
    (letter_name,) = {event.letter for event in events if event.name == "message-replayed"}
    assert fields(events, "message-enqueued") == [{"ids": ids, "object": key[len("inbox/0000/") : -len(".json")]}]
    claimed = fields(events, "message-claimed")
    assert [one["ids"] for one in claimed] == [[bad, good], [bad]]
    assert all(isinstance(one["token"], int) for one in claimed)
    assert fields(events, "message-processing") == [
        {"id": bad, "attempt": 1}, {"id": good, "attempt": 1}, {"id": bad, "attempt": 2},
    ]  # fmt: skip
    assert fields(events, "message-completed") == [{"id": good, "attempt": 1, "latency_ms": 1000}]
    (retry,) = fields(events, "message-retry")
    assert retry == {"id": bad, "attempt": 1, "at_ms": started + 10_500, "error": "ValueError: no"}
    assert fields(events, "message-dead") == [
        {"id": bad, "attempt": 2, "reason": "failed 2 of 2 attempts", "error": "ValueError: no"}
    ]
    assert fields(events, "message-replayed") == [{"id": bad, "letter": letter_name}]
    assert letter_name.endswith(bad)
    assert {event.queue for event in events} == {"jobs"}
    assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)


def test_lost_leases_and_rescues_are_told(place: Place, clock: ManualClock) -> None:
    mine, theirs = place.open(visibility_timeout=30, worker_id="mine"), place.open()
    lost_there, rescued_here = heard(mine, "lease-lost"), heard(theirs, "message-recovered")
    message_id = mine.enqueue("a")
    (message,) = mine.receive()
    clock.advance(33)
    theirs.receive()
    assert fields(rescued_here, "message-recovered") == [{"worker": "mine", "count": 1}]
    with pytest.raises(LeaseLost):
        message.ack()
    ((lost),) = fields(lost_there, "lease-lost")
    assert (lost["id"], lost["token"]) == (message_id, message.token)
    assert "rescued" in str(lost["found"])


def test_what_is_wrong_in_the_bucket_is_told(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    key = plant(queue, "inbox/0000/9/notes.txt", b"foreign")
    events = heard(queue, "error")
    with caplog.at_level(logging.ERROR, "s3queue"):
        queue.receive()
    assert [(event.error.key, event.doing) for event in events] == [(key, "listing the inbox")]
    assert key in caplog.text


def test_a_store_that_asks_to_slow_down_is_told() -> None:
    clock = ManualClock()
    store = Faulty(MemoryStore(clock))
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, probe=False)
    queue.connect()
    events = heard(queue, "s3-throttled")
    store.script(puts=["slow-down", "slow-down"])
    queue.enqueue("a")
    assert [(event.operation, event.attempt) for event in events] == [("put", 1), ("put", 2)]
    assert all(event.delay_s >= 0 for event in events)
    assert queue.count("pending") == 1


def test_all_listeners_hear_and_one_that_fails_harms_nobody(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Event) -> None:
        raise RuntimeError("listener down")

    queue.on("message-enqueued", broken)
    first, second = heard(queue, "message-enqueued"), heard(queue)
    queue.enqueue("a")
    assert [len(first), len([event for event in second if event.name == "message-enqueued"])] == [1, 1]
    assert "a listener of 'message-enqueued' failed" in caplog.text


def test_an_unknown_event_is_refused_with_the_known_ones(queue: Queue) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        queue.on("message-lost", print)
    assert all(name in refusal.value.remedy for name in EVENTS)


def test_a_field_that_an_event_lacks_is_named(queue: Queue) -> None:
    events = heard(queue, "message-enqueued")
    queue.enqueue("a")
    with pytest.raises(AttributeError, match="'message-enqueued' has no field 'token', only"):
        _ = events[0].token


def test_a_refused_enqueue_tells_nothing(queue: Queue) -> None:
    events = heard(queue, "message-enqueued")
    store = Faulty(MemoryStore(ManualClock()))
    down = Queue("jobs", url="memory://unused", store=store, clock=ManualClock(), probe=False)
    down.connect()
    told = heard(down, "message-enqueued")
    store.script(puts=["down"] * 1000)
    with pytest.raises(StoreUnavailable):
        down.enqueue("a")
    assert told == events == []
