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
from tests.coordination.test_redis import Stamped, changes, starts_within
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import memory_url, running

AWAKE_S = 2
"""Less than half the poll interval; a second of it is how long an announcement may wait for company: sends are billed."""


@pytest.mark.usefixtures("sqs")
def test_an_idle_worker_is_woken_and_the_wake_up_queue_stays_small() -> None:
    url, handler = memory_url(), Stamped()
    with Queue("jobs", url=url, coordination="sqs") as here, Queue("jobs", url=url, coordination="sqs") as there:
        with running(there, handler, poll_interval=5, max_poll_interval=5):
            assert eventually(lambda: there.connect().hints.up)
            name = there.connect().hints.name.removeprefix("sqs:")
            client = boto3.client("sqs")
            queue_url = client.get_queue_url(QueueName=name)["QueueUrl"]

            def attributes() -> Any:
                return client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]

            assert attributes()["MessageRetentionPeriod"] == "60"
            assert starts_within(here, handler, "first", AWAKE_S)
            client.purge_queue(QueueUrl=queue_url)
            assert starts_within(here, handler, "second", AWAKE_S)
            kept = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
            assert eventually(lambda: [attributes()[name] for name in kept] == ["0", "0"], 3)
        assert here.connect().hints.presence() == {}


def test_killed_and_empty_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, events = Stamped(), []
    server = MiniStack(folder=tmp_path, services="sqs", port=0).start()
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
                assert eventually(lambda: queue.connect().hints.up)
                assert changes(events) == ["coordination-lost", "coordination-restored"]
    finally:
        server.kill()
