"""Replays that are killed at any request and then resumed, in the same way or another: no message runs twice, none is lost.

The whole matrix is marked slow; a part of it, spread over all requests, runs with every test run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3queue import Queue
from s3queue_admin.actions import plan
from s3queue_admin.filters import parse
from tests.admin.test_actions import dead
from tests.admin.test_snapshot import Site
from tests.protocol.rig import Dead, Killed

LETTERS = 3
HOUR_S = 3600.0


class Story:
    """Letters of one queue, a replay of them that is killed, and what comes after."""

    def __init__(self) -> None:
        self.site = Site()
        self.queues = {name: self.site.queue(name) for name in ("jobs", "other", "third")}
        dead(self.queues["jobs"], *[{"n": n} for n in range(LETTERS)])
        self.ran: Counter[int] = Counter()

    @property
    def jobs(self) -> Queue:
        return self.queues["jobs"]

    def killed(self, first: str, dies_at: int, *, after: bool) -> int:
        """Begin the replay in a process that dies at that request (0: never); return how many it made."""
        store = Dead(self.site.store)
        mine, other = (Queue(name, store=store, clock=self.site.clock, probe=False) for name in ("jobs", "other"))
        edits: dict[str, dict[str, Any]] = {"edited": {"patch": {"by": 1}}, "to": {"to": other}}
        verb = "discard" if first == "discard" else "replay"
        made = plan(mine, verb, parse("state:dead"), **edits.get(first, {}))
        store.calls, store.dies_at, store.after = 0, dies_at, after
        try:
            made.apply(reason="first")
        except Killed:
            assert dies_at
        return store.calls

    def work(self, *names: str) -> None:
        """Let workers of these queues process what there is, and sweep."""
        for name in names or self.queues:
            queue = self.queues[name]
            for agents in queue.connect().lanes.all():
                agents.sweeper.sweep()
            queue.process_once(lambda payload: self.ran.update([payload["n"]]))

    def resume(self, how: str) -> None:
        """Do what an operator may do next, once the lock of the first is over."""
        letters = parse("state:dead")
        act: Callable[[], object] = {
            "engine": lambda: self.jobs.dlq.replay(filter=lambda letter: True),
            "plain": lambda: plan(self.jobs, "replay", letters).apply(),
            "edited": lambda: plan(self.jobs, "replay", letters, patch={"by": 2}).apply(),
            "to": lambda: plan(self.jobs, "replay", letters, to=self.queues["other"]).apply(),
            "third": lambda: plan(self.jobs, "replay", letters, to=self.queues["third"]).apply(),
            "discard": lambda: plan(self.jobs, "discard", letters).apply(),
        }[how]
        act()

    def end(self) -> list[str]:
        """Let all queues drain, long enough that journals are forgotten; return what is wrong."""
        for wait_s in (60, 200, 2 * HOUR_S, 200, 200):
            self.site.clock.advance(wait_s)
            self.work()
        letters = Counter(letter.payload["n"] for queue in self.queues.values() for letter in queue.dlq.each())
        stats = [queue.stats() for queue in self.queues.values()]
        found = [f"message {n} ran {self.ran[n]} times, {letters[n]} letters are left"
                 for n in range(LETTERS) if self.ran[n] + letters[n] > 1]  # fmt: skip
        discarded = sum(each.discarded for each in stats)  # by the books, whoever was killed
        if self.ran.total() + letters.total() + discarded != LETTERS:
            found.append(f"{self.ran.total()} ran, {letters.total()} letters are left, {discarded} were discarded")
        if self.jobs.stats().replayed + discarded + letters.total() != LETTERS or any(
            each.unfinished for each in stats
        ):
            found.append(f"the books say {stats}")
        for queue in self.queues.values():
            found += [f"{agents.lane.committer.ledger.outbox} is left"
                      for agents in queue.connect().lanes.all() if agents.lane.committer.ledger.outbox]  # fmt: skip
        return found


def points(first: str) -> Iterator[tuple[int, bool]]:
    """Yield each request of the replay at which it may die: before it is carried out, and right after."""
    for dies_at in range(1, Story().killed(first, 0, after=False) + 1):
        yield dies_at, False
        yield dies_at, True


RESUMED = ("plain", "engine", "edited", "to", "third", "discard")


def play(first: str, dies_at: int, *, after: bool, then: str, wait: str) -> list[str]:
    """Kill a replay, resume it otherwise, and return what is wrong in the end. ``wait``: who is there in between."""
    story = Story()
    story.killed(first, dies_at, after=after)
    if wait == "at once":
        story.site.clock.advance(0 if then == "engine" else 70)
    elif wait == "others work":  # and its own queue has nobody, for longer than journals are kept
        for _ in range(3):
            story.site.clock.advance(HOUR_S)
            story.work("other", "third")
    story.resume(then)
    return story.end()


@pytest.mark.slow
@pytest.mark.parametrize("wait", ["at once", "others work"])
@pytest.mark.parametrize("then", RESUMED)
@pytest.mark.parametrize("first", ["edited", "to", "plain", "discard"])
def test_whatever_follows_a_killed_replay_nothing_runs_twice_or_is_lost(first: str, then: str, wait: str) -> None:
    wrong = {point: found for point in points(first)
             if (found := play(first, point[0], after=point[1], then=then, wait=wait))}  # fmt: skip
    assert wrong == {}


@pytest.mark.parametrize("first", ["edited", "to"])
def test_some_of_what_may_follow_a_killed_replay(first: str) -> None:
    for number, (dies_at, after) in enumerate(points(first)):
        then, wait = RESUMED[number % len(RESUMED)], ("at once", "others work")[number % 5 % 2]
        assert play(first, dies_at, after=after, then=then, wait=wait) == [], (dies_at, after, then, wait)
