from __future__ import annotations

import pytest

from s3queue.errors import NotFound, PreconditionFailed, StoreError
from s3queue.ids import SeededIds
from s3queue.store.memory import MemoryStore
from s3queue.store.metered import Meter, Metered, Prices, billed, usd
from s3queue.store.port import CREATE, OVERWRITE, Store
from s3queue.store.retrying import Retrying
from tests.store.conformance import StoreConformance, race
from tests.store.faulty import FakeClock, Faulty

PREFIX = "s3queue/emails/"


class TestMeteredStore(StoreConformance):
    PAGED_KEYS = 200

    @pytest.fixture
    def store(self) -> Store:
        return Metered(MemoryStore(), Meter(), PREFIX)


@pytest.fixture
def faulty() -> Faulty:
    return Faulty(MemoryStore())


@pytest.fixture
def store(faulty: Faulty) -> Metered:
    return Metered(faulty, Meter(), PREFIX)


def test_requests_are_counted_by_verb_area_and_outcome(store: Metered) -> None:
    key = f"{PREFIX}inbox/0/5/1.json"
    etag = store.put(key, b"", CREATE)
    with pytest.raises(PreconditionFailed):
        store.put(key, b"", CREATE)
    store.get(key)
    store.get(key, etag)
    with pytest.raises(NotFound):
        store.get(f"{PREFIX}queue.json")
    store.list(f"{PREFIX}inbox/")
    store.delete(key)
    store.delete_many([f"{PREFIX}dlq/1.json", key])
    assert store.meter.snapshot() == {
        ("PUT", "inbox", "ok"): 1,
        ("PUT", "inbox", "lost"): 1,
        ("GET", "inbox", "ok"): 1,
        ("GET", "inbox", "unchanged"): 1,
        ("GET", "queue.json", "missing"): 1,
        ("LIST", "inbox", "ok"): 1,
        ("DELETE", "inbox", "ok"): 1,
        ("POST", "dlq", "ok"): 1,
    }


@pytest.mark.parametrize(
    ("word", "outcome"), [("slow-down", "throttled"), ("down", "error"), ("denied", "error"), ("lost", "error")]
)
def test_failures_are_counted(faulty: Faulty, store: Metered, word: str, outcome: str) -> None:
    faulty.script(puts=[word])
    with pytest.raises(StoreError):
        store.put(f"{PREFIX}ledger/0.json", b"", OVERWRITE)
    assert store.meter.snapshot() == {("PUT", "ledger", outcome): 1}


@pytest.mark.parametrize(
    ("key", "area"),
    [
        (f"{PREFIX}ledger/0.json", "ledger"),
        (f"{PREFIX}queue.json", "queue.json"),
        (f"{PREFIX}probe-01hq7/race-1", "probe"),
        (PREFIX, "other"),
        ("s3queue/", "other"),
        ("s3queue/other/ledger/0.json", "other"),
    ],
)
def test_the_area_is_the_first_segment_below_the_prefix(store: Metered, key: str, area: str) -> None:
    store.list(key)
    assert store.meter.snapshot() == {("LIST", area, "ok"): 1}


def test_deleting_nothing_is_no_request(faulty: Faulty, store: Metered) -> None:
    assert store.delete_many([]) == ()
    assert faulty.requests == []
    assert store.meter.snapshot() == {}


def test_beneath_retries_every_attempt_counts(faulty: Faulty) -> None:
    meter = Meter()
    retrying = Retrying(Metered(faulty, meter, PREFIX), clock=FakeClock(), ids=SeededIds(1))
    faulty.script(puts=["slow-down", "lost"])
    retrying.put(f"{PREFIX}ledger/0.json", b"", CREATE)
    assert meter.snapshot() == {
        ("PUT", "ledger", "throttled"): 1,
        ("PUT", "ledger", "error"): 1,
        ("PUT", "ledger", "lost"): 1,
        ("GET", "ledger", "ok"): 1,
    }
    assert meter.billed() == {"put_list": 2, "get": 1, "delete": 0}


def test_totals_match_what_is_asked() -> None:
    meter = Meter()
    for verb, area, outcome in [("PUT", "inbox", "ok"), ("PUT", "ledger", "lost"), ("GET", "ledger", "ok")]:
        meter.add(verb, area, outcome)
    assert meter.total() == 3
    assert meter.total("PUT") == 2
    assert meter.total(area="ledger") == 2
    assert meter.total("PUT", "ledger", "lost") == 1
    assert meter.total(outcome="throttled") == 0


def test_what_is_billed_and_what_it_costs() -> None:
    counts = {
        ("PUT", "inbox", "ok"): 1_000_000,
        ("PUT", "ledger", "lost"): 100_000,  # a lost race is billed
        ("PUT", "ledger", "throttled"): 999,  # a 503 is not
        ("LIST", "inbox", "ok"): 50_000,
        ("POST", "inbox", "ok"): 50_000,
        ("GET", "inbox", "ok"): 900_000,
        ("GET", "ledger", "unchanged"): 100_000,  # a 304 is billed
        ("DELETE", "inbox", "ok"): 7,
    }
    assert billed(counts) == {"put_list": 1_200_000, "get": 1_000_000, "delete": 7}
    assert usd(counts) == pytest.approx(6.40)
    assert usd(counts, Prices(put_list=1.0, get=0.0)) == pytest.approx(1.20)


def test_a_snapshot_is_a_copy() -> None:
    meter = Meter()
    meter.snapshot()["PUT", "inbox", "ok"] = 5
    assert meter.total() == 0
    meter.add("PUT", "inbox", "ok")
    assert usd(meter) == pytest.approx(0.000005)


def test_threads_lose_no_count(store: Metered) -> None:
    def work() -> None:
        for number in range(2000):
            store.list(f"{PREFIX}inbox/{number}")

    race(work, work, work, work)
    assert store.meter.total("LIST", "inbox", "ok") == 8000
