"""What a backend has to bring: plain calls that may block and fail. Threads, patience and manners are :mod:`.link`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from s3queue.coordination.port import Hint


@dataclass(frozen=True, slots=True)
class Card:
    """What shows a worker to others for ``ttl_s`` seconds; 0 takes it away."""

    worker: str
    body: bytes
    ttl_s: float


class Source(Protocol):
    """A subscription."""

    def receive(self) -> Iterator[bytes]:
        """Yield what has come, nothing after a while of waiting; who stops in the middle leaves the rest to others.

        The first call is over soon, and shows that the subscription stands.
        """
        ...

    def close(self) -> None:
        """Give back the connection."""
        ...


class Transport(Protocol):
    """A backend's own part; any exception means that it is out of order."""

    name: str
    reaches_all: bool
    """Whether a hint reaches all who subscribe."""
    shows: bool
    """Whether it has presence; if not, no cards are sent."""
    spacing_s: float
    """Least time between two calls of :meth:`send`, in seconds; hints that come meanwhile share the next."""

    def send(self, hints: Sequence[Hint], cards: Sequence[Card]) -> None:
        """Send; with nothing to send, ask for a sign of life."""
        ...

    def subscribe(self) -> Source:
        """Begin a subscription."""
        ...

    def presence(self) -> dict[str, dict[str, Any]]:
        """Return the cards of those present, decoded."""
        ...

    def close(self) -> None:
        """Give back the connections that :meth:`send` uses."""
        ...
