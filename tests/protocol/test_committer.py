"""Group commit in the face of every answer that a store can give, or not give."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from s3queue.core.codec import decode_ledger
from s3queue.core.draft import Draft
from s3queue.core.invariants import violations
from s3queue.core.ledger import Counter, Ledger, Line, Ticket
from s3queue.core.transitions import (
    Claim,
    Claimed,
    Handle,
    Listing,
    Outcome,
    Pause,
    Replay,
    Settle,
    Strike,
    Swept,
)
from s3queue.errors import CorruptObject, NewerFormat, OutcomeUnknown, QueueGone, StoreRefused, StoreUnavailable
from s3queue.protocol.committer import Committer, Crowding
from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE, OVERWRITE, PutMode
from tests.core.samples import name
from tests.protocol.rig import LEDGER, Killed, Mortal, committer, faulty_committer
from tests.queue.clocks import ManualClock, eventually
from tests.store.faulty import Faulty, Wrapper

WAIT_S = 20


class Count:
    """A request that counts how often it took effect."""

    def __init__(self, by: int = 1, counter: Counter = "completed") -> None:
        self.by, self.counter = by, counter

    def apply(self, draft: Draft, now: int) -> int:  # noqa: ARG002 - the face of every request
        draft.count("ticketed", self.by)
        draft.count(self.counter, self.by)
        draft.dirty = True
        return draft.counters[self.counter]


def stored(store: Any) -> Ledger:
    ledger = decode_ledger(store.get(LEDGER).body, LEDGER)
    assert violations(ledger) == []
    return ledger


def completed(store: Any) -> int:
    return stored(store).counters.get("completed", 0)


def claim(committed: Committer, names: Iterable[str], now_ms: int, room: int = 100) -> tuple[Ticket, ...]:
    (claimed,) = committed.commit(Claim("w", room, 30_000, (Listing(9, tuple(names), now_ms),)))
    assert isinstance(claimed, Claimed)
    return claimed.tickets


# --- what is written, and when


def test_nothing_is_written_when_nothing_changes() -> None:
    us, faulty, _ = faulty_committer()
    assert us.commit(Pause(False)) == [False]
    assert us.commit(Settle((Outcome(Handle("1.1", 1, name(), 0), "completed"),)), Strike(("x",))) != []
    assert "put" not in faulty.requests
    assert us.commits == 0


def test_a_commit_is_one_put_and_a_second_at_once_reads_nothing() -> None:
    us, faulty, _ = faulty_committer()
    assert us.commit(Count(), Count()) == [1, 2]
    assert us.commit(Count()) == [3]
    assert faulty.requests.count("put") == 2
    assert faulty.requests.count("get") == 1


def test_many_threads_share_few_puts() -> None:
    """While one PUT is under way, all who come wait for the next, which carries them all."""
    threads, entered, go = 24, threading.Event(), threading.Event()

    class Gate(Wrapper):
        def put(self, key: str, body: bytes, mode: PutMode) -> str:
            entered.set()
            assert go.wait(WAIT_S)
            return super().put(key, body, mode)

    clock = ManualClock()
    faulty = Faulty(MemoryStore(clock))
    us = committer(Gate(faulty), clock)
    replies: list[int] = []
    workers = [threading.Thread(target=lambda: replies.extend(us.commit(Count()))) for _ in range(threads)]
    workers[0].start()
    assert entered.wait(WAIT_S)
    for worker in workers[1:]:
        worker.start()
    wait_for(lambda: len(us._waiting) == threads - 1)
    go.set()
    for worker in workers:
        worker.join(WAIT_S)
    assert sorted(replies) == list(range(1, threads + 1))
    assert faulty.requests.count("put") == 2
    assert completed(faulty.inner) == threads


def test_racing_committers_count_each_settle_once() -> None:
    clock, each, crews = ManualClock(), 25, 3
    memory = MemoryStore(clock)
    crew = [committer(memory, clock, writer) for writer in "abc"]

    def work(us: Committer) -> None:
        for _ in range(each):
            us.commit(Count())

    threads = [threading.Thread(target=work, args=(us,)) for us in crew for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert completed(memory) == each * 2 * crews
    assert sum(us.commits for us in crew) == stored(memory).revision


def test_racing_committers_hand_out_each_message_once() -> None:
    clock = ManualClock()
    memory = MemoryStore(clock)
    names = [name(serial, 3, at_ms=clock.now_ms() - 60_000) for serial in range(60)]
    got: list[tuple[str, int]] = []

    def work(us: Committer) -> None:
        while tickets := claim(us, names, clock.now_ms(), room=7):
            got.extend((part.name, index) for t in tickets for part in t.parts for index in part.indices())

    threads = [threading.Thread(target=work, args=(committer(memory, clock, writer),)) for writer in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(got) == [(one, index) for one in names for index in range(3)]
    stored(memory)


# --- lost races


def test_a_lost_race_is_applied_to_what_the_winner_left() -> None:
    us, faulty, clock = faulty_committer()
    us.commit(Count())
    rival = committer(faulty.inner, clock, "b")
    rivals = iter([Count(10), Count(100)])

    def interfere() -> None:
        for one in rivals:
            rival.commit(one)
            break

    faulty.before_put = interfere
    assert us.commit(Count()) == [112]
    assert us.lost_races == 2
    assert stored(faulty.inner).writers.keys() == {"a", "b"}


def test_both_may_be_the_first_to_write_and_neither_is_lost() -> None:
    us, faulty, clock = faulty_committer()
    us.commit(Pause(False))  # has seen that there is no ledger
    rival = committer(faulty.inner, clock, "b")

    def interfere() -> None:
        if not faulty.inner.list(LEDGER).entries:
            rival.commit(Count(10))

    faulty.before_put = interfere
    assert us.commit(Count()) == [11]


def test_fresh_judges_on_the_newest_ledger() -> None:
    us, faulty, clock = faulty_committer()
    us.commit(Pause(True))
    committer(faulty.inner, clock, "b").commit(Pause(False))
    assert us.commit(Pause(True)) == [False], "the ledger in hand still says paused"
    assert us.commit(Pause(True), fresh=True) == [True]


# --- lost answers


@pytest.mark.parametrize("first", [True, False], ids=["create", "replace"])
@pytest.mark.parametrize("rival_follows", [False, True])
@pytest.mark.parametrize("answer", ["lost", "late-unlanded"])
def test_a_lost_answer_is_counted_once(first: bool, rival_follows: bool, answer: str) -> None:
    us, faulty, clock = faulty_committer()
    rival = committer(faulty.inner, clock, "b")
    if not first:
        us.commit(Count(1000))
    puts = iter([None])

    def after_the_first_put() -> None:
        if next(puts, "over") == "over" and rival_follows:
            rival.commit(Count(10))
            faulty.before_put = lambda: None

    faulty.before_put = after_the_first_put
    faulty.script(puts=["lost" if answer == "lost" else "late", "down", "down"])
    clock.advance(1)
    us.commit(Count())
    expected = 1 + (0 if first else 1000) + (10 if rival_follows else 0)
    assert completed(faulty.inner) == expected
    faulty.land()
    assert completed(faulty.inner) == expected, "the late copy landed on top"


def test_a_commit_that_lands_late_between_reading_back_and_trying_again_is_recognised() -> None:
    """The answer is lost, the ledger still looks untouched, and the write lands just before the second attempt."""
    us, faulty, _ = faulty_committer(patience_s=600)
    us.commit(Count(1000))
    faulty.script(puts=["late"] * 200)
    landed: list[bool] = []

    def land() -> None:
        if faulty.requests.count("put") > 30 and not landed:
            landed.append(True)
            faulty.puts.clear()
            faulty.land()

    faulty.before_put = land
    assert us.commit(Count()) == [1001]
    assert landed
    assert completed(faulty.inner) == 1001


def test_when_every_try_fails_the_caller_is_told_and_a_second_submission_is_answered_not_applied() -> None:
    us, faulty, _ = faulty_committer(patience_s=3)
    us.commit(Count(1000))
    faulty.script(puts=["lost", *["down"] * 500], others=["down"] * 500)
    request = Count()
    with pytest.raises((OutcomeUnknown, StoreUnavailable)):
        us.commit(request)
    faulty.puts.clear()
    faulty.others.clear()
    assert completed(faulty.inner) == 1001
    assert us.commit(request) == [1001]
    assert completed(faulty.inner) == 1001


def test_a_second_submission_is_applied_when_the_first_never_landed() -> None:
    us, faulty, clock = faulty_committer(patience_s=3)
    us.commit(Count(1000))
    faulty.script(puts=["late", *["down"] * 500], others=["down"] * 500)
    request = Count()
    with pytest.raises((OutcomeUnknown, StoreUnavailable)):
        us.commit(request)
    faulty.puts.clear()
    faulty.others.clear()
    committer(faulty.inner, clock, "b").commit(Count(10))
    assert us.commit(request) == [1011]
    faulty.land()
    assert completed(faulty.inner) == 1011


def test_who_has_an_answer_keeps_it_when_those_who_came_later_get_none() -> None:
    """One commit landed unanswered; what rides with the next attempt is refused. The first must not be told so."""
    us, faulty, clock = faulty_committer()
    us.commit(Count(1000))
    rival = committer(faulty.inner, clock, "b")
    told: list[Exception] = []

    def submit_another() -> None:
        try:
            us.commit(Count(7))
        except StoreRefused as error:
            told.append(error)

    other = threading.Thread(target=submit_another)

    def interfere() -> None:
        if list(faulty.puts) == ["ok", "denied"]:  # the first copy has landed, the second is on its way
            rival.commit(Count(10))
            other.start()
            wait_for(lambda: bool(us._waiting))

    faulty.before_put = interfere
    faulty.script(puts=["lost", "ok", "denied"])
    assert us.commit(Count()) == [1001]
    other.join(WAIT_S)
    assert len(told) == 1
    assert completed(faulty.inner) == 1011


def wait_for(condition: Callable[[], bool]) -> None:
    assert eventually(condition, WAIT_S)


def test_a_refused_store_is_told_at_once_and_nothing_is_in_doubt() -> None:
    us, faulty, _ = faulty_committer()
    us.commit(Count())
    faulty.script(puts=["denied"])
    with pytest.raises(StoreRefused):
        us.commit(Count())
    assert us.commit(Count()) == [2]


def test_two_committers_of_one_worker_do_not_take_each_others_commits_for_their_own() -> None:
    """A worker comes back under its old name: its committer must have a name of its own."""
    us, faulty, clock = faulty_committer("writer-1")
    us.commit(Count())
    again = committer(faulty, clock, "writer-2")
    faulty.script(puts=["late"] * 60)
    assert again.commit(Count()) == [2]
    assert completed(faulty.inner) == 2


# --- interrupted threads


def test_a_thread_stopped_in_the_middle_leaves_the_others_their_commit() -> None:
    """The other's request has been gathered already when Ctrl-C ends the thread that was to commit it."""
    us, faulty, clock = faulty_committer()
    us.commit(Count())
    rival = committer(faulty.inner, clock, "b")
    replies: list[int] = []
    other = threading.Thread(target=lambda: replies.extend(us.commit(Count(10))))
    puts: list[str] = []

    def interfere() -> None:
        puts.append("put")
        if len(puts) == 1:
            other.start()
            wait_for(lambda: bool(us._waiting))
            rival.commit(Count(100))  # so that there is a second attempt, for both
        elif len(puts) == 2:
            assert not us._waiting
            raise KeyboardInterrupt

    faulty.before_put = interfere
    with pytest.raises(KeyboardInterrupt):
        us.commit(Count())
    other.join(WAIT_S)
    assert replies == [111]
    assert completed(faulty.inner) == 111


