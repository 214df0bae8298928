"""A move whose process died between deciding it and making it is made by another, well before the next sweep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3queue import Queue, RetryPolicy
from s3queue.ids import SeededIds
from s3queue.protocol import consumer
from s3queue.protocol.moves import ORPHANED_MS
from s3queue.store.memory import MemoryStore
from tests.queue.clocks import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queues(clock: ManualClock) -> Iterator[tuple[Queue, Queue]]:
    """Two processes of one queue; the second is never due to sweep."""
    store = MemoryStore(clock)
    retry = RetryPolicy(base_s=1, jitter=0)
    with (
        Queue("jobs", store=store, clock=clock, ids=SeededIds(1), probe=False, retry=retry) as one,
        Queue("jobs", store=store, clock=clock, ids=SeededIds(2), probe=False, retry=retry) as other,
    ):
        other.connect().lanes.first.sweeper._next_at = 1e9
        yield one, other


def test_a_retry_left_in_the_outbox_is_written_soon(
    queues: tuple[Queue, Queue], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = queues
    one.enqueue("x")
    (message,) = one.receive()
    with monkeypatch.context() as patch:
        patch.setattr(consumer, "carry_out", lambda *_: None)  # dies right after the commit
        message.nack("no luck")
    clock.advance(ORPHANED_MS / 1000)
    assert other.receive() == []  # it may yet be on its way
    assert other.receive() == []
    clock.advance(ORPHANED_MS / 1000 + 1)
    (again,) = other.receive()
    assert (again.id, again.attempt) == (message.id, 2)
    assert other.connect().lane.committer.ledger.outbox == {}
