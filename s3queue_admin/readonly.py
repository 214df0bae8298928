"""A store that answers questions and refuses everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from s3queue.errors import StoreRefused
from s3queue.store.port import Object, Page, PutMode, Store
from s3queue.store.versions import Place, VersionPage, versioned


class ReadOnly:
    """The store beneath, for GET and LIST alone: works for who may do no more, and makes sure that nothing more is done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def location(self) -> str:
        return self._store.location

    def now_ms(self) -> int:
        return self._store.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        return self._store.get(key, if_none_match)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return self._store.list(prefix, after, limit)

    def keeps_versions(self) -> bool:
        return versioned(self._store).keeps_versions()

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        return versioned(self._store).versions(prefix, after, limit)

    def get_version(self, key: str, version_id: str) -> Object:
        return versioned(self._store).get_version(key, version_id)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:  # noqa: ARG002 - the face of a store
        self._refuse(key)

    def delete(self, key: str) -> None:
        self._refuse(key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        self._refuse(keys[0] if keys else "")

    def close(self) -> None:
        self._store.close()

    def _refuse(self, key: str) -> NoReturn:
        raise StoreRefused(
            f"{self.location} was opened to be read, so {key!r} is not written.",
            reason="read-only",
            key=key,
            remedy="If it is to be changed, open it for that: bucket.queue(name, write=True).",
        )
