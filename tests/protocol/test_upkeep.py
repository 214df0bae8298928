"""Janitor and sweeper: delete, journal, forget; late arrivals are adopted, ghosts are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from s3queue import Queue
from s3queue.core.codec import decode_journal
from s3queue.core.transitions import Adopt, Pause, Prune
from s3queue.core.upkeep import SETTLED_KEPT_MS
from s3queue.protocol.sweeper import LEFT_BEHIND_MS, Sweep
from s3queue.store.memory import MemoryStore
from s3queue.store.port import Page, PutMode, Store
from tests.protocol.rig import KEYS, LEDGER, Bucket, Deaths, Process, drain
from tests.queue.clocks import ManualClock
from tests.store.faulty import Faulty, Wrapper

HOUR_S = SETTLED_KEPT_MS / 1000


def journaled(bucket: Bucket) -> set[str]:
    keys = bucket.listed("settled/0000/")
    return {name for key in keys for name in decode_journal(bucket.copy_of(key), key)}


def worked_off(bucket: Bucket, count: int = 3) -> tuple[Process, list[str]]:
    """Return a process that has completed ``count`` messages, the cursor past them, and their names."""
    process = bucket.process()
    names = [process.put(f"m{serial}", age_ms=60_000) for serial in range(count)]
    process.complete(*process.claim())
    assert bucket.ledger().cursor(9) == max(names)
    assert set(bucket.ledger().settled) == set(names)
    return process, names


def land_again(bucket: Bucket, name: str, body: bytes) -> None:
    """A second copy of a PUT whose answer was lost lands."""
    assert KEYS.message(0, name) not in bucket.listed()
    bucket.plant(KEYS.message(0, name), body)


# --- the order: delete, journal, forget


class Watched(Wrapper):
    """Notes the order of what is written and deleted."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.steps: list[str] = []

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self.steps.append("ledger" if key == LEDGER else key.removeprefix("q/").split("/")[0])
        return super().put(key, body, mode)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        self.steps.append("delete")
        return super().delete_many(keys)


def test_the_order_is_delete_then_journal_then_forget() -> None:
    bucket = Bucket.new()
    _, names = worked_off(bucket)
    watched = Watched(bucket.memory)
    process = bucket.process(watched)
    process.lane.committer.read()
    process.janitor.note(names)
    process.janitor.tick(flush=True)
    process.lane.committer.commit()
    assert watched.steps == ["delete", "settled", "ledger"]
    assert journaled(bucket) == set(names)
    assert (bucket.inbox(), bucket.ledger().settled) == ([], {})


def test_a_sweep_retires_in_the_same_order_what_its_settler_left() -> None:
    bucket = Bucket.new()
    _, names = worked_off(bucket)
    bucket.clock.advance(LEFT_BEHIND_MS / 1000 + 1)
    watched = Watched(bucket.memory)
    assert bucket.process(watched).sweeper.sweep().forgotten == 3
    assert [step for step in watched.steps if step != "queue.json"] == ["ledger", "delete", "settled", "ledger"]
    assert journaled(bucket) == set(names)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("who", ["janitor", "sweeper"])
def test_whoever_dies_while_cleaning_up_leaves_nothing_lost_and_nothing_doubled(who: str, after: bool) -> None:
    deaths = Deaths(after=after)
    for where in deaths:
        bucket = Bucket.new()
        process, names = worked_off(bucket)
        waiting = process.put("waits")
        body = bucket.copy_of(KEYS.message(0, names[0]))
        bucket.clock.advance(LEFT_BEHIND_MS / 1000 + 1)
        with deaths.of(bucket) as store:
            cleaner = bucket.process(store)
            if who == "sweeper":
                cleaner.sweeper.sweep()
            else:
                cleaner.lane.committer.read()
                cleaner.janitor.note(names)
                cleaner.flush()
        forgotten = set(names) - bucket.ledger().settled.keys()
        assert forgotten <= journaled(bucket), "forgotten before it was journaled"
        assert not set(bucket.inbox()) & forgotten, "forgotten before it was deleted"
        assert waiting in bucket.inbox()
        if names[0] not in bucket.inbox():
            land_again(bucket, names[0], body)
        assert drain(bucket) == Counter({"waits": 1}), where
        bucket.clock.advance(HOUR_S + LEFT_BEHIND_MS / 1000)
        bucket.process().sweeper.sweep()
        bucket.process().sweeper.sweep()
        assert bucket.inbox() == []
        assert bucket.ledger().settled == {}
    assert deaths.at > 3


