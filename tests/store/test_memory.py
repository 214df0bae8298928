from __future__ import annotations

import pytest

from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE, Replace
from tests.store.conformance import StoreConformance
from tests.store.faulty import FakeClock


class TestMemoryStore(StoreConformance):
    PAGED_KEYS = 2500
    ROUNDS = 100
    INCREMENTS = 100

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


def test_the_same_body_has_the_same_etag_as_on_s3() -> None:
    store = MemoryStore()
    first = store.put("a", b"body", CREATE)
    assert first == "841a2d689ad86bd1611447453c22c6fc"  # MD5 of b"body"
    second = store.put("a", b"other", Replace(first))
    assert store.put("a", b"body", Replace(second)) == first


def test_it_takes_its_time_from_the_clock_and_its_location_from_its_name() -> None:
    clock = FakeClock(now_ms=1_700_000_000_123)
    store = MemoryStore(clock, "memory://unit")
    assert store.now_ms() == 1_700_000_000_123
    assert store.location == "memory://unit"


def test_a_page_has_at_most_a_thousand_entries() -> None:
    store = MemoryStore()
    for number in range(1001):
        store.put(f"{number:04}", b"", CREATE)
    page = store.list("", limit=5000)
    assert (len(page.entries), page.more) == (1000, True)
