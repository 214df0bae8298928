"""A worker's health by real HTTP: each answer provoked, and what stands in the way of answering."""

from __future__ import annotations

import builtins
import http.client
import json
import socket
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from s3queue import InvalidSetting, Queue, StoreUnavailable, Worker
from s3queue.core.transitions import Pause
from s3queue.runtime.monitor import STALLED_S, Monitor
from tests.queue.clocks import ManualClock, eventually
from tests.worker.running import FastClock, Seen, memory_url, running
from tests.worker.test_trouble import DOWN, Switch


def ask(worker: Worker, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    """Return status, content type and body of a real request."""
    assert worker.health is not None
    connection = http.client.HTTPConnection("127.0.0.1", worker.health.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def told(worker: Worker, path: str) -> tuple[int, dict[str, Any]]:
    status, kind, body = ask(worker, path)
    assert kind == "application/json"
    found: dict[str, Any] = json.loads(body)
    return status, found


def ready(worker: Worker) -> dict[str, Any]:
    """Return what /readyz says; {} while nobody listens."""
    if worker.health is None:
        return {}
    return told(worker, "/readyz")[1]


def test_a_worker_is_ready_paused_stopping_and_gone() -> None:
    queue, release = Queue("jobs", url=memory_url(), worker_id="w"), Event()
    queue.enqueue("a")
    with running(queue, lambda _: release.wait(20), health_port=0, concurrency=1) as run:
        assert eventually(lambda: ready(run.worker).get("ready") is True)
        assert told(run.worker, "/healthz")[0] == 200
        assert told(run.worker, "/healthz?verbose=1")[1]["alive"] is True
        queue.pause()
        assert eventually(lambda: ready(run.worker)["reason"] == "paused")
        assert told(run.worker, "/readyz")[0] == 200, "paused is ready: the worker has nothing to wait for"
        run.worker.stop(wait=False)
        assert eventually(lambda: ready(run.worker)["reason"] == "stopping")
        assert told(run.worker, "/readyz")[0] == 503
        assert told(run.worker, "/healthz")[0] == 200, "a handler may take its time to finish"
        release.set()
        assert run.ended.wait(20)
        with pytest.raises(ConnectionError):
            ask(run.worker, "/healthz")


def test_a_store_that_is_away_is_told_with_since_when() -> None:
    clock = FastClock()
    store = Switch(clock)
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, probe=False)
    with running(queue, Seen(), health_port=0) as run:
        assert eventually(lambda: ready(run.worker).get("ready") is True)
        store.error = DOWN
        assert eventually(lambda: ready(run.worker)["reason"].startswith("store unreachable since 20"))
        assert eventually(lambda: "down" in ready(run.worker).get("error", ""))
        assert told(run.worker, "/readyz")[0] == 503
        assert told(run.worker, "/healthz")[0] == 200, "to start it again would not bring the store back"
        store.error = None
        assert eventually(lambda: ready(run.worker)["ready"] is True)


def test_a_store_that_is_away_at_the_start_is_told_too() -> None:
    hold, entered = Event(), Event()

    class Held(Switch):
        def _check(self, verb: str, key: str) -> None:
            entered.set()
            if not hold.is_set():
                hold.wait(20)
                raise StoreUnavailable("The store is down.", maybe_applied=False)
            super()._check(verb, key)

    clock = FastClock()
    queue = Queue("jobs", url="memory://unused", store=Held(clock), clock=clock, probe=False)
    with running(queue, Seen(), health_port=0) as run:
        assert entered.wait(20)
        assert ready(run.worker)["reason"] == "starting"
        hold.set()
        assert eventually(lambda: ready(run.worker)["ready"] is True)


def judged(*, coordinated: bool = False) -> tuple[Monitor, Queue, ManualClock]:
    """Return the judge of a worker that has just begun, on a clock that this test moves."""
    clock = ManualClock()
    queue = Queue("jobs", url=memory_url(), clock=clock, probe=False)
    monitor = Monitor(queue, clock, coordinated=coordinated)
    monitor.begin(lanes=lambda: [queue.connect().lane], held=int, running=int)
    return monitor, queue, clock


def test_a_loop_that_has_stopped_turning_is_stalled() -> None:
    monitor, _, clock = judged()
    assert monitor.ready().reason == "ready"
    clock.advance(STALLED_S + 12)
    for verdict in (monitor.alive(), monitor.ready()):
        assert (verdict.ok, verdict.reason) == (False, "stalled: loop has not turned for 42 s")
    monitor.turned()
    assert monitor.alive().ok


def test_a_loop_that_waits_for_the_store_is_not_stalled() -> None:
    monitor, queue, clock = judged()
    queue.meter.add("GET", "ledger", "error")
    clock.advance(STALLED_S + 12)
    assert monitor.alive().ok
    assert monitor.ready().reason == "store unreachable since 2025-06-15T15:07:22Z"
    queue.meter.add("GET", "ledger", "unchanged")
    assert not monitor.alive().ok, "the store answers: it is the loop"


def test_no_coordinator_yet_is_not_stalled() -> None:
    monitor, queue, clock = judged(coordinated=True)
    committer = queue.connect().lane.committer
    committer.commit(Pause(True), fresh=True)
    committer.commit(Pause(False), fresh=True)
    assert monitor.ready().reason == "no coordinator yet"
    assert monitor.alive().ok
    from s3queue.core.transitions import Lead

    committer.commit(Lead("w", committer.writer, 20_000))
    verdict = monitor.ready()
    assert (verdict.ok, verdict.facts["coordinators"]) == (True, {"0": "w"})
    clock.advance(300)
    monitor.turned()
    assert monitor.ready().ok, "an idle worker looks at the ledger more seldom than a term is renewed"
    committer.read()
    assert monitor.ready().reason == "no coordinator yet"
    clock.advance(STALLED_S + 1)
    assert monitor.ready().reason.startswith("stalled"), "what is worse is told first"


def test_other_paths_and_methods() -> None:
    queue = Queue("jobs", url=memory_url())
    with running(queue, Seen(), health_port=0) as run:
        assert eventually(lambda: ready(run.worker).get("ready") is True)
        assert ask(run.worker, "/")[0] == 404
        assert ask(run.worker, "/readyz", "HEAD")[::2] == (200, b"")
        assert ask(run.worker, "/readyz", "POST")[0] == 501


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "words"),
    [("127.0.0.1", "in use"), ("192.0.2.1", "ssign"), ("é" * 70, "hostname")],
    ids=["taken", "not-ours", "no-name"],
)
def test_an_address_that_cannot_be_had_is_told_before_anything_is_written(taken: int, host: str, words: str) -> None:
    queue = Queue("jobs", url=memory_url())
    worker = Worker(queue, Seen(), health_port=taken, health_host=host)
    with pytest.raises(InvalidSetting, match=words) as caught:
        worker.run()
    assert f"port {taken}" in str(caught.value)
    assert not queue.exists()
    assert worker.stop(timeout=5), "it has ended"