def test_what_cannot_be_deleted_is_not_forgotten() -> None:
    bucket = Bucket.new()
    _, names = worked_off(bucket)
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty)
    process.lane.committer.read()
    process.janitor.note(names)
    faulty.others.extend(["partial"] * 4)
    process.flush()
    (stuck,) = bucket.inbox()
    assert set(bucket.ledger().settled) == {stuck}
    assert journaled(bucket) == set(names) - {stuck}


def test_names_above_the_cursor_wait_for_it() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    name = process.put("m")
    process.complete(*process.claim())
    process.janitor.tick(flush=True)
    process.lane.committer.commit()
    assert bucket.inbox() == []
    assert set(bucket.ledger().settled) == {name}
    assert journaled(bucket) == set()


def test_a_part_of_an_object_that_is_still_held_keeps_it() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    process.put("a", "b", age_ms=60_000)
    first, second = process.claim()
    process.complete(first)
    process.janitor.tick(flush=True)
    assert len(bucket.inbox()) == 1
    process.complete(second)
    process.janitor.tick(flush=True)
    assert bucket.inbox() == []


# --- late arrivals and ghosts


def test_a_late_arrival_below_the_cursor_is_adopted_by_a_sweep_and_only_so() -> None:
    bucket = Bucket.new()
    process, _ = worked_off(bucket)
    process.put("late", age_ms=90_000)
    assert process.claim() == []
    assert process.sweeper.sweep().adopted == 1
    (delivery,) = process.claim()
    assert delivery.message.payload == "late"


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_ghost_is_deleted_and_not_adopted(forgotten: bool) -> None:
    bucket = Bucket.new()
    process, names = worked_off(bucket)
    body = bucket.copy_of(KEYS.message(0, names[0]))
    process.janitor.tick(flush=True)
    if forgotten:
        process.lane.committer.commit()
        assert bucket.ledger().settled == {}
    land_again(bucket, names[0], body)
    swept = bucket.process().sweeper.sweep()
    assert (swept.adopted, swept.ghosts) == (0, 1 if forgotten else 0)
    bucket.clock.advance(LEFT_BEHIND_MS / 1000 + 1)
    assert drain(bucket) == Counter()
    assert bucket.inbox() == []


def test_a_ghost_above_the_cursor_is_not_taken_for_new_an_hour_later() -> None:
    """It lies unseen while the ledger knows its name. When an idle lane forgets the name at last, it must be gone."""
    bucket = Bucket.new()
    process = bucket.process()
    name = process.put("once")
    body = bucket.copy_of(KEYS.message(0, name))
    process.complete(*process.claim())
    process.janitor.tick(flush=True)
    land_again(bucket, name, body)
    for _ in range(70):
        bucket.clock.advance(61)
        process.janitor.tick()
        process.lane.committer.commit()
        assert process.claim() == []
    assert bucket.ledger().settled == {}
    assert bucket.inbox() == []


def test_the_journal_expires_after_an_hour_and_only_then() -> None:
    bucket = Bucket.new()
    process, names = worked_off(bucket)
    process.flush()
    bucket.clock.advance(HOUR_S - 1)
    bucket.process().sweeper.sweep()
    assert journaled(bucket) == set(names)
    bucket.clock.advance(2)
    bucket.process().sweeper.sweep()
    assert journaled(bucket) == set()


def test_the_sweep_that_expires_a_journal_has_judged_by_it() -> None:
    """A lane that nobody swept for a day: the ghost that landed meanwhile goes before the journal does."""
    bucket = Bucket.new()
    process, names = worked_off(bucket)
    body = bucket.copy_of(KEYS.message(0, names[0]))
    process.flush()
    land_again(bucket, names[0], body)
    bucket.clock.advance(86_400)
    assert drain(bucket) == Counter()
    assert (bucket.inbox(), journaled(bucket)) == ([], set())


def test_a_foreign_key_in_the_journal_is_told_and_left() -> None:
    bucket = Bucket.new()
    process, _ = worked_off(bucket)
    process.flush()
    bucket.plant(KEYS.journal(0) + "notes.txt", b"hello")
    process.put("late", age_ms=90_000)
    bucket.clock.advance(HOUR_S + 1)
    assert process.sweeper.sweep().adopted == 1
    assert process.errors()
    assert all("notes.txt" in error for error in process.errors())
    assert bucket.copy_of(KEYS.journal(0) + "notes.txt") == b"hello"


