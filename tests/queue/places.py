"""Where the queues of a test lie, and a look at what lies there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from s3queue import Queue
from s3queue.events import Event
from s3queue.received import ReceivedMessage
from s3queue.store.port import OVERWRITE
from tests.queue.clocks import ManualClock


@dataclass
class Place:
    """A store of this test alone, with a clock of its own. Each :meth:`open` is like another process."""

    url: str
    clock: ManualClock = field(default_factory=ManualClock)
    opened: list[Queue] = field(default_factory=list)

    def open(self, name: str = "jobs", **options: Any) -> Queue:
        queue = Queue(name, url=self.url, clock=self.clock, probe=False, **options)
        self.opened.append(queue)
        return queue

    def close(self) -> None:
        for queue in self.opened:
            queue.close()


def keys(queue: Queue, folder: str = "") -> list[str]:
    """Return the keys below a folder of the queue, without the queue's own root."""
    page = queue.connect().store.list(queue.root + folder)
    return [entry.key.removeprefix(queue.root) for entry in page.entries]


def body(queue: Queue, key: str) -> bytes:
    """Return the bytes of an object of the queue."""
    found = queue.connect().store.get(queue.root + key)
    assert found is not None
    return found.body


def plant(queue: Queue, key: str, data: bytes) -> str:
    """Write an object behind the queue's back, and return its whole key."""
    queue.connect().store.put(queue.root + key, data, OVERWRITE)
    return queue.root + key


def payloads(queue: Queue, limit: int = 100) -> list[Any]:
    """Return the payloads of all that can be claimed, and complete it."""
    found = []
    while messages := queue.receive(limit):
        for message in messages:
            found.append(message.payload)
            message.ack()
    return found


def heard(queue: Queue, name: str = "*") -> list[Event]:
    """Return a list that fills with the events of the queue."""
    events: list[Event] = []
    queue.on(name, events.append)
    return events


def collect(queue: Queue, into: list[ReceivedMessage], count: int = 1) -> bool:
    """Receive what there is, add it to ``into``, and say whether there are ``count`` by now."""
    into += queue.receive(100)
    return len(into) >= count
