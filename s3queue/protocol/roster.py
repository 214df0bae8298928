"""Who works on a queue, for people: the registry as it stands, with what a coordination backend knows beside it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from s3queue.clock import to_datetime
from s3queue.core.presence import Presence, decode_presence
from s3queue.errors import CorruptObject, NotFound
from s3queue.protocol.lane import Lane
from s3queue.store.port import fetch, walk


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker by its last heartbeat, written at ``beat_at``; an idle one writes one in ten minutes.

    ``dead``: it has been silent for so long that others take what it holds. ``present``: whether the coordination backend
    has heard of it in the last quarter of a minute, which is fresher, and decides nothing; None if that cannot be told.
    ``capacity``: how many messages it would hold; ``held``: how many it did; ``running``: the ids of some in handlers.
    """

    worker: str
    dead: bool
    present: bool | None
    beat_at: datetime
    started_at: datetime
    host: str
    pid: int
    version: str
    lanes: tuple[int, ...]
    capacity: int
    held: int
    running: tuple[str, ...]
    processed: int
    failed: int


def list_workers(lane: Lane, present: Container[str] | None) -> list[WorkerInfo]:
    """Return the workers in the registry by id: a LIST a thousand, a GET each. ``present``: see :class:`WorkerInfo`."""
    entries, now = presences(lane), lane.now_ms()
    return [_info(entry, present, now) for entry in entries]


def presences(lane: Lane) -> list[Presence]:
    """Return the entries of the registry by key; what cannot be read is told and left out."""
    entries = lane.spread(lambda key: _entry(lane, key), list(walk(lane.store, lane.keys.workers)))
    return [entry for entry in entries if entry is not None]


def _entry(lane: Lane, key: str) -> Presence | None:
    try:
        return decode_presence(fetch(lane.store, key).body, key)
    except NotFound:
        return None  # it has left meanwhile
    except CorruptObject as error:
        lane.events.emit("error", error=error, doing="reading the registry")
        return None


def _info(entry: Presence, present: Container[str] | None, now: int) -> WorkerInfo:
    return WorkerInfo(
        worker=entry.worker,
        dead=entry.is_dead(now),
        present=None if present is None else entry.worker in present,
        beat_at=to_datetime(entry.beat_at_ms),
        started_at=to_datetime(entry.started_at_ms),
        host=entry.host,
        pid=entry.pid,
        version=entry.version,
        lanes=entry.lanes,
        capacity=entry.capacity,
        held=entry.held,
        running=entry.running,
        processed=entry.processed,
        failed=entry.failed,
    )
