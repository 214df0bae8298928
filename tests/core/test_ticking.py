"""Ticks in the books: each once, and none that was judged by what a schedule was before."""

from __future__ import annotations

from s3queue.core.invariants import violations
from s3queue.core.ledger import Ledger, Line
from s3queue.core.transitions import Discard, DropTicks, Fire, Reschedule, Strike, apply
from tests.core.samples import NOW, name


def tick(at: int, schedule: str = "job") -> Line:
    return Line(f"{schedule}-{at}", "tick", schedule, at, name(at + 1000 * len(schedule)), "m", NOW)


def test_a_tick_is_decided_once_and_only_forward() -> None:
    ledger, replies = apply(Ledger(), [Fire((tick(5), tick(7)), 0), Fire((tick(6), tick(7), tick(8)), 0)], NOW)
    assert replies == [[True, True], [False, False, True]]
    assert ledger.ticks == {"job": 8}
    assert ledger.counters["ticked"] == 3
    assert [line.index for line in ledger.outbox.values()] == [5, 7, 8]
    assert violations(ledger) == []


def test_schedules_do_not_hinder_each_other() -> None:
    ledger, replies = apply(Ledger(), [Fire((tick(5), tick(4, "other")), 0)], NOW)
    assert replies == [[True, True]]
    assert ledger.ticks == {"job": 5, "other": 4}


def test_what_was_fired_before_changes_nothing() -> None:
    ledger, _ = apply(Ledger(), [Fire((tick(5),), 0)], NOW)
    again, replies = apply(ledger, [Fire((tick(5),), 1)], NOW)
    assert replies == [[False]]
    assert again is ledger


def test_a_change_voids_what_was_judged_before_it() -> None:
    ledger, _ = apply(Ledger(), [Reschedule()], NOW)
    assert ledger.scheduled_at_revision == ledger.revision == 1
    again, replies = apply(ledger, [Fire((tick(5),), 0), DropTicks(("job",), 0)], NOW)
    assert replies == [None, False]
    assert again is ledger
    assert apply(ledger, [Fire((tick(5),), 1)], NOW)[1] == [[True]]


def test_a_change_in_the_same_commit_voids_it_too() -> None:
    assert apply(Ledger(), [Reschedule(), Fire((tick(5),), 0)], NOW)[1] == [None, None]


def test_who_drops_ticks_voids_the_judgement_of_those_who_know_the_schedule() -> None:
    ledger, _ = apply(Ledger(), [Fire((tick(5),), 0)], NOW)
    dropped, replies = apply(ledger, [DropTicks(("job",), 1)], NOW)
    assert replies == [True]
    assert dropped.ticks == {}
    assert apply(dropped, [Fire((tick(6),), 1)], NOW)[1] == [None]


def test_a_line_whose_schedule_is_gone_is_no_tick_after_all() -> None:
    ledger, _ = apply(Ledger(), [Fire((tick(5),), 0)], NOW)
    struck, _ = apply(ledger, [Strike(("job-5",), frozenset(["job-5"]))], NOW)
    assert (struck.counters["ticked"], struck.counters.get("missing", 0), struck.outbox) == (0, 0, {})
    assert struck.ticks == {"job": 5}
    assert violations(struck) == []


def test_what_is_discarded_in_flight_counts_as_a_message() -> None:
    ledger, _ = apply(Ledger(), [Fire((tick(5),), 0)], NOW)
    emptied, replies = apply(ledger, [Discard(in_flight=True)], NOW)
    assert replies == [1]
    assert list(emptied.settled) == [tick(5).target]
    assert violations(emptied) == []
