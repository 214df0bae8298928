"""A store that fails under a running worker: what it outlasts, and what it must not go on with."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Lock
from typing import Any

import pytest

from s3queue import CorruptObject, Queue, QueueGone, RetryPolicy, StoreRefused, StoreUnavailable, Worker
from s3queue.store.memory import MemoryStore
from s3queue.store.port import Object, Page, PutMode
from tests.queue.clocks import as_time_passes, eventually
from tests.queue.places import body, heard, plant
from tests.store.faulty import Wrapper
from tests.worker.running import FastClock, Seen, memory_url, running


class Switch(Wrapper):
    """A store that raises what it is told to for the requests it is told to: ``get``, ``put``, ``list``, ``delete``."""

    def __init__(self, clock: FastClock) -> None:
        super().__init__(MemoryStore(clock))
        self.error: Exception | None = None
        self.only = ""
        self.area = ""
        self.refused = 0

    def _check(self, verb: str, key: str) -> None:
        if self.error is not None and self.only in ("", verb) and self.area in key:
            self.refused += 1
            raise self.error

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        self._check("get", key)
        return super().get(key, if_none_match)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self._check("put", key)
        return super().put(key, body, mode)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        self._check("delete", keys[0])
        return super().delete_many(keys)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._check("list", prefix)
        return super().list(prefix, after, limit)


class Counting:
    """A handler that counts each payload and turns the store off in the middle."""

    def __init__(self, store: Switch, error: Exception, at: int) -> None:
        self._store, self._error, self._at = store, error, at
        self._lock = Lock()
        self.counts: dict[int, int] = {}

    def __call__(self, payload: int) -> None:
        with self._lock:
            self.counts[payload] = self.counts.get(payload, 0) + 1
            if len(self.counts) == self._at and self.counts[payload] == 1:
                self._store.error = self._error


DOWN = StoreUnavailable("The store is down.", maybe_applied=False)
DENIED = StoreRefused("The credentials ran out.", reason="bad-credentials")


@pytest.mark.parametrize("error", [DOWN, DENIED], ids=["down", "refused"])
@pytest.mark.parametrize(
    ("only", "area"), [("", ""), ("list", ""), ("get", ""), ("put", "/ledger/"), ("get", "/inbox/")]
)
def test_a_worker_outlasts_a_store_that_fails_for_a_while(error: Exception, only: str, area: str) -> None:
    clock = FastClock()
    store = Switch(clock)
    store.only, store.area = only, area
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, visibility_timeout=12 * 3600, probe=False)
    for number in range(60):
        queue.enqueue(number)
    handler = Counting(store, error, at=5)
    with running(queue, handler, concurrency=2, prefetch=8):
        assert eventually(lambda: store.refused >= 3)
        store.error = None
        # An object that could not be read is left alone for a few seconds: let them pass.
        assert eventually(as_time_passes(clock, 0.1, lambda: queue.stats().completed == 60))
    stats = queue.stats()
    assert (stats.unfinished, stats.dead, stats.failed) == (0, 0, 0)
    assert set(handler.counts.values()) == {1}


@pytest.mark.parametrize(("only", "area"), [("put", "/ledger/"), ("list", "/inbox/")])
@pytest.mark.parametrize("burst", [False, True])
def test_a_worker_that_may_not_claim_ends_at_once_and_says_why(only: str, area: str, burst: bool) -> None:
    store = Switch(FastClock())
    queue = Queue("jobs", url="memory://unused", store=store, probe=False)
    queue.enqueue(1)
    store.only, store.area, store.error = only, area, StoreRefused("Allow s3:PutObject.", reason="access-denied")
    with pytest.raises(StoreRefused, match="Allow s3:PutObject"):
        Worker(queue, print, burst=burst).run(signals=False)


def test_retries_outlast_it_too() -> None:
    clock = FastClock()
    store = Switch(clock)
    retry = RetryPolicy(base_s=0)
    queue = Queue(
        "jobs", url="memory://unused", store=store, clock=clock, visibility_timeout=12 * 3600, retry=retry, probe=False
    )
    queue.enqueue_many(range(20), max_attempts=2)
    tries: list[int] = []

    def fail(payload: int) -> None:
        tries.append(payload)
        if len(tries) == 5:
            store.error = DOWN
        raise ValueError(payload)

    with running(queue, fail, concurrency=1):
        assert eventually(lambda: store.refused >= 3)
        store.error = None
        # A move that could not be made is left to the sweep, which waits half a minute: let it pass.
        assert eventually(as_time_passes(clock, 1, lambda: queue.stats().dead == 20))
    assert sorted(tries) == sorted([*range(20)] * 2)
    assert all(len(letter.errors) == 2 for letter in queue.dlq.list())


def test_a_worker_ends_when_its_queue_is_deleted() -> None:
    url = memory_url()
    queue, other = Queue("jobs", url=url), Queue("jobs", url=url)
    seen = Seen()
    with running(queue, seen) as run:
        queue.enqueue("a")
        assert eventually(lambda: seen.payloads == ["a"])
        other.delete(force=True)
        assert run.ended.wait(20)
    assert isinstance(run.error, QueueGone)
    assert "the queue was deleted" in str(run.error)
    assert "ledger/0000.json" in run.error.key
    assert not other.exists()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"format":"s3queue.ledger/99"}', b'{"format":"s3queue.ledger/1"}', b"\xff\xfe"]
)
def test_a_worker_ends_when_the_ledger_cannot_be_read(damage: bytes) -> None:
    queue, seen = Queue("jobs", url=memory_url()), Seen()
    with running(queue, seen) as run:
        queue.enqueue("a")
        assert eventually(lambda: seen.payloads == ["a"] and queue.meter.total("PUT", "ledger") > 0)
        key = plant(queue, "ledger/0000.json", damage)
        assert run.ended.wait(20)
        queue.enqueue("b")
    assert isinstance(run.error, CorruptObject)
    assert run.error.key == key
    assert run.error.remedy
    assert body(queue, "ledger/0000.json") == damage
    assert seen.payloads == ["a"]


def test_a_worker_whose_store_refuses_it_at_the_start_says_so() -> None:
    clock = FastClock()
    store = Switch(clock)
    store.error = DENIED
    with running(Queue("jobs", url="memory://unused", store=store, clock=clock), Seen()) as run:
        assert run.ended.wait(20)
    assert run.error is DENIED


def test_what_fails_in_the_maintenance_is_told_and_tried_again() -> None:
    clock = FastClock()
    store = Switch(clock)
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, probe=False)
    told = heard(queue, "error")
    store.only, store.error = "delete", DENIED
    done = Event()

    def handler(payload: Any) -> None:  # noqa: ARG001
        done.set()

    with running(queue, handler):
        queue.enqueue("a")
        assert done.wait(20)
        assert eventually(lambda: any("maintenance" in event.doing for event in told))
        store.error = None
        assert eventually(lambda: not store.inner.list("jobs/inbox/").entries)


def test_a_lost_lease_is_told_and_the_outcome_does_not_count() -> None:
    url = memory_url()
    queue, operator = Queue("jobs", url=url, visibility_timeout=3600), Queue("jobs", url=url)
    lost = heard(queue, "lease-lost")
    begun, release = Event(), Event()

    def handler(payload: str) -> None:  # noqa: ARG001
        begun.set()
        assert release.wait(40)

    queue.enqueue("a")
    with running(queue, handler):
        assert begun.wait(20)
        assert operator.truncate() == 1
        release.set()
        assert eventually(lambda: bool(lost))
    stats = operator.stats()
    assert (stats.completed, stats.discarded, stats.unfinished) == (0, 1, 0)
