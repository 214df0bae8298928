"""Schedules in every storm: several leaders at once, who are killed anywhere, while schedules are changed and removed.

Each tick is decided once, becomes one message, and that ends once; none is left out of a schedule that makes up for all;
none is decided of a schedule that somebody was told is removed, or as a schedule was before he was told it is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from s3queue.core.codec import decode_ledger, decode_messages
from s3queue.core.cron import Timetable
from s3queue.core.draft import Draft
from s3queue.core.keys import ObjectName
from s3queue.core.ledger import Line
from s3queue.core.message import Message
from s3queue.core.payload import Seal
from s3queue.core.schedule import NAME_HEADER, TICK_HEADER, Definition
from s3queue.core.ticking import Fire
from s3queue.core.transitions import Strike
from s3queue.errors import CorruptObject, S3QueueError
from s3queue.protocol import moves, schedules
from s3queue.protocol.lane import Lane
from s3queue.protocol.schedules import Scheduler
from s3queue.store.port import Object
from tests.simulation.mutant import Mutant
from tests.simulation.plots import NIGHT_S, STORM_S, Scenario
from tests.simulation.scenario import Outcome, Run
from tests.simulation.storms import STORMS
from tests.simulation.world import START_S, Actor, SimClock

TIMED_STORMS = tuple(name for name in STORMS if name != "vandals")
"""The storms. What cannot be read is a story of its own: see the tests of the protocol."""
STEADY, MOODY = "steady", "moody"
CAUGHT_UP_S = 20.0
"""How long before its end a run may leave a tick undone: leaders look, and lose races, in between."""
Tick = tuple[str, int]


@dataclass
class Ticks:
    """What was decided, and what became of it."""

    lines: dict[Tick, Line] = field(default_factory=dict)
    objects: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    version: int = 0
    """The newest version of the moody schedule that somebody was told of."""
    removed: bool = True
    """Whether somebody was told that the moody schedule is removed, and nobody has tried to make it again."""
    least: dict[Tick, int] = field(default_factory=dict)
    since_ms: int = 0
    until_ms: int = 0


class TimedRun(Run):
    """A run whose messages are enqueued by schedules."""

    def __init__(self, scenario: Scenario, *, keep_trace: bool = False) -> None:
        super().__init__(scenario, keep_trace=keep_trace)
        self.ticks = Ticks()
        self.tries = 0
        # What is missed in a night, or between two clocks, must be few enough to be made up for.
        long_s = scenario.night_s or 2 * scenario.faults.skew_s
        self.cron = "0 */5 * * * *" if long_s > 3600 else "*/30 * * * * *" if long_s > 600 else "*/10 * * * * *"
        self._record: Callable[[str, Object | None, Object], None] = self.bucket.on_put
        self.bucket.on_put = self._on_put

    # -- what happens --

    def play(self) -> Outcome:
        """Play the run; count what leaders propose that others have fired, or judged by what has changed since."""
        original, seen = Fire.apply, self.history.fleet.seen

        def apply(fire: Fire, draft: Draft, now: int) -> list[bool] | None:
            replies = original(fire, draft, now)
            seen["ticks fired by another leader before"] += (replies or []).count(False)
            seen["ticks judged before a change"] += replies is None
            return replies

        with patch.object(Fire, "apply", apply):
            return super().play()

    def _on_put(self, key: str, before: Object | None, after: Object) -> None:
        was = set(self.history.ledger.outbox)
        self._record(key, before, after)
        try:
            if key == self.history.keys.ledger(0):
                self._on_lines([line for id_, line in decode_ledger(after.body, key).outbox.items() if id_ not in was])
            name = ObjectName.parse(self.history.keys.name_in(self.history.keys.inbox(0), key))
            if key.startswith(self.history.keys.inbox(0)) and name is not None:
                for message in decode_messages(after.body, key, name, Seal()):
                    self._on_message(str(name), message)
        except CorruptObject:
            self.world.note(f"a corrupt object is put at {key}")

    def _on_lines(self, new: Sequence[Line]) -> None:
        for line in new:
            tick = (line.source, line.index)
            if line.kind != "tick":
                continue
            if tick in self.ticks.lines:
                self.history.violation(f"a tick is decided once: {tick} is decided again")
            self.ticks.lines[tick] = line
            if line.source == MOODY:
                self.ticks.least[tick] = self.ticks.version
                if self.ticks.removed:
                    self.history.violation(f"what is removed does not fire: {tick} is decided")

    def _on_message(self, name: str, message: Message) -> None:
        """Of all attempts of a tick, the first is what the schedule has enqueued."""
        if message.attempts or NAME_HEADER not in message.headers:
            return
        schedule, due = message.headers[NAME_HEADER], message.headers[TICK_HEADER]
        objects = self.ticks.objects.setdefault((schedule, due), set())
        objects.add(name)
        if len(objects) > 1:
            self.history.violation(f"a tick is one message: {schedule} at {due} is {sorted(objects)}")
        for tick, line in self.ticks.lines.items():
            if line.target == name and message.payload["version"] < self.ticks.least.get(tick, 0):
                self.history.violation(f"what is changed fires as it is: {tick} has {message.payload}")

    # -- the actors --

    def _spawn(self) -> None:
        super()._spawn()
        random = self.world.random
        for number in range(2 + self.scenario.seed % 2):
            self.world.spawn(f"wl{number}", self.lead, at_s=START_S + random.uniform(0, 5), skew_s=self._skew())
        self.producing += 1  # until the schedules are removed
        self.world.spawn("keeper", self.keep, at_s=START_S, skew_s=self._skew())

    def _revive(self, actor: Actor) -> None:
        if actor.name.startswith("wl") and not self.stopping:
            self.incarnations += 1
            name = f"{actor.name.partition('.')[0]}.{self.incarnations}"
            at_s = self.world.now_s + self.world.random.uniform(0.5, 15)
            self.world.spawn(name, self.lead, at_s=at_s, skew_s=self._skew())
        elif actor.name.startswith("keeper"):
            self.incarnations += 1
            self.world.spawn(f"keeper.{self.incarnations}", self.keep, at_s=self.world.now_s + 1, skew_s=self._skew())
        else:
            super()._revive(actor)

    def lead(self, actor: Actor) -> None:
        """Do what a leader does for schedules, as others do who take themselves for the leader."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        scheduler = None
        while not self.stopping:
            self._wake_up()
            try:
                lane = queue.connect().lane
                scheduler = scheduler or Scheduler(lane)
                scheduler.step()
                if lane.committer.has_deferred and random.random() < 0.3:
                    lane.committer.commit()
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.choice((0.2, 1.0, 3.0)))

    def _wake_up(self) -> None:
        """After a night let sweeps come first, which clear old journals away before they finish what was left."""
        if self.scenario.night_s and self.world.faults["night"] and self.faults is self.scenario.faults:
            self.faults = replace(self.faults, extra_sweep=0.5)

    def keep(self, actor: Actor) -> None:
        """Make two schedules, change and remove one of them over and over, and remove both when the storm is over."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        calm_s = CAUGHT_UP_S + self.scenario.faults.pause_s  # by then all who paused in the storm are back
        while self.world.now_s < START_S + self.scenario.night_s + STORM_S + calm_s:
            try:
                queue.schedule(STEADY, cron=self.cron, payload={"plan": "fail-once", "version": 0}, catch_up="all")
                if random.random() < 0.4:
                    queue.unschedule(MOODY)
                    self.ticks.removed = True
                else:
                    self._change(queue.schedule)
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(1, 15))
        self._remove_all(actor)

    def _change(self, schedule: Callable[..., object]) -> None:
        self.tries += 1
        version = self.tries
        self.ticks.removed = False
        line = self.world.random.choice(("*/4 * * * * *", "*/7 * * * * *"))
        schedule(MOODY, cron=line, payload={"plan": "ok", "version": version}, catch_up=self._mood())
        self.ticks.version = version

    def _mood(self) -> str:
        return self.world.random.choice(("one", "none"))

    def _remove_all(self, actor: Actor) -> None:
        queue, clock = self.queue(actor), SimClock(self.world, actor)
        while True:
            try:
                if not self.ticks.until_ms:
                    steady = schedules._record(queue.connect().lane, STEADY).read().value
                    self.ticks.since_ms = steady.since_ms if steady else 0
                queue.unschedule(MOODY)
                self.ticks.removed = True
                self.ticks.until_ms = self.ticks.until_ms or int((self.world.now_s - CAUGHT_UP_S) * 1000)
                queue.unschedule(STEADY)
            except S3QueueError:
                clock.sleep(1)
            else:
                self.producing -= 1
                return

    # -- the checks --

    def _check(self) -> None:
        super()._check()
        if self._is_broken():
            return
        letters = self.history.letters()
        for tick, line in self.ticks.lines.items():
            ends = self.history.ended[line.message_id] + letters[line.message_id]
            if ends != 1:
                self.history.violation(f"a tick ends once: {tick} ended {ends} times")
        told = self.history.ledger.counters.get("ticked", 0)
        if told != len(self.ticks.lines):
            self.history.violation(f"counters equal the history: ticked is {told} of {len(self.ticks.lines)}")
        self._check_none_is_left_out()

    def _check_none_is_left_out(self) -> None:
        behind_ms = int(self.scenario.faults.skew_s * 1000)
        until_ms, timetable = self.ticks.until_ms - behind_ms, Timetable(self.cron, "UTC")
        tick = timetable.after(self.ticks.since_ms) if self.ticks.since_ms else None
        while tick is not None and tick <= until_ms:
            if (STEADY, tick) not in self.ticks.lines:
                self.history.violation(f"no tick is left out: {STEADY} did not fire at {tick}")
            tick = timetable.after(tick)


def timed_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: the storms take turns."""
    name = TIMED_STORMS[seed % len(TIMED_STORMS)]
    return Scenario(
        seed,
        workers=2 + seed % 2,
        producers=1,
        messages=4,
        faults=replace(STORMS[name]),
        poison=False,
        night_s=NIGHT_S if name == "night" else 0.0,
    )