def test_a_commit_interrupted_after_it_landed_is_known_when_submitted_again() -> None:
    clock = ManualClock()
    mortal = Mortal(MemoryStore(clock))
    us = committer(mortal, clock)
    us.commit(Count(1000))
    mortal.dies_at, mortal.after = mortal.calls + 1, True
    request = Count()
    with pytest.raises(Killed):
        us.commit(request)
    assert us.commit(request) == [1001]
    assert completed(mortal.inner) == 1001


# --- deferred requests


def test_deferred_requests_ride_with_the_next_commit() -> None:
    us, faulty, _ = faulty_committer()
    us.defer(Count(5))
    assert us.has_deferred
    assert us.commit(Count()) == [1]
    assert completed(faulty.inner) == 6
    assert not us.has_deferred
    assert faulty.requests.count("put") == 1


def test_deferred_requests_can_be_flushed_alone() -> None:
    us, faulty, _ = faulty_committer()
    us.defer(Count(5))
    assert us.commit() == []
    assert completed(faulty.inner) == 5


def test_deferred_requests_survive_a_commit_that_failed() -> None:
    us, faulty, _ = faulty_committer()
    us.defer(Count(5))
    faulty.script(puts=["denied"])
    with pytest.raises(StoreRefused):
        us.commit(Count())
    assert us.commit(Count(100)) == [100]
    assert completed(faulty.inner) == 105


