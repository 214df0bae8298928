"""Events: what happened, told to whoever listens. A listener can neither stop nor slow what it is told of by failing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s3queue.errors import InvalidSetting

log = logging.getLogger("s3queue")

EVENTS = {
    "message-enqueued": "ids: list[str], object: str — messages are durable in the inbox",
    "message-claimed": "ids: list[str], token: int — this worker holds them",
    "message-processing": "id: str, attempt: int — the handler begins",
    "message-completed": "id: str, attempt: int, latency_ms: int — recorded as completed",
    "message-retry": "id: str, attempt: int, at_ms: int, error: str — failed, will be tried again",
    "message-recovered": "worker: str, count: int — claims that ran out were made available again",
    "message-dead": "id: str, attempt: int, reason: str, error: str — moved to the dead letter queue",
    "lanes-changed": "before: int, after: int, lost_share: float — the coordinator has tuned the number of lanes",
    "message-replayed": "id: str, letter: str — a dead letter is on its way back",
    "schedule-fired": "schedule: str, tick_ms: int, id: str — a tick was put into the books, its message is on its way",
    "lease-lost": "id: str, token: int, found: str — an outcome was refused: somebody else has the message",
    "lock-lost": "lock: str, token: int, found: str — a lock of this process was found to be lost",
    "workers-started": "worker: str, concurrency: int",
    "workers-stopped": "worker: str, processed: int, failed: int",
    "coordinator-promoted": "worker: str, epoch: int, lane: int — this worker coordinates the lane now",
    "coordinator-demoted": "worker: str, epoch: int, lane: int, why: str — this worker does no longer",
    "coordinator-elected": "worker: str, epoch: int, lane: int — seen: who coordinates the lane, from this term on",
    "tickets-published": "lane: int, count: int, messages: int, epoch: int, workers: list[str] — assigned to these workers",
    "metrics": "the fields of s3queue.metrics.Snapshot, every report interval",
    "settings-differ": "asked: dict[str, Any], found: dict[str, Any] — the queue exists with other settings, which count",
    "coordination-lost": "backend: str, error: str — hints do not travel: workers find messages by polling",
    "coordination-restored": "backend: str — hints travel again",
    "s3-throttled": "operation: str, attempt: int, delay_s: float — the store asked to slow down",
    "error": "error: Exception, doing: str — something failed that will be tried again or needs a person",
}
"""Every event's name and the fields it carries."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a queue: ``name``, ``at_ms`` (store time) and the fields that :data:`EVENTS` tells."""

    name: str
    at_ms: int
    queue: str
    fields: dict[str, Any]

    def __getattr__(self, field: str) -> Any:
        try:
            return self.fields[field]
        except KeyError:
            raise AttributeError(f"event {self.name!r} has no field {field!r}, only {sorted(self.fields)}") from None


LOGGED = {
    "error": (logging.ERROR, "%(doing)s: %(error)s"),
    "settings-differ": (
        logging.WARNING,
        (
            "the queue exists with %(found)s, which counts, not %(asked)s; Queue.configure(…), or s3queue-admin configure, "
            "changes it for all processes"
        ),
    ),
    "coordination-lost": (logging.WARNING, "coordination by %(backend)s is lost, workers poll: %(error)s"),
    "coordination-restored": (logging.WARNING, "coordination by %(backend)s is restored"),
}
"""What is logged where it happens, whoever listens: level, and text with the event's fields."""

Listener = Callable[[Event], None]


class Events:
    """Listeners by event name."""

    def __init__(self, queue: str, now_ms: Callable[[], int]) -> None:
        self._queue = queue
        self._now_ms = now_ms
        self._listeners: dict[str, list[Listener]] = {}

    def on(self, name: str, listener: Listener) -> None:
        """Call ``listener`` at every event ``name`` (``"*"`` for all), in the thread in which it happens."""
        if name != "*" and name not in EVENTS:
            raise InvalidSetting(f"There is no event {name!r}.", remedy=f"Use one of {', '.join(EVENTS)}, or '*'.")
        self._listeners.setdefault(name, []).append(listener)

    def wanted(self, name: str) -> bool:
        """Whether anybody listens, so that a busy caller can save the work of telling."""
        return name in self._listeners or "*" in self._listeners

    def emit(self, name: str, **fields: Any) -> None:
        """Tell the listeners; what they raise is logged."""
        if name in LOGGED:
            level, text = LOGGED[name]
            log.log(level, text, {"doing": name, "error": None} | fields)
        listeners = [*self._listeners.get(name, ()), *self._listeners.get("*", ())]
        if not listeners:
            return
        event = Event(name, self._now_ms(), self._queue, fields)
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener of %r failed", name)
