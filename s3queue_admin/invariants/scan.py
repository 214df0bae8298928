"""One look at all of a queue: what contradicts what. Some of it may only be under way: see :mod:`.check`.

Each ledger is read *before* the listing of its inbox, and journals after. So what a listing shows below a cursor, and the
ledger does not know, came late or came back; what was claimed, retried or deleted in between looks wrong once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from s3queue.batches import batched
from s3queue.core.codec import (
    decode_journal,
    decode_ledger,
    decode_letter,
    decode_messages,
    decode_reservation,
    decode_schedule,
)
from s3queue.core.invariants import violations
from s3queue.core.kept import decode_forgetting, is_reservation, parse_history
from s3queue.core.keys import (
    Keys,
    ObjectName,
    count_of,
    group_of,
    is_message_id,
    parse_letter,
    rank_in,
    visible_at_ms_of,
)
from s3queue.core.lease import decode_lock
from s3queue.core.ledger import Ledger
from s3queue.core.payload import Seal
from s3queue.core.presence import decode_presence
from s3queue.core.settings import Settings
from s3queue.errors import CorruptObject, NewerFormat, NotFound
from s3queue.protocol.history import SUFFIX
from s3queue.store.port import Store, fetch, walk
from s3queue.text import counted
from s3queue_admin.invariants.index import Index

LATE_MS = 120_000
"""A late arrival is ticketed by a sweep, every half minute."""
LEFT_MS = 600_000
"""Settled objects are deleted within seconds, or by a sweep after two minutes."""
MOVED_MS = 60_000
"""Moves are carried out at once, or by a sweep."""
BLOCKED_MS = 300_000
"""A sweep lets a group go on after two minutes."""
OPEN_MS = 3_600_000
"""A producer writes its message within a minute of the reservation; its ghost is known for an hour."""
MOST = 1_000
"""How many of a code are kept."""
_AT_ONCE = 64
_AREAS = frozenset(
    (
        *("inbox", "ledger", "dlq", "results", "settled", "history", "dedup", "locks", "workers", "schedules", "audit"),
        "staged",
    )
)
_DOCUMENTS = frozenset(("queue.json", "forgetting.json"))

Suspicions = dict[tuple[str, str, str], str]
"""(code, key, what in particular) → evidence."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is scanned: the queue's store and keys, its settings, and how to read packed payloads."""

    store: Store
    keys: Keys
    settings: Settings
    seal: Seal
    spread: Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


@dataclass(slots=True)
class _Lane:
    """A lane's ledger and what the listing has shown of it so far."""

    number: int
    ledger: Ledger
    held: set[str]
    unseen: set[str]
    below: list[str] = field(default_factory=list)


