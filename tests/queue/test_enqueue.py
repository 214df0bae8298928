"""Enqueueing: what is written, when it is visible, in which order it comes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3queue import InvalidInput, InvalidName, InvalidPayload, InvalidSetting, Queue
from s3queue.clock import to_datetime
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, keys, payloads


@pytest.mark.parametrize("payload", [None, 0, "", False, [], {}, {"a": [1, 2.5, None, {"ö": "€😀"}]}, 2**70, "\n\0"])
def test_any_json_value_comes_back_as_it_was(queue: Queue, payload: Any) -> None:
    queue.enqueue(payload)
    (message,) = queue.receive()
    assert message.payload == payload
    assert type(message.payload) is type(payload)


def test_ids_name_the_messages_in_the_order_of_the_payloads(queue: Queue) -> None:
    ids = queue.enqueue_many(range(20))
    assert len(set(ids)) == 20
    assert [(message.id, message.payload) for message in queue.receive(20)] == list(zip(ids, range(20), strict=True))


def test_first_in_first_out_over_single_enqueues(queue: Queue, clock: ManualClock) -> None:
    for number in range(5):
        queue.enqueue(number)
        clock.advance(0.001)
    assert payloads(queue) == [0, 1, 2, 3, 4]


def test_nothing_enqueued_is_nothing_written(queue: Queue) -> None:
    assert queue.enqueue_many([]) == []
    assert keys(queue, "inbox/") == []


def test_payloads_may_come_from_an_iterator(queue: Queue) -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)

    assert len(queue.enqueue_many(numbers())) == 3
    assert payloads(queue) == [0, 1, 2]


def test_a_thousand_messages_go_into_one_object(queue: Queue) -> None:
    ids = queue.enqueue_many(range(2001))
    assert queue.meter.total("PUT", "inbox") == 3
    assert sorted(int(key.rsplit("-", 1)[1].removesuffix(".json")) for key in keys(queue, "inbox/")) == [1, 1000, 1000]
    assert len(set(ids)) == 2001
    assert queue.count("pending") == 2001


def test_large_payloads_are_cut_into_objects_of_four_mebibytes(queue: Queue) -> None:
    payload = "x" * 900_000
    queue.enqueue_many([payload] * 10)
    sizes = [entry.size for entry in queue.connect().store.list(queue.root + "inbox/").entries]
    assert len(sizes) == 3
    assert max(sizes) < (4 << 20) + 10_000
    assert payloads(queue) == [payload] * 10


def test_one_bad_payload_and_none_is_written(queue: Queue) -> None:
    with pytest.raises(InvalidPayload):
        queue.enqueue_many([*range(1500), {1, 2}])
    assert keys(queue, "inbox/") == []


def test_a_delayed_message_becomes_visible_when_its_time_has_come(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("later", delay=5)
    assert (queue.count("scheduled"), queue.count("pending")) == (1, 0)
    clock.advance(4.999)
    assert payloads(queue) == []
    clock.advance(0.001)
    assert (queue.count("scheduled"), queue.count("pending")) == (0, 1)
    assert payloads(queue) == ["later"]


def test_visible_at_is_a_time_of_the_store(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("later", visible_at=to_datetime(clock.now_ms()) + timedelta(minutes=1))
    clock.advance(59)
    assert payloads(queue) == []
    clock.advance(1)
    assert payloads(queue) == ["later"]


def test_a_visible_at_in_the_past_is_now(queue: Queue) -> None:
    queue.enqueue("old", visible_at=datetime(2001, 1, 1, tzinfo=UTC))
    assert payloads(queue) == ["old"]


def test_a_later_message_does_not_hold_up_those_behind_it(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("later", delay=600)
    clock.advance(1)
    queue.enqueue("now")
    assert payloads(queue) == ["now"]
    clock.advance(600)
    assert payloads(queue) == ["later"]


def test_the_urgent_comes_first(queue: Queue, clock: ManualClock) -> None:
    for priority in (0, 9, 5, 0, 9):
        queue.enqueue(priority, priority=priority)
        clock.advance(0.001)
    assert [(message.payload, message.priority) for message in queue.receive()] == [(p, p) for p in (9, 9, 5, 0, 0)]


def test_a_new_priority_is_seen_by_a_process_that_is_connected_already(place: Place, clock: ManualClock) -> None:
    producer, consumer = place.open(), place.open()
    producer.enqueue("ordinary")
    assert payloads(consumer) == ["ordinary"]
    producer.enqueue("urgent", priority=7)
    clock.advance(20)
    assert payloads(consumer) == ["urgent"]


def test_a_message_carries_its_headers_group_and_time(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue(1, headers={"trace": "ab-12", "ключ": "значение"}, group="eu", max_attempts=7)
    (message,) = queue.receive()
    assert message.headers == {"trace": "ab-12", "ключ": "значение"}
    assert message.group == "eu"
    assert message.enqueued_at == to_datetime(clock.now_ms())
    assert (message.attempt, message.priority) == (1, 0)


def test_what_is_not_given_is_empty(queue: Queue) -> None:
    queue.enqueue(1)
    (message,) = queue.receive()
    assert (message.headers, message.group) == ({}, None)


@pytest.mark.parametrize(
    ("options", "error", "remedy"),
    [
        ({"delay": -1}, InvalidSetting, "Use 0 to"),
        ({"delay": "5"}, InvalidSetting, "seconds"),
        ({"delay": float("nan")}, InvalidSetting, "seconds"),
        ({"delay": float("inf")}, InvalidSetting, "seconds"),
        ({"delay": True}, InvalidSetting, "seconds"),
        ({"visible_at": datetime(2030, 1, 1)}, InvalidSetting, "aware datetime"),  # noqa: DTZ001 - the mistake
        ({"visible_at": "2030-01-01"}, InvalidSetting, "aware datetime"),
        ({"visible_at": datetime(9000, 1, 1, tzinfo=UTC)}, InvalidSetting, "within a year"),
        ({"visible_at": datetime(2025, 1, 1, tzinfo=UTC), "delay": 1}, InvalidSetting, "one of them"),
        ({"priority": 10}, InvalidSetting, "0 (ordinary) to 9"),
        ({"priority": -1}, InvalidSetting, "0 (ordinary) to 9"),
        ({"priority": 1.5}, InvalidSetting, "0 (ordinary) to 9"),
        ({"priority": True}, InvalidSetting, "0 (ordinary) to 9"),
        ({"max_attempts": 0}, InvalidSetting, "1 to 1000"),
        ({"max_attempts": 2.5}, InvalidSetting, "1 to 1000"),
        ({"group": ""}, InvalidName, "printable"),
        ({"group": "a\nb"}, InvalidName, "printable"),
        ({"group": 7}, InvalidName, "printable"),
        ({"headers": {"": "x"}}, InvalidName, "printable"),
        ({"headers": {1: "x"}}, InvalidName, "printable"),
        ({"headers": {"x": 1}}, InvalidSetting, "strings of up to 2000"),
        ({"headers": {"x": "y" * 2001}}, InvalidSetting, "strings of up to 2000"),
        ({"headers": {"x": "\ud800"}}, InvalidInput, "Use"),
        ({"headers": {str(n): "x" for n in range(65)}}, InvalidSetting, "up to 64"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_written(
    queue: Queue, options: dict[str, Any], error: type[InvalidInput], remedy: str
) -> None:
    with pytest.raises(error) as refusal:
        queue.enqueue(1, **options)
    assert remedy in refusal.value.remedy
    assert keys(queue, "inbox/") == []
    assert queue.settings.priorities == (0,)
