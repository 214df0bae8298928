"""One read-only pass over a queue: what has not changed is not read again, what is costly to list is listed seldom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from s3queue.clock import to_datetime
from s3queue.core.codec import decode_ledger, decode_settings
from s3queue.core.keys import Keys, ObjectName, parse_letter, rank_in
from s3queue.core.presence import Presence, decode_presence
from s3queue.errors import CorruptObject, NotFound, S3QueueError
from s3queue.events import Event
from s3queue.protocol.census import Stats, tally
from s3queue.protocol.locks import LockInfo
from s3queue.protocol.schedules import Schedule
from s3queue.queue import Queue
from s3queue.store.metered import Meter
from s3queue.store.port import Store, walk
from s3queue_admin import picture
from s3queue_admin.judging import findings
from s3queue_admin.picture import Books
from s3queue_admin.snapshot import Problem, QueueSnapshot, rates_between

LIST_S = 10.0
IDLE_LIST_S = 60.0
"""Listings are kept twice as long each time that nothing has changed, up to this."""
LISTING_SHARE = 20
"""A listing that took long is kept this many times as long, so that watching a huge backlog spends little on listing it."""
SETTINGS_S = 15.0
TREND_S = 60.0
"""What changes is judged against a snapshot that is as old, up to twice that."""
T = TypeVar("T")
R = TypeVar("R")
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


@dataclass(slots=True)
class _Held(Generic[T]):
    """What was last read at a key."""

    etag: str
    value: T
    size: int
    read_at: float


@dataclass(slots=True)
class _Listed:
    """What was last listed: names of message objects by lane, of dead letters, keys of workers; locks and schedules."""

    at: float = float("-inf")
    at_ms: int = 0
    keep_s: float = 0.0
    took_s: float = 0.0
    inbox: dict[int, list[str]] = field(default_factory=dict)
    letters: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)
    locks: tuple[LockInfo, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    late: dict[int, set[str]] | None = None
    """By lane, the objects below the cursor that no ticket held when they were listed: they wait. None: not known yet."""


class Inspector:
    """Takes snapshots of one queue, each cheaper for what the one before knew; not to be shared between threads.

    ``store`` answers GET and LIST, counted by ``meter``; ``queue`` is the same queue, opened on it. ``spread`` calls a
    function for many items at once. ``list_s``: how old listings may be, in seconds, while something changes.
    """

    def __init__(
        self,
        queue: Queue,
        store: Store,
        meter: Meter,
        *,
        monotonic: Callable[[], float],
        spread: Spread,
        list_s: float = LIST_S,
    ) -> None:
        self.list_s = list_s
        self.queue, self._store, self._meter = queue, store, meter
        self._monotonic, self._spread = monotonic, spread
        self._keys = Keys(queue.root)
        self._held: dict[str, _Held[Any]] = {}
        self._listed = _Listed()
        self._problems: list[Problem] = []
        self._last: QueueSnapshot | None = None
        self._earlier: QueueSnapshot | None = None
        self._next_earlier: QueueSnapshot | None = None
        queue.on("error", self._note)

    def snapshot(self, *, fresh: bool = False) -> QueueSnapshot:
        """Return the queue as it is now; ``fresh``: with everything listed anew.

        Raises NoQueue if there is no such queue, StoreUnavailable or StoreRefused if its settings cannot be read. Other
        things that cannot be read are among the problems.
        """
        began, before, self._problems = self._monotonic(), self.requests(), []
        settings = self._read(self._keys.settings, decode_settings, SETTINGS_S).value
        numbers = range(settings.lanes_served)
        known = [self._revision(number) for number in numbers]
        if fresh or self._monotonic() - self._listed.at >= self._listed.keep_s:
            self._list(numbers)
        books = self._spread(self._books, numbers)  # after the listing: what was settled between does not wait any more
        if known != [each.ledger.revision for each in books]:
            self._listed.keep_s = max(self.list_s, self._listed.took_s * LISTING_SHARE)
        workers = [entry for entry in self._spread(self._presence, self._listed.workers) if entry is not None]
        now = self._store.now_ms()
        stats = self._count(books, now)
        made = QueueSnapshot(
            queue=self.queue.name,
            location=self._store.location,
            root=self.queue.root,
            taken_at=to_datetime(now),
            listed_at=to_datetime(self._listed.at_ms),
            took_s=self._monotonic() - began,
            requests=_difference(before, self.requests()),
            settings=settings,
            stats=stats,
            spans=picture.spans(books, self._listed.inbox, self._listed.letters, now),
            lanes=tuple(picture.show_lane(each, now) for each in books),
            workers=picture.show_workers(workers, books, now),
            locks=tuple(self._listed.locks),
            schedules=self._listed.schedules,
            problems=tuple(dict.fromkeys(self._problems)),
        )
        return self._with_rates(made)

    def _with_rates(self, made: QueueSnapshot) -> QueueSnapshot:
        if self._last is not None and (rates := rates_between(self._last, made)) is not None:
            made = replace(made, rates=rates)
        self._last = made
        return replace(made, findings=findings(made, self._a_while_ago(made)))

    def _a_while_ago(self, made: QueueSnapshot) -> QueueSnapshot | None:
        """Return a snapshot to judge by what has changed since; None if there is none that is old enough."""
        newer = self._next_earlier
        if newer is None or (made.taken_at - newer.taken_at).total_seconds() >= TREND_S:
            self._earlier, self._next_earlier = newer, made
        return self._earlier

    # -- reading --

    def _books(self, number: int) -> Books:
        key = self._keys.ledger(number)
        try:
            held = self._read(key, decode_ledger)
        except NotFound:
            return Books(number, key)
        except S3QueueError as error:
            self._tell("ledger", key, error)
            return Books(number, key, error=str(error))
        return Books(number, key, held.value, held.size)

    def _revision(self, number: int) -> int:
        held = self._held.get(self._keys.ledger(number))
        return held.value.revision if held is not None else 0

    def _presence(self, key: str) -> Presence | None:
        held = self._held.get(key)
        max_age_s = held.value.interval_ms / 1000 if held is not None else 0.0
        try:
            return self._read(key, decode_presence, max_age_s).value
        except NotFound:
            self._held.pop(key, None)
            return None
        except S3QueueError as error:
            self._tell("worker", key, error)
            return None

    def _read(self, key: str, decode: Callable[[bytes, str], T], max_age_s: float = 0.0) -> _Held[T]:
        """Return what lies at the key, asking only whether it has changed, or not at all if it was read so lately."""
        held: _Held[T] | None = self._held.get(key)
        if held is not None and self._monotonic() - held.read_at < max_age_s:
            return held
        found = self._store.get(key, held.etag if held is not None else None)
        if found is not None:
            held = _Held(found.etag, decode(found.body, key), len(found.body), self._monotonic())
            self._held[key] = held
        elif held is None:
            raise CorruptObject(key, "the store says that it is unchanged, though it was never read")
        held.read_at = self._monotonic()
        return held

    # -- listing --

    def _list(self, numbers: Iterable[int]) -> None:
        """List the inbox of each lane, dead letters, workers, locks and schedules; what fails is left as it was."""
        began, old, lanes = self._monotonic(), self._listed, list(numbers)
        listed = replace(old, at_ms=self._store.now_ms(), late=None)
        inbox = self._spread(lambda number: self._part("inbox", lambda: self._inbox(number)), lanes)
        listed.inbox = {
            number: old.inbox.get(number, []) if names is None else names
            for number, names in zip(lanes, inbox, strict=True)
        }
        for name, read in self._parts().items():
            value = self._part(name, read)
            if value is not None:
                setattr(listed, name, value)
        listed.at = self._monotonic()
        listed.took_s = listed.at - began
        patience_s = min(old.keep_s * 2, IDLE_LIST_S) if old.at_ms else self.list_s
        listed.keep_s = max(patience_s, self.list_s, listed.took_s * LISTING_SHARE)
        self._listed = listed

    def _parts(self) -> Mapping[str, Callable[[], Any]]:
        return {
            "letters": lambda: self._names(self._keys.dlq, parse_letter),
            "workers": lambda: [key for key in walk(self._store, self._keys.workers) if key.endswith(".json")],
            "locks": lambda: tuple(self.queue.locks()),
            "schedules": lambda: tuple(self.queue.schedules()),
        }

    def _part(self, part: str, read: Callable[[], R]) -> R | None:
        try:
            return read()
        except S3QueueError as error:
            self._tell(part, getattr(error, "key", "") or self._keys.root, error)
            return None

    def _inbox(self, number: int) -> list[str]:
        return self._names(self._keys.inbox(number), ObjectName.parse)

    def _names(self, prefix: str, parse: Callable[[str], Any]) -> list[str]:
        names = []
        for key in walk(self._store, prefix):
            name = self._keys.name_in(prefix, key)
            if parse(name) is None:
                self._problems.append(
                    Problem("foreign", key, "It is none of s3queue's, and is left alone: move it away.")
                )
            else:
                names.append(name)
        return names

    # -- counting --

    def _count(self, books: Sequence[Books], now: int) -> Stats:
        """Count by state; of what was listed, that which a newer ledger has ticketed and needs no more is done with."""
        listed, needed = self._listed, {each.number: each.ledger.held_names() for each in books}
        if listed.late is None:
            listed.late = {
                each.number: {
                    name
                    for name in listed.inbox[each.number]
                    if name <= each.ledger.cursor(rank_in(name)) and name not in needed[each.number]
                }
                for each in books
            }
        for each in books:
            held, late = needed[each.number], listed.late[each.number]
            listed.inbox[each.number] = [
                name
                for name in listed.inbox[each.number]
                if name > each.ledger.cursor(rank_in(name)) or name in held or name in late
            ]
        return tally([(each.ledger, listed.inbox[each.number]) for each in books], set(listed.letters), now)

    def requests(self) -> dict[tuple[str, str, str], int]:
        """Return the requests made so far, by (verb, area, outcome)."""
        sums = self._meter.snapshot()
        for line, count in self.queue.meter.snapshot().items():
            sums[line] = sums.get(line, 0) + count
        return sums

    def _tell(self, part: str, key: str, error: S3QueueError) -> None:
        kind = "Throttled" if getattr(error, "throttled", False) else type(error).__name__
        self._problems.append(Problem(part, key, str(error), kind))

    def _note(self, event: Event) -> None:
        self._tell("object", getattr(event.error, "key", ""), event.error)


def _difference(
    before: Mapping[tuple[str, str, str], int], after: Mapping[tuple[str, str, str], int]
) -> dict[tuple[str, str, str], int]:
    return {line: count - before.get(line, 0) for line, count in after.items() if count > before.get(line, 0)}
