"""The inbox of a lane: message objects are written once, listed in the order of time, read after they were claimed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from s3queue.clock import Clock
from s3queue.core.claiming import Listing
from s3queue.core.codec import decode_messages, encode_messages
from s3queue.core.keys import Keys, ObjectName, count_of, group_of, visible_at_ms_of
from s3queue.core.ledger import Ledger
from s3queue.core.message import Message
from s3queue.core.ordering import Turns
from s3queue.core.payload import PLAIN, PayloadCodec, Seal
from s3queue.errors import CorruptObject, PreconditionFailed
from s3queue.store.port import CREATE, Store, fetch

_CACHED_OBJECTS = 16
_LISTING_KEPT_S = 10.0
_ORDERED_LISTING_KEPT_S = 0.5
_NEWEST_LISTING_KEPT_S = 1.0
"""How long a listing serves, and, for each of its pages, how long one that has little for an ordered queue does, and any
where the newest are wanted."""
_MAX_PAGES = 20


class Inbox:
    """Reads and writes message objects of one lane. ``on_foreign(key)`` is told of keys that are no message object."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        lane: int,
        *,
        codec: PayloadCodec = PLAIN,
        on_foreign: Callable[[str], None],
    ) -> None:
        self._store, self._keys, self._lane = store, keys, lane
        self._codec = codec
        self._seal = Seal((codec,))
        self._on_foreign = on_foreign
        self._prefix = keys.inbox(lane)
        self._bodies: OrderedDict[str, list[Message]] = OrderedDict()
        self.mean_bytes = 0.0

    def key(self, name: str) -> str:
        """Return the key of an object's name."""
        return self._keys.message(self._lane, name)

    def write(self, name: ObjectName, messages: Sequence[Message]) -> None:
        """Make the messages durable; one PUT. Fine if the very object is there already: names are never used twice."""
        try:
            self._store.put(self.key(str(name)), encode_messages(name, messages, self._codec), CREATE)
        except PreconditionFailed:
            return

    def read(self, name: str, *, partly: bool = False) -> list[Message]:
        """Return an object's messages; NotFound or CorruptObject. ``partly``: keep it, the rest may be wanted soon."""
        cached = self._bodies.get(name)
        if cached is not None:
            return cached
        parsed = ObjectName.parse(name)
        if parsed is None:
            raise CorruptObject(self.key(name), "its name is not that of a message object")
        found = fetch(self._store, self.key(name))
        messages = decode_messages(found.body, self.key(name), parsed, self._seal)
        each = len(found.body) / len(messages)
        self.mean_bytes = self.mean_bytes + 0.1 * (each - self.mean_bytes) if self.mean_bytes else each
        if partly:
            self._bodies[name] = messages
            while len(self._bodies) > _CACHED_OBJECTS:
                self._bodies.popitem(last=False)
        return messages

    def forget(self, name: str) -> None:
        """Drop what is kept of an object."""
        self._bodies.pop(name, None)

    def delete(self, names: Sequence[str]) -> tuple[str, ...]:
        """Delete up to 1000 objects in one request; return the names that are still there."""
        left = self._store.delete_many([self.key(name) for name in names])
        return tuple(self._keys.name_in(self._prefix, key) for key in left)

    def page(self, rank: int, after_key: str, *, until: str = "") -> tuple[list[str], str]:
        """Return a page of valid names of a rank after a key (and not beyond ``until``), and the key to go on after.

        The key is '' if nothing follows.
        """
        page = self._store.list(f"{self._prefix}{rank}/", after=after_key)
        names: list[str] = []
        for entry in page.entries:
            name = self._keys.name_in(self._prefix, entry.key)
            if until and name > until:
                return names, ""
            if ObjectName.parse(name) is None or not entry.key.endswith(".json"):
                self._on_foreign(entry.key)
            else:
                names.append(name)
        return names, page.entries[-1].key if page.more and page.entries else ""

    def names(self, rank: int, after: str = "", *, until: str = "") -> Iterator[str]:
        """Yield all valid names of a rank after ``after`` and not beyond ``until``, a LIST a thousand."""
        after_key = self.key(after) if after else ""
        while True:
            found, after_key = self.page(rank, after_key, until=until)
            yield from found
            if not after_key:
                return


