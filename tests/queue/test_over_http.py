"""The main paths again, over HTTP against a real server, as a user opens it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3queue import Context, LeaseLost, Queue, RetryPolicy
from s3queue.devserver import MiniStack
from tests.queue.clocks import eventually
from tests.queue.places import collect, heard, keys
from tests.servers import fresh_bucket

NOW = RetryPolicy(base_s=0)


@pytest.fixture
def bucket(ministack: MiniStack, aws_keys: None) -> str:  # noqa: ARG001 - wanted for what it sets up
    return fresh_bucket(ministack)


def open_queue(ministack: MiniStack, bucket: str, **options: Any) -> Queue:
    return Queue("jobs", bucket=bucket, endpoint_url=ministack.endpoint_url, region=ministack.region, **options)


def test_the_first_connection_probes_the_store_and_the_second_does_not(ministack: MiniStack, bucket: str) -> None:
    first, second = open_queue(ministack, bucket), open_queue(ministack, bucket)
    first.enqueue("a")
    second.enqueue("b")
    assert first.meter.total(area="probe") > 20
    assert second.meter.total(area="probe") == 0
    assert first.settings.probed_at_ms > 0
    assert not [key for key in keys(first) if key.startswith("probe")]


def test_a_life_of_messages(ministack: MiniStack, bucket: str) -> None:
    with open_queue(ministack, bucket, max_attempts=2, retry=NOW, results=True) as queue:
        ids = queue.enqueue_many([{"n": number} for number in range(150)])
        queue.enqueue("urgent", priority=9)
        assert queue.count("pending") == 151
        order: list[Any] = []

        def handler(payload: Any, ctx: Context) -> str:
            order.append(payload)
            if payload == {"n": 7}:
                raise ValueError("seven")
            return f"{ctx.id} done"

        while queue.stats().pending:
            queue.process_once(handler)
        assert order[0] == "urgent"
        stats = queue.stats()
        assert (stats.completed, stats.dead, stats.unfinished) == (150, 1, 0)
        assert queue.result(ids[5]) == f"{ids[5]} done"
        assert [error.message for error in queue.dlq.get(ids[7]).errors] == ["seven", "seven"]
        assert queue.dlq.replay(ids[7]).replayed == (ids[7],)
        queue.truncate()
        queue.delete()
        assert not queue.exists()


def test_claims_of_threads_and_processes_do_not_overlap(ministack: MiniStack, bucket: str) -> None:
    queues = [open_queue(ministack, bucket) for _ in range(3)]
    queues[0].enqueue_many(range(60))

    def take(queue: Queue) -> list[int]:
        taken = []
        while messages := queue.receive(7):
            for message in messages:
                taken.append(message.payload)
                message.ack()
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [payload for some in pool.map(take, queues * 2) for payload in some]
    assert sorted(taken) == list(range(60))
    assert queues[0].stats().completed == 60


def test_a_claim_runs_out_in_real_time(ministack: MiniStack, bucket: str) -> None:
    mine, theirs = open_queue(ministack, bucket, visibility_timeout=1), open_queue(ministack, bucket)
    recovered = heard(theirs, "message-recovered")
    mine.enqueue("a")
    (message,) = mine.receive()
    found: list[Any] = []
    assert eventually(lambda: collect(theirs, found))
    assert (found[0].payload, found[0].attempt, len(recovered)) == ("a", 2, 1)
    with pytest.raises(LeaseLost):
        message.ack()
    found[0].ack()
