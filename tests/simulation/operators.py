"""Operators in the middle of everything: they pause, replay, reset, truncate, and change the number of lanes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from s3queue.core.transitions import Reset
from s3queue.errors import S3QueueError
from s3queue.queue import Queue
from tests.simulation.plots import Scenario
from tests.simulation.world import START_S, Actor, SimClock, World


class Operators(ABC):
    """The part of a run that is about operators."""

    scenario: Scenario
    world: World

    @abstractmethod
    def queue(self, actor: Actor) -> Queue:
        """Return the production queue on this actor's store, clock and ids."""

    def operate(self, actor: Actor) -> None:
        """Pause, resume, replay dead letters, take claims away, truncate: in the middle of everything."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        acts: list[Callable[[], object]] = [
            queue.pause,
            queue.resume,
            lambda: queue.dlq.replay(filter=lambda letter: letter.payload["plan"] != "poison"),
            queue.truncate,
            queue.stats,
            lambda: self._reset(queue),
        ]
        while self.world.now_s < START_S + self.scenario.storm_s - 15:
            try:
                random.choice(acts)()
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(2, 20))
        self.resume(actor)

    @staticmethod
    def _reset(queue: Queue) -> None:
        """Take every claim from its holder, in all lanes."""
        for agents in queue.connect().lanes.all():
            committer = agents.lane.committer
            committer.read()
            committer.commit(Reset(frozenset(ticket.id for ticket in committer.ledger.tickets.values())), fresh=True)

    def tune(self, actor: Actor) -> None:
        """Raise and lower the number of lanes, in the middle of everything."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        while self.world.now_s < START_S + self.scenario.storm_s:
            try:
                queue.configure(lanes=random.choice((1, 2, 3, 4)))
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(random.uniform(3, 25))

    def replay(self, actor: Actor) -> None:
        """Replay dead letters, as somebody else does at the same time."""
        queue, random, clock = self.queue(actor), self.world.random, SimClock(self.world, actor)
        while self.world.now_s < START_S + self.scenario.storm_s - 15:
            try:
                queue.dlq.replay(filter=lambda letter: letter.payload["plan"] == "never")
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            clock.sleep(10 - self.world.now_s % 10 + random.uniform(0, 0.2))

    def resume(self, actor: Actor) -> None:
        """Leave the queue running."""
        queue, clock = self.queue(actor), SimClock(self.world, actor)
        while True:
            try:
                queue.resume()
            except S3QueueError:
                clock.sleep(1)
            else:
                return
