"""A worker with SQS by HTTP: woken, and none the worse for the end of it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any

import boto3
import pytest

from s3queue import Queue
from s3queue.devserver import MiniStack
from tests.coordination.conftest import point_to
from tests.coordination.test_redis import ONLY_HINTS, Stamped, changes, has_looked, starts
from tests.coordination.valkey import HeldPort
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import memory_url, running


@pytest.mark.usefixtures("sqs")
def test_an_idle_worker_is_woken_and_the_wake_up_queue_stays_small() -> None:
    url, handler = memory_url(), Stamped()
    with Queue("jobs", url=url, coordination="sqs") as here, Queue("jobs", url=url, coordination="sqs") as there:
        with running(there, handler, **ONLY_HINTS):
            assert eventually(lambda: has_looked(there))
            name = there.connect().hints.name.removeprefix("sqs:")
            client = boto3.client("sqs")
            queue_url = client.get_queue_url(QueueName=name)["QueueUrl"]

            def attributes() -> Any:
                return client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]

            assert attributes()["MessageRetentionPeriod"] == "60"
            assert starts(here, handler, "first")
            client.purge_queue(QueueUrl=queue_url)
            assert starts(here, handler, "second")
            kept = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
            assert eventually(lambda: [attributes()[name] for name in kept] == ["0", "0"], 3)
        assert here.connect().hints.presence() is None


def test_killed_and_empty_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, events = Stamped(), []
    port = HeldPort()
    server = MiniStack(folder=tmp_path, services="sqs", port=port.number).start()
    try:
        point_to(server, monkeypatch)
        with Queue("jobs", url=memory_url(), coordination="sqs://wake") as queue:
            events = heard(queue)
            with running(queue, handler, poll_interval=0.1, max_poll_interval=0.5):
                assert eventually(lambda: queue.connect().hints.up)
                server.kill()
                assert eventually(lambda: changes(events) == ["coordination-lost"])
                began = monotonic()
                for number in range(20):
                    queue.enqueue(number)
                assert monotonic() - began < 1
                assert eventually(lambda: len(handler.at) == 20)
                server.start()
                assert eventually(lambda: changes(events) == ["coordination-lost", "coordination-restored"])
                assert eventually(lambda: queue.connect().hints.up)
    finally:
        server.kill()
        port.close()