# --- ledgers that cannot be used


def test_a_ledger_that_vanished_is_told_and_not_made_anew() -> None:
    us, faulty, clock = faulty_committer()
    us.commit(Count())
    faulty.inner.delete(LEDGER)
    for _ in range(3):
        with pytest.raises(QueueGone, match="ledger"):
            us.commit(Count())
        assert not faulty.inner.list(LEDGER).entries
    clock.advance(10)
    with pytest.raises(QueueGone):
        us.refresh(1.0)
    with pytest.raises(QueueGone):
        us.commit(Swept(), fresh=True)
    assert not faulty.inner.list(LEDGER).entries


@pytest.mark.parametrize("known_before", [False, True])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", CorruptObject),
        (b"{", CorruptObject),
        (json.dumps({"format": "s3queue.ledger/1"}).encode(), CorruptObject),
        (json.dumps({"format": "s3queue.ledger/2"}).encode(), NewerFormat),
        (json.dumps({"format": "other/1"}).encode(), CorruptObject),
    ],
)
def test_an_unreadable_ledger_is_left_untouched(known_before: bool, body: bytes, error: type[CorruptObject]) -> None:
    us, faulty, _ = faulty_committer()
    if known_before:
        us.commit(Count())
    faulty.inner.put(LEDGER, body, OVERWRITE)
    us.defer(Count())
    for _ in range(2):
        with pytest.raises(error, match=r"q/ledger/0000\.json"):
            us.commit(Count())
    found = faulty.inner.get(LEDGER)
    assert found is not None
    assert found.body == body


