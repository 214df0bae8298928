"""Schedules as applications make them: what is said of them, and bad input that writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from s3queue import InvalidInput, InvalidName, InvalidPayload, InvalidSetting, Queue, Schedule
from s3queue.protocol.schedules import Scheduler
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, keys

NIGHTLY: dict[str, Any] = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "payload": {"report": "daily"}}


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_a_schedule_tells_when_it_is_due_and_when_it_was(place: Place, clock: ManualClock) -> None:
    queue = place.open()
    made = queue.schedule("nightly", **NIGHTLY, priority=3, group="g", headers={"a": "b"}, max_attempts=5)
    assert made == Schedule(
        "nightly",
        "0 3 * * *",
        "Europe/Berlin",
        {"report": "daily"},
        priority=3,
        group="g",
        headers={"a": "b"},
        max_attempts=5,
        catch_up="one",
        next_at=at(2025, 6, 16, 1),
        last_at=None,
    )
    assert queue.schedules() == [made]
    clock.advance(12 * 3600)
    assert Scheduler(queue.connect().lane).step() == 1
    (found,) = place.open().schedules()
    assert (found.last_at, found.next_at) == (at(2025, 6, 16, 1), at(2025, 6, 17, 1))


def test_what_is_enqueued_is_what_was_said(place: Place, clock: ManualClock) -> None:
    queue = place.open()
    queue.schedule("nightly", **NIGHTLY, priority=3, group="g", headers={"a": "b"}, max_attempts=5)
    clock.advance(12 * 3600)
    Scheduler(queue.connect().lane).step()
    seen: list[Any] = []
    assert place.open().process_once(seen.append) == 1
    assert seen == [{"report": "daily"}]
    clock.advance(24 * 3600)
    Scheduler(queue.connect().lane).step()
    (message,) = queue.receive()
    assert (message.priority, message.group, message.max_attempts) == (3, "g", 5)
    assert message.headers == {"a": "b", "s3queue-schedule": "nightly", "s3queue-tick": "2025-06-17T01:00:00+00:00"}


def test_schedules_are_changed_and_removed_by_name(place: Place) -> None:
    queue, other = place.open(), place.open()
    queue.schedule("b", cron=" 0 3\t* * *\n")
    assert queue.schedules()[0].cron == "0 3 * * *"
    queue.schedule("a.1", cron="0 4 * * *")
    other.schedule("b", cron="0 5 * * *", payload=1)
    assert [(found.name, found.cron, found.payload) for found in queue.schedules()] == [
        ("a.1", "0 4 * * *", None),
        ("b", "0 5 * * *", 1),
    ]
    assert (queue.unschedule("b"), other.unschedule("b"), queue.unschedule("never")) == (True, False, False)
    assert [found.name for found in other.schedules()] == ["a.1"]
    queue.schedule("b", cron="0 6 * * *")
    assert [found.name for found in other.schedules()] == ["a.1", "b"]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"cron": "0 3 30 2 *"}, InvalidSetting, "cron is '0 3 30 2 \\*'"),
        ({"cron": "0 0 */40 * MON#5"}, InvalidSetting, "it never fires"),
        ({"cron": "every day"}, InvalidSetting, "cron is 'every day'"),
        ({"timezone": "Berlin"}, InvalidSetting, "timezone is 'Berlin'"),
        ({"timezone": "Europe/../Europe/Berlin"}, InvalidSetting, "timezone is"),
        ({"catch_up": "some"}, InvalidSetting, "catch_up is 'some'"),
        ({"catch_up": None}, InvalidSetting, "catch_up is None"),
        ({"priority": 10}, InvalidSetting, "priority is 10"),
        ({"max_attempts": 0}, InvalidSetting, "max_attempts is 0"),
        ({"headers": {"a": 1}}, InvalidSetting, "The header 'a'"),
        ({"group": ""}, InvalidName, "cannot be a group"),
        ({"payload": {1: 2}}, InvalidPayload, "JSON cannot hold the payload"),
        ({"payload": "x" * (1 << 20)}, InvalidPayload, "the limit is"),
        *(
            ({"name": name}, InvalidName, "cannot name a schedule")
            for name in ("a/b", "", ".", "é", "x" * 81, 7, "a\n")
        ),
    ],
)
def test_bad_input_writes_nothing(queue: Queue, options: dict[str, Any], error: type[InvalidInput], told: str) -> None:
    queue.connect()
    with pytest.raises(error, match=told):
        queue.schedule(**({"name": "job", "cron": "0 3 * * *"} | options))
    assert keys(queue) == ["queue.json"]


def test_a_bad_name_cannot_be_removed(queue: Queue) -> None:
    with pytest.raises(InvalidName):
        queue.unschedule("a/b")


def test_in_a_strictly_ordered_queue_a_tick_waits_its_turn(place: Place, clock: ManualClock) -> None:
    queue = place.open(order="strict")
    with pytest.raises(InvalidSetting, match="order is 'strict'"):
        queue.schedule("job", cron="0 * * * *", priority=1)
    queue.schedule("job", cron="0 * * * *", payload="tick")
    queue.enqueue("before")
    clock.advance(3600)
    assert Scheduler(queue.connect().lane).step() == 1
    clock.advance(5)
    queue.enqueue("after")
    seen: list[Any] = []
    assert queue.process_once(seen.append) == 3
    assert seen == ["before", "tick", "after"]