def play_schedules(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed."""
    return TimedRun(timed_scenario(seed), keep_trace=keep_trace).play()


# -- the rules, taken away one at a time --


def _not_compared() -> Any:
    """Take every tick for new, under a line of its own."""

    def apply(self: Fire, draft: Draft, now: int) -> list[bool] | None:
        del now
        if draft.scheduled_at_revision > self.judged_at_revision:
            return None
        for line in self.lines:
            draft.ticks[line.source] = max(line.index, draft.ticks.get(line.source, 0))
            draft.add_line(line)
            draft.count("ticked")
        return [True] * len(self.lines)

    return patch.object(Fire, "apply", apply)


def _judged_for_ever() -> Any:
    original = Fire.apply
    return patch.object(
        Fire, "apply", lambda self, draft, now: original(replace(self, judged_at_revision=1 << 60), draft, now)
    )


def _struck_unwritten() -> Any:
    def carry_out(lane: Lane, decided: Sequence[tuple[Line, Message]], since: float) -> None:
        del since
        lane.committer.defer(Strike(tuple(line.id for line, _ in decided)))

    return patch.object(schedules, "carry_out", carry_out)


def _ticks_unseen() -> Any:
    original = Draft.seen

    def seen(self: Draft, target: str, now: int) -> None:
        line = self.outbox.get(self._line_to.get(target, ""))
        if line is None or line.kind != "tick":
            original(self, target, now)

    return patch.object(Draft, "seen", seen)


def _written_before_it_is_decided() -> Any:
    original = Scheduler._choose

    def choose(self: Scheduler) -> list[tuple[Line, Message]]:
        chosen = original(self)
        moves.carry_out(self._lane, chosen, self._lane.clock.monotonic())
        return chosen

    return patch.object(Scheduler, "_choose", choose)


def _named_by_the_clock() -> Any:
    original = Definition.line

    def line(self: Definition, tick_ms: int, now_ms: int, group: str = "") -> Line:
        del tick_ms
        return replace(original(self, now_ms, now_ms, group), index=now_ms)

    return patch.object(Definition, "line", line)


TICK_MUTANTS = (
    Mutant("tick not compared", "a tick is newer than the last one of its schedule", _not_compared),
    Mutant("judged for ever", "a change voids what was judged before it", _judged_for_ever),
    Mutant("tick struck unwritten", "a line is struck after its target is written", _struck_unwritten),
    Mutant("tick not seen", "a claim advances the line that wrote its message", _ticks_unseen, ("night",)),
    Mutant("written first", "a message is written after its tick is decided", _written_before_it_is_decided),
    Mutant("tick by the clock", "a tick is named by when it is due, not by when it is fired", _named_by_the_clock),
)
"""Each must be caught; :mod:`tests.simulation.test_schedules` says within how many seeds."""
