"""A compare-and-swap register: one object that several processes change, without a lost update.

Domain code reads a :class:`Version` and writes over it; ETags and write modes stay in here.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from s3queue.errors import NotFound, OutcomeUnknown, PreconditionFailed
from s3queue.store.port import CREATE, Replace, Store

T = TypeVar("T")


class Version(NamedTuple, Generic[T]):
    """What a record held at one moment; both fields are None if it was absent."""

    value: T | None
    etag: str | None


class Record(Generic[T]):
    """The object at ``key``, decoded; safe to share between threads.

    ``decode(body, key)`` and ``encode(value)`` translate; what ``decode`` raises (CorruptObject …) comes through, and
    the object is left as it is. Values are kept and handed out again, so they must be immutable. Two different values
    must encode differently *forever* (a revision or nonce inside): the store tells versions apart by their bytes.
    """

    def __init__(self, store: Store, key: str, decode: Callable[[bytes, str], T], encode: Callable[[T], bytes]) -> None:
        self.key = key
        self._store = store
        self._decode = decode
        self._encode = encode
        self._lock = Lock()
        self._cached: Version[T] | None = None

    @property
    def cached(self) -> Version[T] | None:
        """The last version seen or written, at no request; None before the first."""
        return self._cached

    def read(self) -> Version[T]:
        """Return what the record holds now: one GET, answered 304 if it still is the cached version."""
        known = self._cached
        version = self._fetch(known)
        self._remember(version, known)
        return version

    def write(self, value: T, over: Version[T]) -> Version[T]:
        """Write ``value`` if the record still is at ``over``, and return the new version.

        Raise PreconditionFailed if somebody else was first, OutcomeUnknown if the store cannot tell.
        """
        known = self._cached
        mode = CREATE if over.etag is None else Replace(over.etag)
        version = Version(value, self._store.put(self.key, self._encode(value), mode))
        self._remember(version, known)
        return version

    def update(self, change: Callable[[T | None], T], attempts: int = 20) -> Version[T]:
        """Write ``change(value)`` over the current value and return the new version; for records that change rarely.

        ``change`` gets None for an absent record and is called again with what is there now when somebody else was
        first, or when it is unknown whether the write happened: it must recognise its own change. Nothing is written
        if it returns an equal value. After ``attempts`` writes without success the last error is raised.
        """
        for attempt in range(1, attempts + 1):
            current = self.read()
            value = change(current.value)
            if current.etag is not None and value == current.value:
                return current
            try:
                return self.write(value, current)
            except (PreconditionFailed, OutcomeUnknown):
                if attempt == attempts:
                    raise
        raise ValueError(f"attempts must be at least 1, not {attempts}")

    def _fetch(self, known: Version[T] | None) -> Version[T]:
        try:
            found = self._store.get(self.key, known.etag if known else None)
        except NotFound:
            return Version(None, None)
        if found is not None:
            return Version(self._decode(found.body, self.key), found.etag)
        if known is None or known.etag is None:
            raise ValueError(f"{self._store.location} answered 'unchanged' to an unconditional read of {self.key!r}")
        return known

    def _remember(self, version: Version[T], known: Version[T] | None) -> None:
        """Cache ``version`` unless another thread cached one since ``known``: it may be the newer one."""
        with self._lock:
            if self._cached is known:
                self._cached = version
