"""Hints in a fleet: the coordinator hears of messages, and those it assigns them to hear of their tickets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event

import pytest

from s3queue import Queue
from s3queue.coordination import TICKETS, Hint
from tests.coordination.test_redis import Stamped
from tests.coordination.valkey import Valkey
from tests.queue.clocks import eventually
from tests.worker.running import memory_url, running


class Busy(Stamped):
    """A handler that holds its worker until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = Event()

    def __call__(self, payload: object) -> None:
        super().__call__(payload)
        assert self.let_go.wait(20)


@dataclass
class Fleet:
    """Workers of one queue; who leads may change as long as the test lets them look."""

    queues: list[Queue]

    @property
    def leader(self) -> Queue:
        (leader,) = [queue for queue in self.queues if queue.connect().consumer.leads]
        return leader

    @property
    def followers(self) -> list[Queue]:
        return [queue for queue in self.queues if not queue.connect().consumer.leads]

    def is_settled(self) -> bool:
        """Whether one leads, the others know it, and it knows them."""
        led = [queue for queue in self.queues if queue.connect().consumer.led]
        leaders = [queue for queue in self.queues if queue.connect().consumer.leads]
        if len(leaders) != 1 or len(led) != len(self.queues) - 1:
            return False
        return {queue.worker_id for queue in led} <= leaders[0].connect().lane.committer.ledger.rooms.keys()

    def __str__(self) -> str:
        lines = []
        for queue in self.queues:
            connection, consumer = queue.connect(), queue.connect().consumer
            rooms = list(connection.lane.committer.ledger.rooms)
            facts = f"leads={consumer.leads} led={consumer.led} hints={connection.hints.up} rooms={rooms}"
            lines.append(f"{queue.worker_id}: {facts}")
        return "; ".join(lines)


@pytest.fixture
def busy(valkey: Valkey) -> Iterator[tuple[Fleet, Busy]]:
    """Three workers that take one message at a time; one leads, the others look only when they are told to."""
    url, handler = memory_url(), Busy()
    with ExitStack() as stack:
        queues = [stack.enter_context(Queue("jobs", url=url, coordination=valkey.url)) for _ in range(3)]
        for queue in queues:
            options = {"poll_interval": 600, "max_poll_interval": 600, "concurrency": 1, "prefetch": 1}
            stack.enter_context(running(queue, handler, **options))
        stack.callback(handler.let_go.set)
        fleet = Fleet(queues)
        assert eventually(lambda: all(queue.connect().hints.up for queue in queues)), str(fleet)
        assert eventually(lambda: woken(queues) and fleet.is_settled(), 30), str(fleet)
        yield fleet, handler


def woken(queues: list[Queue]) -> bool:
    """Have every worker look now rather than in seconds; True."""
    for queue in queues:
        queue.connect().hints.announce(Hint(TICKETS, 0, queue.worker_id))
    return True


def lists(queue: Queue) -> int:
    return sum(count for (verb, *_), count in queue.meter.snapshot().items() if verb == "LIST")


def test_assigned_messages_start_soon_and_followers_list_nothing(busy: tuple[Fleet, Busy]) -> None:
    fleet, handler = busy
    leader, followers = fleet.leader, fleet.followers
    before = [lists(queue) for queue in followers]
    for payload in ("a", "b", "c"):
        followers[0].enqueue(payload)
    assert eventually(lambda: len(handler.at) == 3), str(fleet)
    assert fleet.leader is leader
    assert [lists(queue) - old for queue, old in zip(followers, before, strict=True)] == [0, 0]
