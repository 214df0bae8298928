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
from s3queue.coordination import Hint
from s3queue.events import Event
from tests.coordination.valkey import Valkey
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import ROOT, memory_url, running

QUICK_S = 0.5
"""A tenth of the poll interval, and a thousand round trips to a server on this machine."""


class Stamped:
    """A handler that keeps when it began each payload."""

    def __init__(self) -> None:
        self.at: dict[object, float] = {}

    def __call__(self, payload: object) -> None:
        self.at.setdefault(payload, monotonic())


def starts_within(queue: Queue, handler: Stamped, payload: object, bound_s: float) -> bool:
    sent_at = monotonic()
    queue.enqueue(payload)
    assert eventually(lambda: payload in handler.at)
    return handler.at[payload] - sent_at < bound_s


def changes(events: list[Event]) -> list[str]:
    return [event.name for event in events if event.name.startswith("coordination-")]


def test_an_idle_queue_starts_a_message_at_once(valkey: Valkey) -> None:
    url, handler = memory_url(), Stamped()
    with (
        Queue("jobs", url=url, coordination=valkey.url) as here,
        Queue("jobs", url=url, coordination=valkey.url) as there,
    ):
        with running(there, handler, poll_interval=5, max_poll_interval=5):
            assert eventually(lambda: there.connect().hints.up)
            assert all(starts_within(here, handler, number, QUICK_S) for number in range(6))
            assert here.connect().hints.presence().keys() == {there.worker_id}
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
        events = heard(there)

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
            assert all(starts_within(here, handler, f"after-{number}", QUICK_S) for number in range(4))
        assert here.stats().as_dict()["completed"] == 304
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
                assert eventually(lambda: queue.connect().hints.up)
                assert changes(events) == ["coordination-lost", "coordination-restored"]
            finally:
                valkey.kill()


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
        running(queue, handler, poll_interval=5, max_poll_interval=5),
    ):
        assert eventually(lambda: queue.connect().hints.up)
        (channel,) = raw.pubsub_channels()
        before, began = queue.meter.snapshot(), monotonic()
        while monotonic() - began < 1:
            raw.publish(channel, b'{"kind": "messages", "lane": 0, "worker": ""}')
            raw.publish(channel, b"\x00" * 100_000)
        looks = sum(count for (verb, *_), count in queue.meter.snapshot().items() if verb == "LIST")
        looks -= sum(count for (verb, *_), count in before.items() if verb == "LIST")
        assert 1 <= looks <= 12
        assert starts_within(queue, handler, "still works", 2)


def test_the_command_line_wakes_workers_too(valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, url = Stamped(), tmp_path.as_uri()
    monkeypatch.setenv("S3QUEUE_COORDINATION", valkey.url)
    with (
        Queue("jobs", url=url, coordination=valkey.url) as queue,
        running(queue, handler, poll_interval=5, max_poll_interval=5),
    ):
        assert eventually(lambda: queue.connect().hints.up)
        for number in range(3):
            began = monotonic()
            result = CliRunner().invoke(cli, ["enqueue", "--url", url, "-q", "jobs", str(number)])
            assert result.exit_code == 0, result.output
            assert eventually(lambda: number in handler.at)  # noqa: B023 - asked at once
            assert handler.at[number] - began < 2
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
