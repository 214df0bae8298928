"""Workers and producers with a real server of Redis' kind: quick while it is there, slower and whole while it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest
import redis
from click.testing import CliRunner

from s3queue import Queue
from s3queue.cli.commands import cli
from s3queue.coordination import MESSAGES, Hint
from s3queue.events import Event
from tests.coordination.valkey import Valkey
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import ROOT, memory_url, running

ONLY_HINTS = {"poll_interval": 600, "max_poll_interval": 600, "coordinate": False}
"""A worker that looks when it begins and when it is told to. Whoever coordinates looks every few seconds anyway."""


class Stamped:
    """A handler that keeps when it began each payload."""

    def __init__(self) -> None:
        self.at: dict[object, float] = {}

    def __call__(self, payload: object) -> None:
        self.at.setdefault(payload, monotonic())


def starts(queue: Queue, handler: Stamped, payload: object) -> bool:
    queue.enqueue(payload)
    return eventually(lambda: payload in handler.at)


def round_trips(here: Queue, there: Queue, handler: Stamped, payload: object) -> int:
    """Return how many requests to the store a worker makes from the enqueue of a message until it has begun it."""
    consumer, before = there.connect().consumer, there.meter.total()
    assert starts(here, handler, payload)
    trips = there.meter.total() - before
    assert eventually(lambda: not consumer.held() and not consumer.pending())
    return trips


def has_looked(queue: Queue) -> bool:
    """Whether the worker of this queue has had its first look, and hears hints."""
    return queue.connect().hints.up and queue.meter.total("LIST", "inbox") > 0


def changes(events: list[Event]) -> list[str]:
    return [event.name for event in events if event.name.startswith("coordination-")]


def test_an_idle_queue_starts_a_message_at_once_within_a_few_round_trips(valkey: Valkey) -> None:
    url, handler = memory_url(), Stamped()
    with (
        Queue("jobs", url=url, coordination=valkey.url) as here,
        Queue("jobs", url=url, coordination=valkey.url) as there,
    ):
        with running(there, handler, **ONLY_HINTS):
            assert eventually(lambda: has_looked(there))
            trips = [round_trips(here, there, handler, number) for number in range(6)]
            # LIST, GET and PUT of the ledger, GET of the message; what a worker does now and then may fall in between.
            assert 3 <= sorted(trips)[2] <= 5, trips
            assert list(here.connect().hints.presence() or ()) == [there.worker_id]
            with redis.Redis.from_url(valkey.url) as raw:
                assert all(0 < raw.pttl(key) <= 15_000 for key in raw.keys("s3queue:*:worker:*"))
        assert eventually(lambda: here.connect().hints.presence() == {})


def test_delayed_messages_are_not_announced(valkey: Valkey) -> None:
    url, hints = memory_url(), list[Hint]()
    with (
        Queue("jobs", url=url, coordination=valkey.url) as queue,
        Queue("jobs", url=url, coordination=valkey.url) as other,
    ):
        other.connect().hints.listen(hints.append)
        assert eventually(lambda: other.connect().hints.up)
        queue.enqueue("later", delay=60)
        queue.enqueue("now")
        queue.close()
        assert eventually(lambda: len(hints) == 1)


def test_killed_in_the_middle_it_loses_nothing_and_is_back_when_it_is_back(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    url, handler = memory_url(), Stamped()
    with (
        Queue("jobs", url=url, coordination=valkey.url) as here,
        Queue("jobs", url=url, coordination=valkey.url) as there,
    ):
        events, hints = heard(there), list[Hint]()

        def produce(start: int) -> None:
            for number in range(start, start + 150):
                here.enqueue(number)
                if number == 30:
                    valkey.kill()

        with running(there, handler, poll_interval=0.3, max_poll_interval=3):
            assert eventually(lambda: there.connect().hints.up)
            threads = [Thread(target=produce, args=(start,)) for start in (0, 1000)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert eventually(lambda: len(handler.at) == 300)
            assert eventually(lambda: changes(events) == ["coordination-lost"])
            valkey.start()
            assert eventually(lambda: changes(events) == ["coordination-lost", "coordination-restored"])
            assert eventually(lambda: here.connect().hints.up)
            there.connect().hints.listen(hints.append)
            here.enqueue("after")
            assert eventually(lambda: Hint(MESSAGES) in hints and "after" in handler.at)
        assert here.stats().completed == 301
        (lost,) = [event for event in events if event.name == "coordination-lost"]
        assert lost.backend == valkey.url
        assert "Error" in lost.error
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "is lost" in text]) == 2  # one for each process, not one for each try
    assert len([text for text in warnings if "is restored" in text]) == 2


def test_down_at_the_start_it_is_told_and_everything_else_goes_on(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path)
    url, handler = memory_url(), Stamped()
    with Queue("jobs", url=url, coordination=valkey.url) as queue:
        events = heard(queue)
        with running(queue, handler, poll_interval=0.1, max_poll_interval=0.2):
            assert eventually(lambda: changes(events) == ["coordination-lost"])
            began = monotonic()
            for number in range(20):
                queue.enqueue(number)
            assert monotonic() - began < 1
            assert eventually(lambda: len(handler.at) == 20)
            try:
                valkey.start()
                assert eventually(lambda: changes(events) == ["coordination-lost", "coordination-restored"])
                assert eventually(lambda: queue.connect().hints.up)
            finally:
                valkey.close()


def test_a_server_that_hangs_holds_up_no_producer(valkey: Valkey) -> None:
    with Queue("jobs", url=memory_url(), coordination=valkey.url) as queue:
        events = heard(queue)
        queue.enqueue("first")
        assert eventually(lambda: queue.connect().hints.up)
        valkey.freeze()
        began = monotonic()
        for number in range(200):
            queue.enqueue(number)
        assert monotonic() - began < 1
        assert eventually(lambda: changes(events) == ["coordination-lost"])
        valkey.thaw()
        assert eventually(lambda: changes(events) == ["coordination-lost", "coordination-restored"])
        assert queue.stats().pending == 201


def test_a_flood_of_forged_hints_costs_few_looks(valkey: Valkey) -> None:
    handler = Stamped()
    with (
        Queue("jobs", url=memory_url(), coordination=valkey.url) as queue,
        redis.Redis.from_url(valkey.url) as raw,
        running(queue, handler, **ONLY_HINTS),
    ):
        assert eventually(lambda: has_looked(queue))
        (channel,) = raw.pubsub_channels()
        before, began = queue.meter.snapshot(), monotonic()
        while monotonic() - began < 1:
            raw.publish(channel, b'{"kind": "messages", "lane": 0, "worker": ""}')
            raw.publish(channel, b"\x00" * 100_000)
        looks = sum(count for (verb, *_), count in queue.meter.snapshot().items() if verb == "LIST")
        looks -= sum(count for (verb, *_), count in before.items() if verb == "LIST")
        assert 1 <= looks <= 12
        assert starts(queue, handler, "still works")


def test_the_command_line_wakes_workers_too(valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, url = Stamped(), tmp_path.as_uri()
    monkeypatch.setenv("S3QUEUE_COORDINATION", valkey.url)
    with (
        Queue("jobs", url=url, coordination=valkey.url) as queue,
        running(queue, handler, **ONLY_HINTS),
    ):
        assert eventually(lambda: has_looked(queue))
        for number in range(3):
            result = CliRunner().invoke(cli, ["enqueue", "--url", url, "-q", "jobs", str(number)])
            assert result.exit_code == 0, result.output
            assert eventually(lambda: number in handler.at)  # noqa: B023 - asked at once
    refused = CliRunner().invoke(cli, ["worker", "--url", url, "-q", "jobs", "--coordination", "kafka", "json:dumps"])
    assert refused.exit_code == 2
    assert "coordination is 'kafka'" in refused.stderr


def test_the_last_hint_of_a_process_that_closes_nothing_goes_out(valkey: Valkey, tmp_path: Path) -> None:
    hints = list[Hint]()
    with Queue("jobs", url=tmp_path.as_uri(), coordination=valkey.url) as queue:
        queue.connect().hints.listen(hints.append)
        assert eventually(lambda: queue.connect().hints.up)
        script = "import sys, s3queue; s3queue.Queue('jobs', url=sys.argv[1], coordination=sys.argv[2]).enqueue(1)"
        subprocess.run([sys.executable, "-c", script, tmp_path.as_uri(), valkey.url], cwd=ROOT, timeout=30, check=True)
        assert eventually(lambda: len(hints) == 1)
