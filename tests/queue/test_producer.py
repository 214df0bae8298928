"""The buffering producer: many calls, few PUTs, and every call knows what became of its message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3queue import InvalidPayload, InvalidSetting, Queue, StoreRefused
from s3queue.clock import SystemClock
from s3queue.store.memory import MemoryStore
from s3queue.store.port import PutMode
from tests.queue.places import keys, payloads
from tests.store.faulty import Wrapper

CALLERS = 16


class Gated(Wrapper):
    """A memory store whose writes to the inbox wait for a gate, or fail."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.gate = threading.Event()
        self.arrived = threading.Event()
        self.error: Exception | None = None

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if "/inbox/" in key:
            self.arrived.set()
            assert self.gate.wait(20)
            if self.error is not None:
                raise self.error
        return super().put(key, body, mode)


@pytest.fixture
def store() -> Gated:
    return Gated()


@pytest.fixture
def queue(store: Gated) -> Queue:
    return Queue("jobs", url="memory://unused", store=store, clock=SystemClock(), probe=False)


def together(call: Callable[[int], Any], callers: int = CALLERS) -> list[Any]:
    """Return what the calls of many threads at once return or raise."""
    barrier = threading.Barrier(callers)

    def run(number: int) -> Any:
        barrier.wait(20)
        try:
            return call(number)
        except Exception as error:  # noqa: BLE001 - handed to the test
            return error

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(run, range(callers)))


def test_calls_of_many_threads_share_one_put(store: Gated, queue: Queue) -> None:
    store.gate.set()
    with queue.producer(linger_ms=10_000, max_batch=CALLERS) as producer:
        ids = together(producer.enqueue)
    assert queue.meter.total("PUT", "inbox") == 1
    assert {message.id: message.payload for message in queue.receive(100)} == dict(
        zip(ids, range(CALLERS), strict=True)
    )


def test_a_call_returns_only_when_its_message_is_durable(store: Gated, queue: Queue) -> None:
    producer = queue.producer(linger_ms=10_000, max_batch=2)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(producer.enqueue, number) for number in range(2)]
        assert store.arrived.wait(20)
        assert not any(call.done() for call in calls)
        store.gate.set()
        ids = {call.result(20) for call in calls}
    assert {message.id for message in queue.receive()} == ids


def test_a_lone_call_waits_no_longer_than_the_linger_time(store: Gated, queue: Queue) -> None:
    store.gate.set()
    with queue.producer(linger_ms=0) as producer:
        producer.enqueue("alone")
    assert payloads(queue) == ["alone"]


def test_an_error_reaches_every_caller(store: Gated, queue: Queue) -> None:
    store.error = StoreRefused("No.", reason="access-denied", remedy="Ask for leave.")
    store.gate.set()
    producer = queue.producer(linger_ms=10_000, max_batch=CALLERS)
    outcomes = together(producer.enqueue)
    assert [type(outcome) for outcome in outcomes] == [StoreRefused] * CALLERS
    assert keys(queue, "inbox/") == []


def test_a_bad_payload_costs_its_own_caller_alone(store: Gated, queue: Queue) -> None:
    store.gate.set()
    producer = queue.producer(linger_ms=10_000, max_batch=CALLERS - 1)
    outcomes = together(lambda number: producer.enqueue({number} if number == 3 else number))
    assert isinstance(outcomes[3], InvalidPayload)
    assert all(isinstance(outcome, str) for number, outcome in enumerate(outcomes) if number != 3)
    assert queue.count("pending") == CALLERS - 1


def test_calls_with_different_options_go_into_different_objects(store: Gated, queue: Queue) -> None:
    store.gate.set()
    producer = queue.producer(linger_ms=10_000, max_batch=CALLERS // 2)
    together(lambda number: producer.enqueue(number, headers={"parity": str(number % 2)}))
    assert queue.meter.total("PUT", "inbox") == 2
    assert all(message.headers["parity"] == str(message.payload % 2) for message in queue.receive(100))


@pytest.mark.parametrize("options", [{"linger_ms": -1}, {"linger_ms": 60_001}, {"max_batch": 0}, {"max_batch": 1001}])
def test_a_bad_producer_is_refused(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="1 to 1000 messages"):
        queue.producer(**options)
