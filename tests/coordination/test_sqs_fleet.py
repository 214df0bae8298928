"""A fleet with SQS: its coordinator alone waits for wake-ups; its end and its return cost time and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s3queue import Queue, Worker
from s3queue.coordination.link import Link
from s3queue.coordination.sqs import SqsTransport
from s3queue.devserver import MiniStack
from s3queue.events import Event
from tests.coordination.conftest import point_to
from tests.coordination.test_fleet import Fleet
from tests.coordination.test_redis import Stamped, changes, starts
from tests.coordination.valkey import HeldPort
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import memory_url, running

POLL_S = 3


@dataclass
class Watched:
    """A queue object, its events, and the requests that it makes to SQS."""

    queue: Queue
    events: list[Event] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.events = heard(self.queue)
        hints = self.queue.connect().hints
        assert isinstance(hints, Link)
        self.link = hints
        transport = hints._transport
        assert isinstance(transport, SqsTransport)
        transport._client.meta.events.register("before-call.sqs", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        self.requests[model.name] += 1

    @property
    def listens(self) -> bool:
        return self.link._listener is not None

    @property
    def polls(self) -> int:
        return self.requests["ReceiveMessage"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniStack]:
    """An SQS that the test may kill."""
    with HeldPort() as port:
        server = MiniStack(folder=tmp_path, services="sqs", port=port.number).start()
        try:
            point_to(server, monkeypatch)
            yield server
        finally:
            server.kill()


def test_only_the_coordinator_waits_for_wake_ups_and_nothing_is_lost_with_the_backend(server: MiniStack) -> None:
    url, handler = memory_url(), Stamped()
    with ExitStack() as stack:
        here = stack.enter_context(Queue("jobs", url=url, coordination="sqs://wake"))
        queues = [stack.enter_context(Queue("jobs", url=url, coordination="sqs://wake")) for _ in range(3)]
        producer, watched, fleet = Watched(here), [Watched(queue) for queue in queues], Fleet(queues)
        options = {"poll_interval": POLL_S, "max_poll_interval": POLL_S}
        workers = [stack.enter_context(running(queue, handler, **options)).worker for queue in queues]
        assert eventually(lambda: all(one.polls for one in watched)), "as long as nobody leads, all listen"
        assert eventually(lambda: looked(workers) and fleet.is_settled() and len(listening(watched)) == 1, 30), str(
            fleet
        )
        (leader,), followers = listening(watched), [one for one in watched if not one.listens]
        assert leader.queue is fleet.leader
        before = [one.polls for one in followers]

        for number in range(3):
            assert starts(here, handler, number)
            assert eventually(lambda: leader.requests["DeleteMessageBatch"] == number + 1)  # noqa: B023 - asked at once

        server.kill()
        assert eventually(lambda: changes(leader.events) == ["coordination-lost"])
        here.enqueue_many(range(100, 130))
        assert eventually(lambda: len(handler.at) == 33), str(fleet)
        assert eventually(lambda: changes(producer.events) == ["coordination-lost"])
        server.start()
        for one in (leader, producer):
            assert eventually(lambda: changes(one.events) == ["coordination-lost", "coordination-restored"])  # noqa: B023
        deleted = leader.requests["DeleteMessageBatch"]
        assert starts(here, handler, "after")
        assert eventually(lambda: leader.requests["DeleteMessageBatch"] > deleted)
        assert fleet.leader is leader.queue
        assert [one.polls for one in followers] == before
        assert [changes(one.events) for one in followers] == [[], []], "who asks nothing of it has nothing to tell"
        assert eventually(lambda: here.stats().completed == 34)


def listening(watched: list[Watched]) -> list[Watched]:
    return [one for one in watched if one.listens]


def looked(workers: list[Worker]) -> bool:
    """Have every worker look now rather than in seconds; True."""
    for worker in workers:
        worker.hinted()
    return True
