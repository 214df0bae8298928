"""Schedules: enqueue a message at each tick of a cron line, once, whoever leads and however often he is killed.

A tick enters the books of lane 0 first (:class:`~s3queue.core.ticking.Fire`), as a line of the outbox; there it is
compared with the last tick of its schedule, so that of two leaders one decides. Its message is written after that, as
any move is carried out. Whoever changes a schedule writes its document, then says so in the same books: from that commit
on, no tick can enter them that was judged by what the schedule was before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from s3queue.clock import to_datetime
from s3queue.core.codec import decode_schedule, encode_schedule
from s3queue.core.cron import Timetable
from s3queue.core.ledger import Ledger, Line
from s3queue.core.message import Message
from s3queue.core.schedule import Definition, due
from s3queue.core.transitions import DropTicks, Fire, Reschedule
from s3queue.errors import CorruptObject, InvalidSetting, NotFound
from s3queue.protocol.lane import Lane
from s3queue.protocol.moves import carry_out
from s3queue.store.port import walk
from s3queue.store.record import Record

LOOK_S = 15.0
"""How old the ledger may be that a scheduler looks into for changes of schedules, if it has no other reason to read it."""
REREAD_S = 300.0
"""How often schedules are read anew all the same: who changed one may have died before it said so."""
REMOVED_MS = 3_600_000
"""How long the last tick of a removed schedule is remembered: no clock of a process that S3 serves is off by that much."""
_JUDGEMENTS = 10


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands: what is enqueued when, when next (None: never again), and the last tick (None: none yet)."""

    name: str
    cron: str
    timezone: str
    payload: Any
    priority: int
    group: str | None
    headers: dict[str, str]
    max_attempts: int | None
    catch_up: str
    next_at: datetime | None
    last_at: datetime | None


def define(lane: Lane, name: str, *, cron: str, timezone: str, message: Message, catch_up: str) -> Schedule:
    """Make the schedule, or change it if there is one of that name; nothing is written if there is the very same.

    ``message``: payload and shape of what each tick enqueues. A new cron line or time zone counts from now; otherwise
    ticks that are still to be made up for are so under the new schedule. A GET; two PUTs and another GET for a change.
    """
    now = lane.now_ms()
    mine = Definition(lane.ids.new(now), name, cron, timezone, message, catch_up, now, lane.ids.new(now))
    changed = False

    def change(found: Definition | None) -> Definition:
        nonlocal changed
        if found is not None and _means(found) == _means(mine):
            return found
        changed = True
        if found is None:
            return replace(mine, message=replace(message, id=mine.id))
        same_ticks = not found.removed_at_ms and (found.cron, found.timezone) == (cron, timezone)
        since_ms = found.since_ms if same_ticks else max(now, found.since_ms)
        return replace(mine, id=found.id, message=replace(message, id=found.id), since_ms=since_ms)

    written = _record(lane, name).update(change).value or mine
    if changed:
        lane.committer.commit(Reschedule(), fresh=True)
    return _schedule(written, lane.committer.ledger, now)


def _means(definition: Definition) -> bytes:
    """Return what tells two schedules apart for whoever makes them: JSON, where 1 is not true."""
    message = replace(definition.message, id="", enqueued_at_ms=0)
    return encode_schedule(replace(definition, id="", write_id="", since_ms=0, message=message))


def remove(lane: Lane, name: str) -> bool:
    """Remove the schedule and return whether there was one. No tick is decided any more when this returns.

    Its document stays, marked: a DELETE cannot be conditional, and a late write could bring back what was deleted.
    """
    now, removed = lane.now_ms(), False
    record, write_id = _record(lane, name), lane.ids.new(now)

    def change(found: Definition | None) -> Definition:
        nonlocal removed
        if found is None:
            raise NotFound(record.key)
        removed = removed or not found.removed_at_ms
        return found if found.removed_at_ms else replace(found, removed_at_ms=now, write_id=write_id)

    try:
        record.update(change)
    except NotFound:
        return False
    lane.committer.commit(Reschedule(), fresh=True)
    return removed


def standing(lane: Lane) -> list[Schedule]:
    """Return the schedules, by name: a LIST per thousand, a GET each, and one for the ledger. CorruptObject for a bad one."""
    names = _names(lane)
    found = lane.spread(lambda name: _record(lane, name).read().value, names)
    ledger = lane.committer.read().value or Ledger()
    now = lane.now_ms()
    return [_schedule(each, ledger, now) for each in found if each is not None and not each.removed_at_ms]


def _schedule(definition: Definition, ledger: Ledger, now: int) -> Schedule:
    message, last = definition.message, ledger.ticks.get(definition.name, 0)
    following = Timetable(definition.cron, definition.timezone).after(max(now, last, definition.since_ms))
    return Schedule(
        name=definition.name,
        cron=definition.cron,
        timezone=definition.timezone,
        payload=message.payload,
        priority=message.priority,
        group=message.group,
        headers=dict(message.headers),
        max_attempts=message.max_attempts,
        catch_up=definition.catch_up,
        next_at=None if following is None else to_datetime(following),
        last_at=to_datetime(last) if last else None,
    )