class Between(Wrapper):
    """Calls ``then`` once, right before the request that ``when`` is true for."""

    def __init__(self, store: Store, when: Callable[[str, str], bool], then: Callable[[], object]) -> None:
        super().__init__(store)
        self.when, self.then, self.done = when, then, False

    def _check(self, verb: str, key: str) -> None:
        if not self.done and self.when(verb, key):
            self.done = True
            self.then()

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self._check("put", key)
        return super().put(key, body, mode)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._check("list", prefix)
        return super().list(prefix, after, limit)


@pytest.mark.parametrize("moment", ["journal is listed", "judgement is written"])
def test_a_message_processed_and_forgotten_while_a_sweep_judges_it_is_not_adopted(moment: str) -> None:
    """The sweep has listed a late arrival; a second sweep adopts it, it is processed, deleted, journaled, forgotten."""
    bucket = Bucket.new()
    process, _ = worked_off(bucket)
    process.flush()
    name = process.put("late", age_ms=90_000)
    body = bucket.copy_of(KEYS.message(0, name))
    done: list[str] = []

    def meanwhile() -> None:
        other = bucket.process()
        assert other.sweeper.sweep().adopted == 1
        deliveries = other.claim()
        done.extend(delivery.message.payload for delivery in deliveries)
        other.complete(*deliveries)
        other.flush()
        assert name not in bucket.ledger().settled
        land_again(bucket, name, body)

    def when(verb: str, key: str) -> bool:
        if moment == "journal is listed":
            return verb == "list" and key.startswith(KEYS.journal(0))
        return verb == "put" and key == LEDGER

    slow = bucket.process(Between(bucket.memory, when, meanwhile))
    assert slow.sweeper.sweep().adopted == 0
    assert done == ["late"]
    assert drain(bucket) == Counter()
    assert bucket.inbox() == []


def test_two_sweeps_at_once_adopt_a_late_arrival_once() -> None:
    bucket = Bucket.new()
    process, _ = worked_off(bucket)
    process.put("late", age_ms=90_000)
    rival = bucket.process()
    slow = bucket.process(
        Between(bucket.memory, lambda verb, key: verb == "put" and key == LEDGER, rival.sweeper.sweep)
    )
    slow.sweeper.sweep()
    assert drain(bucket) == Counter({"late": 1})
    assert bucket.ledger().counters["ticketed"] == 4


# --- the sweep's pace


def test_one_of_many_processes_sweeps() -> None:
    bucket = Bucket.new()
    worked_off(bucket)
    crew = [bucket.process() for _ in range(5)]
    swept = 0
    for _ in range(80):
        bucket.clock.advance(1)
        swept += sum(process.sweeper.step() is not None for process in crew)
    assert 2 <= swept <= 8


def test_a_sweep_rescues_even_in_a_paused_lane() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    process.put("m")
    process.claim()
    process.lane.committer.commit(Pause(True))
    bucket.clock.advance(60)
    other = bucket.process()
    assert other.sweeper.sweep().rescued == 1
    assert [event.name for event in other.told] == ["message-recovered"]


def test_a_prune_is_judged_on_the_ledger_it_meets() -> None:
    """The names were prunable when they were journaled; they still are, as cursors never go back."""
    bucket = Bucket.new()
    process, names = worked_off(bucket)
    revision = bucket.ledger().revision
    assert process.lane.committer.commit(Prune(tuple(names))) == [3]
    assert process.lane.committer.commit(Adopt((names[0],), revision)) == [None]
    assert process.lane.committer.commit(Prune(tuple(names))) == [0]


def test_a_lane_that_was_never_used_is_swept_in_peace() -> None:
    bucket = Bucket.new()
    assert bucket.process().sweeper.sweep() == Sweep()
    assert bucket.ledger().swept_at_ms == bucket.clock.now_ms()


def test_a_flush_deletes_and_journals_all_there_is_however_many_requests_it_takes() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    queue = Queue("many", store=store, clock=clock, probe=False)
    for number in range(2_500):
        queue.enqueue(number)
    clock.advance(10)
    assert queue.truncate() == 2_500
    assert store.list(f"{queue.root}inbox/").entries == ()
    assert queue.stats().discarded == 2_500


def test_a_flush_ends_though_nothing_can_be_deleted() -> None:
    class Stubborn(Wrapper):
        def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
            return tuple(keys)

    clock = ManualClock()
    queue = Queue("stubborn", store=Stubborn(MemoryStore(clock)), clock=clock, probe=False)
    queue.enqueue_many(range(3))
    assert queue.process_once(lambda payload: payload) == 3
    queue.close()
