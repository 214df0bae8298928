"""Workers with many threads on ordered queues: order is the queue's, not the threads'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from threading import Lock
from typing import Any

import pytest

from s3queue import Queue, RetryPolicy, Worker
from tests.queue.clocks import eventually
from tests.worker.running import memory_url, running

BURST: dict[str, Any] = {"concurrency": 8, "burst": True, "poll_interval": 0.02, "max_poll_interval": 0.1}


class Line:
    """A handler that notes who stood in which group's line, and who was at work with whom."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.order: defaultdict[str, list[int]] = defaultdict(list)
        self.together: list[str] = []
        self._at_work: set[str] = set()
        self._lock = Lock()
        self._attempts: defaultdict[Any, int] = defaultdict(int)
        self._ticks = count()

    def __call__(self, payload: dict[str, Any]) -> None:
        group, number = payload["group"], payload["n"]
        with self._lock:
            if group in self._at_work:
                self.together.append(group)
            self._at_work.add(group)
            self._attempts[group, number] += 1
            failed = number % 5 == 2 and self._attempts[group, number] <= self.fails
        for _ in range(50):
            next(self._ticks)
        with self._lock:
            self._at_work.discard(group)
            if not failed:
                self.order[group].append(number)
        if failed:
            raise ValueError(number)


@pytest.fixture
def url() -> str:
    return memory_url()


@pytest.fixture
def strict(url: str) -> Iterator[Queue]:
    with Queue("jobs", url=url, order="strict", retry=RetryPolicy(base_s=0), max_attempts=3) as queue:
        yield queue


def test_eight_threads_keep_the_order_of_a_strict_queue_through_failures(strict: Queue) -> None:
    for number in range(40):
        strict.enqueue({"group": "all", "n": number})
    strict.enqueue_many([{"group": "all", "n": number} for number in range(40, 60)])
    line = Line(fails=1)
    Worker(strict, line, **BURST).run()
    assert line.together == []
    assert line.order == {"all": list(range(60))}
    assert strict.count("retried") == 12


def test_a_death_costs_the_order_nothing(strict: Queue) -> None:
    strict.enqueue_many([{"group": "all", "n": number} for number in range(5)])
    line = Line(fails=3)
    Worker(strict, line, **BURST).run()
    assert line.order == {"all": [0, 1, 3, 4]}
    assert strict.count("dead") == 1


def test_groups_keep_their_order_with_two_workers_and_go_side_by_side(url: str) -> None:
    with (
        Queue("jobs", url=url, order="strict-group", retry=RetryPolicy(base_s=0)) as queue,
        Queue("jobs", url=url) as other,
    ):
        for number in range(25):
            for group in "abcd":
                queue.enqueue({"group": group, "n": number}, group=f"{group}/{group}")
        line = Line(fails=1)
        with running(queue, line, concurrency=8), running(other, line, concurrency=8):
            assert eventually(lambda: queue.count("completed") == 100)
    assert line.together == []
    assert line.order == {group: list(range(25)) for group in "abcd"}


def test_a_strict_queue_does_not_wait_for_the_next_poll_between_messages(strict: Queue) -> None:
    strict.enqueue_many([{"group": "all", "n": number} for number in range(30)])
    line = Line()
    with running(strict, line, concurrency=2, poll_interval=5, max_poll_interval=5):
        assert eventually(lambda: len(line.order["all"]) == 30, 10)