class Scan:
    """One look. ``deep``: read every message, letter and reservation. ``counts``: objects looked at, by area."""

    def __init__(self, site: Site, index: Index, *, deep: bool) -> None:
        self._site, self._index, self._deep = site, index, deep
        self._keys, self._store = site.keys, site.store
        self._now = site.store.now_ms()
        self._lock = Lock()
        self._replayed: set[str] = set()
        self._per_code: dict[str, int] = {}
        self._lanes: dict[int, _Lane] = {}
        self.suspicions: Suspicions = {}
        self.cut: set[str] = set()
        self.counts: dict[str, int] = {}

    def run(self) -> Suspicions:
        """Return what looks wrong."""
        self._strays()
        for number in range(self._site.settings.lanes_served):
            self._lane(number)
        self._unserved()
        self._letters()
        self._both()
        self._documents("workers", self._keys.workers, decode_presence)
        self._documents("locks", self._keys.locks, decode_lock)
        self._documents("schedules", self._keys.schedules, partial(decode_schedule, seal=self._site.seal))
        self._names("results", self._keys.results, lambda name: is_message_id(name.removesuffix(".json")))
        self._names("history", self._keys.history, _is_history)
        self._reservations()
        self._decoded(self._keys.forgetting, decode_forgetting)
        return self.suspicions

    def _tell(self, code: str, key: str, evidence: str, what: str = "") -> None:
        with self._lock:
            told = self._per_code.get(code, 0)
            if told >= MOST:
                self.cut.add(code)
                return
            self._per_code[code] = told + 1
            self.suspicions[code, key, what] = evidence

    def _count(self, area: str, number: int = 1) -> None:
        self.counts[area] = self.counts.get(area, 0) + number

    def _decoded(self, key: str, decode: Callable[[bytes, str], Any], gone: Any = None) -> Any:
        """Return what lies at the key, ``gone`` if nothing does; None, and a suspicion, if it cannot be read."""
        try:
            return decode(fetch(self._store, key).body, key)
        except NotFound:
            return gone
        except NewerFormat as error:
            self._tell("newer-format", key, str(error))
        except CorruptObject as error:
            self._tell("corrupt", key, str(error))
        return None

    # -- lanes --

    def _lane(self, number: int) -> None:
        key = self._keys.ledger(number)
        ledger = self._decoded(key, decode_ledger, gone=Ledger())
        self._count("ledger")
        lane = None if ledger is None else _Lane(number, ledger, ledger.held_names(), _needed(ledger))
        if lane is not None:
            self._lanes[number] = lane
            self._books(lane, key)
        for some in batched(walk(self._store, self._keys.inbox(number)), 1000):
            names = list(self._valid(number, some))
            self._count("inbox", len(some))
            if lane is not None:
                self._listed(lane, names)
        if lane is not None:
            self._not_listed(lane)
            self._below(lane)

    def _books(self, lane: _Lane, key: str) -> None:
        for broken in violations(lane.ledger):
            rule, _, what = broken.partition(": ")
            self._tell("invariant", key, f"{rule}: {what}.", rule)
        for line in lane.ledger.outbox.values():
            if line.is_of_letter:
                self._replayed.add(self._keys.letter(line.source))
            if self._now - line.decided_at_ms > MOVED_MS:
                told = f"{line.kind} of message {line.message_id}, decided {_ago(self._now - line.decided_at_ms)}."
                self._tell("outbox-old", key, told, line.id)

    def _valid(self, number: int, keys: Sequence[str]) -> Iterator[str]:
        prefix = self._keys.inbox(number)
        for key in keys:
            name = self._keys.name_in(prefix, key)
            if ObjectName.parse(name) is None:
                self._tell("foreign", key, f"{key!r}.")
            else:
                yield name

    def _listed(self, lane: _Lane, names: Sequence[str]) -> None:
        """Judge a page of the inbox."""
        ledger, alive = lane.ledger, []
        for name in names:
            key = self._keys.message(lane.number, name)
            lane.unseen.discard(name)
            settled_at_ms = ledger.settled.get(name)
            if settled_at_ms is not None:
                if self._now - settled_at_ms > LEFT_MS:
                    self._tell("settled-left", key, f"{key!r}, settled {_ago(self._now - settled_at_ms)}.")
                continue
            if name not in lane.held and name <= ledger.cursor(rank_in(name)):
                lane.below.append(name)
                continue
            if group_of(name) and not self._site.settings.strict:
                self._tell("order-unkept", key, f"{key!r}.")
            alive.append(name)
        keys = [(name, self._keys.message(lane.number, name)) for name in alive]
        self._index.add_births([(parsed.id, key) for name, key in keys if (parsed := ObjectName.parse(name))])
        if self._deep:
            self._read(lane, alive)
        if len(lane.below) > 10 * MOST:
            self.cut.add("not-adopted")
            del lane.below[10 * MOST :]

    def _read(self, lane: _Lane, names: Sequence[str]) -> None:
        """Read message objects, and note the messages in them that are alive."""

        def read(name: str) -> list[tuple[str, str]]:
            key, parsed = self._keys.message(lane.number, name), ObjectName.parse(name)
            if parsed is None:
                return []
            messages = self._decoded(key, lambda body, key: decode_messages(body, key, parsed, self._site.seal)) or []
            return [(messages[index].id, key) for index in _alive(lane, name) if index < len(messages)]

        for some in batched(names, _AT_ONCE):
            for rows in self._site.spread(read, some):
                self._index.add_alive(rows)

    def _not_listed(self, lane: _Lane) -> None:
        for name in sorted(lane.unseen & lane.held):
            key = self._keys.message(lane.number, name)
            self._tell("object-gone", key, f"{key!r} is needed by the ledger and not in the bucket.")
        for mark, name in lane.ledger.held_back.items():
            if name in lane.unseen - lane.held and self._now - visible_at_ms_of(name) > BLOCKED_MS:
                key = self._keys.message(lane.number, name)
                self._tell("group-blocked", key, f"Group {mark} waits for {key!r}, which is not there.")

    def _below(self, lane: _Lane) -> None:
        """Tell late arrivals from ghosts by the journal, a part of which is in memory at a time."""
        late = {name for name in lane.below if self._now - visible_at_ms_of(name) > LATE_MS}
        ghosts: set[str] = set()
        for names in self._journal(self._keys.journal(lane.number)) if late else ():
            ghosts |= late & names
        for code, some in (("ghost", ghosts), ("not-adopted", late - ghosts)):
            for name in sorted(some):
                key = self._keys.message(lane.number, name)
                self._tell(code, key, f"{key!r}: {counted(count_of(name), 'message')}.")

    def _journal(self, prefix: str) -> Iterator[frozenset[str]]:
        for key in walk(self._store, prefix):
            self._count("settled")
            if not key[len(prefix) :][:13].isdigit():
                self._tell("foreign", key, f"{key!r}.")
            elif (names := self._decoded(key, decode_journal)) is not None:
                yield names

    def _unserved(self) -> None:
        folder = self._keys.inbox(0)[: -len("0000/")]
        after = self._keys.inbox(self._site.settings.lanes_served - 1) + "\U0010ffff"
        for entry in self._store.list(folder, after=after, limit=10).entries:
            self._tell(
                "lane-unserved", entry.key, f"{entry.key!r}; {self._site.settings.lanes_served} lanes are served."
            )

    # -- dead letters --

    def _letters(self) -> None:
        for some in batched(walk(self._store, self._keys.dlq), 1000):
            rows = []
            for key in some:
                parsed = parse_letter(self._keys.name_in(self._keys.dlq, key))
                if parsed is None:
                    self._tell("foreign", key, f"{key!r}.")
                elif key not in self._replayed:
                    rows.append((parsed[1], key))
            self._count("dlq", len(some))
            self._index.add_letters(rows)
            if self._deep:
                self._site.spread(lambda row: self._decoded(row[1], partial(decode_letter, seal=self._site.seal)), rows)

    def _both(self) -> None:
        """Find what is alive, or dead, twice, or both."""
        for names in self._journal(self._keys.letter_journal):
            for name in names:
                if self._index.has_letter(self._keys.letter(name)):
                    self._tell("ghost-letter", self._keys.letter(name), f"{self._keys.letter(name)!r}.")
        ghosts = {key for code, key, _ in self.suspicions if code == "ghost-letter"}
        for id_, first, last in self._index.dead_twice():
            if not {first, last} & ghosts:
                self._tell("dead-twice", last, f"Message {id_}: {first!r} and {last!r}.", first)
        dead = self._index.alive_and_dead() if self._deep else self._born_and_dead()
        for id_, key, letter in dead:
            if letter not in ghosts:
                self._tell("alive-and-dead", letter, f"Message {id_} is in {key!r} and is the letter {letter!r}.", key)
        for id_, first, last in self._index.alive_twice():
            self._tell("message-twice", last, f"Message {id_} is in {first!r} and {last!r}.", first)

    def _born_and_dead(self) -> Iterator[tuple[str, str, str]]:
        for id_, key, letter in self._index.born_and_dead():
            number, _, name = key[len(self._keys.inbox(0)) - 5 : -len(".json")].partition("/")
            index = int(id_.rpartition("-")[2])
            if index in _alive(self._lanes[int(number)], name):
                yield id_, key, letter

    # -- the rest --

    def _documents(self, area: str, prefix: str, decode: Callable[[bytes, str], Any]) -> None:
        """Read every object of a folder."""
        for some in batched(walk(self._store, prefix), _AT_ONCE):
            self._count(area, len(some))
            ours = [key for key in some if key.endswith(".json")]
            for key in sorted(set(some) - set(ours)):
                self._tell("foreign", key, f"{key!r}.")
            self._site.spread(lambda key: self._decoded(key, decode), ours)

    def _names(self, area: str, prefix: str, is_ours: Callable[[str], bool]) -> None:
        for key in walk(self._store, prefix):
            self._count(area)
            if not is_ours(key[len(prefix) :]):
                self._tell("foreign", key, f"{key!r}.")

    def _reservations(self) -> None:
        prefix = self._keys.dedup
        for some in batched(walk(self._store, prefix), _AT_ONCE):
            self._count("dedup", len(some))
            ours = [key for key in some if is_reservation(self._keys.name_in(prefix, key))]
            for key in sorted(set(some) - set(ours)):
                self._tell("foreign", key, f"{key!r}.")
            if self._deep:
                self._site.spread(self._reservation, ours)

    def _reservation(self, key: str) -> None:
        held = self._decoded(key, decode_reservation)
        if held is not None and not held.written and self._now - held.reserved_at_ms > OPEN_MS:
            told = f"{key!r}: message {held.message_id}, reserved {_ago(self._now - held.reserved_at_ms)}."
            self._tell("reservation-open", key, told)

    def _strays(self) -> None:
        """Look for folders and documents that are none of ours, a LIST each."""
        root, after = self._keys.root, self._keys.root
        while entries := self._store.list(root, after=after, limit=1).entries:
            key = entries[0].key
            area, slash, _ = key[len(root) :].partition("/")
            after = f"{root}{area}/\U0010ffff" if slash else key
            if slash and area.startswith("probe-"):
                self._tell("probe-left", key, f"{key!r}.")
            elif area not in (_AREAS if slash else _DOCUMENTS):
                self._tell("foreign", key, f"{key!r}.")


def _needed(ledger: Ledger) -> set[str]:
    return ledger.held_names() | set(ledger.held_back.values())


def _alive(lane: _Lane, name: str) -> Sequence[int]:
    """Return which messages of an object are neither done with nor on the move, as the ledger has it."""
    if name not in lane.held:
        return range(count_of(name))
    tickets = lane.ledger.tickets.values()
    return [index for ticket in tickets for part in ticket.parts if part.name == name for index in part.indices()]


def _is_history(name: str) -> bool:
    return name.endswith(SUFFIX) and parse_history(name.removesuffix(SUFFIX)) is not None


def _ago(ms: int) -> str:
    return f"{ms // 60_000} minutes ago" if ms >= 120_000 else f"{ms // 1000} s ago"
