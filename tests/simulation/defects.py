"""The defects that were found in the engine: how each is put back, and the seed that shows it, or the test that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from s3queue.core import settling
from s3queue.core.draft import Draft
from s3queue.errors import S3QueueError
from s3queue.protocol import duties
from s3queue.protocol.consumer import LaneConsumer
from s3queue.protocol.lane import Lane
from s3queue.protocol.registry import Registry
from tests.simulation.mutant import Mutant, Patch
from tests.simulation.mutants import MUTANTS


@dataclass(frozen=True)
class Defect:
    """A defect that was found. ``again``: what puts it back, if the simulation can show it, as ``seed`` then does.

    ``test``: a test of its own, as ``file::function``.
    """

    name: str
    again: Patch | None = None
    storms: tuple[str, ...] = ()
    seed: int = 0
    test: str = ""

    def mutant(self) -> Mutant:
        """Return the defect as a mutant of the engine."""
        if self.again is None:
            raise ValueError(f"the simulation cannot show: {self.name}")
        return Mutant(self.name, "it was mended", self.again, self.storms)


def _pins(*, known: bool, close: bool) -> Callable[[], Any]:
    """Let what a claim has in hand be held for some purposes only."""

    @contextmanager
    def again() -> Iterator[None]:
        was_known, was_close = Draft.known, Draft.close

        def pinned(draft: Draft, name: str) -> bool:
            return bool(vars(draft).setdefault("pins", {}).get(name))

        def pin(self: Draft, name: str, by: int) -> None:
            pins = vars(self).setdefault("pins", {})
            pins[name] = pins.get(name, 0) + by

        def now_known(self: Draft, name: str) -> bool:
            return was_known(self, name) or (known and pinned(self, name))

        def now_close(self: Draft, name: str, now: int) -> None:
            if not (close and pinned(self, name)):
                with patch.object(Draft, "known", was_known):
                    was_close(self, name, now)

        with (
            patch.object(Draft, "pin", pin),
            patch.object(Draft, "known", now_known),
            patch.object(Draft, "close", now_close),
        ):
            yield

    return again


def _one_part_an_object() -> Any:
    original = settling.Removal.remove

    def remove(self: Any, handle: settling.Handle) -> Any:
        ticket = self.draft.tickets.get(handle.ticket_id)
        if ticket is not None and ticket.token == handle.token and ticket.id not in self.left:
            self.left[ticket.id] = {part.name: [(part, set(part.indices()))] for part in ticket.parts}
        return original(self, handle)

    return patch.object(settling.Removal, "remove", remove)


@contextmanager
def _back_from_the_dead() -> Iterator[None]:
    """Take from a worker found dead a while ago whatever it holds by now."""
    with (
        patch.object(Registry, "is_dead_still", lambda self, entry: True),
        patch.object(duties, "_claimed_in_life", lambda ticket, dead: ticket.worker == dead.worker),
    ):
        yield


def _aside_though_back() -> Any:
    """Leave alone for the rest of its minute, but for claims, a lane that works again."""

    def is_back(self: Lane) -> None:
        self.trouble = None

    return patch.object(Lane, "is_back", is_back)


def _repeated_as_new() -> Any:
    original = LaneConsumer.exchange

    def exchange(self: LaneConsumer, room: int, **options: Any) -> Any:
        try:
            return original(self, room, **options)
        except S3QueueError:
            self._doubt = [replace(item, request=copy(item.request)) for item in self._doubt]
            raise

    return patch.object(LaneConsumer, "exchange", exchange)


def _mutant(name: str) -> Patch:
    (found,) = (mutant.without for mutant in MUTANTS if mutant.name == name)
    return found


FOUND = (
    Defect("taken twice by one claim", _pins(known=False, close=True), seed=0),
    Defect("settled while being claimed", _pins(known=True, close=False), seed=11),
    Defect("two parts of one object", _one_part_an_object, seed=3),
    Defect("replayed again", _mutant("letter journal unread"), ("late puts",), seed=98),
    Defect(  # a coordinator sweeps so regularly that a run of minutes does not show it
        "forgotten for age",
        test="tests/protocol/test_upkeep.py::test_a_ghost_above_the_cursor_is_not_taken_for_new_an_hour_later",
    ),
    Defect(  # here the store's patience outlasts any lease, which is lost either way
        "outcomes dropped with a listing",
        test="tests/worker/test_trouble.py::test_a_worker_outlasts_a_store_that_fails_for_a_while",
    ),
    Defect("back from the dead", _back_from_the_dead, ("undead",), seed=17),
    Defect("aside though back", _aside_though_back, ("vandals",), seed=167),
    Defect("repeated as new", _repeated_as_new, ("mute",), seed=3395),
    Defect(
        "late arrivals wait for ever",
        test="tests/protocol/test_attacks.py::test_a_late_arrival_is_adopted_in_a_busy_lane",
    ),
    Defect(
        "two workers after a fork",
        test="tests/worker/test_threads.py::test_a_handler_that_forks_leaves_no_second_worker",
    ),
    Defect(  # its clocks go on between a replay and the next death
        "died twice in a moment",
        test="tests/queue/test_dead_letters.py::test_a_message_that_dies_twice_in_a_moment_keeps_a_letter",
    ),
    Defect(  # each actor has a queue object of its own
        "claims shared with receive",
        test="tests/worker/test_threads.py::test_a_burst_leaves_what_was_received_by_hand_alone",
    ),
    Defect("resumed otherwise", test="tests/admin/test_resuming.py::test_some_of_what_may_follow_a_killed_replay"),
    Defect(
        "deleted unnamed", test="tests/admin/test_audit.py::test_a_discard_that_was_killed_anywhere_is_undone_whole"
    ),
    Defect(  # the runs of keys have nights; their mutant is *key never marked*
        "asked for after an hour",
        test="tests/protocol/test_dedup.py::test_a_producer_that_dies_at_any_request_swallows_and_doubles_nothing",
    ),
    Defect("torn in its head", test="tests/chaos/test_torn_answers.py::test_an_answer_breaks_off_at_every_byte"),
)
"""As docs/reliability.md has them. Should a seed show its defect no more, because runs have changed, ``--defects`` finds another
(how many seeds of the storms concerned it took, and the seed)."""
