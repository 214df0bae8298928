"""Stopping: what runs finishes, what has not begun is free at once, and nobody waits for ever."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest

from s3queue import Queue
from s3queue.received import ReceivedMessage
from tests.queue.clocks import eventually
from tests.queue.places import collect
from tests.worker.running import Seen, memory_url, process, running

HOUR_S = 3600


def take(queue: Queue, count: int) -> list[ReceivedMessage]:
    """Return ``count`` messages that are free, or what there is of them within some seconds."""
    taken: list[ReceivedMessage] = []
    eventually(lambda: collect(queue, taken, count), 15)
    return taken


def gated() -> tuple[Callable[[Any], None], Seen, Event]:
    """Return a handler, what it has been given, and the event that it waits for."""
    begun, release = Seen(), Event()

    def handler(payload: Any) -> None:
        begun(payload)
        assert release.wait(50)

    return handler, begun, release


@pytest.fixture
def url() -> str:
    return memory_url()


@pytest.fixture
def queue(url: str) -> Queue:
    return Queue("jobs", url=url, visibility_timeout=HOUR_S)


def test_running_handlers_finish_and_the_rest_is_free_at_once(url: str, queue: Queue) -> None:
    queue.enqueue_many(range(6))
    handler, begun, release = gated()
    with running(queue, handler, concurrency=2) as run:
        assert eventually(lambda: len(begun.payloads) == 2)
        run.worker.stop(wait=False)
        free = take(Queue("jobs", url=url), 4)
        assert not run.ended.is_set()
        release.set()
        assert run.worker.stop(timeout=20)
    assert sorted(begun.payloads + [message.payload for message in free]) == list(range(6))
    assert {message.attempt for message in free} == {1}
    assert (queue.stats().completed, run.worker.processed) == (2, 2)


def test_what_outlives_the_grace_is_released(url: str, queue: Queue) -> None:
    queue.enqueue_many(["a", "b"])
    handler, begun, release = gated()
    with running(queue, handler, concurrency=1, shutdown_grace=0.2) as run:
        assert eventually(lambda: len(begun.payloads) == 1)
        assert run.worker.stop(timeout=20)
        assert {message.payload for message in take(Queue("jobs", url=url), 2)} == {"a", "b"}
        release.set()
    assert queue.stats().completed == 0


def test_drain_is_a_stop_that_waits(queue: Queue) -> None:
    queue.enqueue_many(range(50))
    seen = Seen()
    with running(queue, seen, concurrency=2) as run:
        assert eventually(lambda: bool(seen.payloads))
        assert run.worker.drain(timeout=20)
    stats = queue.stats()
    assert stats.processing == 0
    assert stats.completed == len(seen.payloads)


def test_a_stop_gives_up_waiting_after_its_timeout(queue: Queue) -> None:
    queue.enqueue("a")
    handler, begun, release = gated()
    with running(queue, handler) as run:
        assert eventually(lambda: bool(begun.payloads))
        assert run.worker.stop(timeout=0.1) is False
        release.set()
        assert run.worker.stop(timeout=20) is True


def test_started_in_a_thread_of_its_own_and_stopped(queue: Queue) -> None:
    from s3queue import Worker

    seen = Seen()
    worker = Worker(queue, seen, poll_interval=0.02)
    worker.start()
    queue.enqueue("a")
    assert eventually(lambda: queue.count("completed") == 1)
    assert worker.stop(timeout=20)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return (tmp_path / "bucket").as_uri()


def begun(tmp_path: Path) -> int:
    return len(list(tmp_path.glob("begun-*")))


def fill(queue: Queue, tmp_path: Path, count: int) -> None:
    go = str(tmp_path / "go")
    queue.enqueue_many([{"n": n, "mark": str(tmp_path / f"begun-{n}"), "until": go} for n in range(count)])


def ended(child: subprocess.Popen[str], timeout_s: float) -> int | None:
    eventually(lambda: child.poll() is not None, timeout_s)
    return child.poll()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_the_first_signal_lets_handlers_finish(
    folder: str, tmp_path: Path, first: signal.Signals, executor: str
) -> None:
    queue = Queue("jobs", url=folder, visibility_timeout=HOUR_S)
    fill(queue, tmp_path, 6)
    with process(folder, concurrency=2, executor=executor) as child:
        assert eventually(lambda: begun(tmp_path) == 2, 40)
        child.send_signal(first)
        free = take(queue, 4)
        assert child.poll() is None
        (tmp_path / "go").touch()
        assert ended(child, 20) == 0
    assert len(free) == 4
    stats = queue.stats()
    assert (stats.completed, stats.processing) == (2, 4)
    assert begun(tmp_path) == 2


def test_the_second_signal_ends_it_now_and_releases_what_runs(folder: str, tmp_path: Path) -> None:
    queue = Queue("jobs", url=folder, visibility_timeout=HOUR_S)
    fill(queue, tmp_path, 3)
    with process(folder, concurrency=1, shutdown_grace=HOUR_S) as child:
        assert eventually(lambda: begun(tmp_path) == 1, 40)
        child.send_signal(signal.SIGTERM)
        free = take(queue, 2)
        assert ended(child, 0.2) is None
        started = monotonic()
        child.send_signal(signal.SIGTERM)
        assert ended(child, 20) == 0
        assert monotonic() - started < 10
    free += take(queue, 1)
    assert {message.payload["n"] for message in free} == {0, 1, 2}
    assert queue.stats().completed == 0


def test_a_message_that_kills_its_workers_dies_and_its_neighbours_live(folder: str) -> None:
    way = {"do": "kill"}
    queue = Queue("jobs", url=folder, visibility_timeout=1, max_attempts=2)
    queue.enqueue_many([{"n": 0}, way, {"n": 1}, {"n": 2}])

    def finished() -> bool:
        stats = queue.stats()
        return stats.completed == 3 and queue.dlq.count() == 1

    deaths = 0
    while not finished() and deaths < 5:
        with process(folder, concurrency=2) as child:
            assert eventually(lambda: child.poll() is not None or finished(), 30)
            deaths += child.poll() is not None
    assert finished()
    assert 1 <= deaths <= 2
    (letter,) = queue.dlq.list()
    assert letter.payload == way
    assert {error.type for error in letter.errors} == {"LeaseExpired"}
    assert "vanished in the last of 2 attempts" in letter.reason
