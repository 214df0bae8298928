"""What coordination and lanes must keep, seen from the bucket; and which situations a run has come into.

A situation is no violation: two coordinators at once, lanes lowered with messages in them, a live worker's claim reset. They
are counted, so that it is known that they were played.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from s3queue.core.claiming import RESCUE_MARGIN_MS
from s3queue.core.draft import Draft
from s3queue.core.ledger import Ledger, Ticket
from s3queue.core.settings import Settings
from s3queue.core.transitions import Publish
from s3queue.events import Event
from tests.simulation.world import World

SKEW_MS = 1_000
"""By how much a clock may be ahead where clocks are as they should be."""


@dataclass
class Fleet:
    """The rules and situations of one run. ``strict``: clocks are as the engine asks for. ``violation`` is told."""

    world: World
    violation: Callable[[str], None]
    strict: bool = True
    leading: Callable[[int], list[str]] = field(default=lambda lane: [])
    """Tells which live processes take themselves for a lane's coordinator."""
    instance: Callable[[str, int], str] = field(default=lambda name, lane: "")
    """Tells how a process is called in a lane's ledger; '' if that is not known."""
    seen: Counter[str] = field(default_factory=Counter)
    lanes: int = 1
    _served: int = 1
    _died_in: dict[str, int] = field(default_factory=dict)
    """By dead letter, the lane in whose books it was decided."""
    _reset: set[tuple[str, int]] = field(default_factory=set)

    # -- lanes --

    def on_settings(self, after: Settings, is_busy: Callable[[int], bool]) -> None:
        """Follow the number of lanes; ``is_busy`` tells whether a lane holds messages."""
        if after.lanes_served < self._served:
            self.violation(f"lanes that ever were are served: {after.lanes_served} are left of {self._served}")
        if after.lanes > self.lanes:
            self.seen["lanes raised"] += 1
        if after.lanes < self.lanes:
            self.seen["lanes lowered"] += 1
            self.seen["lanes lowered with messages in them"] += any(map(is_busy, range(after.lanes, self.lanes)))
        self.lanes, self._served = after.lanes, max(self._served, after.lanes_served)

    def on_born(self, lane: int) -> None:
        """Note that a message object was put."""
        self.seen["objects put into lanes given up"] += lane >= self.lanes

    def on_settled(self, lane: int) -> None:
        """Note that a message has come to an end."""
        self.seen["messages ended in lanes given up"] += lane >= self.lanes

    # -- the ledger --

    def on_ledger(self, lane: int, before: Ledger, after: Ledger, hand: str) -> None:
        """Check who leads, who assigns, and in whose books a letter moves."""
        self._check_term(lane, before, after)
        leader, instance = after.leader, self.instance(hand, lane)
        for id_, ticket in after.tickets.items():
            if not ticket.assigned_to or id_ in before.tickets:
                continue
            if leader is None or ticket.epoch != leader.epoch or instance not in ("", leader.instance):
                self.violation(f"the coordinator of the term assigns: {hand} did in {ticket.epoch}, led by {leader}")
        leading = self.leading(lane)
        if hand in leading and (leader is None or leader.instance != instance):
            self.seen["commits by a coordinator whose term is over"] += 1
        if len(leading) > 1:
            self.seen["two coordinators at once"] += 1
            if self.strict:
                self.violation(f"one coordinator: {' and '.join(leading)} take themselves for that of lane {lane}")
        for id_, line in after.outbox.items():
            if id_ in before.outbox:
                continue
            if line.kind == "dead":
                self._died_in[line.target] = lane
            elif line.kind == "replay":
                self.seen["replays into lanes that are not the first"] += lane > 0
                if self._died_in.get(line.source, lane) != lane:
                    self.violation(
                        f"a letter moves in its own lane's books: {line.source} died in {self._died_in[line.source]}, "
                        f"and is replayed in {lane}"
                    )

    def _check_term(self, lane: int, before: Ledger, after: Ledger) -> None:
        old, new = before.leader, after.leader
        epoch = old.epoch if old else 0
        if new is None or new.epoch == epoch:
            if old is not None and (new is None or new.instance != old.instance):
                self.violation(f"a term is one process': {old} becomes {new} in lane {lane}")
            return
        self.seen["terms"] += 1
        if new.epoch != epoch + 1:
            self.violation(f"terms follow each other: {new.epoch} after {epoch} in lane {lane}")
        if old is not None and old.until_ms and old.instance != new.instance:
            self.seen["take-overs"] += 1
            early_ms = old.until_ms + RESCUE_MARGIN_MS - SKEW_MS - self.world.now_s * 1000
            if self.strict and early_ms > 1:
                self.violation(f"a term is left alone: {new} took lane {lane} from {old} {early_ms:.0f} ms too early")

    def published(self, before: Ledger, after: Ledger) -> bool:
        """Whether tickets were assigned by this version."""
        return any(ticket.assigned_to and id_ not in before.tickets for id_, ticket in after.tickets.items())

    # -- an operator's reset --

    def on_reset(self, ticket: Ticket, ids: Sequence[str], *, led: bool) -> None:
        """Note that an operator took a claim that its holder may rely on, of these messages."""
        self.seen["claims reset"] += 1
        self.seen["claims reset under a coordinator"] += led
        self.seen["claims reset in a queue of several lanes"] += self._served > 1
        self._reset.update((id_, ticket.token) for id_ in [*ids, ticket.id])

    def on_refused(self, event: Event) -> None:
        """Note that a worker was told that its claim is over."""
        self.seen["told of a reset"] += (event.id, event.token) in self._reset

    # -- coordinators of old terms --

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what coordinators propose after another has taken over, and what becomes of it."""
        original = Publish.apply

        def apply(publish: Publish, draft: Draft, now: int) -> Any:
            reply, leader = original(publish, draft, now), draft.leader
            if leader is not None and leader.epoch > publish.epoch:
                self.seen[f"proposed in an old term, {'refused' if reply.refused else 'accepted'}"] += 1
            return reply

        with patch.object(Publish, "apply", apply):
            yield
