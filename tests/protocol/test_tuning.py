"""lanes="auto": doubled while workers get into each other's way, halved when they do not, by one coordinator at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from s3queue.core.presence import Presence
from s3queue.core.transitions import Pause
from s3queue.producing import produce
from s3queue.protocol.registry import Registration
from s3queue.store.port import PutMode, Store
from tests.protocol.rig import ROOT, Bucket, Process
from tests.protocol.test_duties import HOURS, ledger
from tests.store.faulty import Faulty, Wrapper

AUTO: dict[str, Any] = {**HOURS, "lanes_auto": True}


@dataclass
class Crew:
    """Workers with heartbeats of their own, whose commits and lost races the test makes up."""

    bucket: Bucket
    size: int
    busy: bool = True
    counts: list[int] = field(default_factory=lambda: [0, 0])
    registrations: list[Registration] = field(default_factory=list)

    def __post_init__(self) -> None:
        for _ in range(self.size):
            process = self.bucket.process(**AUTO)
            self.registrations.append(Registration(process.lane, partial(self._describe, process)))

    def _describe(self, process: Process) -> Presence:
        commits, lost_races = self.counts
        return Presence(process.lane.worker, "", 0, 0, 20, held=int(self.busy), commits=commits, lost_races=lost_races)

    def work(self, leaders: Sequence[Process], seconds: int, commits_per_s: float, lost_per_s: float) -> None:
        """Let all of them together commit and lose so often."""
        for _ in range(seconds // 5):
            self.bucket.clock.advance(5)
            self.counts[0] += round(5 * commits_per_s / self.size)
            self.counts[1] += round(5 * lost_per_s / self.size)
            for registration in self.registrations:
                registration.step()
            for leader in leaders:
                leader.connection.duties.registry.refresh()


def lanes_in(bucket: Bucket) -> tuple[int, int]:
    """Return how many lanes there are, and were at most, as another process reads it."""
    settings = bucket.process().lane.settings()
    return settings.lanes, settings.lanes_served


def changes(*leaders: Process) -> list[tuple[int, int]]:
    return [(event.before, event.after) for leader in leaders for event in leader.told if event.name == "lanes-changed"]


def test_contended_lanes_are_doubled_and_calm_ones_halved_again() -> None:
    bucket = Bucket.new()
    leader, crew = bucket.process(**AUTO), Crew(bucket, 10)
    tuned = []
    for _ in range(5):
        crew.work([leader], 60, 20, 30)
        tuned.append(leader.connection.duties.tune_lanes())
    assert tuned == [1, 2, 4, 5, 5], "nothing is known before the second heartbeats; one lane for two workers at most"
    crew.work([leader], 60, 20, 0.1)
    assert leader.connection.duties.tune_lanes() == 5, "no more races, as much work: that is what they are for"
    crew.busy = False
    for _ in range(4):
        crew.work([leader], 300, 0, 0)
        tuned.append(leader.connection.duties.tune_lanes())
    assert tuned[5:] == [2, 1, 1, 1]
    assert lanes_in(bucket) == (1, 5), "what was open is served on"
    assert changes(leader) == [(1, 2), (2, 4), (4, 5), (5, 2), (2, 1)]


def test_a_new_coordinator_changes_nothing_before_it_knows_how_busy_all_are() -> None:
    bucket = Bucket.new()
    old, crew = bucket.process(**AUTO, lanes=4), Crew(bucket, 8)
    old.lane.settings()  # makes the queue
    crew.work([old], 120, 40, 0.1)
    new = bucket.process()
    new.connection.duties.registry.refresh()
    assert new.connection.duties.tune_lanes() == 4
    crew.size += 1
    crew.__post_init__()  # as many again have just begun
    crew.work([new], 10, 1, 0)
    assert new.connection.duties.tune_lanes() == 4
    assert lanes_in(bucket) == (4, 4)


def test_two_coordinators_that_decide_at_once_change_them_once() -> None:
    bucket = Bucket.new()
    faulty = Faulty(bucket.memory)
    one, other, late = bucket.process(faulty, **AUTO), bucket.process(**AUTO), bucket.process(**AUTO)
    crew, leaders = Crew(bucket, 16), [one, other, late]
    for leader in leaders:
        leader.lane.settings()
    crew.work(leaders, 60, 20, 30)
    for leader in leaders:
        leader.connection.duties.tune_lanes()
    crew.work(leaders, 60, 20, 30)

    def rival() -> None:
        faulty.before_put = lambda: None
        assert other.connection.duties.tune_lanes() == 2

    faulty.before_put = rival
    assert one.connection.duties.tune_lanes() == 2
    assert late.lane.settings().lanes == 1, "what it has in hand is old"
    assert late.connection.duties.tune_lanes() == 2
    assert lanes_in(bucket) == (2, 2)
    assert changes(*leaders) == [(1, 2)]


@pytest.mark.parametrize("kept_as", ["strict", "fixed", "paused"])
def test_a_queue_that_is_strict_or_paused_or_has_its_lanes_by_hand_keeps_them(kept_as: str) -> None:
    bucket = Bucket.new()
    options = {"strict": AUTO | {"order": "strict-group"}, "fixed": HOURS, "paused": AUTO}[kept_as]
    leader = bucket.process(**options)
    leader.lane.settings()
    crew = Crew(bucket, 10)
    if kept_as == "paused":
        leader.lane.committer.commit(Pause(True))
    for _ in range(3):
        crew.work([leader], 60, 20, 30)
        assert leader.connection.duties.tune_lanes() == 1
    assert lanes_in(bucket) == (1, 1)
    assert changes(leader) == []


def test_lanes_opened_while_somebody_pauses_the_queue_are_paused() -> None:
    bucket = Bucket.new()
    faulty = Faulty(bucket.memory)
    leader, operator = bucket.process(faulty, **AUTO), bucket.process(**AUTO)
    crew = Crew(bucket, 10)
    crew.work([leader], 60, 20, 30)
    leader.connection.duties.tune_lanes()
    crew.work([leader], 60, 20, 30)

    def pauses() -> None:
        faulty.before_put = lambda: None
        operator.lane.committer.commit(Pause(True))

    faulty.before_put = pauses
    assert leader.connection.duties.tune_lanes() == 2
    assert ledger(operator, 1).paused


class Rivalry(Wrapper):
    """A store that lets somebody else go first, now and then, when a ledger is about to be written."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.rival: Callable[[], None] = lambda: None

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if key.startswith(f"{ROOT}ledger/"):
            self.rival()
        return super().put(key, body, mode)