@dataclass(slots=True)
class _Cached:
    listing: Listing
    at: float
    pages: int


class Scanner:
    """Lists what is new, as seldom as can be: a listing serves claims until it is used up.

    Old listings are safe to claim from, since a claim takes nothing that the ledger knows or its cursor has passed.
    """

    def __init__(self, inbox: Inbox, clock: Clock, now_ms: Callable[[], int]) -> None:
        self._inbox, self._clock, self._now_ms = inbox, clock, now_ms
        self._cached: dict[int, _Cached] = {}

    def listings(
        self,
        ledger: Ledger,
        ranks: Sequence[int],
        room: int,
        skip: frozenset[str],
        *,
        order: str = "fifo",
        turns: Turns | None = None,
    ) -> tuple[Listing, ...]:
        """Return listings with ``room`` claimable messages if there are that many, urgent ranks first.

        ``turns``: whose turn it is in ordered groups, each of which counts for one message.
        """
        look = _Look(ledger, ledger.held_names() | ledger.settled.keys() | skip, turns or Turns((), {}), self._now_ms())
        found = []
        for rank in sorted(ranks):
            cached = self._fresh(rank)
            have = look.claimable(cached.listing) if cached else 0
            if cached is None or self._is_stale(cached, have, room, order):
                cached = self._list(rank, look, room, all_pages=order == "lifo")
                have = look.claimable(cached.listing)
            found.append(cached.listing)
            room -= have
            if room <= 0:
                break
        return tuple(found)

    def _fresh(self, rank: int) -> _Cached | None:
        cached = self._cached.get(rank)
        if cached is None or self._clock.monotonic() - cached.at > _LISTING_KEPT_S:
            return None
        return cached

    def _is_stale(self, cached: _Cached, have: int, room: int, order: str) -> bool:
        """Whether to list anew: an ordered group takes one message at a time, so to have little is no reason by itself."""
        age_s = self._clock.monotonic() - cached.at
        if order == "lifo":
            return age_s > _NEWEST_LISTING_KEPT_S * cached.pages
        patient = order.startswith("strict") and (have > 0 or cached.pages > 1)
        return have < room and (not patient or age_s > _ORDERED_LISTING_KEPT_S * cached.pages)

    def _list(self, rank: int, look: _Look, room: int, *, all_pages: bool) -> _Cached:
        listed_at_ms, at = self._now_ms(), self._clock.monotonic()
        cursor = look.ledger.cursor(rank)
        after_key = self._inbox.key(cursor) if cursor else ""
        listing, pages = Listing(rank, (), listed_at_ms), 0
        while pages < _MAX_PAGES:
            found, after_key = self._inbox.page(rank, after_key)
            pages += 1
            first = listing.first_page or (found[-1] if found and after_key else "")
            listing = Listing(rank, (*listing.names, *found), listed_at_ms, first, whole=not after_key)
            future = bool(found) and visible_at_ms_of(found[-1]) > listed_at_ms
            if not after_key or future or (not all_pages and look.claimable(listing) >= room):
                break
        self._cached[rank] = _Cached(listing, at, pages)
        return self._cached[rank]


@dataclass(slots=True)
class _Look:
    """What there is to take, as one look at the ledger has it."""

    ledger: Ledger
    taken: set[str]
    turns: Turns
    now: int

    def claimable(self, listing: Listing) -> int:
        """Return how many messages of a listing may be claimed now."""
        cursor, total, groups = self.ledger.cursor(listing.rank), 0, set()
        for name in listing.visible(self.now):
            if name <= cursor or name in self.taken:
                continue
            group = group_of(name)
            if not group:
                total += count_of(name)
            elif group not in groups and self.turns.may_list(name) and listing.is_whole_before(name):
                groups.add(group)
                total += 1
        return total
