"""A lane: one ledger, one inbox, and what the agents on them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from s3queue.clock import Clock
from s3queue.core.keys import Keys
from s3queue.core.payload import PayloadCodec, Seal
from s3queue.core.settings import Settings
from s3queue.events import Events
from s3queue.ids import Ids
from s3queue.protocol.committer import Committer
from s3queue.protocol.inbox import Inbox, Scanner
from s3queue.store.port import Store

T = TypeVar("T")
R = TypeVar("R")


class Spread(Protocol):
    """Calls a function for each item, at the same time where there are threads for it; returns all results."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> list[R]:
        """Return ``[function(item) for item in items]``; the first error is raised after all have ended."""
        ...


def one_by_one(function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
    """Do the work in the caller's thread."""
    return [function(item) for item in items]


@dataclass(slots=True)
class Lane:
    """What one process knows of a lane. ``settings`` is a function, as they can change while the process runs."""

    number: int
    worker: str
    store: Store
    keys: Keys
    committer: Committer
    inbox: Inbox
    scanner: Scanner
    events: Events
    settings: Callable[[], Settings]
    clock: Clock
    ids: Ids
    codec: PayloadCodec
    spread: Spread = field(default=one_by_one)

    @property
    def seal(self) -> Seal:
        """The codecs that can be read."""
        return Seal((self.codec,))

    def now_ms(self) -> int:
        """Return store time."""
        return self.store.now_ms()
