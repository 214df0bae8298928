"""What the coordinator of the first lane does for the whole queue: dead workers, schedules, retention, lanes.

Each is a step that may be killed anywhere and made by two at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from s3queue.core.lane_count import Contention, advise
from s3queue.core.ledger import Ticket
from s3queue.core.presence import Presence
from s3queue.core.settings import Settings
from s3queue.core.transitions import Leave, Reset
from s3queue.errors import S3QueueError
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


class Duties:
    """The queue-wide duties of this process; :meth:`step` does what is due if it coordinates the first lane."""

    def __init__(self, lanes: Lanes, change_settings: Change) -> None:
        self._lanes, self._change = lanes, change_settings
        self._lane = lanes.first.lane
        self.registry = Registry(self._lane)
        self._contention = _Seen(self._lane.clock.monotonic(), {})
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
                    doing = getattr(duty.step, "__qualname__", "a duty")
                    self._lane.events.emit("error", error=error, doing=f"coordinating ({doing})")

    def rescue_from_the_dead(self) -> int:
        """Make what dead workers hold available before their leases end, and take them off the books; return how much."""
        self.registry.refresh()
        rescued = 0
        for dead in self.registry.dead():
            if not self.registry.is_dead_still(dead):
                continue
            for agents in self._lanes.all():
                lane = agents.lane
                lane.committer.read()
                tickets = lane.committer.ledger.tickets.values()
                held = frozenset(ticket.id for ticket in tickets if _claimed_in_life(ticket, dead))
                if not held and dead.worker not in lane.committer.ledger.rooms:
                    continue
                (lost, _) = lane.committer.commit(Reset(held), Leave(dead.worker))
                for ticket in lost:
                    lane.events.emit("message-recovered", worker=ticket.worker, count=ticket.size)
                    rescued += ticket.size
            self.registry.remove(dead)
        return rescued

    def tune_lanes(self) -> int:
        """Raise or lower the number of lanes if they are tuned automatically; return how many there are then."""
        settings, living = self._lane.settings(), self.registry.living()
        seen, self._contention = self._contention.until(self._lane.clock.monotonic(), living)
        if not settings.lanes_auto or settings.strict or self._lane.committer.ledger.paused:
            return settings.lanes
        lanes = advise(settings.lanes, len(living), seen)
        if lanes == settings.lanes:
            return lanes
        self._lane.events.emit(
            "lanes-changed", before=settings.lanes, after=lanes, lost_share=round(seen.lost_share, 3)
        )

        def change(found: Settings) -> Settings:
            if found.lanes != settings.lanes or not found.lanes_auto:
                return found  # somebody else has changed it meanwhile
            return replace(found, lanes=lanes, lanes_ever=max(found.lanes_served, lanes))

        return self._change(change).lanes


def _claimed_in_life(ticket: Ticket, dead: Presence) -> bool:
    """Whether a worker claimed this before it was dead: later, it is another process of that name, or itself, back again."""
    return ticket.worker == dead.worker and ticket.claimed_at_ms < dead.beat_at_ms + dead.silence_ms


@dataclass(frozen=True, slots=True)
class _Seen:
    """Commits and lost races by process, as of the last look."""

    at: float
    counts: dict[str, tuple[int, int]]

    def until(self, now: float, living: list[Presence]) -> tuple[Contention, _Seen]:
        """Return what happened since, among workers that were there before, and what is seen now."""
        counts = {entry.instance: (entry.commits, entry.lost_races) for entry in living}
        known = [(self.counts[name], count) for name, count in counts.items() if name in self.counts]
        commits = sum(max(0, after[0] - before[0]) for before, after in known)
        lost = sum(max(0, after[1] - before[1]) for before, after in known)
        return Contention(now - self.at, commits, lost), _Seen(now, counts)
