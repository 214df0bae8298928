"""The backends that the conformance suite runs on, the fake one among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from s3queue.coordination.link import Link
from s3queue.coordination.port import Hint, decode_card
from s3queue.coordination.transport import Card


@dataclass
class Hub:
    """A backend in memory, which tests put out of order."""

    sources: list[HubSource] = field(default_factory=list)
    cards: dict[str, bytes] = field(default_factory=dict)
    sends: list[tuple[Hint, ...]] = field(default_factory=list)
    broken: bool = False

    def check(self) -> None:
        if self.broken:
            raise ConnectionError("out of order")

    def spread(self, data: bytes) -> None:
        for source in list(self.sources):
            source.inbox.put(data)


class HubSource:
    def __init__(self, hub: Hub) -> None:
        hub.check()
        self._hub = hub
        self._waits = False
        self.inbox: SimpleQueue[bytes] = SimpleQueue()
        hub.sources.append(self)

    def receive(self) -> Iterator[bytes]:
        waits, self._waits = self._waits, True
        try:
            data = self.inbox.get(timeout=0.05 if waits else 0)
        except (Empty, ValueError):
            data = None
        self._hub.check()
        if data is not None:
            yield data

    def close(self) -> None:
        self._hub.sources.remove(self)


class HubTransport:
    name = "hub"
    reaches_all = True
    shows = True
    spacing_s = 0.02

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def send(self, hints: Sequence[Hint], cards: Sequence[Card]) -> None:
        self._hub.check()
        self._hub.sends.append(tuple(hints))
        for card in cards:
            if card.ttl_s > 0:
                self._hub.cards[card.worker] = card.body
            else:
                self._hub.cards.pop(card.worker, None)
        for hint in hints:
            self._hub.spread(hint.encode())

    def subscribe(self) -> HubSource:
        return HubSource(self._hub)

    def presence(self) -> dict[str, dict[str, Any]]:
        self._hub.check()
        found = {worker: decode_card(body) for worker, body in self._hub.cards.items()}
        return {worker: card for worker, card in found.items() if card is not None}

    def close(self) -> None: ...


@dataclass
class Told:
    """What a backend told of itself: the errors, '' for what works again."""

    changes: list[str] = field(default_factory=list)

    def __call__(self, backend: str, error: str) -> None:
        assert backend
        self.changes.append(error)


@dataclass
class Backend:
    """``open`` is like another process; ``forge`` puts raw bytes where hints travel; ``shows`` tells of presence."""

    open: Callable[[], Link]
    forge: Callable[[bytes], object]
    shows: bool
    told: Told
