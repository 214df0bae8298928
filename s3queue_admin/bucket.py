"""The door of the toolkit: a bucket with its queues, opened to be looked at or to be changed."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from s3queue.clock import Clock, to_datetime
from s3queue.core.checking import check_number
from s3queue.core.keys import check_prefix, check_queue_name
from s3queue.core.payload import PLAIN, PayloadCodec, check_codec
from s3queue.errors import InvalidName, S3QueueError, StoreRefused
from s3queue.ids import Ids
from s3queue.options import access, check_tools, locate
from s3queue.queue import Queue
from s3queue.store.metered import Meter, Metered
from s3queue.store.opening import dress, raw_store
from s3queue.store.port import Store
from s3queue.store.rules import LifecycleRule, lifecycle_rules
from s3queue.store.versions import versioned
from s3queue_admin.inspector import IDLE_LIST_S, LIST_S, Inspector
from s3queue_admin.missing import SETTINGS, NoQueue, no_queue, refuse_queue
from s3queue_admin.past import Copy, Past, Seen, check_at, is_copy, open_copy, open_past
from s3queue_admin.readonly import ReadOnly
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot
from s3queue_admin.text import Redact, Redactor, redact_secrets

READERS = 16
"""How many requests for parts of queues are under way at a time, at most."""
_SIGNS = (SETTINGS, "ledger/", "inbox/0000/")
"""What in a folder is a queue's."""
QUEUES = 8
MAX_LIST_S = 86_400
"""How many queues are looked at side by side."""


