"""A repeated execution is explained by a fault on its first runner, in that lease, and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from s3queue.core.ledger import Ledger, Part, Ticket
from s3queue.core.message import Message
from s3queue.core.transitions import Handle
from s3queue.protocol.outcomes import Delivery, Lease
from tests.simulation.causes import EVERYBODY, Blow
from tests.simulation.duplicates import Duplicates
from tests.simulation.world import START_S, World

NAME, LEASE_S = "9/1700000000000-01hf7yb02935v27apasf-1", 10.0
SPOT = (NAME, 0)
RESCUED_S = 12.5
"""After how many seconds another rescues the message: the soonest, and a little."""


@dataclass
class Story:
    """A message is claimed and run by ``first``, rescued, and run by ``second``."""

    world: World = field(default_factory=lambda: World(0))
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.again = Duplicates(self.world, LEASE_S, self.found.append)
        self.ledger = Ledger()
        for name in ("first", "second", "third"):
            self.world.causes.clock(name, START_S, 0.0)

    def claim(self, worker: str, token: int, by: str = "", *, rescued: bool = True) -> None:
        now_ms = int(self.world.now_s * 1000)
        ticket = Ticket(f"{token}.1", (Part(NAME, ((0, 1),)),), worker, token, now_ms, now_ms + int(LEASE_S * 1000))
        after = Ledger(revision=token, tickets={ticket.id: ticket})
        was = dict.fromkeys([SPOT], self.ledger.revision) if self.ledger.revision else {}
        lost = {SPOT} if was and rescued else set()
        self.again.on_ledger(self.ledger, after, was=was, now={SPOT: token}, lost=lost, by=by or worker)
        self.ledger = after

    def run(self, token: int) -> None:
        lease = Lease(f"{token}.1", token, 10_000, 0.0, 0.0, 1)
        handle = Handle(f"{token}.1", token, NAME, 0)
        self.again.on_run(Delivery(Message("m-0", {}, 0), handle, lease, token, 3, (), 0))

    def tell(self, *blows: tuple[str, str, float, float], by: str = "", rescued: bool = True) -> Story:
        """Play it with faults as (kind, actor, when, for how long), in seconds after the claim."""
        for kind, actor, at_s, seconds in blows:
            blow = Blow(START_S + at_s, actor, kind)
            if seconds:
                self.world.causes.befell(blow)
                self.world.causes.answered(actor, blow.at_s + seconds)
            else:
                self.world.causes.died(blow)
        self.claim("first", 1)
        self.world.now_s += 1
        self.run(1)
        self.world.now_s = START_S + RESCUED_S
        self.claim("second", 2, by, rescued=rescued)
        self.run(2)
        return self


@pytest.mark.parametrize(
    "blow",
    [
        ("crash_after", "first", 5.0, 0.0),
        ("poison", "first", 1.0, 0.0),
        ("pause", "first", 3.0, 30.0),
        ("throttled", "first", 8.0, 2.0),
        ("night", EVERYBODY, 2.0, 7200.0),
    ],
)
def test_a_fault_of_its_runner_explains_it(blow: tuple[str, str, float, float]) -> None:
    story = Story().tell(blow)
    assert (story.found, story.again.by_cause) == ([], {blow[0]: 1})


@pytest.mark.parametrize(
    "blow",
    [
        ("crash_after", "third", 5.0, 0.0),
        ("crash_after", "second", 5.0, 0.0),
        ("crash_after", "first", RESCUED_S + 1, 0.0),
        ("crash_after", "first", 0.5, 0.0),
        ("pause", "second", 3.0, 30.0),
        ("pause", "first", -40.0, 30.0),
        ("pause", "first", RESCUED_S + 1, 30.0),
        ("throttled", "first", 8.0, 0.1),
    ],
    ids=["bystander", "second runner", "died later", "died before", "second pauses", "before", "after", "too short"],
)
def test_nothing_else_does(blow: tuple[str, str, float, float]) -> None:
    (told,) = Story().tell(blow).found
    assert "duplicate unexplained: m-0 attempt 2: first leased it at 1700000000.000" in told


def test_without_a_fault_it_is_unexplained() -> None:
    assert Story().tell().found


def test_an_operator_or_clocks_that_differ_explain_it() -> None:
    assert Story().tell(by="op").again.by_cause == {"reset": 1}
    story = Story()
    story.world.causes.clock("second", START_S, 2.5)
    assert story.tell().again.by_cause == {"skew": 1}


def test_what_was_given_back_must_not_have_run() -> None:
    (told,) = Story().tell(("pause", "first", 3.0, 30.0), rescued=False).found
    assert "gave it back after it had run" in told


def test_a_claim_runs_a_message_once() -> None:
    story = Story()
    story.claim("first", 1)
    story.run(1)
    story.run(1)
    assert "ran before under the same token" in story.found[0]
