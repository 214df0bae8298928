"""Schedules interrupted at every request, by two leaders, late writes and changes: each tick is enqueued once."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from s3queue.clock import to_ms
from s3queue.core.codec import decode_schedule, encode_schedule
from s3queue.core.message import Message
from s3queue.core.payload import Seal
from s3queue.core.schedule import TICK_HEADER
from s3queue.core.transitions import Discard
from s3queue.errors import StoreRefused
from s3queue.protocol import schedules
from s3queue.protocol.moves import ORPHANED_MS
from s3queue.protocol.schedules import LOOK_S, REMOVED_MS, REREAD_S, Scheduler
from tests.protocol.rig import KEYS, Bucket, Deaths, Killed, Mortal, Process, drain
from tests.queue.clocks import START_MS
from tests.store.faulty import Faulty

FIRST_TICK_S = 20
"""The clock of a bucket starts at 40 seconds past a minute."""
assert (START_MS + FIRST_TICK_S * 1000) % 60_000 == 0


def define(process: Process, payload: Any = "tick", cron: str = "* * * * *", **more: Any) -> None:
    process.lane.settings()  # makes the queue, as whoever opens it does
    message = Message("", payload, process.lane.now_ms())
    options = {"name": "job", "timezone": "UTC", "catch_up": "one"} | more
    schedules.define(process.lane, cron=cron, message=message, **options)


def with_a_due_tick(payload: Any = "tick", cron: str = "* * * * *") -> Bucket:
    bucket = Bucket.new()
    define(bucket.process(), payload, cron)
    bucket.clock.advance(FIRST_TICK_S + 1)
    return bucket


def fire(process: Process) -> int:
    """Do what a leader does that dies in the end."""
    fired = Scheduler(process.lane).step()
    process.flush()
    return fired


def orphaned(bucket: Bucket) -> None:
    bucket.clock.advance(2 * ORPHANED_MS / 1000 + 1)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_leader_that_dies_at_any_request_neither_loses_nor_doubles_a_tick(after: bool) -> None:
    deaths = Deaths(after=after)
    for where in deaths:
        bucket = with_a_due_tick()
        with deaths.of(bucket) as store:
            fire(bucket.process(store))
        fire(bucket.process())
        assert drain(bucket) == {"tick": 1}, where
        assert bucket.ledger().outbox == {}, where
        assert bucket.ledger().counters["ticked"] == 1, where
    assert deaths.at > 6, "firing has hardly any request"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_who_finishes_a_tick_that_was_left_may_die_as_well(after: bool) -> None:
    deaths = Deaths(after=after)
    for where in deaths:
        bucket = decided_and_left()
        orphaned(bucket)
        with deaths.of(bucket) as store:
            bucket.process(store).sweeper.sweep()
        assert drain(bucket) == {"tick": 1}, where
    assert deaths.at > 5


def decided_and_left(payload: Any = "tick", *, written: bool = False) -> Bucket:
    """Return a bucket in which a tick is in the books; who decided it died before, or after, it wrote the message."""
    bucket = with_a_due_tick(payload)
    store = Faulty(bucket.memory)
    process = bucket.process(store)
    scheduler = Scheduler(process.lane)
    if not written:
        store.script(puts=["ok", "denied"])
    assert scheduler.step() == 1
    assert len(bucket.ledger().outbox) == 1
    assert len(bucket.inbox()) == written
    return bucket


def test_of_two_leaders_one_fires() -> None:
    bucket = Bucket.new()
    define(bucket.process())
    first, second = (Scheduler(bucket.process().lane) for _ in range(2))
    assert (first.step(), second.step()) == (0, 0)
    for _ in range(3):
        bucket.clock.advance(60)
        assert {first.step(), second.step()} == {0, 1}
        first, second = second, first
    assert drain(bucket) == {"tick": 3}


@pytest.mark.parametrize(
    ("day", "cron", "utc"),
    [
        ("2025-10-26", "30 2 * * *", ["00:30"]),
        ("2025-10-26", "*/30 2 * * *", ["00:00", "00:30", "01:00", "01:30"]),
        ("2026-03-29", "30 2 * * *", ["01:00"]),
        ("2026-03-29", "*/30 2 * * *", []),
    ],
)
def test_leaders_that_follow_each_other_through_a_night_that_clocks_change_fire_each_tick_once(
    day: str, cron: str, utc: list[str]
) -> None:
    bucket, midnight = Bucket.new(), datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    bucket.clock.advance((to_ms(midnight) - START_MS) / 1000)
    define(bucket.process(), cron=cron, timezone="Europe/Berlin")
    leaders = [Scheduler(bucket.process().lane) for _ in range(2)]
    for minute in range(5 * 60 * 2):
        bucket.clock.advance(30)
        leaders[minute % 2].step()
        if minute % 40 == 0:
            leaders.append(Scheduler(bucket.process().lane))
            leaders.pop(0)
    found = sorted(delivery.message.headers[TICK_HEADER] for delivery in bucket.process().claim())
    assert found == [f"{day}T{time}:00+00:00" for time in utc]


def test_of_two_leaders_at_the_same_moment_one_fires() -> None:
    bucket = with_a_due_tick()
    store, rival = Faulty(bucket.memory), bucket.process()

    def at_the_commit() -> None:
        store.before_put = lambda: None
        assert fire(rival) == 1

    store.before_put = at_the_commit
    assert fire(bucket.process(store)) == 0
    assert drain(bucket) == {"tick": 1}


def test_the_next_leader_does_not_fire_what_is_decided_and_a_sweep_writes_it() -> None:
    bucket = decided_and_left()
    assert fire(bucket.process()) == 0
    orphaned(bucket)
    assert bucket.process().sweeper.sweep().moved == 1
    assert drain(bucket) == {"tick": 1}


@pytest.mark.parametrize("puts", [["lost"], ["late"], ["ok", "lost"], ["ok", "late"]], ids=" ".join)
def test_lost_answers_and_late_writes_make_no_second_message(puts: list[str]) -> None:
    bucket = with_a_due_tick()
    store = Faulty(bucket.memory)
    process = bucket.process(store)
    scheduler = Scheduler(process.lane)
    store.script(puts=puts)
    scheduler.step()
    fire(bucket.process())
    done = drain(bucket)
    store.land()
    assert done + drain(bucket) == {"tick": 1}
    assert bucket.inbox() == []


def test_a_message_that_lands_again_after_it_was_processed_is_a_ghost() -> None:
    bucket = with_a_due_tick()
    fire(bucket.process())
    (name,) = bucket.inbox()
    body = bucket.copy_of(KEYS.message(0, name))
    assert drain(bucket) == {"tick": 1}
    bucket.plant(KEYS.message(0, name), body)
    assert drain(bucket) == {}
    assert bucket.inbox() == []


def test_a_claim_of_the_message_strikes_its_line() -> None:
    bucket = decided_and_left(written=True)
    process = bucket.process()
    process.complete(*process.claim())
    assert bucket.ledger().outbox == {}
    process.flush()
    bucket.clock.advance(2 * REMOVED_MS / 1000)  # the journal is gone as well: nothing else would know it
    assert drain(bucket) == {}


def test_whoever_fires_a_tick_its_message_has_the_same_id_and_tells_when_it_was_due() -> None:
    def message() -> Message:
        (delivery,) = bucket.process().claim()
        return delivery.message

    bucket = with_a_due_tick()
    stored = decode_schedule(bucket.copy_of(KEYS.schedule("job")), "key", Seal())
    tick_ms = START_MS + FIRST_TICK_S * 1000
    process = bucket.process()
    fire(process)
    found = message()
    assert found.id == stored.line(tick_ms, 5).message_id == stored.line(tick_ms, 6).message_id
    assert found.id != stored.line(tick_ms + 60_000, 5).message_id
    assert found.headers == {"s3queue-schedule": "job", "s3queue-tick": "2025-06-15T15:07:00+00:00"}
    (event,) = (event for event in process.told if event.name == "schedule-fired")
    assert (event.schedule, event.tick_ms, event.id) == ("job", tick_ms, found.id)


# -- changes --


def test_a_schedule_that_is_removed_during_a_fire_fires_no_more() -> None:
    bucket = with_a_due_tick()
    store, other = Faulty(bucket.memory), bucket.process()

    def at_the_commit() -> None:
        store.before_put = lambda: None
        assert schedules.remove(other.lane, "job")

    store.before_put = at_the_commit
    assert fire(bucket.process(store)) == 0
    assert drain(bucket) == {}
    assert schedules.standing(other.lane) == []


def test_a_schedule_that_is_changed_during_a_fire_fires_as_it_is_now() -> None:
    bucket = with_a_due_tick("old")
    store, other = Faulty(bucket.memory), bucket.process()

    def at_the_commit() -> None:
        store.before_put = lambda: None
        define(other, "new")

    store.before_put = at_the_commit
    assert fire(bucket.process(store)) == 1
    assert drain(bucket) == {"new": 1}


def test_a_tick_that_was_decided_is_written_though_its_schedule_was_removed() -> None:
    bucket = decided_and_left()
    assert schedules.remove(bucket.process().lane, "job")
    assert drain(bucket) == {"tick": 1}


def test_a_tick_that_was_left_is_written_as_its_schedule_is_now() -> None:
    bucket = decided_and_left("old")
    define(bucket.process(), "new")
    assert drain(bucket) == {"new": 1}


def test_a_tick_whose_schedule_somebody_deleted_is_told_and_struck() -> None:
    bucket = decided_and_left()
    bucket.memory.delete(KEYS.schedule("job"))
    orphaned(bucket)
    process = bucket.process()
    process.sweeper.sweep()
    (error,) = process.errors()
    assert KEYS.schedule("job") in error
    assert bucket.ledger().outbox == {}
    assert bucket.ledger().counters["ticked"] == 0


def test_a_schedule_made_again_does_not_fire_what_was_due_before() -> None:
    bucket = with_a_due_tick()
    process = bucket.process()
    slow = Scheduler(bucket.process().lane)
    slow._load()
    schedules.remove(process.lane, "job")
    define(process)
    assert slow.step() == 0
    assert fire(bucket.process()) == 0
    bucket.clock.advance(60)
    assert (slow.step(), fire(bucket.process())) == (1, 0)
    assert drain(bucket) == {"tick": 1}


def test_the_last_tick_of_a_removed_schedule_is_forgotten_and_a_slow_leader_is_refused() -> None:
    bucket = with_a_due_tick()
    slow = Scheduler(bucket.process().lane)
    slow._load()
    fire(bucket.process())
    schedules.remove(bucket.process().lane, "job")
    assert "job" in bucket.ledger().ticks
    bucket.clock.advance(REMOVED_MS / 1000 + 1)
    fire(bucket.process())
    assert bucket.ledger().ticks == {}
    assert slow.step() == 0
    assert drain(bucket) == {"tick": 1}


def test_a_late_write_does_not_bring_back_what_was_removed() -> None:
    bucket = Bucket.new()
    store = Faulty(bucket.memory)
    process, other = bucket.process(store), bucket.process()
    define(process, "first")
    store.script(puts=["late"])
    define(process, "second")
    assert schedules.remove(other.lane, "job")
    store.land()
    assert schedules.standing(other.lane) == []


def test_the_same_schedule_again_is_no_change() -> None:
    bucket = Bucket.new()
    store = Mortal(bucket.memory)
    process = bucket.process(store)
    define(process, {"n": [1, 2]})
    before, calls = bucket.copy_of(KEYS.schedule("job")), store.calls
    define(process, {"n": (1, 2)})
    assert (bucket.copy_of(KEYS.schedule("job")), store.calls) == (before, calls + 1)
    define(process, {"n": [True, 2]})
    assert bucket.copy_of(KEYS.schedule("job")) != before


def test_another_payload_leaves_missed_ticks_due_and_another_line_does_not() -> None:
    for cron, expected in (("* * * * *", 1), ("*/2 * * * *", 0)):
        bucket = with_a_due_tick()
        define(bucket.process(), "new", cron)
        assert fire(bucket.process()) == expected


def test_a_change_that_nobody_was_told_of_is_found_in_minutes() -> None:
    bucket = Bucket.new()
    define(bucket.process(), cron="0 0 1 1 *")
    scheduler = Scheduler(bucket.process().lane)
    scheduler.step()
    store = Mortal(bucket.memory, dies_at=4)  # between the schedule and the ledger
    with pytest.raises(Killed):
        define(bucket.process(store))
    bucket.clock.advance(REREAD_S - 1)
    assert scheduler.step() == 0
    bucket.clock.advance(60)
    assert scheduler.step() == 1


def test_a_change_is_followed_within_seconds_by_a_leader_that_does_nothing_else() -> None:
    bucket = Bucket.new()
    scheduler = Scheduler(bucket.process().lane)
    assert scheduler.step() == 0
    define(bucket.process(), cron="* * * * * *")
    bucket.clock.advance(LOOK_S)
    assert scheduler.step() > 0


# -- what was missed, what cannot be read, what it costs --


@pytest.mark.parametrize(("catch_up", "expected"), [("one", [5]), ("none", []), ("all", [1, 2, 3, 4, 5])])
def test_what_nobody_fired_is_made_up_for_as_the_schedule_says(catch_up: str, expected: list[int]) -> None:
    bucket = Bucket.new()
    define(bucket.process(), cron="0 * * * *", catch_up=catch_up)  # it is 15:06
    bucket.clock.advance(5 * 3600)
    process = bucket.process()
    scheduler = Scheduler(process.lane)
    assert scheduler.step() == len(expected)
    assert scheduler.step() == 0
    ticks = [delivery.message.headers[TICK_HEADER][11:16] for delivery in process.claim()]
    assert ticks == [f"{15 + hour}:00" for hour in expected]
    bucket.clock.advance(53 * 60 + 20)
    assert scheduler.step() == 1  # the next is on the hour


def test_one_that_cannot_be_read_is_told_and_stops_no_other() -> None:
    bucket = with_a_due_tick()
    bucket.plant(KEYS.schedule("broken"), b"{")
    bucket.plant(KEYS.schedule("copy"), bucket.copy_of(KEYS.schedule("job")))
    stored = decode_schedule(bucket.copy_of(KEYS.schedule("job")), "key", Seal())
    elsewhere = encode_schedule(stored).replace(b'"UTC"', b'"Moon/Base"').replace(b'"job"', b'"moon"')
    bucket.plant(KEYS.schedule("moon"), elsewhere)
    bucket.plant(KEYS.schedules + "note.txt", b"hello")
    process = bucket.process()
    assert fire(process) == 1
    broken, copy, moon = process.errors()
    assert KEYS.schedule("broken") in broken
    assert f"{KEYS.schedule('copy')!r} is not readable: it is the schedule 'job'" in copy
    assert moon.startswith("timezone is 'Moon/Base'.")


def test_a_scheduler_that_has_nothing_to_do_asks_nothing() -> None:
    bucket = Bucket.new()
    define(bucket.process(), cron="0 3 * * *")
    store = Mortal(bucket.memory)
    scheduler = Scheduler(bucket.process(store).lane)
    scheduler.step()
    calls = store.calls
    for _ in range(int(LOOK_S) - 1):
        bucket.clock.advance(1)
        scheduler.step()
    assert store.calls == calls
    bucket.clock.advance(1)
    scheduler.step()
    assert store.calls == calls + 1


def test_what_is_thrown_away_with_the_rest_does_not_come_back() -> None:
    bucket = decided_and_left()
    process = bucket.process()
    assert process.lane.committer.commit(Discard(in_flight=True), fresh=True) == [1]
    assert bucket.ledger().outbox == {}
    assert drain(bucket) == {}


def test_a_store_that_fails_is_asked_again() -> None:
    bucket = with_a_due_tick()
    store = Faulty(bucket.memory)
    scheduler = Scheduler(bucket.process(store).lane)
    for others in (["denied"], ["ok", "denied"], ["ok", "ok", "denied"]):
        store.script(others=others)
        with pytest.raises(StoreRefused):
            scheduler.step()
    assert scheduler.step() == 1
    assert drain(bucket) == {"tick": 1}
