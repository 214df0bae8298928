"""Several lanes: messages spread over them, everything that is done to a queue reaches all of them."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3queue import Queue
from s3queue.core.keys import letter_name, message_id_at
from s3queue.errors import InvalidSetting
from s3queue.store.port import OVERWRITE

LANES = 4
_NUMBERS = itertools.count()


@pytest.fixture
def queue() -> Queue:
    return Queue("laned", url="memory://lanes", lanes=LANES, max_attempts=1, probe=False, prefix=f"{next(_NUMBERS)}/")


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


def test_lanes_that_are_opened_while_the_queue_is_paused_are_paused(queue: Queue) -> None:
    queue.pause()
    queue.configure(lanes=2 * LANES)
    for number in range(40):
        queue.enqueue(number)
    assert queue.receive(40) == []
    queue.resume()
    assert queue.process_once(lambda payload: None) == 40


def test_who_pauses_or_resumes_knows_of_lanes_that_others_opened_a_moment_ago() -> None:
    url = f"memory://lanes-{next(_NUMBERS)}"
    queue, operator = Queue("jobs", url=url, probe=False), Queue("jobs", url=url, probe=False)
    operator.connect()
    queue.configure(lanes=LANES)
    assert operator.connect().register.current().lanes == 1
    operator.pause()
    queue.enqueue_many(range(3))
    for number in range(40):
        queue.enqueue(number)
    assert queue.receive(50) == []
    third = Queue("jobs", url=url, probe=False)
    third.connect()
    queue.configure(lanes=2 * LANES)
    third.resume()
    assert Queue("jobs", url=url, probe=False).process_once(lambda payload: None) == 43
    assert not any(agents.lane.committer.read().value.paused for agents in queue.connect().lanes.all())  # type: ignore[union-attr]


@pytest.mark.parametrize("lanes", [0, -1, 257, 10_000, 1.5, True, "many", "4", ""])
def test_lanes_that_cannot_be_are_refused_before_anything_is_written(lanes: Any) -> None:
    queue = Queue("jobs", url=f"memory://lanes-{next(_NUMBERS)}", probe=False)
    for act in (lambda: Queue("jobs", url="memory://lanes-none", lanes=lanes), lambda: queue.configure(lanes=lanes)):
        with pytest.raises(InvalidSetting, match=r"lanes is .*Use 1 to 256"):
            act()
    assert not queue.exists()


def test_a_foreign_letter_opens_no_lane(queue: Queue) -> None:
    connection = queue.connect()
    name = letter_name(1, message_id_at("0" * 20, 0), lane=200)
    for foreign in (f"{letter_name(1, message_id_at('0' * 20, 0))}.9999", f"{name[:-4]}0000"):
        connection.store.put(connection.keys.letter(foreign), b"{}", OVERWRITE)
    connection.store.put(connection.keys.letter(name), b"{}", OVERWRITE)
    assert list(queue.dlq.names()) == [name]
    assert queue.dlq.purge() == 1
    assert len(connection.lanes.all()) == LANES


def test_threads_that_ask_for_lanes_at_once_get_the_same() -> None:
    queue = Queue("threads", url="memory://lanes-threads", lanes=64, probe=False)
    lanes = queue.connect().lanes
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [agents.lane for agents in lanes.all()], range(32)))
    assert [lane.number for lane in found[0]] == list(range(64))
    assert all(lane is first for each in found for lane, first in zip(each, found[0], strict=True))
