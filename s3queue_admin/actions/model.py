"""What an action is before, while and after it is done: plain data, for scripts, the command line and screens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from s3queue.store.metered import Counts, Prices, billed

VERBS: Final[Mapping[str, tuple[str, ...]]] = {
    "replay": ("dead",),
    "discard": ("dead",),
    "purge": ("dead",),
    "cancel": ("pending", "scheduled", "processing"),
    "reprioritise": ("pending", "scheduled"),
    "delay": ("pending", "scheduled"),
    "reset": ("processing",),
    "release": ("processing",),
    "pause": (),
    "resume": (),
    "configure": (),
    "unlock": (),
    "unschedule": (),
    "undo": (),
}
"""What can be done, and the states of the messages that each is about; none: it is about the queue."""

Progress = Callable[[int, int], object]
"""Called with how many messages are through, and of how many."""
Stop = Callable[[], bool]
"""Asked between commits whether to stop."""


def never() -> bool:
    """Do not stop."""
    return False


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests, by verb (PUT, GET, LIST, POST), as they will be about."""

    put: float = 0
    get: float = 0
    list: float = 0
    post: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.put + other.put, self.get + other.get, self.list + other.list, self.post + other.post)

    def times(self, count: float) -> Cost:
        """Return so many of them."""
        return Cost(self.put * count, self.get * count, self.list * count, self.post * count)

    @property
    def requests(self) -> int:
        """How many requests that is."""
        return round(self.put + self.get + self.list + self.post)

    def usd(self, prices: Prices) -> float:
        """Return the price in US dollars."""
        return ((self.put + self.list + self.post) * prices.put_list + self.get * prices.get) / 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the messages that are meant, its payload and its last error as they may be shown."""

    id: str
    state: str
    payload: Any
    error: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What an action came to. ``refused``: why messages were not changed, by id; ``unknown``: under way when it failed.

    ``error``: what stopped it; ``stopped``: somebody asked it to. What ``done`` says is recorded, whatever came after.
    ``requests``: what it cost, by (verb, area, outcome). ``audit``: the id of its entry.
    """

    verb: str
    queue: str
    planned: int
    done: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    error: str = ""
    stopped: bool = False
    requests: Counts = field(default_factory=dict)
    audit: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if all was done, 5 if a part was not, 1 if it failed before anything was done."""
        if not self.error and not self.refused and not self.stopped:
            return 0
        return 1 if self.error and not self.done else 5

    @property
    def billed(self) -> Mapping[str, int]:
        """What is billed of the requests, by class of price."""
        return billed(self.requests)


@dataclass
class Tally:
    """What has been done so far."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    error: str = ""
    stopped: bool = False
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An action as it is written down: who meant to do what, where and why, and, once ``ended_at`` is set, what came of it.

    ``where`` is the filter in words, or the ids. ``ids`` of messages done are the first thousand; ``count`` is of all.
    ``before`` and ``after``: settings, for actions on the queue. One that was begun and never ended died on its way, or
    is under way.
    """

    id: str
    at: datetime
    queue: str
    verb: str
    who: str
    reason: str = ""
    where: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    planned: int = 0
    ended_at: datetime | None = None
    count: int = 0
    ids: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    refusals: int = 0
    unknown: int = 0
    error: str = ""
    stopped: bool = False
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
