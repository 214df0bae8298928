from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from s3queue.errors import StoreRefused, StoreUnavailable, UnsafeStore
from s3queue.ids import SeededIds
from s3queue.store.file import FileStore
from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE, Create, Replace, Store
from s3queue.store.probe import ProbeReport, ensure_safe, probe
from s3queue.store.retrying import Retrying
from tests.store import faulty
from tests.store.faulty import FakeClock, Faulty

PREFIX = "s3queue/emails/"


def run(store: Store, racers: int = 4, rounds: int = 3) -> ProbeReport:
    return probe(store, PREFIX, ids=SeededIds(1), clock=FakeClock(), racers=racers, rounds=rounds)


def retrying(store: Store) -> Retrying:
    return Retrying(store, clock=FakeClock(), ids=SeededIds(2))


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_an_honest_store_passes_and_is_left_clean(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else FileStore(tmp_path / "bucket", fsync=False)
    store.put(f"{PREFIX}queue.json", b"{}", CREATE)
    report = run(store)
    assert report.failed == ()
    assert report.ok
    assert report.location == store.location
    assert len(report.checks) == 13
    assert all(check.evidence for check in report.checks)
    assert [entry.key for entry in store.list("").entries] == [f"{PREFIX}queue.json"]


def test_it_tells_how_many_requests_it_took() -> None:
    counted = Faulty(MemoryStore())
    report = run(counted)
    assert report.requests == len(counted.requests)
    assert 50 < report.requests < 80


def test_an_honest_store_with_lost_answers_passes() -> None:
    store = Faulty(MemoryStore())
    store.script(puts=["lost", "ok", "slow-down", "lost", "down"] * 100, others=["down", "ok", "ok", "slow-down"] * 100)
    assert run(retrying(store)).failed == ()


def test_a_race_without_any_answer_is_held_against_nobody() -> None:
    """Four racers, four time-outs that were not carried out, and the deadline: unknown, and nothing there."""
    store = Faulty(MemoryStore())
    store.script(puts=["late"] * 4)
    report = run(Retrying(store, clock=FakeClock(), ids=SeededIds(2), deadline_s=0), rounds=1)
    assert "create-only has exactly one winner" not in {check.name for check in report.failed}


LIARS: dict[str, tuple[Callable[[Store], Store], str]] = {
    "ignores If-Match": (faulty.IgnoresIfMatch, "replace by ETag has exactly one winner"),
    "ignores If-None-Match": (faulty.IgnoresIfNoneMatch, "create-only has exactly one winner"),
    "checks, then creates": (lambda s: faulty.ChecksThenActs(s, 4, Create), "create-only has exactly one winner"),
    "checks, then replaces": (lambda s: faulty.ChecksThenActs(s, 4, Replace), "replace by ETag has exactly one winner"),
    "replaces what is not there": (faulty.ReplaceCreates, "replace is refused where no object is"),
    "refuses every If-Match": (faulty.RefusesIfMatch, "replace by ETag has exactly one winner"),
    "refuses every create": (faulty.RefusesEveryCreate, "create-only has exactly one winner"),
    "writes what it refuses": (faulty.RefusesAfterWriting, "create-only has exactly one winner"),
    "writes nothing": (faulty.WritesNothing, "a read sees the last write"),
    "reads stale": (faulty.ReadsStale, "a read sees the last write"),
    "returns another ETag": (faulty.OtherEtagOnWrite, "a write returns the ETag that a read returns"),
    "never says unchanged": (faulty.NeverUnchanged, "a read with the current ETag says unchanged"),
    "always says unchanged": (faulty.AlwaysUnchanged, "a read with an older ETag returns the object"),
    "lists unsorted": (faulty.ListsUnsorted, "a listing is complete and sorted"),
    "lists from the key on": (
        faulty.ListsAfterInclusive,
        "a page starts after a key, keeps its limit and says that more follows",
    ),
    "ignores the limit": (
        faulty.ListsWithoutLimit,
        "a page starts after a key, keeps its limit and says that more follows",
    ),
    "never says more": (faulty.NeverSaysMore, "a page starts after a key, keeps its limit and says that more follows"),
    "always says more": (faulty.AlwaysSaysMore, "a listing tells sizes and its end"),
    "deletes nothing": (faulty.DeletesNothing, "a deleted object is gone"),
}


@pytest.mark.parametrize("liar", LIARS)
def test_a_store_that_lies_is_refused(liar: str) -> None:
    make, broken = LIARS[liar]
    report = run(make(MemoryStore()))
    assert broken in {check.name for check in report.failed}
    with pytest.raises(UnsafeStore) as caught:
        ensure_safe(retrying(make(MemoryStore(name="memory://liar"))), PREFIX, ids=SeededIds(1), clock=FakeClock())
    first = report.failed[0]
    assert caught.value.location == "memory://liar"
    assert caught.value.condition == first.name
    for fact in ("memory://liar", first.name, "Use a store with atomic conditional PUT"):
        assert fact in str(caught.value)


def test_every_check_has_a_liar_that_fails_it() -> None:
    caught = {check.name for make, _ in LIARS.values() for check in run(make(MemoryStore())).failed}
    assert {check.name for check in run(MemoryStore()).checks} - caught == set()


def test_the_evidence_says_what_was_seen() -> None:
    report = run(faulty.IgnoresIfMatch(MemoryStore()))
    evidence = {check.name: check.evidence for check in report.failed}
    assert evidence["replace by ETag has exactly one winner"] == "4 of 4 writers were told that they had won"
    assert evidence["a stale ETag is refused"] == "won: b'second' became b'intruder'"


def test_a_safe_store_gives_its_report() -> None:
    assert ensure_safe(MemoryStore(), PREFIX, ids=SeededIds(1), clock=FakeClock(), rounds=1).ok


@pytest.mark.parametrize(("word", "error"), [("slow-down", StoreUnavailable), ("denied", StoreRefused)])
@pytest.mark.parametrize("after", [0, 5, 20])
def test_no_answer_is_no_verdict(word: str, error: type[Exception], after: int) -> None:
    store = Faulty(MemoryStore())
    store.script(puts=["ok"] * after + [word] * 10_000)
    with pytest.raises(error):
        ensure_safe(retrying(store), PREFIX, ids=SeededIds(1), clock=FakeClock())
    assert store.inner.list("").entries == ()


def test_a_store_that_will_not_be_cleaned_is_judged_all_the_same() -> None:
    store = Faulty(MemoryStore())

    def delete_many(keys: Sequence[str]) -> tuple[str, ...]:
        raise StoreRefused(f"403 for {keys}", reason="access-denied")

    store.delete_many = delete_many  # type: ignore[method-assign]
    assert run(store).ok
    assert store.inner.list("").entries


def test_two_probes_do_not_meet() -> None:
    store = MemoryStore()
    ids, clock = SeededIds(1), FakeClock()
    store.delete_many = lambda _keys: ()  # type: ignore[method-assign, assignment]
    for _ in range(2):
        assert probe(store, PREFIX, ids=ids, clock=clock, rounds=1).ok
    assert len({entry.key.split("/")[2] for entry in store.list("").entries}) == 2
