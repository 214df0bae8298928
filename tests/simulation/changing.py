"""Operators who change single messages in every storm: cancel, give another priority or time, take back from holders.

Beside what holds of any run: no claim is made of a message after its cancelling was told, and a moved message keeps the
attempts it has had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from s3queue import Changed
from s3queue.core import changing, claiming
from s3queue.core.draft import Draft
from s3queue.errors import S3QueueError
from s3queue.protocol.outcomes import Delivery
from s3queue.protocol.viewing import MessageView
from tests.simulation.mutant import Mutant
from tests.simulation.plots import Scenario
from tests.simulation.scenario import Outcome, Run
from tests.simulation.storms import LONG, STORMS
from tests.simulation.world import START_S, Actor, SimClock

CHANGED_STORMS = tuple(name for name in STORMS if name not in ("night", *LONG))
"""Nights are about moves that nobody makes for hours, long storms about coordinators."""


class ChangedRun(Run):
    """A run with two operators who change messages at random."""

    def __init__(self, scenario: Scenario, *, keep_trace: bool = False) -> None:
        super().__init__(scenario, keep_trace=keep_trace)
        self.history.operated = True
        self._cancelled_at: dict[str, float] = {}

    def _spawn(self) -> None:
        super()._spawn()
        for number in range(2):
            self.world.spawn(f"op-changes{number}", self.change, at_s=START_S + 3 + number, skew_s=self._skew())

    def _revive(self, actor: Actor) -> None:
        if actor.name.startswith("op-changes"):
            self.incarnations += 1
            name = f"op-changes.{self.incarnations}"
            self.world.spawn(name, self.change, at_s=self.world.now_s + 2, skew_s=self._skew())
        else:
            super()._revive(actor)

    def change(self, actor: Actor) -> None:
        """Look at messages, and change some of them a while later."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        acts: list[Callable[[list[Any]], Changed]] = [
            queue.cancel,
            partial(queue.cancel, claimed=False),
            lambda some: queue.reprioritise(some, random.choice((0, 5, 7))),
            lambda some: queue.postpone(some, random.choice((0, 0, 3, 12))),
            queue.reset,
            partial(queue.reset, lapsed=True),
        ]
        while self.world.now_s < START_S + self.scenario.storm_s - 10:
            try:
                seen = list(queue.messages("pending", "scheduled", "processing"))
                if random.random() < 0.3:
                    clock.sleep(random.uniform(0, 4))
                some = [view for view in seen if view.line]  # moves that are not made are seldom seen
                some = some or random.sample(seen, min(len(seen), random.choice((1, 2, 5))))
                act = random.choice(acts)
                by_id = random.random() < 0.3
                changed = act([view.id for view in some] if by_id else some)
                self._note(acts.index(act), some, changed)
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(0.5, 9))

    def _note(self, act: int, some: list[MessageView], changed: Changed) -> None:
        what = ("cancelled", "cancelled", "moved", "moved", "taken back", "taken back")[act]
        self.history.fleet.seen[f"messages {what}"] += len(changed.done)
        self.history.fleet.seen["messages refused that had changed"] += len(changed.refused)
        if any(view.line for view in some if view.id in changed.done):
            self.history.fleet.seen[f"unmade moves {what}"] += 1
        if what == "cancelled":
            self._cancelled_at.update(dict.fromkeys(changed.done, self.world.now_s))

    def _execute(self, actor: Actor, consumer: Any, delivery: Delivery) -> None:
        cancelled_at_s = self._cancelled_at.get(delivery.id)
        ticket = self.history.ledgers[delivery.lease.lane].tickets.get(delivery.handle.ticket_id)
        if cancelled_at_s is not None and ticket is not None and ticket.token == delivery.handle.token:
            indices = [part.indices() for part in ticket.parts if part.name == delivery.handle.name]
            if any(delivery.handle.index in some for some in indices):
                self.history.violation(f"cancelled for good: {delivery.id} is claimed after it was cancelled")
        super()._execute(actor, consumer, delivery)


def changed_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: the storms take turns, every other one with the other operators, too."""
    storm = CHANGED_STORMS[seed % len(CHANGED_STORMS)]
    turn = seed // len(CHANGED_STORMS)
    return Scenario(
        seed,
        workers=2 + seed % 2,
        faults=replace(STORMS[storm]),
        operator=turn % 2 == 1,
        lanes=1 + turn % 3 % 2,
        messages=25,
        storm_s=60.0,
    )


def play_changed(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed."""
    return ChangedRun(changed_scenario(seed), keep_trace=keep_trace).play()


# -- what must be noticed --


def _whoever_holds_it() -> Any:
    """Take messages out of the books though they were claimed since they were seen."""
    original = changing._TakingOut.take

    def take(self: Any, seen: changing.Seen) -> Any:
        tokens = [ticket.token for ticket, _, indices in self._where.get(seen.name, ()) if seen.index in indices]
        return original(self, replace(seen, token=tokens[0]) if tokens else seen)

    return patch.object(changing._TakingOut, "take", take)


def _old_target_open() -> Any:
    """Let the old target of a move that was decided anew be taken for new."""
    original = changing.Move.apply

    def apply(self: changing.Move, draft: Draft, now: int) -> Any:
        targets, close = {line.target for line in draft.outbox.values()}, draft.close
        with patch.object(draft, "close", lambda name, at: None if name in targets else close(name, at)):
            return original(self, draft, now)

    return patch.object(changing.Move, "apply", apply)


def _before_its_time() -> Any:
    return patch.object(claiming, "visible_at_ms_of", lambda name: 0)


def _lost_claims_forgotten() -> Any:
    return patch.object(changing, "lost_errors", lambda attempts, rescues: ())


CHANGE_MUTANTS = (
    Mutant("moved from its holder", "what is claimed is not moved", _whoever_holds_it),
    Mutant("old target open", "a move that gives way leaves a ghost", _old_target_open),
    Mutant("claimed before its time", "an available ticket is not claimed before its time", _before_its_time),
    Mutant("lost claims forgotten", "a moved message keeps its attempts", _lost_claims_forgotten),
)
"""Each must be caught; :mod:`tests.simulation.test_mutants` says how."""
