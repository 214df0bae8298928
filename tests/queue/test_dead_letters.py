"""Dead letters: what they tell, how they come back, how they go for good."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from s3queue import DeadLetter, InvalidInput, NotFound, Queue, Replayed
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, keys, payloads


def fail(payload: Any) -> None:
    raise ValueError(f"cannot do {payload}")


def kill(queue: Queue, *payloads: Any, **options: Any) -> list[str]:
    """Enqueue messages with one attempt each, let them fail, and return their ids."""
    ids = []
    for payload in payloads:
        ids.append(queue.enqueue(payload, max_attempts=1, **options))
        queue.process_once(fail)
    return ids


@pytest.fixture
def others(place: Place) -> Queue:
    """The same queue in another process."""
    return place.open()


def test_a_letter_tells_the_whole_story(place: Place, clock: ManualClock) -> None:
    queue = place.open(max_attempts=3, worker_id="worker-7")
    enqueued_at_ms = clock.now_ms()
    message_id = queue.enqueue({"n": 1}, headers={"h": "x"}, group="g", priority=3)
    for _ in range(3):
        queue.process_once(fail)
        clock.advance(600)
    letter = queue.dlq.get(message_id)
    assert (letter.id, letter.payload, letter.reason) == (message_id, {"n": 1}, "failed 3 of 3 attempts")
    assert (letter.message.headers, letter.message.group, letter.message.priority) == ({"h": "x"}, "g", 3)
    assert letter.message.enqueued_at_ms == enqueued_at_ms
    assert letter.dead_at_ms == enqueued_at_ms + 1_200_000
    assert letter.source.startswith(queue.root + "inbox/")
    assert [error.attempt for error in letter.errors] == [1, 2, 3]
    for error in letter.errors:
        assert (error.type, error.message, error.worker) == ("ValueError", "cannot do {'n': 1}", "worker-7")
        assert "in fail\n" in error.traceback
        assert error.traceback.rstrip().endswith("ValueError: cannot do {'n': 1}")


def test_letters_are_listed_oldest_first_up_to_a_limit(queue: Queue, clock: ManualClock) -> None:
    for number in range(5):
        kill(queue, number)
        clock.advance(1)
    assert [letter.payload for letter in queue.dlq.list()] == [0, 1, 2, 3, 4]
    assert [letter.payload for letter in queue.dlq.list(2)] == [0, 1]
    assert len(queue.dlq.list(None)) == 5
    assert queue.dlq.count() == queue.count("dead") == 5


def test_letters_are_filtered(queue: Queue) -> None:
    kill(queue, *range(6))
    assert {letter.payload for letter in queue.dlq.list(filter=lambda letter: letter.payload % 2 == 1)} == {1, 3, 5}
    assert len(queue.dlq.list(2, filter=lambda letter: letter.payload > 1)) == 2


def test_a_letter_that_is_not_there_is_not_found(queue: Queue) -> None:
    with pytest.raises(NotFound) as refusal:
        queue.dlq.get("01jxt21q00w80pecefn9-0")
    assert "01jxt21q00w80pecefn9-0" in refusal.value.key


def test_a_replayed_message_starts_anew_and_keeps_its_errors_and_priority(queue: Queue) -> None:
    (message_id,) = kill(queue, "a", priority=4, headers={"h": "x"})
    assert queue.dlq.replay(message_id) == Replayed((message_id,), {})
    assert (queue.count("dead"), queue.count("pending"), queue.stats().replayed) == (0, 1, 1)
    (message,) = queue.receive()
    assert (message.id, message.payload, message.attempt) == (message_id, "a", 1)
    assert (message.priority, message.headers) == (4, {"h": "x"})
    message.dead("again")
    (letter,) = queue.dlq.list()
    assert [error.message for error in letter.errors] == ["cannot do a", "again"]


def test_replay_by_ids(queue: Queue) -> None:
    ids = kill(queue, *range(4))
    done = queue.dlq.replay(ids[1:3])
    assert set(done.replayed) == set(ids[1:3])
    assert sorted(payloads(queue)) == [1, 2]
    assert {letter.id for letter in queue.dlq.list()} == {ids[0], ids[3]}


def test_replay_by_filter(queue: Queue) -> None:
    kill(queue, *range(4))
    done = queue.dlq.replay(filter=lambda letter: letter.payload < 2 and letter.errors[0].type == "ValueError")
    assert len(done.replayed) == 2
    assert sorted(payloads(queue)) == [0, 1]


def test_more_letters_than_one_commit_takes_are_replayed() -> None:
    queue = Place("memory://more-letters").open()
    queue.enqueue_many(range(250), max_attempts=1)
    queue.process_once(fail)
    assert len(queue.dlq.replay(filter=lambda _: True).replayed) == 250
    assert (queue.count("dead"), queue.count("pending")) == (0, 250)
    assert sorted(payloads(queue, 1000)) == list(range(250))


def test_a_second_replay_finds_nothing_to_move(queue: Queue, others: Queue) -> None:
    (message_id,) = kill(queue, "a")
    queue.dlq.replay(message_id)
    again = others.dlq.replay(message_id)
    assert again.replayed == ()
    assert set(again.refused) == {message_id}
    assert payloads(queue) == ["a"]
    assert payloads(others) == []


def test_replays_at_the_same_time_move_each_letter_once(place: Place, queue: Queue) -> None:
    ids = kill(queue, *range(10))
    barrier = Barrier(4)
    opened = [place.open() for _ in range(4)]

    def replay(other: Queue) -> Replayed:
        other.connect()
        barrier.wait(20)
        return other.dlq.replay(filter=lambda _: True)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(replay, opened))
    assert {message_id for one in done for message_id in one.replayed} == set(ids)
    assert queue.count("pending") == 10
    assert sorted(payloads(queue)) == list(range(10))
    assert queue.count("dead") == 0


def test_two_who_chose_the_same_letter_before_either_moved_it(queue: Queue, others: Queue) -> None:
    (message_id,) = kill(queue, "a")
    done: list[Replayed] = []

    def meanwhile(letter: DeadLetter) -> bool:
        done.append(others.dlq.replay(letter.id))
        return True

    late = queue.dlq.replay(filter=meanwhile)
    assert done[0].replayed == (message_id,)
    assert late.replayed == ()
    assert set(late.refused) == {message_id}
    assert queue.stats().replayed == 1
    assert payloads(queue) == ["a"]


def test_unknown_ids_are_told_in_the_answer(queue: Queue) -> None:
    (message_id,) = kill(queue, "a")
    done = queue.dlq.replay([message_id, "01jxt21q00w80pecefn9-0"])
    assert done.replayed == (message_id,)
    assert set(done.refused) == {"01jxt21q00w80pecefn9-0"}


def test_discarded_letters_are_gone(queue: Queue) -> None:
    ids = kill(queue, *range(4))
    assert queue.dlq.discard(ids[0]) == 1
    assert queue.dlq.discard(filter=lambda letter: letter.payload == 3) == 1
    assert {letter.payload for letter in queue.dlq.list()} == {1, 2}
    assert queue.count("dead") == 2
    assert queue.receive() == []


def test_purge_throws_all_letters_away(queue: Queue) -> None:
    kill(queue, *range(4))
    assert queue.dlq.purge() == 4
    assert (queue.dlq.count(), queue.count("dead"), queue.dlq.purge()) == (0, 0, 0)
    assert keys(queue, "dlq/") == []


@pytest.mark.parametrize("method", ["replay", "discard"])
@pytest.mark.parametrize("choice", [{}, {"ids": ["x"], "filter": lambda _: True}])
def test_letters_must_be_named_one_way(queue: Queue, method: str, choice: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Give ids, or filter"):
        getattr(queue.dlq, method)(**choice)


def test_a_message_that_dies_twice_in_a_moment_keeps_a_letter(queue: Queue, clock: ManualClock) -> None:
    (id_,) = kill(queue, "a")
    for _ in range(3):
        assert queue.dlq.replay(id_).replayed == (id_,)
        clock.advance(0.001)
        assert queue.process_once(fail) == 1
        clock.advance(-0.001)  # the next dies by a clock that is behind
    clock.advance(60)
    queue.connect().lanes.all()[0].sweeper.sweep()
    assert [letter.id for letter in queue.dlq.list()] == [id_]  # not deleted as the ghost of the first
