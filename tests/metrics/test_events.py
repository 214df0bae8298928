"""Every event of a queue's life, heard from real workers: two on one queue, a message of each fate, a store that throttles."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Signal
from typing import Any

from s3queue import NonRetriable, Queue, RetryPolicy, StoreUnavailable
from s3queue.events import EVENTS, Event
from s3queue.store.port import Object
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import FastClock, running
from tests.worker.test_trouble import Switch

LIFE = {
    "message-enqueued", "message-claimed", "message-processing", "message-completed", "message-retry",
    "message-recovered", "message-dead", "workers-started", "workers-stopped", "coordinator-promoted",
    "coordinator-demoted", "coordinator-elected", "tickets-published", "metrics", "s3-throttled", "error",
}  # fmt: skip


class Slow(Switch):
    """A store that asks once to slow down."""

    def __init__(self, clock: FastClock) -> None:
        super().__init__(clock)
        self.asks = False

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        if self.asks:
            self.asks = False
            raise StoreUnavailable("Slow down.", throttled=True, maybe_applied=False)
        return super().get(key, if_none_match)


def names(*heard_by: list[Event]) -> set[str]:
    return {event.name for events in heard_by for event in events}


def test_the_whole_life_of_a_queue_is_told() -> None:
    clock = FastClock()
    store = Slow(clock)

    def opened(worker: str) -> Queue:
        options: dict[str, Any] = {"retry": RetryPolicy(base_s=0), "visibility_timeout": 30, "probe": False}
        return Queue("jobs", url="memory://unused", store=store, clock=clock, worker_id=worker, **options)

    gone, one, two = opened("gone"), opened("one"), opened("two")
    told = [heard(queue) for queue in (gone, one, two)]
    gone.enqueue("left behind")
    assert len(gone.receive(1)) == 1
    clock.sleep(60)
    release = Signal()

    def handler(payload: Any, ctx: Any) -> None:
        if payload == "bad":
            raise NonRetriable(payload) if ctx.attempt > 1 else ValueError(payload)
        if payload == "slow":
            release.wait(20)

    def both(check: Callable[[], bool]) -> bool:
        return eventually(check, 30)

    options: dict[str, Any] = {"concurrency": 1, "prefetch": 2, "report_interval": 0.05}
    with running(one, handler, **options), running(two, handler, **options):
        assert both(lambda: {"coordinator-promoted", "coordinator-elected"} <= names(*told))
        gone.enqueue_many(["bad", *["slow"] * 2, *range(200)])
        assert both(lambda: "tickets-published" in names(*told))
        release.set()
        assert both(lambda: {"message-dead", "message-recovered"} <= names(*told))
        assert both(lambda: gone.stats().unfinished == 0)
        store.asks = True
        assert both(lambda: "s3-throttled" in names(*told))
        store.error = StoreUnavailable("The store is down.", maybe_applied=False)
        assert both(lambda: "error" in names(*told))
        store.error = None
    assert names(*told) >= LIFE
    assert EVENTS.keys() >= LIFE
    for events in told:
        for event in events:
            fields = {part.split(":")[0].strip() for part in EVENTS[event.name].split(" — ")[0].split(",")}
            assert event.name == "metrics" or event.fields.keys() == fields, event
    promoted = [event for events in told for event in events if event.name == "coordinator-promoted"]
    assert {event.worker for event in promoted} <= {"one", "two"}
