"""From a URL or a bucket's name to a store that retries, resolves lost answers and counts its requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

from s3queue.clock import Clock
from s3queue.errors import InvalidSetting
from s3queue.ids import Ids
from s3queue.store.memory import MemoryStore
from s3queue.store.metered import Meter, Metered
from s3queue.store.port import Store
from s3queue.store.retrying import Retrying

_memories: dict[str, MemoryStore] = {}
_memories_lock = Lock()


@dataclass(frozen=True, slots=True)
class Location:
    """Where queues lie: ``kind`` is ``s3``, ``file`` or ``memory``; ``place`` the bucket, folder or name."""

    kind: str
    place: str
    prefix: str


def parse_url(url: str) -> Location:
    """Return the location that a base URL names: ``s3://bucket/prefix``, ``file:///folder`` or ``memory://name``."""
    parts = urlsplit(url if isinstance(url, str) else "")
    path = unquote(parts.path)
    if parts.scheme == "s3" and parts.netloc:
        return Location("s3", parts.netloc, path.lstrip("/"))
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and path.strip("/"):
        return Location("file", path, "")
    if parts.scheme == "memory":
        return Location("memory", parts.netloc or "default", path.lstrip("/"))
    raise InvalidSetting(
        f"{url!r} is not a URL of a store.",
        remedy="Use s3://bucket/prefix, file:///absolute/folder or memory://name.",
    )


def split_queue(url: str) -> tuple[str, str]:
    """Return base URL and queue name of a queue's URL: its last segment names the queue."""
    base, _, name = url.rstrip("/").rpartition("/")
    if not name or base.endswith((":/", "/")):
        raise InvalidSetting(
            f"{url!r} names no queue.", remedy="End it with the queue's name, as in s3://prod/s3queue/emails."
        )
    return base + "/", name


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach S3: all as the AWS CLI has them, None for what its configuration says."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    max_connections: int = 32


def raw_store(location: Location, access: Access, clock: Clock, ids: Ids) -> Store:
    """Return the bare adapter; boto3 is imported only for S3."""
    if location.kind == "file":
        from s3queue.store.file import FileStore

        return FileStore(Path(location.place), clock=clock, ids=ids)
    if location.kind == "memory":
        with _memories_lock:
            return _memories.setdefault(location.place, MemoryStore(clock, name=f"memory://{location.place}"))
    from s3queue.store.s3 import S3Store

    return S3Store(
        location.place,
        endpoint_url=access.endpoint_url,
        region=access.region,
        profile=access.profile,
        clock=clock,
        max_connections=access.max_connections,
    )


def dress(
    store: Store,
    root: str,
    *,
    clock: Clock,
    ids: Ids,
    meter: Meter,
    on_throttle: Callable[[str, int, float], None] | None = None,
) -> Store:
    """Return the store with metering beneath retrying: every attempt is billed, so every attempt is counted."""
    return Retrying(Metered(store, meter, root), clock=clock, ids=ids, on_throttle=on_throttle)
