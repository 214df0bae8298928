"""What makes messages visible is announced, whatever it is; and who waits in ``receive`` hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import random
from threading import Event, Thread
from time import monotonic

import pytest

from s3queue import Queue, RetryLater
from s3queue.clock import SystemClock
from s3queue.coordination import MESSAGES, TICKETS, Ear, Hint
from s3queue.coordination.ear import LEAST_S
from s3queue.coordination.link import Link
from s3queue.devserver import HOST
from s3queue.protocol.schedules import Scheduler
from tests.coordination.backends import Hub, HubTransport, Told
from tests.coordination.test_fleet import lists
from tests.coordination.test_redis import ONLY_HINTS, Stamped, has_looked
from tests.coordination.valkey import HeldPort, Valkey
from tests.queue.clocks import eventually
from tests.worker.running import memory_url, running

MARK = Hint(TICKETS, 99, "the end")


@pytest.fixture
def url() -> str:
    return memory_url()


@pytest.fixture
def silent(url: str) -> Iterator[Queue]:
    """The queue as one sees it who has no backend: what it does is not announced."""
    with Queue("jobs", url=url) as queue:
        yield queue


@pytest.fixture
def queue(url: str, valkey: Valkey) -> Iterator[Queue]:
    with Queue("jobs", url=url, coordination=valkey.url) as queue:
        yield queue


def now(queue: Queue) -> None:
    queue.receive(1)[0].nack(after=0)


def given_back(queue: Queue) -> None:
    queue.receive(1)[0].release()


def failed(queue: Queue) -> None:
    def handler(_: object) -> None:
        raise RetryLater("at once", after=0)

    assert queue.process_once(handler, max_messages=1) == 1


def resumed(queue: Queue) -> None:
    queue.pause()
    queue.resume()


def replayed(queue: Queue) -> None:
    queue.receive(1)[0].dead("no use")
    assert queue.dlq.replay(filter=lambda _: True).replayed


def ticked(queue: Queue) -> None:
    queue.receive(1)[0].ack()
    queue.schedule("often", cron="* * * * * *", payload="a")
    scheduler = Scheduler(queue.connect().lane)
    assert eventually(lambda: scheduler.step() == 1)


def rescued(queue: Queue) -> None:
    queue.configure(visibility_timeout=1)
    queue.receive(1)
    assert eventually(lambda: queue.connect().lanes.first.sweeper.sweep().rescued == 1)


@pytest.mark.parametrize("act", [now, given_back, failed, resumed, replayed, ticked, rescued])
def test_what_becomes_visible_is_announced_when_it_is(
    queue: Queue, silent: Queue, url: str, valkey: Valkey, act: Callable[[Queue], None]
) -> None:
    seen: list[list[object]] = []
    heard: list[Hint] = []

    def hear(hint: Hint) -> None:
        if hint == Hint(MESSAGES):
            seen.append([message.payload for message in silent.peek()])
        heard.append(hint)

    with Queue("jobs", url=url, coordination=valkey.url) as other:
        other.connect().hints.listen(hear)
        assert eventually(lambda: other.connect().hints.up)
        silent.enqueue("a")
        act(queue)
        assert eventually(lambda: heard == [Hint(MESSAGES)])
    assert seen == [["a"]]


@pytest.mark.parametrize("act", [lambda one: one.nack(after=60), lambda one: one.dead("no use"), lambda one: one.ack()])
def test_what_is_not_visible_is_not_announced(
    queue: Queue, silent: Queue, url: str, valkey: Valkey, act: Callable[..., None]
) -> None:
    heard: list[Hint] = []
    with Queue("jobs", url=url, coordination=valkey.url) as other:
        other.connect().hints.listen(heard.append)
        assert eventually(lambda: other.connect().hints.up)
        silent.enqueue("a")
        act(queue.receive(1)[0])
        queue.connect().hints.announce(MARK)
        assert eventually(lambda: MARK in heard)
    assert heard == [MARK]


def test_an_idle_worker_starts_what_another_process_gives_back_at_once(
    queue: Queue, silent: Queue, url: str, valkey: Valkey
) -> None:
    silent.enqueue("a")
    (message,) = queue.receive(1)
    handler = Stamped()
    with (
        Queue("jobs", url=url, coordination=valkey.url) as there,
        running(there, handler, **ONLY_HINTS),
    ):
        assert eventually(lambda: has_looked(there))
        message.release()
        assert eventually(lambda: "a" in handler.at)


# -- receive --


def test_receive_hears_of_messages_and_listens_no_longer_than_it_waits(queue: Queue, silent: Queue) -> None:
    assert queue.receive() == []
    hints = queue.connect().hints
    assert not hints.up, "who does not wait does not listen"
    with ThreadPoolExecutor(1) as pool:
        looks = lists(queue)
        waiting = pool.submit(queue.receive, wait=30)
        assert eventually(lambda: hints.up and lists(queue) - looks >= 4)
        hints.announce(MARK)  # concerns nobody
        hinted_at = monotonic()
        for _ in range(4):  # without hints there would be pauses of 0.8, 1.6, 3.2 and 5 seconds
            looks = lists(queue)
            hints.announce(Hint(MESSAGES))
            assert eventually(lambda: lists(queue) > looks)  # noqa: B023 - asked at once
        assert monotonic() - hinted_at < 6
        silent.enqueue("a")
        hints.announce(Hint(MESSAGES))
        (message,) = waiting.result(20)
    message.ack()
    assert eventually(lambda: not isinstance(hints, Link) or hints._listener is None)


def test_receive_without_its_backend_polls(url: str, silent: Queue) -> None:
    silent.enqueue("a", delay=0.3)
    with HeldPort() as nobody, Queue("jobs", url=url, coordination=f"redis://{HOST}:{nobody.number}") as queue:
        (message,) = queue.receive(wait=20)
        message.ack()


def test_a_flood_of_hints_cuts_few_waits_short() -> None:
    hub, over = Hub(), Event()
    link = Link(HubTransport(hub), tell=Told(), random=random)

    def flood() -> None:
        while not over.wait(0.001):
            hub.spread(Hint(MESSAGES).encode())

    flooding = Thread(target=flood)
    flooding.start()
    began, waits = monotonic(), 0
    with Ear(link, SystemClock()) as ear:
        while monotonic() - began < 1:
            ear.wait(30)
            waits += 1
    over.set()
    flooding.join()
    link.close()
    assert 2 <= waits <= 1 / LEAST_S + 1
