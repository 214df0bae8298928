"""Retention: what is over goes, nothing else does, whoever dies in the middle."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue.core.kept import Result, encode_result, history_name
from s3queue.core.keys import ObjectName, dedup_mark, message_id_at
from s3queue.core.message import Message
from s3queue.errors import StoreUnavailable
from s3queue.protocol import retention
from s3queue.protocol.dedup import enqueue_once
from s3queue.protocol.retention import Retained, Retention
from tests.protocol.rig import KEYS, Bucket, Deaths, Mortal, Process
from tests.store.faulty import Faulty

DAY_S = 86_400
HOUR_MS = 3_600_000
ALL = Retained(results=2, history=2, reservations=2)


def result(process: Process, *, completed_after_s: float = 1) -> str:
    """Keep a result of a message that was enqueued now and completed later; return its key."""
    now = process.lane.now_ms()
    message_id = message_id_at(process.lane.ids.new(now), 0)
    key = KEYS.result(message_id)
    process.bucket.plant(key, encode_result(Result(message_id, 1, now + round(completed_after_s * 1000))))
    return key


def hour(process: Process) -> str:
    now = process.lane.now_ms()
    key = f"{KEYS.history}{history_name(now, process.lane.ids.new(now))}.jsonl.gz"
    process.bucket.plant(key, b"packed")
    return key


def reservation(process: Process, dedup_id: str) -> str:
    now = process.lane.now_ms()
    name = ObjectName(9, now, process.lane.ids.new(now), 1, dedup=dedup_mark(dedup_id))
    enqueue_once(process.lane, name, Message(message_id_at(name.id, 0), None, now), DAY_S * 1000)
    return KEYS.reservation(name.dedup)


def kept(bucket: Bucket) -> set[str]:
    return {key for folder in ("results/", "history/", "dedup/") for key in bucket.listed(folder)}


def fill(bucket: Bucket, process: Process, number: int) -> set[str]:
    return {
        key
        for each in range(number)
        for key in (result(process), hour(process), reservation(process, f"{each} at {bucket.clock.now_ms()}"))
    }


def settings() -> dict[str, Any]:
    return {"result_ttl_s": 7 * DAY_S, "history_ttl_s": 7 * DAY_S, "dedup_ttl_s": DAY_S}


def passes(process: Process, retention: Retention | None = None, *, most: int = 50) -> Retained:
    """Step as long as there is something to do, and return what was deleted."""
    agent = retention or Retention(process.lane)
    process.clock.advance(DAY_S / 4 if retention else 601)
    gone = [done for _ in range(most) if (done := agent.step()) is not None]
    return Retained(*(sum(getattr(done, name) for done in gone) for name in Retained.__dataclass_fields__))


@pytest.fixture
def bucket() -> Bucket:
    return Bucket.new()


def test_what_is_over_goes_and_the_rest_stays(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    fill(bucket, process, 2)
    bucket.clock.advance(7 * DAY_S + 2 * 3600)
    young = fill(bucket, process, 2)
    assert passes(process) == ALL
    assert kept(bucket) == young
    assert passes(process) == Retained()
    assert process.errors() == []


def test_a_result_is_kept_from_its_completion_not_from_when_its_message_was_made(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    delayed = result(process, completed_after_s=5 * DAY_S)
    result(process)
    bucket.clock.advance(8 * DAY_S)
    assert passes(process).results == 1
    assert bucket.listed("results/") == [delayed]
    bucket.clock.advance(4 * DAY_S)
    assert passes(process).results == 1


def test_an_hour_of_history_is_kept_until_its_last_minute_is_over(bucket: Bucket) -> None:
    bucket.clock.advance(3600 - bucket.clock.now_ms() % HOUR_MS / 1000)
    process = bucket.process(history_ttl_s=3600)
    hour(process)
    bucket.clock.advance(3600 + 1800 - 601)
    assert passes(process).history == 0
    bucket.clock.advance(1800)
    assert passes(process).history == 1


def test_a_reservation_is_left_alone_until_well_after_its_end(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    reservation(process, "a")
    bucket.clock.advance(DAY_S + retention.DEDUP_KEPT_MS / 1000 - 602)
    assert passes(process).reservations == 0
    assert passes(process).reservations == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_sweeper_that_dies_at_any_request_leaves_the_rest_to_the_next(after: bool) -> None:
    deaths = Deaths(after=after)
    for _ in deaths:
        bucket = Bucket.new()
        fill(bucket, bucket.process(**settings()), 2)
        bucket.clock.advance(8 * DAY_S)
        young = fill(bucket, bucket.process(**settings()), 2)
        with deaths.of(bucket) as store:
            passes(bucket.process(store, **settings()))
        bucket.clock.advance(120)  # a notice that it left ends
        passes(bucket.process(**settings()))
        assert kept(bucket) == young
    assert deaths.at > 10


def test_two_sweepers_take_turns_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAGE", 1)
    bucket = Bucket.new()
    fill(bucket, bucket.process(**settings()), 3)
    bucket.clock.advance(8 * DAY_S)
    young = fill(bucket, bucket.process(**settings()), 2)
    agents = [Retention(bucket.process(**settings()).lane) for _ in range(2)]
    bucket.clock.advance(601)
    for _ in range(20):
        for agent in agents:
            agent.step()
    assert kept(bucket) == young


def test_a_pass_goes_on_where_it_stopped_and_ends(monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    process = bucket.process(**settings())
    live = {result(process, completed_after_s=30 * DAY_S) for _ in range(3)}
    fill(bucket, process, 5)
    bucket.clock.advance(9 * DAY_S)
    agent = Retention(process.lane)
    bucket.clock.advance(601)
    first = agent.step()
    assert first is not None
    assert first.results <= 2
    rest = passes(process, agent)
    assert (first.results + rest.results, first.history + rest.history) == (5, 5)
    assert kept(bucket) == live
    assert agent.step() is None
    bucket.clock.advance(DAY_S)
    assert agent.step() is not None


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_wrong_clock_deletes_what_it_takes_for_old_and_no_more(bucket: Bucket, skew_s: int) -> None:
    process = bucket.process(**settings())
    for _ in range(3):
        fill(bucket, process, 1)
        bucket.clock.advance(DAY_S)
    bucket.clock.advance(4 * DAY_S + 1800 - 601)
    bucket.clock.skew_ms = skew_s * 1000
    gone = passes(process)
    assert gone.results == (1 if skew_s > 0 else 0)
    assert gone.history <= 1
    bucket.clock.skew_ms = 0
    live = reservation(process, "live")
    bucket.clock.skew_ms = 600_000  # a clock that is ten minutes ahead forgets nothing that is in use
    bucket.clock.advance(DAY_S - 601)
    passes(process)
    assert live in kept(bucket)


FOREIGN = [
    "results/notes.txt",
    "results/x.json",
    "results/deeper/0123456789abcdefghjk-0.json",
    "history/readme",
    "history/2001-01-01/00/0978307200000-0123456789abcdefghjk.json",
    "history/2001-01-01/07/0978307200000-0123456789abcdefghjk.jsonl.gz",
    "dedup/notes.txt",
    "dedup/ABC.json",
]


def test_what_is_foreign_or_corrupt_is_told_once_and_left(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    planted = {KEYS.root + name for name in FOREIGN}
    planted |= {KEYS.result("0123456789abcdefghjk-0"), KEYS.reservation(dedup_mark("corrupt"))}
    for key in planted:
        bucket.plant(key, b"garbage")
    newer = KEYS.result("0123456789abcdefghjk-1")
    bucket.plant(newer, b'{"format":"s3queue.result/99"}')
    fill(bucket, process, 1)
    bucket.clock.advance(9 * DAY_S)
    agent = Retention(process.lane)
    for _ in range(3):
        passes(process, agent)
    assert kept(bucket) == planted | {newer}
    told = process.errors()
    assert all(sum(f"'{key}'" in text for text in told) == 1 for key in planted | {newer})
    assert len(told) == len(planted) + 1


def test_a_store_that_fails_is_asked_again_later_and_others_get_their_turn(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    fill(bucket, process, 2)
    bucket.clock.advance(8 * DAY_S)
    faulty = Faulty(bucket.memory)
    failing = bucket.process(faulty, **settings())
    agent = Retention(failing.lane)
    bucket.clock.advance(601)
    failing.lane.settings()
    faulty.script(others=["denied"])
    with pytest.raises(Exception, match="403"):
        agent.step()
    assert agent.step() == Retained(history=2, reservations=2)
    assert agent.step() is None
    assert passes(failing, agent) == Retained(results=2)


def test_what_could_not_be_deleted_is_deleted_the_next_time(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    result(process)
    result(process)
    bucket.clock.advance(8 * DAY_S)
    faulty = Faulty(bucket.memory)
    failing = bucket.process(faulty, **settings())
    failing.lane.settings()
    faulty.script(others=["ok", "ok", "ok", *["partial"] * 50])  # a page, two results, the deletion and its repetitions
    agent = Retention(failing.lane)
    assert passes(failing, agent, most=1).results == 1
    faulty.others.clear()
    assert passes(failing, agent).results == 1


def test_dead_letters_are_kept(bucket: Bucket) -> None:
    process = bucket.process(**settings())
    process.put("poison")
    process.fail(process.claim()[0], retriable=False)
    bucket.clock.advance(400 * DAY_S)
    passes(process)
    assert len(bucket.letters()) == 1


def test_an_idle_queue_costs_three_lists_a_pass(bucket: Bucket) -> None:
    mortal = Mortal(bucket.memory)
    lane = bucket.process(mortal).lane
    lane.settings()
    before = mortal.calls
    agent = Retention(lane)
    bucket.clock.advance(601)
    assert agent.step() == Retained()
    assert agent.step() is None
    assert mortal.calls - before == 3


def test_no_answer_at_all_is_an_error(bucket: Bucket) -> None:
    faulty = Faulty(bucket.memory)
    faulty.script(others=["down"] * 100)
    agent = Retention(bucket.process(faulty).lane)
    bucket.clock.advance(601)
    with pytest.raises(StoreUnavailable):
        agent.step()
