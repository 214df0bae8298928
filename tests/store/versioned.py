"""A bucket in memory that keeps versions: the model of what the S3 adapter tells of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from s3queue.clock import Clock
from s3queue.errors import NotFound
from s3queue.store.memory import MemoryStore
from s3queue.store.port import Object, PutMode
from s3queue.store.versions import ObjectVersion, Place, VersionPage


class VersionedMemory(MemoryStore):
    """Every write and deletion adds a version, dated by the store's clock."""

    def __init__(self, clock: Clock | None = None, name: str = "memory") -> None:
        super().__init__(clock, name)
        self._kept: dict[str, list[tuple[ObjectVersion, bytes]]] = {}
        self._number = 0

    def _keep(self, key: str, body: bytes, *, is_deletion: bool = False) -> None:
        self._number += 1
        version = ObjectVersion(key, f"v{self._number:06}", self.now_ms(), len(body), is_deletion=is_deletion)
        self._kept.setdefault(key, []).append((version, body))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        etag = super().put(key, body, mode)
        self._keep(key, body)
        return etag

    def delete(self, key: str) -> None:
        self.delete_many([key])

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        for key in keys:
            self._keep(key, b"", is_deletion=True)
        return super().delete_many(keys)

    def keeps_versions(self) -> bool:
        return True

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        found = []
        for key in sorted(key for key in self._kept if key.startswith(prefix)):
            for age, (version, _) in enumerate(reversed(self._kept[key])):
                made = ObjectVersion(
                    key, version.id, version.written_at_ms, version.size, age == 0, is_deletion=version.is_deletion
                )
                found.append(made)
        places = [(version.key, -int(version.id[1:])) for version in found]
        start = bisect_right(places, (after[0], -int(after[1][1:]) if after[1] else 1)) if after else 0
        page = found[start : start + limit]
        more = start + limit < len(found)
        return VersionPage(tuple(page), (page[-1].key, page[-1].id) if more else None)

    def get_version(self, key: str, version_id: str) -> Object:
        for version, body in self._kept.get(key, ()):
            if version.id == version_id and not version.is_deletion:
                return Object(body, version.id)
        raise NotFound(key)
