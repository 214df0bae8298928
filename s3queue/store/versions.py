"""Earlier versions of objects, where a bucket keeps them: what a store may offer beside the port.

The engine never asks for it: operators look back (``--at``) and undo with it. A bucket whose versioning is off shows each
object as one version with the id ``null``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from s3queue.errors import StoreRefused
from s3queue.store.port import Object

Place = tuple[str, str]
"""Key and version id behind which a page begins; with the id '' behind all versions of the key."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of the object at ``key``, from ``written_at_ms`` (store time; whole seconds on S3) until the next one.

    ``is_deletion``: a mark that the object was deleted then; it has no body. ``is_latest``: what the key holds now.
    """

    key: str
    id: str
    written_at_ms: int
    size: int = 0
    is_latest: bool = False
    is_deletion: bool = False


@dataclass(frozen=True, slots=True)
class VersionPage:
    """A page of versions, sorted by key, the newest of each first; ``after``: where the next page begins, None at the end."""

    versions: tuple[ObjectVersion, ...]
    after: Place | None = None


class Versioned(Protocol):
    """A store that can tell of earlier versions. Every method may raise StoreUnavailable or StoreRefused."""

    def keeps_versions(self) -> bool:
        """Return whether the bucket keeps a version of what is written over or deleted from now on."""
        ...

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        """Return up to ``limit`` (≤ 1000) versions of the objects under ``prefix``, those of deleted ones included."""
        ...

    def get_version(self, key: str, version_id: str) -> Object:
        """Return one version of an object; raise NotFound."""
        ...


def versioned(store: object) -> Versioned:
    """Return ``store`` as one that tells of versions; StoreRefused (``no-versions``) if it is of a kind that has none."""
    if not hasattr(store, "get_version"):
        raise StoreRefused(
            f"{getattr(store, 'location', 'This store')} keeps no earlier versions of objects.",
            reason="no-versions",
            remedy="Use a bucket on S3 with versioning on (aws s3api put-bucket-versioning …).",
        )
    return cast("Versioned", store)


def walk_versions(store: Versioned, prefix: str, after: Place | None = None) -> Iterator[ObjectVersion]:
    """Yield all versions under ``prefix``, sorted by key, the newest of each first; a LIST a thousand, as they are wanted."""
    while True:
        page = store.versions(prefix, after)
        yield from page.versions
        after = page.after
        if after is None:
            return
