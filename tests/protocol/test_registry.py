"""Heartbeats: who is alive, who is dead, what a dead worker held, and what a live one may rely on meanwhile."""

from __future__ import annotations

from contextlib import suppress

import pytest

from s3queue.core.presence import BEAT_MS, IDLE_BEAT_MS, MISSED, Presence, decode_presence, encode_presence
from s3queue.core.transitions import Pause
from s3queue.errors import StoreRefused
from s3queue.protocol.registry import Registration, Registry
from s3queue.store.port import OVERWRITE, PutMode
from tests.protocol.rig import KEYS, Bucket, Killed, Mortal, Process
from tests.store.faulty import Faulty, Wrapper

HOUR_MS = 3_600_000
DEAD_S = MISSED * BEAT_MS / 1000 + 3


def member(process: Process) -> Registration:
    """Return the process' registration, with its first heartbeat written."""
    registration = describe(process)
    registration.step()
    return registration


def describe(process: Process) -> Registration:
    consumer = process.consumer
    return Registration(process.lane, lambda: Presence(consumer.lane.worker, "", 0, 0, 20, held=consumer.held()))


def coordinating(bucket: Bucket) -> Process:
    """Return a process that leads the lane."""
    process = bucket.process(visibility_timeout_s=HOUR_MS / 1000)
    process.consumer.coordinate()
    process.consumer.exchange(1)
    bucket.clock.advance(3)
    process.consumer.exchange(1)
    assert process.consumer.leads
    return process


def renew(process: Process) -> None:
    """Let it lead again, taking nothing."""
    process.connection.lane.committer.commit(Pause(True))
    process.consumer.exchange(1)
    process.connection.lane.committer.commit(Pause(False))
    assert process.consumer.leads


def entry(bucket: Bucket, worker: str) -> Presence:
    key = KEYS.worker(worker)
    return decode_presence(bucket.copy_of(key), key)


def test_what_a_dead_worker_held_is_free_long_before_its_lease_ends() -> None:
    bucket = Bucket.new()
    dead, other = bucket.process(visibility_timeout_s=HOUR_MS / 1000), coordinating(bucket)
    member(dead)
    dead.put("a", "b")
    (first, _) = dead.claim()
    bucket.clock.advance(DEAD_S)
    assert not dead.consumer.is_trusted(first), "it stops before others begin"
    renew(other)
    assert other.connection.duties.rescue_from_the_dead() == 2
    assert bucket.listed("workers/") == []
    assert sorted(delivery.message.payload for delivery in other.claim()) == ["a", "b"]


def test_a_worker_that_was_silent_relies_on_nothing_that_it_claimed_before() -> None:
    bucket = Bucket.new()
    process = bucket.process(visibility_timeout_s=HOUR_MS / 1000)
    registration = member(process)
    process.put("a")
    process.put("b")
    (old,) = process.claim(1)
    bucket.clock.advance(DEAD_S)
    registration.step()
    (new,) = process.claim(1)
    assert (process.consumer.is_trusted(old), process.consumer.is_trusted(new)) == (False, True)


def test_a_claim_made_after_the_death_is_another_process_of_that_name() -> None:
    bucket = Bucket.new()
    dead, other = bucket.process(visibility_timeout_s=HOUR_MS / 1000), coordinating(bucket)
    member(dead)
    bucket.clock.advance(DEAD_S)
    dead.put("a")
    dead.claim()
    renew(other)
    assert other.connection.duties.rescue_from_the_dead() == 0
    assert [ticket.worker for ticket in bucket.ledger().tickets.values()] == ["w1"]


def test_nothing_that_is_claimed_before_the_first_heartbeat_is_relied_on() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    registration = describe(process)
    process.put("a")
    (early,) = process.claim()
    bucket.clock.advance(0.1)
    registration.step()
    assert not process.consumer.is_trusted(early)


def test_two_processes_under_one_id_are_told_apart() -> None:
    bucket = Bucket.new()
    first, second = bucket.process(), bucket.process()
    second.connection.standing.worker = "w1"
    registration = member(first)
    first.put("a")
    (held,) = first.claim()
    member(second)
    bucket.clock.advance(BEAT_MS / 1000)
    registration.step()
    assert first.lane.worker.startswith("w1~")
    assert {entry(bucket, worker).instance for worker in ("w1", first.lane.worker)} == {
        process.lane.committer.writer for process in (first, second)
    }
    assert any("used by two processes" in error for error in first.errors())
    assert not first.consumer.is_trusted(held), "the other's death would take what is claimed under its name"