@pytest.mark.parametrize("options", [{"health_port": 70_000}, {"health_port": -1}, {"health_host": "a\nb"}])
def test_impossible_addresses_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(options))):
        Worker(Queue("jobs", url=memory_url()), Seen(), **options)


def test_metrics_can_be_scraped_from_two_workers_of_one_process() -> None:
    url, names = memory_url(), ('one"\\{}', "zwei=é,")
    first, second = (Queue("jobs", url=url, worker_id=name) for name in names)
    first.enqueue_many(range(10))
    seen = Seen()
    with running(first, seen, health_port=0) as one, running(second, seen, health_port=0) as two:
        assert eventually(lambda: len(seen.payloads) == 10)
        for run, name in zip((one, two), names, strict=True):
            assert eventually(lambda run=run: ready(run.worker).get("ready") is True)  # type: ignore[misc]
            status, kind, body = ask(run.worker, "/metrics")
            assert status == 200
            assert kind.startswith("text/plain; version=")
            families = {family.name: family for family in text_string_to_metric_families(body.decode())}
            assert {sample.labels["worker"] for family in families.values() for sample in family.samples} == {name}


def test_without_the_extra_metrics_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importing(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    queue = Queue("jobs", url=memory_url())
    with running(queue, Seen(), health_port=0) as run:
        assert eventually(lambda: ready(run.worker).get("ready") is True)
        monkeypatch.setattr(builtins, "__import__", importing)
        status, _, body = ask(run.worker, "/metrics")
        monkeypatch.undo()
    assert status == 501
    assert "pip install 's3queue[prometheus]'" in body.decode()
