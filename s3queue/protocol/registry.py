"""Who works: each worker writes a heartbeat, coordinators read them.

A heartbeat bounds a worker's trust in its own claims, as a lease does: it stops relying on them before anybody may take
it for dead. So a dead worker's claims can be rescued before their leases end, and a live one never loses to that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from s3queue.core.presence import (
    BEAT_MS,
    IDLE_BEAT_MS,
    Presence,
    decode_presence,
    encode_presence,
    next_interval_ms,
)
from s3queue.errors import (
    CorruptObject,
    InvalidSetting,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreRefused,
)
from s3queue.protocol.lane import Lane
from s3queue.store.port import fetch, walk
from s3queue.store.record import Record

_TRUST = 0.9
_LIST_S = 60.0
_SOONEST_S = 2.0
_AGAIN_S = 1.0
"""How long after a heartbeat that failed the next is tried, whoever asks for it: each failure is told."""


class Registration:
    """This process' entry in the registry; safe to share between threads.

    ``describe`` tells what it does now; its name and times are filled in here. A process that has no permission to write
    it works without, under a name that nobody has an entry by: so nobody takes it for dead, and what it holds when it
    dies is free when the leases end, not before.
    """

    def __init__(self, lane: Lane, describe: Callable[[], Presence]) -> None:
        self._lane, self._describe = lane, describe
        self._record = Record(lane.store, lane.keys.worker(lane.worker), decode_presence, encode_presence)
        self._interval_ms = BEAT_MS
        self._due_at = 0.0
        self._again_at = 0.0
        self._capacity = 0
        self._written = False
        self._left = False
        self._unlisted = False
        self._lock = threading.Lock()
        # What is claimed before the first heartbeat may be taken for that of a dead predecessor of the same name.
        lane.standing.present_since = float("inf")

    def step(self) -> bool:
        """Write a heartbeat if it is due, or what the worker can hold has changed much; return whether it was written."""
        with self._lock:
            return not self._left and self._step()

    def _step(self) -> bool:
        now, said = self._lane.clock.monotonic(), self._describe()
        if now < self._again_at or (self._unlisted and now < self._due_at):
            return False
        soon = now >= self._due_at - self._interval_ms / 1000 + _SOONEST_S
        grown = said.capacity >= 2 * self._capacity or (said.held > 0 and self._interval_ms > BEAT_MS)
        if self._written and now < self._due_at and not (soon and grown):
            return False
        self._again_at = now + _AGAIN_S
        try:
            self._beat(said, now)
        except StoreRefused as error:
            if error.reason != "access-denied":
                raise
            self._go_unlisted(error)
            return False
        self._again_at = now
        return True

    def _go_unlisted(self, refused: StoreRefused) -> None:
        """Work without an entry from now on; try again now and then, as the permission may come."""
        lane = self._lane
        if not self._unlisted:
            # Under its name there may be an entry: its own, or a namesake's, whose end would be taken for its death.
            lane.standing.worker = self._new_name()
            self._record = Record(lane.store, lane.keys.worker(lane.worker), decode_presence, encode_presence)
            self._unlisted, self._written = True, False
            lane.standing.present_since = lane.clock.monotonic()
        lane.standing.present_until = float("inf")
        self._due_at = lane.clock.monotonic() + IDLE_BEAT_MS / 1000
        error = StoreRefused(
            f"This worker may not write its heartbeat ({refused}), and works without: should it die, what it holds is "
            "free when the leases end, not before.",
            reason=refused.reason,
            key=refused.key,
            remedy=f"Allow s3:GetObject, s3:PutObject and s3:DeleteObject on {lane.keys.workers}*.",
        )
        lane.events.emit("error", error=error, doing="writing a heartbeat")

    def _new_name(self) -> str:
        """Return a name that no process has had."""
        lane = self._lane
        return f"{lane.worker}~{lane.ids.new(lane.now_ms())[-6:]}"

    def _beat(self, said: Presence, now: float) -> None:
        lane = self._lane
        interval_ms = next_interval_ms(self._interval_ms, busy=said.held > 0) if self._written else BEAT_MS
        entry = replace(
            said,
            worker=lane.worker,
            instance=lane.committer.writer,
            beat_at_ms=lane.now_ms(),
            interval_ms=interval_ms,
        )
        trusted_until = now + _TRUST * entry.silence_ms / 1000
        # Should its answer be lost, either entry may be there: the one that ends sooner counts.
        before, name = lane.standing.present_until, lane.worker
        first = not self._written and not self._unlisted
        lane.standing.present_until = min(before, trusted_until)
        self._write(entry)
        self._unlisted = False
        if first or lane.worker != name or lane.clock.monotonic() >= before:
            lane.standing.present_since = lane.clock.monotonic()
        lane.standing.present_until = trusted_until
        self._interval_ms, self._due_at, self._capacity = interval_ms, now + interval_ms / 1000, said.capacity
        self._written = True

    def _write(self, entry: Presence) -> None:
        for _ in range(5):
            over = self._record.cached if self._written else self._record.read()
            try:
                self._record.write(entry, over or self._record.read())
            except (PreconditionFailed, OutcomeUnknown):
                self._unlisted = False  # there may be an entry under this name
                found = self._record.read().value
                if found == entry:
                    return
                if found is not None and found.instance != entry.instance and self._written:
                    self._make_room(found)
                    entry = replace(entry, worker=self._lane.worker)
                self._written = False
            else:
                return
        raise OutcomeUnknown(self._record.key)

    def _make_room(self, other: Presence) -> None:
        """Take another name: a second process has begun to work under this one."""
        lane = self._lane
        taken, lane.standing.worker = lane.worker, self._new_name()
        self._record = Record(lane.store, lane.keys.worker(lane.worker), decode_presence, encode_presence)
        error = InvalidSetting(
            f"Worker id {taken!r} is used by two processes, here and on {other.host or 'another host'} (pid {other.pid}).",
            remedy=f"Give each process a worker id of its own; this one calls itself {lane.worker!r} now.",
        )
        lane.events.emit("error", error=error, doing="writing a heartbeat")

    def leave(self) -> None:
        """Take the entry out: this process works no more and holds nothing."""
        with self._lock:
            self._left, self._lane.standing.present_until = True, float("inf")
            if self._written:
                self._lane.store.delete(self._record.key)
                self._written = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """An entry, when its worker says it was written, and when it was read (monotonic)."""

    entry: Presence
    written_at_ms: int
    read_at: float


class Registry:
    """The workers of a queue as a coordinator sees them; an entry is read again when its next heartbeat is due."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._seen: dict[str, _Seen] = {}
        self._listed_at = float("-inf")
        self._unreadable: dict[str, float] = {}

    def refresh(self) -> None:
        """Look for new entries now and then, and read those that are due."""
        lane, now = self._lane, self._lane.clock.monotonic()
        if now - self._listed_at > _LIST_S:
            listed = list(walk(lane.store, lane.keys.workers))
            self._listed_at = now
            self._seen = {key: self._seen[key] for key in listed if key in self._seen}
            for key in listed:
                if key not in self._seen and now >= self._unreadable.get(key, 0.0):
                    self._read(key, now)
        for key, seen in list(self._seen.items()):
            if now - seen.read_at > seen.entry.interval_ms / 1000:
                self._read(key, now)

    def _read(self, key: str, now: float) -> None:
        lane = self._lane
        before, entry = self._seen.pop(key, None), None
        try:
            entry = decode_presence(fetch(lane.store, key).body, key)
        except NotFound:
            return
        except CorruptObject as error:
            self._unreadable[key] = now + 10 * _LIST_S
            lane.events.emit("error", error=error, doing="reading the registry")
            return
        if before is not None and before.written_at_ms == entry.beat_at_ms:
            self._seen[key] = replace(before, read_at=now)
        else:
            # An entry from the future counts from now: clocks that are wrong must not keep a dead worker alive.
            at_ms = min(entry.beat_at_ms, lane.now_ms())
            self._seen[key] = _Seen(replace(entry, beat_at_ms=at_ms), entry.beat_at_ms, now)

    def living(self) -> list[Presence]:
        """Return the workers that are not dead, as last read; by id."""
        now = self._lane.now_ms()
        found = [seen.entry for seen in self._seen.values() if not seen.entry.is_dead(now)]
        return sorted(found, key=lambda entry: entry.worker)

    def dead(self) -> list[Presence]:
        """Return the workers whose heartbeat has stopped; never this process, whatever its clock has done since."""
        now, me = self._lane.now_ms(), self._lane.committer.writer
        entries = [seen.entry for _, seen in sorted(self._seen.items())]
        return [entry for entry in entries if entry.is_dead(now) and entry.instance != me]

    def is_dead_still(self, entry: Presence) -> bool:
        """Whether the entry, read anew, is the one that was found dead; a GET."""
        key = self._lane.keys.worker(entry.worker)
        self._read(key, self._lane.clock.monotonic())
        seen = self._seen.get(key)
        return seen is not None and seen.entry == entry

    def remove(self, entry: Presence) -> None:
        """Take a dead worker's entry out; should it live after all, its next heartbeat writes it anew."""
        key = self._lane.keys.worker(entry.worker)
        self._lane.store.delete(key)
        self._seen.pop(key, None)
