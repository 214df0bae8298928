"""``process_once``: a worker without threads, for cron jobs and Lambda."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import Context, InvalidSetting, Queue
from s3queue.errors import StoreUnavailable
from s3queue.store.memory import MemoryStore
from s3queue.store.port import PutMode
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, heard, keys, payloads, plant
from tests.store.faulty import Wrapper


def test_all_that_is_visible_is_processed_and_counted(queue: Queue) -> None:
    queue.enqueue_many(range(57))
    queue.enqueue("later", delay=60)
    seen: list[Any] = []
    assert queue.process_once(seen.append) == 57
    assert seen == list(range(57))
    stats = queue.stats()
    assert (stats.completed, stats.unfinished, stats.scheduled) == (57, 1, 1)
    assert len(keys(queue, "inbox/")) == 1


def test_nothing_there_is_nothing_done(queue: Queue) -> None:
    assert queue.process_once(lambda _: None) == 0


@pytest.mark.parametrize(("limit", "made"), [(0, 0), (1, 1), (10, 10), (23, 23), (1000, 40)])
def test_the_limit_bounds_the_attempts_and_the_rest_stays_free(place: Place, limit: int, made: int) -> None:
    queue = place.open()
    queue.enqueue_many(range(40))
    assert queue.process_once(lambda _: None, max_messages=limit) == made
    assert queue.count("processing") == 0
    assert len(payloads(place.open())) == 40 - made


@pytest.mark.parametrize("decision", ["ack", "nack", "retry", "dead"])
def test_in_manual_mode_the_handler_decides(queue: Queue, decision: str) -> None:
    queue.enqueue("a")

    def handler(payload: str, ctx: Context) -> None:  # noqa: ARG001
        getattr(ctx, decision)(*(("no",) if decision == "dead" else ()))

    assert queue.process_once(handler, manual_ack=True) == 1
    stats = queue.stats()
    expected = {"ack": (1, 0, 0), "nack": (0, 1, 0), "retry": (0, 1, 0), "dead": (0, 0, 1)}[decision]
    assert (stats.completed, stats.retried, stats.dead) == expected


def test_no_decision_in_manual_mode_is_a_failed_attempt(place: Place) -> None:
    queue = place.open(max_attempts=1)
    queue.enqueue("a")
    queue.process_once(lambda payload: payload, manual_ack=True)
    assert "without ack or nack" in queue.dlq.list()[0].errors[0].message


def test_the_context_tells_about_the_message(place: Place, clock: ManualClock) -> None:
    queue = place.open(worker_id="me", max_attempts=5)
    message_id = queue.enqueue("a", headers={"h": "x"}, group="g", priority=2)
    facts: dict[str, Any] = {}

    def handler(payload: str, ctx: Context) -> None:  # noqa: ARG001
        names = ["id", "attempt", "max_attempts", "headers", "priority", "group", "worker", "queue", "holds"]
        facts.update(
            {name: getattr(ctx, name) for name in names}, age=clock.now_ms() / 1000 - ctx.enqueued_at.timestamp()
        )
        assert ctx.token > 0

    clock.advance(1)
    assert queue.process_once(handler) == 1
    assert facts == {
        "id": message_id, "attempt": 1, "max_attempts": 5, "headers": {"h": "x"}, "priority": 2, "group": "g",
        "worker": "me", "queue": "jobs", "holds": True, "age": 1.0,
    }  # fmt: skip


def test_a_slow_handler_keeps_the_lease_of_those_behind_it(place: Place, clock: ManualClock) -> None:
    queue, other = place.open(visibility_timeout=30), place.open()
    queue.enqueue_many(range(6))
    seen: list[int] = []

    def slow(payload: int) -> None:
        seen.append(payload)
        clock.advance(20)
        assert other.receive() == []

    assert queue.process_once(slow) == 6
    assert seen == list(range(6))
    assert queue.stats().rescued == 0


def test_what_a_stalled_handler_held_is_given_back(place: Place, clock: ManualClock) -> None:
    queue = place.open(visibility_timeout=30)
    queue.enqueue_many(range(3))
    seen: list[int] = []

    def handler(payload: int) -> None:
        seen.append(payload)
        if len(seen) == 1:
            clock.advance(28)

    assert queue.process_once(handler) == 3
    assert seen == [0, 1, 2]
    assert queue.stats().completed == 3


def test_it_sweeps(place: Place, clock: ManualClock) -> None:
    gone, queue = place.open(visibility_timeout=30), place.open()
    gone.enqueue("stalled")
    gone.receive()
    queue.pause()
    clock.advance(120)
    events = heard(queue, "message-recovered")
    queue.process_once(lambda _: None)
    assert [event.count for event in events] == [1]


def test_an_unreadable_object_does_not_hide_those_behind_it(queue: Queue, clock: ManualClock) -> None:
    plant(queue, f"inbox/0000/9/{clock.now_ms() - 1000:013d}-0123456789abcdefghjk-500.json", b"garbage")
    queue.enqueue_many(range(15))
    seen: list[int] = []
    queue.process_once(seen.append)
    assert seen == list(range(15))


@pytest.mark.parametrize("handler", [None, "app:handler", 7, lambda: None, lambda _a, _b, _c: None])
def test_a_handler_that_cannot_be_called_is_refused_before_anything_is_claimed(queue: Queue, handler: Any) -> None:
    queue.enqueue("a")
    with pytest.raises(InvalidSetting, match=r"[Gg]ive"):
        queue.process_once(handler)
    assert queue.count("processing") == 0


class OnceDown(Wrapper):
    """A store that is down for the ledger while a switch says so."""

    down = False

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if self.down and "/ledger/" in key:
            raise StoreUnavailable("down")
        return super().put(key, body, mode)


def test_outcomes_outlast_a_store_that_is_down_for_a_while() -> None:
    clock = ManualClock()
    store = OnceDown(MemoryStore(clock))
    queue = Queue("jobs", url="memory://unused", store=store, clock=clock, probe=False, visibility_timeout=3600)
    queue.enqueue("a")

    def handler(payload: str) -> None:  # noqa: ARG001
        store.down = True

    with pytest.raises(StoreUnavailable):
        queue.process_once(handler)
    store.down = False
    assert queue.process_once(lambda _: pytest.fail("it was processed already")) == 0
    assert queue.stats().completed == 1
