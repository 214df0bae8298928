"""The worker with threads: outcomes, time-outs, leases, prefetching, several at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Event, get_ident
from time import monotonic
from typing import Any

import pytest

from s3queue import Context, InvalidSetting, NonRetriable, Queue, RetryPolicy, Worker
from s3queue.store.port import CREATE
from tests.queue.clocks import as_time_passes, eventually
from tests.queue.places import heard
from tests.worker.running import FastClock, Seen, memory_url, running

NOW = RetryPolicy(base_s=0)


@pytest.fixture
def url() -> str:
    return memory_url()


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    with Queue("jobs", url=url, retry=NOW, max_attempts=2) as found:
        yield found


def idle(queue: Queue, finished: int) -> bool:
    stats = queue.stats()
    return stats.completed + stats.dead >= finished and not stats.unfinished


def test_all_is_processed_once(queue: Queue) -> None:
    queue.enqueue_many(range(2000))
    queue.enqueue("urgent", priority=5)
    seen = Seen()
    assert Worker(queue, seen, concurrency=4, burst=True, poll_interval=0.02).run() == 2001
    assert sorted(seen.payloads, key=str) == sorted([*range(2000), "urgent"], key=str)
    stats = queue.stats()
    assert (stats.completed, stats.unfinished) == (2001, 0)


def test_a_burst_ends_at_once_when_nothing_is_there(queue: Queue) -> None:
    queue.enqueue("later", delay=3600)
    assert Worker(queue, Seen(), burst=True, poll_interval=0.02).run() == 0


def test_a_burst_leaves_what_was_received_by_hand_alone(queue: Queue) -> None:
    queue.enqueue_many(["mine", "its"])
    (mine,) = queue.receive(1)
    seen = Seen()
    assert Worker(queue, seen, burst=True, poll_interval=0.02).run() == 1
    assert seen.payloads == ["its"]
    mine.ack()
    assert queue.stats().completed == 2


def test_retries_follow_by_themselves(queue: Queue) -> None:
    queue.enqueue("a")

    def fail(payload: str) -> None:
        raise ValueError(payload)

    with running(queue, fail):
        assert eventually(lambda: queue.count("dead") == 1)


def test_handlers_run_side_by_side(queue: Queue) -> None:
    barrier = Barrier(4)
    threads: set[int] = set()

    def handler(payload: int) -> None:  # noqa: ARG001
        barrier.wait(20)
        threads.add(get_ident())

    queue.enqueue_many(range(8))
    with running(queue, handler, concurrency=4):
        assert eventually(lambda: idle(queue, 8))
    assert len(threads) == 4
    assert queue.stats().completed == 8


def decide(payload: str, ctx: Context) -> None:
    if payload in ("ack", "both"):
        ctx.ack()
    if payload == "nack":
        ctx.nack()
    if payload == "retry":
        ctx.retry(after=3600)
    if payload in ("dead", "both"):
        ctx.dead(payload)


def test_the_handler_decides_through_its_context(queue: Queue) -> None:
    queue.enqueue_many(["ack", "nack", "retry", "dead", "both"])
    with running(queue, decide):
        assert eventually(
            lambda: (queue.count("completed"), queue.count("dead"), queue.count("scheduled")) == (1, 3, 1)
        )
    errors = {letter.payload: [error.message for error in letter.errors] for letter in queue.dlq.list()}
    assert errors == {"nack": ["nack", "nack"], "dead": ["dead"], "both": ["both"]}


def test_a_decision_stands_even_if_the_handler_raises_after_it(queue: Queue) -> None:
    def handler(payload: str, ctx: Context) -> None:
        ctx.ack()
        raise ValueError(payload)

    queue.enqueue("a")
    assert Worker(queue, handler, burst=True, poll_interval=0.02).run() == 1
    assert queue.stats().completed == 1


def test_no_decision_in_manual_mode_is_a_failure(queue: Queue) -> None:
    queue.enqueue_many(["ack", "nothing"])

    def handler(payload: str, ctx: Context) -> None:
        if payload == "ack":
            ctx.ack()

    with running(queue, handler, manual_ack=True):
        assert eventually(lambda: idle(queue, 2))
    (letter,) = queue.dlq.list()
    assert letter.payload == "nothing"
    assert [error.message for error in letter.errors] == ["the handler ended without ack or nack in manual mode"] * 2


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), NonRetriable("x"), ValueError("x")]
)
def test_nothing_that_a_handler_raises_stops_the_worker(queue: Queue, error: BaseException) -> None:
    queue.enqueue_many(["bad", "good"], max_attempts=1)

    def handler(payload: str) -> None:
        if payload == "bad":
            raise error

    assert Worker(queue, handler, concurrency=1, burst=True, poll_interval=0.02).run() == 2
    (letter,) = queue.dlq.list()
    assert (letter.payload, letter.errors[0].type) == ("bad", type(error).__name__)
    assert queue.stats().completed == 1


def test_a_handler_over_its_time_fails_and_its_thread_is_replaced(queue: Queue) -> None:
    release = Event()

    def handler(payload: str) -> None:
        if payload == "hang":
            release.wait(40)

    queue.enqueue("hang", max_attempts=1)
    with running(queue, handler, concurrency=1, handler_timeout=0.3):
        assert eventually(lambda: queue.count("dead") == 1)
        queue.enqueue("quick")
        assert eventually(lambda: queue.count("completed") == 1)
        release.set()
    (letter,) = queue.dlq.list()
    assert letter.errors[0].type == "HandlerTimeout"
    assert "0.3 s" in letter.errors[0].message
    assert queue.stats().completed == 1


def test_a_long_handler_keeps_its_message(url: str) -> None:
    mine, theirs = Queue("jobs", url=url, visibility_timeout=1), Queue("jobs", url=url)
    mine.enqueue("long")
    begun, done, stolen = Event(), Event(), Seen()
    started = monotonic()

    def long(_: str, ctx: Context) -> None:
        begun.set()
        assert done.wait(40)
        assert ctx.holds

    with running(mine, long):
        assert begun.wait(20)
        with running(theirs, stolen):
            assert eventually(lambda: monotonic() - started > 4.5)
            assert mine.stats().processing == 1
            done.set()
            assert eventually(lambda: mine.count("completed") == 1)
    assert stolen.payloads == []
    assert mine.stats().rescued == 0


def test_slow_handlers_hold_few_messages(queue: Queue) -> None:
    queue.enqueue_many(range(500))
    release, begun = Event(), Seen()

    def slow(payload: int) -> None:
        begun(payload)
        assert release.wait(40)

    with running(queue, slow, concurrency=2) as run:
        assert eventually(lambda: len(begun.payloads) == 2)
        started = monotonic()
        assert eventually(lambda: monotonic() - started > 1)
        assert queue.stats().processing <= 8
        assert run.worker.metrics()["running"] == 2
        release.set()
        assert eventually(lambda: idle(queue, 500))


def test_prefetch_is_a_limit(queue: Queue) -> None:
    queue.enqueue_many(range(300))
    held: list[int] = []

    def handler(payload: int) -> None:  # noqa: ARG001
        held.append(worker.metrics()["held"])

    worker = Worker(queue, handler, concurrency=2, prefetch=5, burst=True, poll_interval=0.02)
    assert worker.run() == 300
    assert max(held) <= 5 + 5  # outcomes that wait to be recorded are held too


def test_two_workers_share_the_work_without_doing_it_twice(url: str) -> None:
    first, second = Queue("jobs", url=url), Queue("jobs", url=url)
    first.enqueue_many(range(1000))
    for number in range(200):
        first.enqueue(1000 + number)
    seen = [Seen(), Seen()]
    with running(first, seen[0], concurrency=2, prefetch=50), running(second, seen[1], concurrency=2, prefetch=50):
        assert eventually(lambda: idle(first, 1200), 40)
    assert sorted(seen[0].payloads + seen[1].payloads) == list(range(1200))
    assert first.stats().completed == 1200


def test_a_paused_queue_stands_still_and_goes_on(queue: Queue) -> None:
    seen = Seen()
    with running(queue, seen):
        queue.enqueue("before")
        assert eventually(lambda: seen.payloads == ["before"])
        queue.pause()
        queue.enqueue("meanwhile")
        looks = queue.meter.total("LIST")
        assert eventually(lambda: queue.meter.total("LIST") > looks + 5)
        assert seen.payloads == ["before"]
        queue.resume()
        assert eventually(lambda: seen.payloads == ["before", "meanwhile"])


def test_a_worker_finds_a_priority_that_is_new(url: str) -> None:
    clock = FastClock()
    queue, producer = Queue("jobs", url=url, clock=clock, visibility_timeout=3600), Queue("jobs", url=url, clock=clock)
    seen = Seen()
    with running(queue, seen):
        queue.enqueue("ordinary")
        assert eventually(lambda: seen.payloads == ["ordinary"])
        producer.enqueue("urgent", priority=9)
        assert eventually(as_time_passes(clock, 1, lambda: seen.payloads == ["ordinary", "urgent"]))


def test_reports_and_events_of_a_worker(queue: Queue) -> None:
    events, reports = heard(queue), list[dict[str, Any]]()
    queue.enqueue_many(["good", "bad"], max_attempts=1)

    def handler(payload: str) -> None:
        if payload == "bad":
            raise ValueError(payload)

    worker = Worker(queue, handler, concurrency=3, burst=True, poll_interval=0.02, report=reports.append)
    worker.run()
    by_name = {event.name: event.fields for event in events}
    me = queue.worker_id
    assert by_name["workers-started"] == {"worker": me, "concurrency": 3}
    assert by_name["workers-stopped"] == {"worker": me, "processed": 2, "failed": 1}
    assert by_name["metrics"] == reports[-1]
    last = reports[-1]
    assert (last["worker"], last["processed"], last["failed"], last["held"], last["running"]) == (me, 2, 1, 0, 0)
    assert last["commits"] >= 1
    assert last["requests"]["PUT"] >= last["commits"]
    assert last["billed"]["put_list"] >= last["requests"]["PUT"]
    assert worker.metrics()["processed"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0}, {"concurrency": 1001}, {"concurrency": 2.5}, {"concurrency": "8"}, {"prefetch": 0},
        {"prefetch": 1.5}, {"poll_interval": 0}, {"poll_interval": float("nan")}, {"max_poll_interval": 0},
        {"handler_timeout": 0}, {"shutdown_grace": -1}, {"shutdown_grace": True}, {"executor": "fibre"},
    ],
)  # fmt: skip
def test_a_bad_option_is_refused_at_once(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="Use"):
        Worker(queue, print, **options)


def test_a_worker_has_metrics_before_it_runs(queue: Queue) -> None:
    assert Worker(queue, print).metrics()["processed"] == 0


def test_a_worker_that_never_ran_is_stopped(queue: Queue) -> None:
    assert Worker(queue, print).stop(timeout=5)


def test_a_handler_that_forks_leaves_no_second_worker(tmp_path: Path) -> None:
    """The child of the fork has the worker's claims and threads' locks; it must end where the handler ends."""
    folder = f"file://{tmp_path}/queue"
    program = (
        "import os, sys\n"
        "from s3queue import Queue, Worker\n"
        "def handler(payload):\n"
        "    if payload == 1 and os.fork() == 0:\n"
        "        return\n"
        "Worker(Queue('jobs', url=sys.argv[1]), handler, concurrency=2, burst=True).run()\n"
    )
    with Queue("jobs", url=folder) as queue:
        queue.enqueue_many(range(30))
        done = subprocess.run([sys.executable, "-c", program, folder], timeout=40, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        stats = queue.stats()
    assert (stats.completed, stats.processing, stats.pending) == (30, 0, 0)


def test_a_foreign_object_is_told_once() -> None:
    with Queue("jobs", url="memory://foreign-told") as queue:
        told: list[Any] = []
        queue.on("error", told.append)
        queue.settings  # noqa: B018 - connects
        queue.connect().store.put(f"{queue.root}inbox/0000/9/.DS_Store", b"x", CREATE)
        for _ in range(5):
            queue.enqueue(1)
            assert queue.process_once(print) == 1
    assert len(told) == 1
    assert "move it away" in str(told[0].error)
