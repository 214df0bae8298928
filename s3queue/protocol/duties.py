"""What the coordinator of the first lane does for the whole queue: dead workers, schedules, retention, lanes.

Each is a step that may be killed anywhere and made by two at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from s3queue.core.lane_count import Contention, advise
from s3queue.core.ledger import Ticket
from s3queue.core.presence import Presence
from s3queue.core.settings import Settings
from s3queue.core.transitions import Leave, Pause, Reset
from s3queue.errors import CorruptObject, S3QueueError
from s3queue.protocol.lane import Lane
from s3queue.protocol.lanes import Lanes
from s3queue.protocol.registry import Registry

_REGISTRY_S = 10.0
_LANES_S = 60.0
Change = Callable[[Callable[[Settings], Settings]], Settings]


@dataclass(slots=True)
class _Duty:
    step: Callable[[], object]
    interval_s: float
    due_at: float = 0.0

    @property
    def name(self) -> str:
        """How it is called where its errors are told."""
        function = self.step.func if isinstance(self.step, partial) else self.step
        return getattr(function, "__qualname__", "a duty")


class Duties:
    """The queue-wide duties of this process; :meth:`step` does what is due if it coordinates the first lane."""

    def __init__(self, lanes: Lanes, change_settings: Change) -> None:
        self._lanes, self._change = lanes, change_settings
        self._lane = lanes.first.lane
        self.registry = Registry(self._lane)
        self._paces = _Paces()
        self._duties = [_Duty(self.rescue_from_the_dead, _REGISTRY_S), _Duty(self.tune_lanes, _LANES_S)]

    def add(self, step: Callable[[], object], interval_s: float) -> None:
        """Make ``step`` a duty that is due every ``interval_s`` seconds."""
        self._duties.append(_Duty(step, interval_s))

    def step(self) -> None:
        """Do what is due, if this process leads; what fails is told and tried again when it is due next."""
        if not self._lanes.first.consumer.leads:
            return
        now = self._lane.clock.monotonic()
        for duty in self._duties:
            if now >= duty.due_at:
                duty.due_at = now + duty.interval_s * (0.9 + 0.2 * self._lane.ids.random())
                try:
                    duty.step()
                except S3QueueError as error:
                    self._lane.events.emit("error", error=error, doing=f"coordinating ({duty.name})")

    def rescue_from_the_dead(self) -> int:
        """Make what dead workers hold available before their leases end, and take them off the books; return how much."""
        self.registry.refresh()
        rescued = 0
        for dead in self.registry.dead():
            if not self.registry.is_dead_still(dead):
                continue
            taken = [self._take_from(dead, agents.lane) for agents in self._lanes.all()]
            rescued += sum(count for count in taken if count is not None)
            if None not in taken:  # else its entry stays, so that the rest is taken when that lane can be read again
                self.registry.remove(dead)
        return rescued

    def _take_from(self, dead: Presence, lane: Lane) -> int | None:
        """Take from a dead worker what it holds in a lane; return how many messages, or None if the lane is unreadable."""
        if lane.is_aside:
            return None
        try:
            lane.committer.read()
            ledger = lane.committer.ledger
            held = frozenset(ticket.id for ticket in ledger.tickets.values() if _claimed_in_life(ticket, dead))
            if not held and dead.worker not in ledger.rooms:
                return 0
            # A ticket that is rescued or claimed meanwhile has another id: it is not taken from whoever has it then.
            (lost, _) = lane.committer.commit(Reset(held), Leave(dead.worker))
        except CorruptObject as error:
            if not lane.sets_aside(error):
                raise
            return None
        for ticket in lost:
            lane.events.emit("message-recovered", worker=ticket.worker, count=ticket.size)
        if lost:
            lane.announce()
        return sum(int(ticket.size) for ticket in lost)

    def tune_lanes(self) -> int:
        """Raise or lower the number of lanes if they are tuned automatically; return how many there are then."""
        settings, living = self._lane.settings(), self.registry.living()
        seen = self._paces.of(living)
        if not settings.lanes_auto or settings.strict or self._lane.committer.ledger.paused:
            return settings.lanes
        lanes = advise(settings.lanes, len(living), seen)
        if lanes == settings.lanes:
            return lanes
        mine = False

        def change(found: Settings) -> Settings:
            nonlocal mine
            mine = found.lanes == settings.lanes and found.lanes_auto
            if not mine:
                return found  # somebody else has changed it meanwhile
            return replace(found, lanes=lanes, lanes_ever=max(found.lanes_served, lanes))

        changed = self._change(change)
        if mine:
            share = round(seen.lost_share, 3)
            self._lane.events.emit("lanes-changed", before=settings.lanes, after=lanes, lost_share=share)
            self._pause_if_first_is(range(settings.lanes_served, changed.lanes_served))
        return changed.lanes

    def _pause_if_first_is(self, numbers: range) -> None:
        """Pause lanes just opened if the queue was paused at that time: whoever did it may not have known of them."""
        if numbers and (first := self._lane.committer.read().value) is not None and first.paused:
            for number in numbers:
                self._lanes.of(number).lane.committer.commit(Pause(True), fresh=True)


def _claimed_in_life(ticket: Ticket, dead: Presence) -> bool:
    """Whether a worker claimed this before it was dead: later, it is another process of that name, or itself, back again."""
    return ticket.worker == dead.worker and ticket.claimed_at_ms < dead.beat_at_ms + dead.silence_ms


@dataclass(frozen=True, slots=True)
class _Pace:
    """A worker's last heartbeat that was read, and what it did between that and the one read before (0 s: unknown)."""

    entry: Presence
    seconds: float = 0.0
    commits: int = 0
    lost_races: int = 0

    def after(self, entry: Presence) -> _Pace:
        """Return the pace as a later look at the registry tells it."""
        seconds = (entry.beat_at_ms - self.entry.beat_at_ms) / 1000
        if seconds <= 0:
            return self
        commits, lost_races = entry.commits - self.entry.commits, entry.lost_races - self.entry.lost_races
        return _Pace(entry, seconds, max(0, commits), max(0, lost_races))


class _Paces:
    """How fast each worker commits. By its own heartbeats: they are seldom while it is idle, and read even later."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    def of(self, living: list[Presence]) -> Contention:
        """Take note of the heartbeats, and return what the workers do in a second, as far as two of each are known."""
        before = self._paces
        self._paces = {
            entry.instance: before[entry.instance].after(entry) if entry.instance in before else _Pace(entry)
            for entry in living
        }
        known = [pace for pace in self._paces.values() if pace.seconds]
        commits = sum(pace.commits / pace.seconds for pace in known)
        lost_races = sum(pace.lost_races / pace.seconds for pace in known)
        return Contention(1.0 if known else 0.0, commits, lost_races, whole=len(known) == len(self._paces))
