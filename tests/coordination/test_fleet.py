"""Hints in a fleet: the coordinator hears of messages, and those it assigns them to hear of their tickets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event
from time import monotonic

import pytest

from s3queue import Queue
from s3queue.coordination import TICKETS, Hint
from tests.coordination.test_redis import Stamped
from tests.coordination.valkey import Valkey
from tests.queue.clocks import eventually
from tests.worker.running import memory_url, running

SOON_S = 1.0
"""A fifth of the poll interval."""


class Busy(Stamped):
    """A handler that holds its worker until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = Event()

    def __call__(self, payload: object) -> None:
        super().__call__(payload)
        assert self.let_go.wait(20)


@pytest.fixture
def fleet(valkey: Valkey) -> Iterator[tuple[list[Queue], Busy]]:
    """Three workers that take one message at a time, one of which leads."""
    url, handler = memory_url(), Busy()
    with ExitStack() as stack:
        stack.callback(handler.let_go.set)
        queues = [stack.enter_context(Queue("jobs", url=url, coordination=valkey.url)) for _ in range(3)]
        for queue in queues:
            options = {"poll_interval": 5, "max_poll_interval": 5, "concurrency": 1, "prefetch": 1}
            stack.enter_context(running(queue, handler, **options))
            if queue is queues[0]:
                assert eventually(lambda: woken(queues) and queues[0].connect().consumer.leads, 30)
        stack.callback(handler.let_go.set)
        assert eventually(lambda: all(queue.connect().hints.up for queue in queues))
        assert eventually(lambda: woken(queues) and all(queue.connect().consumer.led for queue in queues[1:]), 30)
        ledger = queues[0].connect().lane.committer
        followers = {queue.worker_id for queue in queues[1:]}
        assert eventually(lambda: woken(queues) and followers <= ledger.ledger.rooms.keys(), 30)
        yield queues, handler


def woken(queues: list[Queue]) -> bool:
    """Have every worker look now rather than in seconds; True."""
    for queue in queues:
        queue.connect().hints.announce(Hint(TICKETS, 0, queue.worker_id))
    return True


def lists(queue: Queue) -> int:
    return sum(count for (verb, *_), count in queue.meter.snapshot().items() if verb == "LIST")


def test_assigned_messages_start_soon_and_followers_list_nothing(fleet: tuple[list[Queue], Busy]) -> None:
    queues, handler = fleet
    before = [lists(queue) for queue in queues]
    began = monotonic()
    for payload in ("a", "b", "c"):
        queues[1].enqueue(payload)
    assert eventually(lambda: len(handler.at) == 3)
    assert max(handler.at.values()) - began < SOON_S
    assert [lists(queue) - old for queue, old in zip(queues[1:], before[1:], strict=True)] == [0, 0]
