"""The rules of coordination, the registry and lanes, taken away one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from s3queue import operating, producing
from s3queue.core import dispatch
from s3queue.core.draft import Draft
from s3queue.core.ledger import Leader, Ticket
from s3queue.core.presence import Presence
from s3queue.core.settings import Settings
from s3queue.core.transitions import Publish
from s3queue.options import make_settings
from s3queue.protocol import coordinator, dead_letters, dedup, duties
from s3queue.protocol.lane import Lane
from s3queue.protocol.registry import Registry
from tests.simulation.mutant import Mutant


def _old_terms_publish() -> Any:
    original = Publish.apply

    def apply(self: Publish, draft: Draft, now: int) -> Any:
        leader = draft.leader
        draft.leader = Leader(self.worker, self.instance, self.epoch, now + 1)
        try:
            return original(self, draft, now)
        finally:
            draft.leader = leader

    return patch.object(Publish, "apply", apply)


def _published_below_the_cursor() -> Any:
    original = Publish._listed

    def listed(self: Publish, draft: Draft, now: int) -> Any:
        cursors, draft.cursors = draft.cursors, {}
        try:
            return original(self, draft, now)
        finally:
            draft.cursors = cursors

    return patch.object(Publish, "_listed", listed)


def _no_margin_for_terms() -> Any:
    return patch.object(dispatch, "RESCUE_MARGIN_MS", 0)


def _term_trusted_for_ever() -> Any:
    return patch.object(coordinator, "TRUST", 10.0)


def _entry_not_read_again() -> Any:
    return patch.object(Registry, "is_dead_still", lambda self, entry: True)


def _taken_from_the_living() -> Any:
    def claimed(ticket: Ticket, dead: Presence) -> bool:
        return ticket.worker == dead.worker

    return patch.object(duties, "_claimed_in_life", claimed)


def _lowered_lanes_unserved() -> Any:
    return patch.object(Settings, "lanes_served", property(lambda self: self.lanes))


def _lanes_forgotten() -> Any:
    original = make_settings

    def make(*args: Any, **changes: Any) -> Settings:
        made = original(*args, **changes)
        return replace(made, lanes_ever=made.lanes)

    return patch.object(operating, "make_settings", make)


def _lane_of_letters_ignored() -> Any:
    return patch.object(dead_letters, "lane_of_letter", lambda name: 0)


def _lane_of_keys_ignored() -> Any:
    original = dedup.enqueue_once

    def enqueue_once(*args: Any, lane_of: Callable[[int], Lane] | None = None) -> str:
        del lane_of
        return original(*args)

    return patch.object(producing, "enqueue_once", enqueue_once)


FLEET_MUTANTS = (
    Mutant("old terms publish", "who was coordinator assigns nothing", _old_terms_publish, ("twins", "wild clocks")),
    Mutant(
        "published below the cursor",
        "coordinators publish nothing below the cursor",
        _published_below_the_cursor,
        ("late puts",),
        8000,
    ),
    Mutant("no margin for terms", "a term is left alone for as long as clocks may differ", _no_margin_for_terms),
    Mutant("term trusted for ever", "a coordinator steps down before its term ends", _term_trusted_for_ever),
    Mutant("dead unseen again", "who was found dead is looked at again", _entry_not_read_again, ("undead",)),
    Mutant(
        "taken from the living",
        "of the dead only what they claimed in life is taken",
        _taken_from_the_living,
        ("undead",),
    ),
    Mutant("lowered lanes unserved", "lanes are served that ever were", _lowered_lanes_unserved),
    Mutant("lanes forgotten", "how many lanes ever were is never forgotten", _lanes_forgotten),
    Mutant("lane of letters ignored", "a letter's moves stand in its lane", _lane_of_letters_ignored),
    Mutant("lane of keys ignored", "a key's message is written into the lane reserved", _lane_of_keys_ignored),
)
"""Part of :data:`tests.simulation.mutants.MUTANTS`."""
