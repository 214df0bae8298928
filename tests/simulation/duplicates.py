"""Executions that should not have been needed: each is traced to the fault that made it happen, or is a violation.

A message is executed once in each of its objects: a retry and a replay get objects of their own. Whoever executes it
once more in the same object was given it by a claim that followed another's, so the question is what ended that other
claim after its holder had begun, and there are four answers:

- its holder died (of which fault, is known);
- an operator took it away;
- the clocks of its holder and its rescuer were further apart than the engine allows for;
- faults held its holder up, within that very lease, for all the time but what a holder has to spare.

Nothing else will do: not a fault of somebody else, nor one before the lease or after its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from s3queue.core.claiming import RESCUE_MARGIN_MS
from s3queue.core.ledger import Ledger, Ticket
from s3queue.protocol.outcomes import Delivery
from tests.simulation.world import World

Spot = tuple[str, int]
"""A message's place: object name and index."""

FREE_S = 6.0
"""For how long, beside half a lease, a holder may do without extending it or settling though nothing holds it up: it looks
at leases half-way, a handler takes four seconds, and its calls take their time. What a claim lasted beyond that is to be
covered by faults."""
SPARE_S = 0.5
"""What faults must have cost at least: clocks a second apart may leave a holder no more than that."""
PATIENCE_S = 60.0
"""For how long the engine tries one commit."""


@dataclass
class _Claim:
    """A claim, in true time: whose, and since when its lease runs."""

    worker: str
    leased_at_s: float
    expires_at_ms: int


@dataclass(frozen=True)
class _End:
    """How a claim of a message ended while the message stayed in the books."""

    at_s: float
    by: str
    rescued: bool


@dataclass
class Duplicates:
    """The repeated executions of one run, by cause. ``violation`` is told of each that has none."""

    world: World
    lease_s: float
    violation: Callable[[str], None]
    by_cause: Counter[str] = field(default_factory=Counter)
    _claims: dict[tuple[int, str], _Claim] = field(default_factory=dict)
    """By lane and ticket."""
    _held: dict[tuple[Spot, int], _Claim] = field(default_factory=dict)
    _ends: dict[tuple[Spot, int], _End] = field(default_factory=dict)
    _runs: dict[Spot, dict[int, float]] = field(default_factory=dict)
    _lives: dict[str, int] = field(default_factory=dict)
    """Which life of its message an object belongs to: a replay begins a new one."""
    _replays: Counter[str] = field(default_factory=Counter)
    _attempts: dict[tuple[str, int, int], Spot] = field(default_factory=dict)

    # -- as it happens --

    def on_ledger(
        self,
        before: Ledger,
        after: Ledger,
        *,
        was: dict[Spot, int],
        now: dict[Spot, int],
        lost: set[Spot],
        by: str,
        lane: int = 0,
    ) -> None:
        """Follow the claims from one version of a ledger to the next, which ``by`` wrote; ``lost`` were rescued."""
        for line in after.outbox.values():
            if line.id not in before.outbox and line.kind == "replay":
                self._replays[line.message_id] += 1
                self._lives[line.target] = self._replays[line.message_id]
            elif line.id not in before.outbox and line.kind in ("retry", "move"):
                self._lives[line.target] = self._lives.get(line.source, 0)
        for ticket in after.tickets.values():
            if ticket.claimed:
                self._follow(lane, ticket, by)
        for spot, token in was.items():
            if token and now.get(spot, token) != token:
                self._ends[spot, token] = _End(self.world.now_s, by, spot in lost)

    def _follow(self, lane: int, ticket: Ticket, by: str) -> None:
        claim = self._claims.get((lane, ticket.id))
        if claim is None:
            worker = by or ticket.worker
            claim = _Claim(worker, self._leased_at(ticket, worker), ticket.expires_at_ms)
            self._claims[lane, ticket.id] = claim
            for part in ticket.parts:
                self._held.update({((part.name, index), ticket.token): claim for index in part.indices()})
        elif claim.expires_at_ms < ticket.expires_at_ms:
            claim.leased_at_s, claim.expires_at_ms = self._leased_at(ticket, claim.worker), ticket.expires_at_ms

    def _leased_at(self, ticket: Ticket, worker: str) -> float:
        """Return when a lease that is new in the ledger began: when its holder read its clock, not when its write landed."""
        now_s = self.world.now_s
        (skew_s, *_) = self.world.causes.skews(worker, now_s, now_s) or [0.0]
        return min(now_s, max(now_s - PATIENCE_S, ticket.expires_at_ms / 1000 - self.lease_s - skew_s))

    def on_run(self, delivery: Delivery) -> None:
        """Note that a handler begins; if the message was executed before, find out why."""
        spot, token = (delivery.handle.name, delivery.handle.index), delivery.handle.token
        life = (delivery.id, self._lives.get(spot[0], 0), delivery.attempt)
        if self._attempts.setdefault(life, spot) != spot:
            self._unexplained(delivery, f"attempt {delivery.attempt} ran before, as {self._attempts[life]}")
        runs = self._runs.setdefault(spot, {})
        if token in runs:
            self._unexplained(delivery, f"it ran before under the same token {token}")
        elif runs:
            earlier = max((other for other in runs if other < token), default=token)
            cause = self._cause(spot, earlier, runs.get(earlier, self.world.now_s))
            if cause.startswith("?"):
                self._unexplained(delivery, cause[1:])
            else:
                self.by_cause[cause] += 1
                self.world.note(f"{delivery.id} runs again because of: {cause}")
        runs[token] = self.world.now_s

    def _unexplained(self, delivery: Delivery, text: str) -> None:
        self.by_cause["unexplained"] += 1
        self.violation(f"duplicate unexplained: {delivery.id} attempt {delivery.attempt}: {text}")

    def _cause(self, spot: Spot, token: int, ran_at_s: float) -> str:
        """Return what ended the claim of a message that ran, or '?' and what is known if it was no fault."""
        claim, end = self._held.get((spot, token)), self._ends.get((spot, token))
        if claim is None or end is None:
            return f"?the claim under token {token} that it ran by never was, or has not ended"
        if not end.rescued:
            return f"?{end.by} gave it back after it had run"
        if end.by.startswith("op"):
            return "reset"
        causes, since_s = self.world.causes, claim.leased_at_s
        died_of = causes.death(claim.worker, ran_at_s, end.at_s)
        if died_of:
            return died_of
        theirs, ours = causes.skews(end.by, since_s, end.at_s), causes.skews(claim.worker, since_s, end.at_s)
        if max(theirs, default=0.0) - min(ours, default=0.0) > RESCUE_MARGIN_MS / 1000:
            return "skew"
        stalled = causes.stalled(claim.worker, since_s, end.at_s)
        if sum(stalled.values()) >= max(SPARE_S, end.at_s - since_s - self.lease_s / 2 - FREE_S):
            return max(sorted(stalled), key=lambda kind: stalled[kind])
        return (
            f"?{claim.worker} leased it at {since_s:.3f}, ran it at {ran_at_s:.3f}, and {end.by} rescued it at "
            f"{end.at_s:.3f}; faults held it up for {sum(stalled.values()):.3f} s"
        )