class Bucket:
    """The queues of a bucket, a folder or a memory, for operators.

    ``bucket``, ``url``, ``prefix``, ``endpoint_url``, ``region`` and ``profile`` say where it is, as for
    :class:`s3queue.Queue`. Looking asks for GET and LIST alone. ``codec`` reads packed payloads. ``list_s``: how old
    listings may be, in seconds, before a snapshot lists anew. ``redact(path, value)`` returns what is shown of a value in
    payloads, headers and errors: see :mod:`s3queue_admin.text`. ``store``, ``clock`` and ``ids`` are for tests.

    ``at``: show it as it was then, from the versions that the bucket keeps; nothing can be written. A folder in which no
    queue was ever opened is a copy of a bucket (``aws s3 sync``): its time is the newest that is found in it, or ``at``, if
    that is later; a folder in use has no ``at``.

    Nothing is asked of the store before the first call that needs it. Use it in a ``with`` statement, or close it.
    """

    def __init__(
        self,
        bucket: str | None = None,
        *,
        url: str | None = None,
        prefix: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        codec: PayloadCodec = PLAIN,
        list_s: float = LIST_S,
        redact: Redact = redact_secrets,
        at: datetime | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._clock, self._ids = check_tools(clock, ids, store)
        self._where = locate(bucket, url, prefix)
        self.prefix = check_prefix(self._where.prefix)
        self._meter = Meter()
        self._access = access(endpoint_url, region, profile)
        check_number("list_s", list_s, 0, MAX_LIST_S)
        self._codec, self._list_s = check_codec(codec), list_s
        self.redactor = Redactor(redact)
        self._at_ms = check_at(at)
        self._seen = Seen()
        self._given_store = store
        self._raw: Store | None = None
        self._inspectors: dict[str, Inspector] = {}
        self._queues_seen: set[str] = set()
        self._names: tuple[float, list[str]] = (float("-inf"), [])
        # Of two pools one waits for the other, never for itself: queues are looked at side by side, and parts of each.
        self._queues = ThreadPoolExecutor(QUEUES, thread_name_prefix="s3queue-admin-queue")
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="s3queue-admin")

    def __repr__(self) -> str:
        return f"<Bucket {self._where.kind}://{self._where.place}/{self.prefix}>"

    @property
    def location(self) -> str:
        """Which store this is, for people."""
        return self._as_it_was(self._store()).location

    @property
    def at(self) -> datetime | None:
        """The time at which it is shown, if that is not now."""
        store = self._store()
        at_ms = store.now_ms() if isinstance(store, Copy) else self._at_ms
        return to_datetime(at_ms) if at_ms is not None else None

    def _store(self) -> Store:
        if self._raw is None:
            raw = self._given_store or self._open()
            if self._at_ms is not None and not isinstance(raw, Copy):
                open_past(raw, self._at_ms)
            self._raw = raw
        return self._raw

    def _open(self) -> Store:
        where = self._where
        if where.kind == "file" and (self._at_ms is not None or is_copy(where.place)):
            return open_copy(where.place, self._at_ms, clock=self._clock, ids=self._ids)
        return raw_store(where, self._access, self._clock, self._ids)

    def _as_it_was(self, store: Store) -> Store:
        """Return the store at the time that is asked for, if it keeps versions."""
        if self._at_ms is None or isinstance(self._raw, Copy):
            return store
        return Past(store, self._at_ms, self._seen)

    def _writable(self) -> Store:
        store = self._store()
        if self.at is not None:
            raise StoreRefused(
                f"{self.location} is shown as it was, so nothing in it can be changed.",
                reason="read-only",
                remedy="Open the bucket as it is now; a copy becomes a store of its own once s3queue.Queue has opened it.",
            )
        return store

    def _dressed(self, root: str, meter: Meter) -> Store:
        inner = dress(ReadOnly(self._store()), root, clock=self._clock, ids=self._ids, meter=meter)
        return self._as_it_was(inner)

    @property
    def clock(self) -> Clock:
        """This machine's clock."""
        return self._clock

    @property
    def ids(self) -> Ids:
        """Where ids come from."""
        return self._ids

    @property
    def codec(self) -> PayloadCodec:
        """What packs payloads, and reads packed ones."""
        return self._codec

    def again(self) -> Bucket:
        """Return another door to the same store, for another thread: it remembers nothing, and counts for itself.

        Close it before this one; that leaves the store open.
        """
        made = Bucket(
            url="memory://again",
            prefix=self.prefix,
            codec=self._codec,
            list_s=self._list_s,
            redact=self.redactor.hook,
            store=self._store(),
            clock=self._clock,
            ids=self._ids,
        )
        made._where, made._at_ms = self._where, self._at_ms
        return made

    def bare(self, root: str, meter: Meter | None = None, *, write: bool = False) -> Store:
        """Return the store for tools that go beneath the engine: each request is made once, counted below ``root``.

        Without a ``meter`` it counts among :meth:`requests`.
        """
        meter = self._meter if meter is None else meter
        if write:
            return Metered(self._writable(), meter, root)
        return self._as_it_was(Metered(ReadOnly(self._store()), meter, root))

    def lifecycle_rules(self) -> tuple[LifecycleRule, ...]:
        """Return what the bucket deletes of its own accord; StoreRefused if it may not be known, or there is no such thing."""
        return lifecycle_rules(self._store())

    def keeps_versions(self) -> bool:
        """Return whether the bucket keeps earlier versions; StoreRefused as for :meth:`lifecycle_rules`."""
        return versioned(self._store()).keeps_versions()

    def requests(self) -> dict[tuple[str, str, str], int]:
        """Return the requests made so far to list queues, to take snapshots and by the doctor, by (verb, area, outcome)."""
        sums = self._meter.snapshot()
        for inspector in list(self._inspectors.values()):
            for line, count in inspector.requests().items():
                sums[line] = sums.get(line, 0) + count
        return sums

    def spread(self, function: Any, items: Iterable[Any], /) -> list[Any]:
        """Return ``[function(item) for item in items]``, called in threads; the first error is raised after all have ended."""
        todo = list(items)
        if len(todo) < 2:
            return [function(item) for item in todo]
        return list(self._pool.map(function, todo))

    def queue_names(self) -> list[str]:
        """Return the names of the queues, sorted: a LIST for each and one more; for one that is seen first, another.

        A folder that has neither settings nor messages nor ledgers is a stranger's, and no queue. Of an earlier time,
        StoreRefused (``no-versions``) if none is kept from then, though there are some now. InvalidInput if this is no place
        of queues, but a queue itself.
        """
        return [name for name in self._folders() if self._is_queue(name)]

    def _folders(self) -> list[str]:
        """Return the names of what may be queues."""
        store = self._dressed(self.prefix, self._meter)
        names = self._names_in(store)
        if isinstance(store, Past) and not names:
            for name in self._names_in(self._store()):
                store.check(f"{self.prefix}{name}/")
        return names

    def _is_queue(self, name: str) -> bool:
        """Whether the folder has what only queues have; remembered, if it is one."""
        if name not in self._queues_seen:
            root = f"{self.prefix}{name}/"
            store = self._dressed(root, self._meter)
            if not any(store.list(f"{root}{part}", limit=1).entries for part in _SIGNS):
                return False
            self._queues_seen.add(name)
        return True

    def _names_in(self, store: Store) -> list[str]:
        after, names = self.prefix, list[str]()
        while True:
            page = store.list(self.prefix, after=after, limit=1)
            if not page.entries:
                return sorted(names)
            name, slash, _ = page.entries[0].key[len(self.prefix) :].partition("/")
            after = f"{self.prefix}{name}/\U0010ffff" if slash else page.entries[0].key
            if not slash and name == SETTINGS:
                self.refuse_queue(store)
            if slash and _can_name(name):
                names.append(name)

    def _known_names(self, *, fresh: bool) -> list[str]:
        """Return the names of the queues, listed anew if that is long ago."""
        at, names = self._names
        if fresh or self._clock.monotonic() - at >= IDLE_LIST_S:
            names = self._folders()
            self._names = (self._clock.monotonic(), names)
        return names

    def queue(self, name: str, *, write: bool = False, **options: Any) -> Queue:
        """Return the engine's queue of that name; without ``write`` it can only be read, whatever is called.

        Raises InvalidName, and NoQueue if there is no such queue: it is never made.
        """
        check_queue_name(name)
        store = self._writable() if write else self._reading(name)
        queue = Queue(
            name,
            store=store,
            prefix=self.prefix,
            probe=False,
            codec=self._codec,
            clock=self._clock,
            ids=self._ids,
            **options,
        )
        if not queue.exists():
            raise self.no_queue(name)
        queue.connect().standing.spread = self.spread
        return queue

    def no_queue(self, name: str) -> NoQueue:
        """Return the error for a queue that is not there: it says which are. InvalidInput if this is a queue itself."""
        self.refuse_queue(self._dressed(self.prefix, self._meter))
        place = f"{self.location}/{self.prefix}"
        return no_queue(name, place, f"{self.prefix}{name}/{SETTINGS}", self.queue_names)

    def refuse_queue(self, store: Store) -> None:
        """Raise InvalidInput if this, read from ``store``, is a queue itself, and no place of queues."""
        refuse_queue(store, self._where, self.prefix)

    def _reading(self, name: str) -> Store:
        """Return the store for a queue that is read; of an earlier time, one whose requests are repeated one by one."""
        store = self._store()
        if self._at_ms is None or isinstance(store, Copy):
            return ReadOnly(store)
        root = f"{self.prefix}{name}/"
        inner = dress(ReadOnly(store), root, clock=self._clock, ids=self._ids, meter=Meter())
        past = Past(inner, self._at_ms, self._seen)
        past.check(root)
        return past

    def inspector(self, name: str) -> Inspector:
        """Return the one that takes snapshots of this queue, and remembers what it has read; see :meth:`queue` for errors."""
        if name not in self._inspectors:
            queue = self.queue(name)
            meter = Meter()
            self._inspectors[name] = Inspector(
                queue,
                self._dressed(queue.root, meter),
                meter,
                monotonic=self._clock.monotonic,
                spread=self.spread,
                list_s=self._list_s,
            )
        return self._inspectors[name]

    def inspect(self, name: str, *, fresh: bool = False) -> QueueSnapshot:
        """Return a queue as it is now; see :meth:`Inspector.snapshot`."""
        return self.inspector(name).snapshot(fresh=fresh)

    def snapshot(self, names: Iterable[str] | None = None, *, fresh: bool = False) -> BucketSnapshot:
        """Return all queues (or those named) as they are now, read side by side; one that fails does not hold up the others.

        Which queues there are is looked up once a minute.
        """
        began, before = self._clock.monotonic(), self.requests()
        wanted = self._known_names(fresh=fresh) if names is None else list(names)

        def look(name: str) -> QueueSnapshot | S3QueueError:
            try:
                return self.inspect(name, fresh=fresh)
            except S3QueueError as error:
                return error

        found = dict(zip(wanted, self._queues.map(look, wanted), strict=True))
        if names is None:
            found = {
                name: each for name, each in found.items() if not isinstance(each, NoQueue) or self._is_queue(name)
            }
        after = self.requests()
        return BucketSnapshot(
            self.location,
            self.prefix,
            to_datetime(self._as_it_was(self._store()).now_ms()),
            self._clock.monotonic() - began,
            {line: count - before.get(line, 0) for line, count in after.items() if count > before.get(line, 0)},
            {name: each for name, each in found.items() if isinstance(each, QueueSnapshot)},
            {name: str(each) for name, each in found.items() if isinstance(each, S3QueueError)},
            {name: each for name, each in found.items() if isinstance(each, S3QueueError)},
        )

    def close(self) -> None:
        """Give back threads and connections."""
        for pool in (self._queues, self._pool):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._raw is not None and self._given_store is None:
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _can_name(name: str) -> bool:
    try:
        check_queue_name(name)
    except InvalidName:
        return False
    return True
