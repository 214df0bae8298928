"""Stores that fail on command, stores that lie, and the clock to wait for them with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Barrier, BrokenBarrierError, Lock
from typing import Any

from s3queue.errors import NotFound, PreconditionFailed, StoreRefused, StoreUnavailable
from s3queue.ids import SeededIds
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, Create, Entry, Object, Page, PutMode, Replace, Store
from s3queue.store.retrying import Retrying


class FakeClock:
    """A clock that stands still until somebody sleeps."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._lock = Lock()
        self._start_ms = now_ms
        self._passed_s = 0.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return self._start_ms + int(self._passed_s * 1000)

    def monotonic(self) -> float:
        return self._passed_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        with self._lock:
            self._passed_s += seconds
            self.slept.append(seconds)


class Wrapper:
    """A store that hands everything to the one beneath it."""

    def __init__(self, store: Store) -> None:
        self.inner = store

    @property
    def location(self) -> str:
        return self.inner.location

    def now_ms(self) -> int:
        return self.inner.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        return self.inner.get(key, if_none_match)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return self.inner.put(key, body, mode)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        return self.inner.delete_many(keys)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return self.inner.list(prefix, after, limit)

    def close(self) -> None:
        self.inner.close()


class Faulty(Wrapper):
    """A store that answers requests as its scripts say, one word a request, and is honest when a script has run out.

    ``puts``: ``ok``; ``lost`` (carried out, then no answer: StoreUnavailable, maybe applied, whether it won or not, as
    servers do that answer 500 to the loser of a race); ``late`` (the same to the caller, but carried out only by
    :meth:`land`); ``down`` (surely not carried out); ``slow-down`` (503, not carried out); ``denied``.
    ``others`` (all other requests): ``ok``, ``down``, ``slow-down``, ``denied``, and for ``delete_many`` ``partial``
    (the last key fails). ``before_put`` is called ahead of every PUT: the place for a rival.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.puts: deque[str] = deque()
        self.others: deque[str] = deque()
        self.before_put: Callable[[], None] = lambda: None
        self.applied: list[tuple[str, bytes]] = []
        self.requests: list[str] = []
        self._late: list[tuple[str, bytes, PutMode]] = []

    def script(self, puts: Iterable[str] = (), others: Iterable[str] = ()) -> None:
        self.puts.extend(puts)
        self.others.extend(others)

    def land(self) -> None:
        """Carry out the writes that were kept back, oldest first, each under its own condition."""
        while self._late:
            try:
                self._apply(*self._late.pop(0))
            except PreconditionFailed:
                continue

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self.before_put()
        self.requests.append("put")
        word = self.puts.popleft() if self.puts else "ok"
        if word == "late":
            self._late.append((key, body, mode))
        elif word == "lost":
            self._late, kept = [(key, body, mode)], self._late
            self.land()
            self._late = kept
        elif word == "ok":
            return self._apply(key, body, mode)
        raise _answer(word, key)

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        self._other("get", key)
        return super().get(key, if_none_match)

    def delete(self, key: str) -> None:
        self._other("delete", key)
        super().delete(key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        if self._other("delete_many", keys[0]) == "partial":
            return (*super().delete_many(keys[:-1]), keys[-1])
        return super().delete_many(keys)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._other("list", prefix)
        return super().list(prefix, after, limit)

    def _other(self, operation: str, key: str) -> str:
        self.requests.append(operation)
        word = self.others.popleft() if self.others else "ok"
        if word not in {"ok", "partial"}:
            raise _answer(word, key)
        return word

    def _apply(self, key: str, body: bytes, mode: PutMode) -> str:
        etag = self.inner.put(key, body, mode)
        self.applied.append((key, body))
        return etag


def _answer(word: str, key: str) -> Exception:
    return {
        "late": StoreUnavailable("time-out", key=key, maybe_applied=True),
        "lost": StoreUnavailable("time-out", key=key, maybe_applied=True),
        "down": StoreUnavailable("no connection", key=key),
        "slow-down": StoreUnavailable("503", key=key, throttled=True),
        "denied": StoreRefused("403", reason="access-denied", key=key),
    }[word]


KEY = "queue/ledger/0.json"


class World:
    """A retrying store over a faulty one over memory, and the clock it waits with."""

    def __init__(self, deadline_s: float = 30.0, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.memory = MemoryStore(self.clock)
        self.faulty = Faulty(self.memory)
        self.throttled: list[tuple[str, int, float]] = []
        self.store = Retrying(
            self.faulty,
            clock=self.clock,
            ids=SeededIds(seed),
            deadline_s=deadline_s,
            on_throttle=lambda *facts: self.throttled.append(facts),
        )

    def there(self) -> bytes | None:
        try:
            found = self.memory.get(KEY)
        except NotFound:
            return None
        return found.body if found else None

    def rival_at_attempt(self, nth: int, act: Callable[[], Any]) -> None:
        """Let a rival act right before our nth PUT."""

        def rival() -> None:
            if self.faulty.requests.count("put") == nth - 1:
                act()

        self.faulty.before_put = rival


# --- stores that lie; the probe must refuse each


class IgnoresIfMatch(Wrapper):
    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return super().put(key, body, OVERWRITE if isinstance(mode, Replace) else mode)


class IgnoresIfNoneMatch(Wrapper):
    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return super().put(key, body, OVERWRITE if isinstance(mode, Create) else mode)


class ReplaceCreates(Wrapper):
    """Takes If-Match for fulfilled where there is no object."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return super().put(key, body, OVERWRITE if isinstance(mode, Replace) and not exists(self, key) else mode)