def _record(lane: Lane, name: str) -> Record[Definition]:
    def decode(body: bytes, key: str) -> Definition:
        found = decode_schedule(body, key, lane.seal)
        if found.name != name:
            raise CorruptObject(key, f"it is the schedule {found.name!r:.100}: not what its key says")
        return found

    return Record(lane.store, lane.keys.schedule(name), decode, lambda found: encode_schedule(found, lane.codec))


def _names(lane: Lane) -> list[str]:
    names = (lane.keys.name_in(lane.keys.schedules, key) for key in walk(lane.store, lane.keys.schedules))
    return [name for name in names if name and "/" not in name]


class Scheduler:
    """Fires the schedules of a queue into lane 0, a :meth:`step` at a time; two at once only do the work twice.

    While nothing is due a step asks nothing, but for a GET of the ledger (mostly 304) each quarter of a minute if nobody
    else here has read it, and every five minutes, or when schedules were changed, a LIST and a GET for each schedule that
    there ever was.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._records: dict[str, Record[Definition]] = {}
        self._running: list[tuple[Definition, Timetable]] = []
        self._passed: dict[str, int] = {}
        self._judged = -1
        self._read_at = self._looked_at = float("-inf")
        self._next_at_ms = 0

    def step(self) -> int:
        """Fire what is due and return how many ticks entered the books."""
        lane = self._lane
        self._keep_up()
        if lane.now_ms() < self._next_at_ms:
            return 0
        for _ in range(_JUDGEMENTS):
            chosen = self._choose()
            if not chosen:
                return 0
            since = lane.clock.monotonic()
            (fired,) = lane.committer.commit(Fire(tuple(line for line, _ in chosen), self._judged))
            if fired is not None:
                self._plan()
                return self._enqueue([pair for pair, new in zip(chosen, fired, strict=True) if new], since)
            self._load()
        return 0

    def _enqueue(self, fired: list[tuple[Line, Message]], since: float) -> int:
        for line, _ in fired:
            self._lane.events.emit("schedule-fired", schedule=line.source, tick_ms=line.index, id=line.message_id)
        carry_out(self._lane, fired, since)
        return len(fired)

    def _choose(self) -> list[tuple[Line, Message]]:
        """Return the lines of the ticks that are to be fired now, with their messages."""
        now, settings = self._lane.now_ms(), self._lane.settings()
        chosen = []
        for definition, timetable in self._running:
            ticks, last = due(timetable, definition.catch_up, self._after(definition), now)
            mark = settings.group_mark(definition.message.group)
            lines = [definition.line(tick, now, mark) for tick in ticks]
            chosen += [(line, definition.message_of(line)) for line in lines]
            if not lines:
                self._passed[definition.name] = last
        if not chosen:
            self._plan()
        return chosen

    def _after(self, definition: Definition) -> int:
        """Return the time up to which the ticks of a schedule are done with."""
        name, ledger = definition.name, self._lane.committer.ledger
        return max(definition.since_ms, ledger.ticks.get(name, 0), self._passed.get(name, 0))

    def _plan(self) -> None:
        """Note when something is due next."""
        ticks = [timetable.after(self._after(definition)) for definition, timetable in self._running]
        self._next_at_ms = min((tick for tick in ticks if tick is not None), default=1 << 62)

    # -- reading --

    def _keep_up(self) -> None:
        """Read the schedules anew if they were changed, or may have been."""
        committer, now = self._lane.committer, self._lane.clock.monotonic()
        if now - self._looked_at >= LOOK_S:
            committer.refresh(LOOK_S)
            self._looked_at = now
        if committer.ledger.scheduled_at_revision > self._judged or now - self._read_at >= REREAD_S:
            self._load()

    def _load(self) -> None:
        """Read the ledger, then the schedules: what is changed afterwards voids what is judged by them."""
        lane = self._lane
        ledger = lane.committer.read().value or Ledger()
        names = _names(lane)
        self._records = {name: self._records.get(name) or _record(lane, name) for name in names}
        found = [each for each in lane.spread(self._read, names) if each is not None]
        now = lane.now_ms()
        forgettable = {each.name for each in found if each.removed_at_ms and each.removed_at_ms + REMOVED_MS < now}
        gone = tuple(name for name in ledger.ticks if name in forgettable or name not in self._records)
        self._running = [pair for each in found if not each.removed_at_ms for pair in self._timed(each)]
        self._passed = {each.name: self._passed.get(each.name, 0) for each, _ in self._running}
        self._judged = ledger.revision
        self._read_at = lane.clock.monotonic()
        self._plan()
        if gone:
            lane.committer.defer(DropTicks(gone, self._judged))

    def _read(self, name: str) -> Definition | None:
        try:
            return self._records[name].read().value
        except CorruptObject as error:
            self._lane.events.emit("error", error=error, doing=f"reading schedule {name}")
            return None

    def _timed(self, definition: Definition) -> list[tuple[Definition, Timetable]]:
        try:
            return [(definition, Timetable(definition.cron, definition.timezone))]
        except InvalidSetting as error:  # made where the time zone is known, perhaps
            self._lane.events.emit("error", error=error, doing=f"reading schedule {definition.name}")
            return []
