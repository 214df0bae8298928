"""What a worker says of itself in the registry, and when it may be taken for dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from s3queue.core.claiming import RESCUE_MARGIN_MS
from s3queue.core.document import Wire, dump, is_a, read

BEAT_MS = 20_000
"""How often a worker that holds messages writes its heartbeat; an idle one doubles that up to :data:`IDLE_BEAT_MS`."""
IDLE_BEAT_MS = 600_000
MISSED = 3
"""How many heartbeats may be missed."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker's entry. ``interval_ms``: when the next heartbeat is due; ``capacity``: how many messages it would hold.

    ``instance`` names the process, as two may be given one worker id. ``requests`` are those to the store since the
    start, by verb, area and outcome (``"PUT ledger lost"``; older versions told the verb alone), ``commits`` and
    ``lost_races`` those of ledgers, ``running`` the ids of messages whose handlers run, some of them.
    """

    worker: str
    instance: str
    beat_at_ms: int
    interval_ms: int
    capacity: int
    started_at_ms: int = 0
    lanes: tuple[int, ...] = (0,)
    version: str = ""
    host: str = ""
    pid: int = 0
    held: int = 0
    commits: int = 0
    lost_races: int = 0
    processed: int = 0
    failed: int = 0
    running: tuple[str, ...] = ()
    requests: Mapping[str, int] = field(default_factory=dict)

    @property
    def silence_ms(self) -> int:
        """How long the worker may be silent before it is dead."""
        return MISSED * self.interval_ms

    def is_dead(self, now: int) -> bool:
        """Whether nobody relies on this worker's claims any more, itself included, at ``now`` (store time in ms)."""
        return self.beat_at_ms + self.silence_ms + RESCUE_MARGIN_MS <= now


def next_interval_ms(interval_ms: int, *, busy: bool) -> int:
    """Return how long after the next heartbeat another is due."""
    return BEAT_MS if busy else min(max(interval_ms, BEAT_MS) * 2, IDLE_BEAT_MS)


def encode_presence(presence: Presence) -> bytes:
    """Return an entry's bytes."""
    return dump("worker", asdict(presence))


def decode_presence(body: bytes, key: str) -> Presence:
    """Return the entry in ``body``; CorruptObject or NewerFormat if it is none."""
    return read("worker", body, key, _presence)


def _presence(wire: Wire) -> Presence:
    kinds: dict[str, type] = {"worker": str, "instance": str, "version": str, "host": str}
    values: dict[str, Any] = {}
    for item in fields(Presence):
        value = wire[item.name]
        if item.name in ("lanes", "running"):
            kind = int if item.name == "lanes" else str
            values[item.name] = tuple(is_a(entry, kind) for entry in is_a(value, list))
        elif item.name == "requests":
            values[item.name] = {str(verb): is_a(count, int) for verb, count in is_a(value, dict).items()}
        else:
            values[item.name] = is_a(value, kinds.get(item.name, int))
    return Presence(**values)
