"""A worker among others: a lane that cannot be read, heartbeats that may not be written, settings that differ, lanes tuned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from s3queue import CorruptObject, Queue, RetryPolicy, StoreRefused
from s3queue.core.keys import message_id_at
from s3queue.core.message import Message
from s3queue.core.presence import BEAT_MS, MISSED
from s3queue.protocol.lane import ASIDE_S
from tests.queue.clocks import as_time_passes, eventually
from tests.queue.places import body, heard, plant
from tests.worker.running import FastClock, Seen, memory_url, running
from tests.worker.test_trouble import Switch

DENIED = StoreRefused("403 AccessDenied", reason="access-denied", key="jobs/workers/…")


def enqueue_into(queue: Queue, number: int, payload: Any) -> None:
    """Enqueue into that lane; producers choose at random."""
    lane = queue.connect().lanes.of(number).lane
    now = lane.now_ms()
    name = lane.naming.name(9, now, 1, "")
    lane.inbox.write(name, [Message(message_id_at(name.id, 0), payload, now)])


@pytest.mark.parametrize(("bad", "damage"), [(0, b"{"), (1, b'{"format":"s3queue.ledger/99"}')])
def test_a_lane_whose_ledger_cannot_be_read_stops_alone(bad: int, damage: bytes) -> None:
    clock = FastClock()
    queue = Queue("jobs", url=memory_url(), clock=clock, lanes=2, probe=False)
    errors, seen = heard(queue, "error"), Seen()
    enqueue_into(queue, 0, "before")
    enqueue_into(queue, 1, "before")
    with running(queue, seen) as run:
        assert eventually(as_time_passes(clock, 0.5, lambda: queue.stats().completed == 2))
        whole = body(queue, f"ledger/{bad:04}.json")
        key, begun = plant(queue, f"ledger/{bad:04}.json", damage), clock.monotonic()
        enqueue_into(queue, bad, "stuck")
        for number in range(20):
            enqueue_into(queue, 1 - bad, number)
        assert eventually(as_time_passes(clock, 0.5, lambda: set(range(20)) <= set(seen.payloads)))
        assert eventually(as_time_passes(clock, 0.5, lambda: bool(errors)))
        assert run.error is None
        assert not run.ended.is_set()
        assert run.worker._monitor.ready().facts["unreadable"] == {str(bad): key}
        since = clock.monotonic()
        while clock.monotonic() - since < 3 * ASIDE_S:
            turned = run.worker._monitor._turned_at
            clock.sleep(5)
            assert eventually(lambda: run.worker._monitor._turned_at > turned)  # noqa: B023 - asked at once
        about = [event for event in errors if getattr(event.error, "key", "") == key]
        assert 1 <= len(about) <= 2 + (clock.monotonic() - begun) / ASIDE_S, "once an interval"
        assert {event.doing for event in about} == {f"working in lane {bad}"}
        assert body(queue, f"ledger/{bad:04}.json") == damage
        assert "stuck" not in seen.payloads
        plant(queue, f"ledger/{bad:04}.json", whole)
        assert eventually(as_time_passes(clock, 0.5, lambda: "stuck" in seen.payloads))
        assert eventually(as_time_passes(clock, 0.5, lambda: queue.stats().unfinished == 0))
        assert eventually(as_time_passes(clock, 0.5, lambda: "unreadable" not in run.worker._monitor.ready().facts))
    assert run.error is None
    assert max(Counter(payload for payload in seen.payloads if isinstance(payload, int)).values()) == 1


def test_a_worker_ends_when_no_lane_can_be_read() -> None:
    queue, seen = Queue("jobs", url=memory_url(), lanes=2, probe=False), Seen()
    for number in range(2):
        enqueue_into(queue, number, number)
    queue.process_once(seen)
    with running(queue, seen) as run:
        keys = {plant(queue, f"ledger/{number:04}.json", b"{") for number in range(2)}
        assert run.ended.wait(20)
    assert isinstance(run.error, CorruptObject)
    assert run.error.key in keys


def test_a_process_without_a_worker_takes_from_the_lanes_that_can_be_read(tmp_path: Path) -> None:
    queue = Queue("jobs", url=tmp_path.as_uri(), lanes=2, probe=False)
    enqueue_into(queue, 0, "good")
    enqueue_into(queue, 1, "bad")
    queue.stats()
    key = plant(queue, "ledger/0001.json", b"{")
    queue.close()
    errors, seen = heard(queue, "error"), Seen()
    queue.process_once(seen)
    assert "good" in seen.payloads
    assert {getattr(event.error, "key", "") for event in errors} == {key}
    assert len(errors) == 1
    assert queue.receive(10) == []
    queue.close()
    assert body(queue, "ledger/0001.json") == b"{"


def test_a_worker_that_may_not_write_its_heartbeat_works_without() -> None:
    clock = FastClock()
    store = Switch(clock)
    store.area, store.error = "/workers/", DENIED
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, worker_id="w", probe=False)
    errors, seen = heard(queue, "error"), Seen()
    with running(queue, seen):
        queue.enqueue_many(range(30))
        assert eventually(lambda: queue.stats().completed == 30)
        told = [event for event in errors if event.doing == "writing a heartbeat"]
        assert len(told) == 1, "once, not at every try"
        assert "s3:PutObject" in str(told[0].error)
        assert "jobs/workers/*" in str(told[0].error)
        assert queue.connect().lane.is_present
        assert queue.connect().lane.worker.startswith("w~"), "an entry of a namesake must not end its trust"
    assert sorted(seen.payloads) == list(range(30))
    assert not store.inner.list("jobs/workers/").entries


def test_a_worker_whose_permission_is_taken_away_and_given_back_loses_nothing() -> None:
    clock = FastClock()
    store = Switch(clock)
    store.area = "/workers/"
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, worker_id="w", probe=False)
    other = Queue("jobs", url="memory://unused", store=store, clock=clock, worker_id="x", probe=False)
    seen = Seen()
    with running(queue, seen), running(other, seen):
        assert eventually(lambda: len(store.inner.list("jobs/workers/").entries) == 2)
        store.error = DENIED
        queue.enqueue_many(range(30))
        dead_s = MISSED * BEAT_MS / 1000 * 4
        since = clock.monotonic()
        assert eventually(as_time_passes(clock, 5, lambda: clock.monotonic() - since > dead_s))
        queue.enqueue_many(range(30, 60))
        assert eventually(as_time_passes(clock, 0.1, lambda: queue.stats().completed == 60))
        store.error = None
        assert eventually(
            as_time_passes(
                clock, 30, lambda: sum("~" in entry.key for entry in store.inner.list("jobs/workers/").entries) == 2
            )
        )
        queue.enqueue_many(range(60, 70))
        assert eventually(as_time_passes(clock, 0.1, lambda: queue.stats().completed == 70))
    assert Counter(seen.payloads) == Counter(range(70))


def test_other_refusals_of_a_heartbeat_still_keep_it_from_claiming() -> None:
    clock = FastClock()
    store = Switch(clock)
    store.area, store.error = "/workers/", StoreRefused("expired", reason="bad-credentials")
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, probe=False)
    queue.enqueue("a")
    seen = Seen()
    with running(queue, seen):
        assert eventually(lambda: store.refused > 3)
        assert not seen.payloads
        store.error = None
        assert eventually(lambda: seen.payloads == ["a"])


def test_two_workers_under_one_id_are_told_and_do_everything_once() -> None:
    url, clock, seen = memory_url(), FastClock(), Seen()
    both = [Queue("jobs", url=url, clock=clock, worker_id="same", probe=False) for _ in range(2)]
    told = [heard(queue, "error") for queue in both]
    with running(both[0], seen), running(both[1], seen):
        assert eventually(
            as_time_passes(clock, 2, lambda: any("used by two processes" in str(e.error) for e in [*told[0], *told[1]]))
        )
        both[0].enqueue_many(range(50))
        assert eventually(as_time_passes(clock, 0.2, lambda: both[0].stats().completed == 50))
        names = {queue.connect().lane.worker for queue in both}
    assert len(names) == 2
    assert "same" in names
    assert Counter(seen.payloads) == Counter(range(50))


def test_settings_that_differ_from_those_of_the_queue_are_told_once_and_those_of_the_queue_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = memory_url()
    Queue("jobs", url=url, lanes=4, retry=RetryPolicy(base_s=2), visibility_timeout=40, probe=False).connect()
    asked: dict[str, Any] = {
        "lanes": "auto",
        "retry": RetryPolicy(base_s=3),
        "preset": "reliable",
        "results": True,
        "max_attempts": 3,
        "dedup_ttl": 86_400,
    }
    queue = Queue("jobs", url=url, probe=False, **asked)
    told = heard(queue, "settings-differ")
    assert queue.settings.visibility_timeout_s == 40
    queue.close()
    with running(queue, Seen()):
        assert eventually(lambda: queue.connect().lane.is_present)
    (event,) = told
    assert event.asked == {"lanes": "auto", "retry": asked["retry"], "visibility_timeout": 300, "results": True}
    assert event.found == {"lanes": 4, "retry": RetryPolicy(base_s=2), "visibility_timeout": 40, "results": False}
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "Queue.configure" in record.getMessage()


def test_settings_that_agree_or_were_not_asked_for_are_not_told() -> None:
    url = memory_url()
    asked: dict[str, Any] = {"lanes": "auto", "visibility_timeout": 30.0004, "retry": RetryPolicy(base_s=1 / 3)}
    first = Queue("jobs", url=url, probe=False, **asked)
    told = heard(first, "settings-differ")
    first.configure(max_attempts=9, lanes=3)
    first.configure(lanes="auto")
    for options in (asked, {}, {"lanes": None, "max_attempts": 9}):
        queue = Queue("jobs", url=url, probe=False, **options)
        queue.on("settings-differ", told.append)
        queue.enqueue("x")
    assert told == []