def test_an_entry_from_the_future_keeps_nobody_alive_for_ever() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    ahead = Presence("ghost", "x", bucket.memory.now_ms() + 100 * HOUR_MS, BEAT_MS, 1)
    bucket.plant(KEYS.worker("ghost"), encode_presence(ahead))
    registry = Registry(process.lane)
    registry.refresh()
    assert [found.worker for found in registry.living()] == ["ghost"]
    bucket.clock.advance(DEAD_S)
    registry.refresh()
    assert [found.worker for found in registry.dead()] == ["ghost"]


def test_nobody_takes_itself_for_dead_when_its_clock_jumps() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    member(process)
    registry = Registry(process.lane)
    bucket.clock.advance(DEAD_S)
    registry.refresh()
    assert registry.dead() == []


def test_a_corrupt_entry_is_told_and_left() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    bucket.memory.put(KEYS.worker("w9"), b"{", OVERWRITE)
    registry = Registry(process.lane)
    registry.refresh()
    assert registry.living() == registry.dead() == []
    assert process.errors()
    assert bucket.listed("workers/") == [KEYS.worker("w9")]


def test_an_idle_worker_writes_ever_more_seldom_and_at_once_when_it_has_work() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    registration = member(process)
    for _ in range(8):
        bucket.clock.advance(IDLE_BEAT_MS / 1000)
        registration.step()
    assert entry(bucket, "w1").interval_ms == IDLE_BEAT_MS
    process.put("a")
    process.claim()
    bucket.clock.advance(2)
    registration.step()
    assert entry(bucket, "w1").interval_ms == BEAT_MS


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 5))
def test_whoever_dies_over_a_heartbeat_leaves_a_whole_entry_or_none(dies_at: int, after: bool) -> None:
    bucket = Bucket.new()
    process = bucket.process(Mortal(bucket.memory, dies_at=dies_at, after=after))
    with suppress(Killed):
        member(process)
    for key in bucket.listed("workers/"):
        decode_presence(bucket.copy_of(key), key)
    heir = bucket.process()
    heir.connection.standing.worker = "w1"
    member(heir)
    assert entry(bucket, "w1").instance == heir.lane.committer.writer


@pytest.mark.parametrize("answers", [["lost"], ["lost", "lost"], ["ok", "lost"]])
def test_a_heartbeat_whose_answer_is_lost_is_known_again(answers: list[str]) -> None:
    bucket = Bucket.new()
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty)
    faulty.script(puts=answers)
    registration = member(process)
    bucket.clock.advance(BEAT_MS / 1000)
    registration.step()
    process.put("a")
    (held,) = process.claim()
    assert process.consumer.is_trusted(held)
    assert not process.errors()
    assert entry(bucket, "w1").worker == process.lane.worker == "w1"


def test_a_heartbeat_that_fails_is_tried_again_after_a_second_whoever_asks() -> None:
    bucket = Bucket.new()
    tries: list[str] = []

    class Expired(Wrapper):
        def put(self, key: str, body: bytes, mode: PutMode) -> str:
            tries.append(key)
            if len(tries) < 3:
                raise StoreRefused("The token is expired.", reason="bad-credentials")
            return super().put(key, body, mode)

    registration = describe(bucket.process(Expired(bucket.memory)))
    for _ in range(2):
        with pytest.raises(StoreRefused):
            registration.step()
        assert not registration.step()
        bucket.clock.advance(1)
    assert registration.step()
    assert len(tries) == 3
    assert entry(bucket, "w1").worker == "w1"


@pytest.mark.parametrize("listed", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize("answers", [["denied"], ["late"]])
def test_a_process_that_is_denied_its_heartbeat_is_nobody_that_could_be_taken_for_dead(
    answers: list[str], listed: bool
) -> None:
    bucket = Bucket.new()
    faulty = Faulty(bucket.memory)
    process, other = bucket.process(faulty, visibility_timeout_s=HOUR_MS / 1000), coordinating(bucket)
    process.lane.settings()
    registration = member(process) if listed else describe(process)
    process.put("a")
    (before,) = process.claim()
    bucket.clock.advance(BEAT_MS / 1000)
    faulty.script(puts=[*answers, *["denied"] * 20])
    assert not registration.step()
    faulty.puts.clear()
    faulty.land()  # what was on its way when permission was taken away lies under the old name
    assert process.lane.worker.startswith("w1~")
    bucket.clock.advance(0.1)
    process.put("b")
    (after,) = process.claim()
    bucket.clock.advance(DEAD_S)
    renew(other)
    other.connection.duties.rescue_from_the_dead()
    assert (process.consumer.is_trusted(before), process.consumer.is_trusted(after)) == (False, True)
    process.complete(after)
    assert [str(error) for error in process.errors() if "s3:PutObject" in error] == process.errors()
    bucket.clock.advance(IDLE_BEAT_MS / 1000)
    assert registration.step(), "the permission is back"
    assert entry(bucket, process.lane.worker).instance == process.lane.committer.writer
