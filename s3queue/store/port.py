"""The port: what s3queue asks of a bucket, and nothing more.

A store holds immutable byte strings under keys and offers **conditional writes**; that is all the safety of s3queue
rests on. Adapters: :mod:`.s3`, :mod:`.file`, :mod:`.memory`. Wrappers with the same face: :mod:`.metered`,
:mod:`.retrying`. One conformance suite runs over all of them (``tests/store/``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from s3queue.batches import batched
from s3queue.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Create:
    """Write only if there is no object at the key (``If-None-Match: *``)."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Write only if the object there has this ETag (``If-Match``)."""

    etag: str


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Write whatever is there."""


PER_REQUEST: Final = 1000
"""How many keys one LIST shows and one DELETE takes, at most."""
PutMode = Create | Replace | Overwrite
CREATE: Final = Create()
OVERWRITE: Final = Overwrite()


@dataclass(frozen=True, slots=True)
class Object:
    """What lies at a key: its bytes and its ETag (opaque, without quotes)."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing: key, size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing, sorted by key; ``more`` says that keys follow the last one."""

    entries: tuple[Entry, ...]
    more: bool


class Store(Protocol):
    """A bucket. Every method may raise StoreUnavailable or StoreRefused; all are safe to call from many threads."""

    @property
    def location(self) -> str:
        """Say which store this is, for people and error messages."""
        ...

    def now_ms(self) -> int:
        """Return *store time*: milliseconds since the epoch by the store's clock as far as it is known."""
        ...

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        """Return the object; None if its ETag still is ``if_none_match``. Raise NotFound."""
        ...

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write the object whole and return its new ETag.

        Raise PreconditionFailed if the condition did not hold (nothing was written; a missing object fails
        ``Replace`` the same way), OutcomeUnknown if a lost answer could not be cleared up.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; fine if there is none."""
        ...

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Remove up to 1000 objects in one request and return the keys that could *not* be removed."""
        ...

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        """Return up to ``limit`` (≤ 1000) entries under ``prefix`` with keys greater than ``after``, sorted by code point."""
        ...

    def close(self) -> None:
        """Give back connections and files."""
        ...


def fetch(store: Store, key: str) -> Object:
    """Return the object at ``key``, whatever its ETag; raise NotFound."""
    found = store.get(key)
    if found is None:
        raise StoreUnavailable(f"{store.location} answered 'unchanged' to an unconditional read.", key=key)
    return found


def delete_all(store: Store, keys: Iterable[str]) -> list[str]:
    """Remove the keys, a request a thousand, and return those that could *not* be removed."""
    return [left for some in batched(keys, PER_REQUEST) for left in store.delete_many(some)]


def walk(store: Store, prefix: str, after: str = "") -> Iterator[str]:
    """Yield all keys under ``prefix`` (behind ``after``) in order: a LIST a thousand, made as they are wanted."""
    more = True
    while more:
        page = store.list(prefix, after=after)
        yield from (entry.key for entry in page.entries)
        after, more = (page.entries[-1].key if page.entries else ""), page.more
