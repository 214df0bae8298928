"""A bucket in this process: the reference model of the port, for tests, simulation and ``memory://`` queues."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from threading import Lock

from s3queue.clock import Clock, SystemClock
from s3queue.errors import NotFound, PreconditionFailed
from s3queue.store.port import Create, Entry, Object, Page, PutMode, Replace

_PAGE = 1000  # as S3: a longer limit is cut to this


class MemoryStore:
    """A linearizable bucket that ends with the process; every method is one step under one lock.

    ``name`` is its location. As on S3, the ETag is the MD5 of the body: the same body has the same ETag, so
    A → B → A is not noticed.
    """

    def __init__(self, clock: Clock | None = None, name: str = "memory") -> None:
        self._clock = clock or SystemClock()
        self._name = name
        self._lock = Lock()
        self._objects: dict[str, Object] = {}
        self._keys: list[str] = []  # sorted

    @property
    def location(self) -> str:
        return self._name

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise NotFound(key)
        return None if found.etag == if_none_match else found

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        written = Object(body, hashlib.md5(body, usedforsecurity=False).hexdigest())
        with self._lock:
            found = self._objects.get(key)
            _check(key, found, mode)
            if found is None:
                insort(self._keys, key)
            self._objects[key] = written
        return written.etag

    def delete(self, key: str) -> None:
        with self._lock:
            self._remove(key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        with self._lock:
            for key in keys:
                self._remove(key)
        return ()

    def list(self, prefix: str, after: str = "", limit: int = _PAGE) -> Page:
        limit = min(limit, _PAGE)
        with self._lock:
            start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
            keys = [key for key in self._keys[start : start + limit + 1] if key.startswith(prefix)]
            entries = tuple(Entry(key, len(self._objects[key].body)) for key in keys[:limit])
        return Page(entries, more=len(keys) > limit)

    def close(self) -> None:
        """Do nothing: the objects stay as long as the store does."""

    def _remove(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]


def _check(key: str, found: Object | None, mode: PutMode) -> None:
    if isinstance(mode, Create) and found is not None:
        raise PreconditionFailed(key, expected="absent", found=f"an object with ETag {found.etag}")
    if isinstance(mode, Replace) and (found is None or found.etag != mode.etag):
        there = "nothing" if found is None else f"ETag {found.etag}"
        raise PreconditionFailed(key, expected=f"at ETag {mode.etag}", found=there)