class RefusesIfMatch(Wrapper):
    """Compares ETags with their quotes, so no If-Match ever holds."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return super().put(key, body, Replace(f'"{mode.etag}"') if isinstance(mode, Replace) else mode)


class ChecksThenActs(Wrapper):
    """Judges the condition first and writes later: each write waits a moment for others to have judged as well."""

    def __init__(self, store: Store, parties: int, only: type[PutMode]) -> None:
        super().__init__(store)
        self._barrier = Barrier(parties)
        self._only = only

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if not isinstance(mode, self._only):
            return super().put(key, body, mode)
        found = self.inner.get(key) if exists(self, key) else None
        if isinstance(mode, Create) and found is not None:
            raise PreconditionFailed(key, expected="absent")
        if isinstance(mode, Replace) and (found is None or found.etag != mode.etag):
            raise PreconditionFailed(key, expected=f"at ETag {mode.etag}")
        try:
            self._barrier.wait(0.3)
        except BrokenBarrierError:
            self._barrier.reset()
        return super().put(key, body, OVERWRITE)


class RefusesAfterWriting(Wrapper):
    """Writes what it then says it has refused."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        try:
            return super().put(key, body, mode)
        except PreconditionFailed:
            super().put(key, body, OVERWRITE)
            raise


class RefusesEveryCreate(Wrapper):
    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if isinstance(mode, Create):
            raise PreconditionFailed(key, expected="absent")
        return super().put(key, body, mode)


class WritesNothing(Wrapper):
    """Says that it has written, and has not: a cache that is never flushed."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:  # noqa: ARG002 - the lie
        return super().put(key + "-elsewhere", body, OVERWRITE)


class ReadsStale(Wrapper):
    """Returns the first version of an object that it was ever given."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._first: dict[str, Object] = {}

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        etag = super().put(key, body, mode)
        self._first.setdefault(key, Object(body, etag))
        return etag

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        found = super().get(key, if_none_match)
        return found and self._first.get(key, found)


class OtherEtagOnWrite(Wrapper):
    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return f"W/{super().put(key, body, mode)}"


class NeverUnchanged(Wrapper):
    def get(self, key: str, if_none_match: str | None = None) -> Object | None:  # noqa: ARG002 - the lie
        return super().get(key)


class AlwaysUnchanged(Wrapper):
    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        found = super().get(key)
        return None if if_none_match else found


class ListsUnsorted(Wrapper):
    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        page = super().list(prefix, after, limit)
        return replace(page, entries=page.entries[::-1])


class ListsAfterInclusive(Wrapper):
    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        page = super().list(prefix, after, limit)
        first = (Entry(after, 6),) if after else ()
        return replace(page, entries=(first + page.entries)[:limit])


class ListsWithoutLimit(Wrapper):
    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:  # noqa: ARG002 - the lie
        return super().list(prefix, after)


class NeverSaysMore(Wrapper):
    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return replace(super().list(prefix, after, limit), more=False)


class AlwaysSaysMore(Wrapper):
    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return replace(super().list(prefix, after, limit), more=True)


class DeletesNothing(Wrapper):
    def delete(self, key: str) -> None:
        pass


def exists(store: Store, key: str) -> bool:
    try:
        store.get(key)
    except NotFound:
        return False
    return True