def test_a_lane_works_on_when_its_ledger_was_put_right() -> None:
    us, faulty, _ = faulty_committer()
    us.commit(Count())
    good = faulty.inner.get(LEDGER)
    assert good is not None
    faulty.inner.put(LEDGER, b"{", OVERWRITE)
    with pytest.raises(CorruptObject):
        us.commit(Count())
    faulty.inner.put(LEDGER, good.body, OVERWRITE)
    assert us.commit(Count()) == [2]


# --- replies of real requests survive re-application


def test_a_replay_whose_answer_was_lost_is_decided_once() -> None:
    us, faulty, clock = faulty_committer()
    us.commit(Count())
    line = Line("letter", "replay", "letter", 0, name(1), "m", clock.now_ms())
    faulty.script(puts=["lost"])
    assert us.commit(Replay((line,), 1)) == [[None]]
    assert stored(faulty.inner).counters["replayed"] == 1


def test_a_claim_whose_answer_was_lost_is_told_of_the_ticket_that_it_got() -> None:
    us, faulty, clock = faulty_committer()
    us.commit(Count())
    rival = committer(faulty.inner, clock, "b")
    faulty.script(puts=["lost", "down"])

    def interfere() -> None:
        if list(faulty.puts) == ["down"]:
            rival.commit(Count())

    faulty.before_put = interfere
    (ticket,) = claim(us, [name(1), name(2)], clock.now_ms())
    assert dict(stored(faulty.inner).tickets) == {ticket.id: ticket}


def test_the_first_ledger_is_created_never_written_over() -> None:
    modes = []

    class Spy(Wrapper):
        def put(self, key: str, body: bytes, mode: PutMode) -> str:
            modes.append(mode)
            return super().put(key, body, mode)

    clock = ManualClock()
    us = committer(Spy(MemoryStore(clock)), clock)
    us.commit(Count())
    us.commit(Count())
    assert modes[0] == CREATE
    assert modes[1] != OVERWRITE


def test_a_ledger_is_crowded_as_long_as_races_are_lost() -> None:
    crowding = Crowding()
    assert crowding.at(0) == 0
    found = []
    for _ in range(6):
        crowding.lost(0)
        found.append(round(crowding.at(0), 3))
    assert found == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert crowding.at(5) == 0.5
    assert crowding.at(60) == 0
    crowding.lost(60)
    assert crowding.at(60) == 0.1


def test_who_loses_a_race_finds_the_ledger_crowded() -> None:
    ours, faulty, clock = faulty_committer()
    theirs = committer(faulty.inner, clock, "b")
    ours.commit(Count())
    assert ours.crowding == 0

    def rival() -> None:
        faulty.before_put = lambda: None
        theirs.commit(Count())

    faulty.before_put = rival
    ours.commit(Count())
    assert (ours.lost_races, completed(faulty.inner)) == (1, 3)
    assert 0 < ours.crowding <= 0.1
