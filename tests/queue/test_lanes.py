"""Several lanes: messages spread over them, everything that is done to a queue reaches all of them."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import Queue
from s3queue.errors import InvalidSetting

LANES = 4


@pytest.fixture
def queue() -> Queue:
    return Queue("laned", url="memory://lanes", lanes=LANES, max_attempts=1, probe=False, prefix=f"{id(object())}/")


def filled(queue: Queue) -> list[int]:
    """Return how many objects lie in each lane's inbox."""
    connection = queue.connect()
    return [
        len(connection.store.list(connection.keys.inbox(agents.lane.number)).entries)
        for agents in connection.lanes.all()
    ]


def test_messages_spread_over_the_lanes_and_are_all_processed(queue: Queue) -> None:
    ids = [queue.enqueue(number) for number in range(60)]
    assert len(ids) == sum(filled(queue)) == queue.stats().pending == 60
    assert sum(1 for count in filled(queue) if count) == LANES
    seen: list[Any] = []
    queue.process_once(seen.append)
    assert sorted(seen) == list(range(60))
    assert queue.stats().completed == 60


def test_dead_letters_of_every_lane_are_replayed_in_their_own_books(queue: Queue) -> None:
    def fail(payload: Any) -> None:
        raise ValueError(payload)

    ids = {queue.enqueue(number) for number in range(30)}
    queue.process_once(fail)
    assert {letter.id for letter in queue.dlq.list(None)} == ids
    some = sorted(ids)[:3]
    assert queue.dlq.discard(some) == 3
    assert set(queue.dlq.replay(filter=lambda letter: True).replayed) == ids - set(some)
    seen: list[Any] = []
    queue.process_once(seen.append)
    assert len(seen) == 27
    assert (queue.dlq.count(), queue.stats().unfinished) == (0, 0)


def test_fewer_lanes_leave_nothing_behind(queue: Queue) -> None:
    for number in range(40):
        queue.enqueue(number)
    assert queue.configure(lanes=1).lanes_served == LANES
    for number in range(40, 50):
        queue.enqueue(number)
    seen: list[Any] = []
    queue.process_once(seen.append)
    assert sorted(seen) == list(range(50))
    assert queue.configure(lanes="auto").lanes_auto


def test_pause_peek_and_truncate_reach_every_lane(queue: Queue) -> None:
    for number in range(20):
        queue.enqueue(number)
    queue.pause()
    assert queue.receive(20) == []
    assert sorted(message.payload for message in queue.peek(100)) == list(range(20))
    assert queue.truncate() == 20
    queue.resume()
    assert queue.stats().unfinished == 0
    assert queue.delete() > 0


def test_one_key_makes_one_message_though_the_lanes_are_many(queue: Queue) -> None:
    assert len({queue.enqueue("x", dedup_id="key") for _ in range(12)}) == 1
    assert queue.stats().pending == 1


def test_a_strictly_ordered_queue_keeps_one_lane() -> None:
    with pytest.raises(InvalidSetting, match="one lane"):
        Queue("ordered", url="memory://lanes", lanes=2, order="strict")
