"""Snapshots: read-only, true, and cheap when nothing has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s3queue import InvalidSetting, NonRetriable, NotFound, Queue, StoreRefused
from s3queue.core.keys import ObjectName
from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE
from s3queue_admin.bucket import Bucket
from s3queue_admin.snapshot import percentile
from tests.queue.clocks import ManualClock
from tests.store.faulty import Wrapper

READS = {"GET", "LIST"}


class Site:
    """A bucket in memory, with queues that work in it and an operator who looks."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.bucket = Bucket(url="memory://x", store=self.store, clock=self.clock)

    def queue(self, name: str = "jobs", **options: Any) -> Queue:
        return Queue(name, store=self.store, clock=self.clock, **options)


@pytest.fixture
def site() -> Site:
    return Site()


def fail(payload: Any) -> None:
    raise NonRetriable(f"no {payload}")


def verbs(requests: Any) -> dict[str, int]:
    sums: dict[str, int] = {}
    for (verb, _, _), count in requests.items():
        sums[verb] = sums.get(verb, 0) + count
    return sums


def test_a_snapshot_shows_what_the_engine_counts(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(5))
    queue.process_once(fail, max_messages=2)
    queue.enqueue("later", delay=60)
    began_at_ms = site.clock.now_ms()
    queue.receive(1)
    site.clock.advance(31)
    seen = site.bucket.inspect("jobs")
    assert seen.stats == queue.stats()
    assert (seen.stats.pending, seen.stats.scheduled, seen.stats.stalled, seen.stats.dead) == (2, 1, 1, 2)
    assert {state: span.count for state, span in seen.spans.items()} == {
        "pending": 2, "scheduled": 1, "processing": 1, "stalled": 1, "dead": 2,
    }  # fmt: skip
    held_at = seen.spans["processing"].oldest_at
    assert held_at is not None
    assert held_at.timestamp() * 1000 == began_at_ms
    (ticket,) = [ticket for ticket in seen.tickets if ticket.worker]
    assert (ticket.state, ticket.worker, ticket.size) == ("stalled", queue.worker_id, 1)
    assert [(worker.worker, worker.state, worker.claimed) for worker in seen.workers] == [
        (queue.worker_id, "unlisted", 1)
    ]
    assert set(verbs(seen.requests)) == READS


def test_an_idle_queue_costs_a_get_or_two_a_look(site: Site) -> None:
    site.queue().enqueue_many(range(5))
    site.bucket.snapshot()
    costs = []
    for _ in range(5):
        site.clock.advance(1)
        costs.append(verbs(site.bucket.snapshot().requests))
    assert costs == [{"GET": 1}] * 5


def test_listings_grow_old_while_nothing_changes_and_are_made_anew_when_something_does(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(5))
    site.bucket.snapshot()
    lists = 0
    for _ in range(600):
        site.clock.advance(1)
        lists += verbs(site.bucket.snapshot().requests).get("LIST", 0)
    assert lists < 100  # a minute apart, five each, and the queues' names; every ten seconds it would be 300 and more
    queue.receive(1)
    queue.enqueue_many(range(7))
    assert site.bucket.inspect("jobs").stats.processing == 1
    site.clock.advance(10)
    assert site.bucket.inspect("jobs").stats.pending == 11


def test_what_a_newer_ledger_is_done_with_is_not_counted_from_an_older_listing(site: Site) -> None:
    queue = site.queue()
    for number in range(6):
        queue.enqueue(number)
    site.clock.advance(10)  # the cursor trails by some seconds
    assert site.bucket.inspect("jobs").stats.pending == 6
    for message in queue.receive(4):
        message.ack()
    queue.process_once(print, max_messages=0)
    seen = site.bucket.inspect("jobs")
    assert (seen.stats.pending, seen.stats.completed) == (2, 4)
    assert seen.listed_at < seen.taken_at or verbs(seen.requests).get("LIST") is None


def test_a_million_messages_are_counted_without_a_get_for_any(site: Site) -> None:
    queue = site.queue()
    connection = queue.connect()
    body = b"{}"  # nobody reads it
    for _ in range(1000):
        name = ObjectName(9, site.clock.now_ms() - 1, connection.lane.ids.new(site.clock.now_ms()), 1000)
        site.store.put(connection.keys.message(0, str(name)), body, CREATE)
    seen = site.bucket.inspect("jobs")
    assert seen.stats.pending == 1_000_000
    assert ("GET", "inbox", "ok") not in seen.requests