class Fleet:
    """Consumers that claim, complete, beat and do their duties, a turn each in a row, or in the middle of another's."""

    def __init__(self, size: int) -> None:
        self.bucket = Bucket.new()
        self._random = self.bucket.process(**AUTO).lane.ids.random
        self.store = Rivalry(self.bucket.memory)
        self.workers = [self.bucket.process(self.store, **AUTO) for _ in range(size)]
        self.registrations = {}
        for worker in self.workers:
            worker.consumer.coordinate()
            self.registrations[worker.lane.worker] = Registration(worker.lane, partial(self._describe, worker))
        self.done: Counter[Any] = Counter()
        self.sent = 0
        self._acting: list[Process] = []
        self.store.rival = self._interrupt

    def _interrupt(self) -> None:
        """Let another worker, and in the middle of its turn a third, commit before the one that is about to."""
        others = [worker for worker in self.workers if worker not in self._acting]
        if len(self._acting) < len(self.workers):
            self._exchange(others[int(self._random() * len(others))])

    @staticmethod
    def _describe(worker: Process) -> Presence:
        committers = [agents.lane.committer for agents in worker.connection.lanes.known]
        return Presence(
            worker.lane.worker,
            "",
            0,
            0,
            20,
            held=worker.consumer.held(),
            commits=sum(committer.commits for committer in committers),
            lost_races=sum(committer.lost_races for committer in committers),
        )

    def send(self, number: int) -> None:
        for _ in range(number):
            produce(
                self.workers[0].connection,
                [self.sent],
                delay=0,
                visible_at=None,
                priority=0,
                max_attempts=None,
                retry=None,
                group=None,
                headers=None,
            )
            self.sent += 1

    def _exchange(self, worker: Process) -> None:
        self._acting.append(worker)
        for delivery in worker.consumer.exchange(2, look=True):
            self.done[delivery.message.payload] += 1
            worker.consumer.record(worker.consumer.completed(delivery))
        self._acting.pop()

    def turn(self, seconds: float) -> None:
        """Let everybody have a turn, and so much time pass."""
        for worker in self.workers:
            self.registrations[worker.lane.worker].step()
            worker.connection.register.refresh()
            self._exchange(worker)
            self._acting = [worker]
            worker.connection.duties.step()
            for agents in worker.connection.lanes.all():
                agents.janitor.tick()
            self._acting = []
        self.bucket.clock.advance(seconds)

    def lanes(self) -> int:
        return self.workers[0].lane.settings().lanes

    def changes(self) -> list[tuple[int, int]]:
        return changes(*self.workers)


def test_lanes_are_raised_and_lowered_while_messages_flow_and_each_is_processed_once() -> None:
    fleet = Fleet(4)
    turns = 0
    while not fleet.changes() and turns < 600:
        turns += 1
        fleet.send(12)
        fleet.turn(0.4)
    assert fleet.changes() == [(1, 2)]
    for _ in range(80):  # they follow the settings, and move in
        fleet.send(12)
        fleet.turn(0.4)
    assert any(1 in worker.consumer.lanes_worked_in for worker in fleet.workers)
    turns = 0
    while fleet.lanes() > 1 and turns < 500:
        turns += 1
        fleet.send(1)
        fleet.turn(3)
    assert fleet.changes()[-1][1] == 1
    while len(fleet.done) < fleet.sent and turns < 600:
        turns += 1
        fleet.turn(3)
    for _ in range(20):
        fleet.turn(3)
    assert fleet.done == Counter(range(fleet.sent))
    books = [ledger(fleet.workers[0], number) for number in range(2)]
    assert sum(each.counters["completed"] for each in books) == fleet.sent
    assert all(each.counters["completed"] for each in books)
    assert all(not each.tickets for each in books)