def test_nothing_is_ever_written(site: Site) -> None:
    site.queue().enqueue(1)
    queue = site.bucket.queue("jobs")
    with pytest.raises(StoreRefused, match="opened to be read"):
        queue.enqueue(2)
    with pytest.raises(StoreRefused, match="opened to be read"):
        queue.pause()
    assert queue.count("pending") == 1
    with pytest.raises(NotFound):
        site.bucket.inspect("none")
    assert site.bucket.queue_names() == ["jobs"]


def test_queues_are_found_among_other_things(site: Site) -> None:
    for name in ("a", "a-b", "a_b", "b"):
        site.queue(name).enqueue(1)
    for key in ("readme.txt", "a.b/x", "a/zzz", "zz"):
        site.store.put(key, b"", CREATE)
    assert site.bucket.queue_names() == ["a", "a-b", "a_b", "b"]
    seen = site.bucket.snapshot()
    assert sorted(seen.queues) == ["a", "a-b", "a_b", "b"]
    assert seen.failed == {}


def test_what_cannot_be_read_is_a_problem_and_the_rest_is_shown(site: Site) -> None:
    queue = site.queue(lanes=2)
    queue.enqueue_many(range(3))
    keys = queue.connect().keys
    site.store.put(keys.ledger(1), b"garbage", CREATE)
    site.store.put(keys.worker("w"), b"garbage", CREATE)
    site.store.put(keys.inbox(0) + "notes.txt", b"mine", CREATE)
    site.store.put(keys.settings.replace("jobs", "broken"), b"garbage", CREATE)
    seen = site.bucket.snapshot()
    assert seen.queues["jobs"].stats.pending == 3
    assert {(problem.part, problem.key) for problem in seen.queues["jobs"].problems} == {
        ("ledger", keys.ledger(1)),
        ("worker", keys.worker("w")),
        ("foreign", keys.inbox(0) + "notes.txt"),
    }
    assert "not readable" in seen.failed["broken"]


class Denies(Wrapper):
    """A store that refuses one kind of request."""

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Any:  # noqa: ARG002 - the face of a store
        raise StoreRefused("LIST is denied.", reason="access-denied", key=prefix)


def test_without_permission_to_list_the_books_are_shown_all_the_same(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(3))
    queue.receive(1)
    bucket = Bucket(url="memory://x", store=Denies(site.store), clock=site.clock)
    seen = bucket.inspect("jobs")
    assert seen.stats.processing == 1
    assert {problem.part for problem in seen.problems} >= {"inbox", "letters", "workers"}


def test_rates_are_told_from_the_second_look_on(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(20))
    assert site.bucket.inspect("jobs").rates is None
    for message in queue.receive(20):
        message.ack()
    site.clock.advance(4)
    rates = site.bucket.inspect("jobs").rates
    assert rates is not None
    assert (rates.seconds, rates.completed, rates.ticketed) == (4, 5, 5)
    assert rates.p50_ms == max(queue.stats().latency_ms)


@pytest.mark.parametrize(("share", "bound"), [(0.5, 4), (0.99, 64), (0.0, 2)])
def test_a_percentile_is_the_bound_of_its_bucket(share: float, bound: int) -> None:
    assert percentile({2: 10, 4: 80, 64: 10}, share) == bound
    assert percentile({}, share) == 0


def test_a_folder_that_was_copied_can_be_looked_at(tmp_path: Path) -> None:
    with Queue("jobs", url=tmp_path.as_uri()) as queue:
        queue.enqueue_many(range(4))
    with Bucket(url=tmp_path.as_uri()) as bucket:
        assert bucket.inspect("jobs").stats.pending == 4
        assert [view.payload for view in bucket.queue("jobs").messages()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "options", [{"codec": "gzip"}, {"list_s": "x"}, {"list_s": -1}, {"clock": "x"}, {"region": 5}, {"store": 5}]
)
def test_an_option_that_a_bucket_cannot_use_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=f"{next(iter(options))} is"):
        Bucket(url="memory://x", **options)
