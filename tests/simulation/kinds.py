"""The kinds of runs: each with its storms, its share of the seeds that are played, and the rules it must miss."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tests.simulation import changing, forgetting, keys, locks, ordering, replays, schedules
from tests.simulation.mutant import Mutant
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import play
from tests.simulation.storms import STORMS


class Played(Protocol):
    """What came of a run, of whatever kind."""

    seed: int
    steps: int
    violations: list[str]
    faults: dict[str, int]
    trace: list[str] | None

    @property
    def situations(self) -> dict[str, int]:
        """What the run came into, and how often."""
        ...


@dataclass(frozen=True)
class Kind:
    """``play`` plays a seed, ``storms`` take turns, ``share`` of each round of seeds are of this kind."""

    name: str
    play: Callable[..., Played]
    storms: tuple[str, ...]
    share: int
    mutants: tuple[Mutant, ...] = ()

    def seeds(self, storms: tuple[str, ...] = (), first: int = 0) -> Iterator[int]:
        """Yield the seeds, from ``first``, of runs in these storms (default: all)."""
        names = self.storms
        return (seed for seed in itertools.count(first) if not storms or names[seed % len(names)] in storms)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("messages", play, tuple(STORMS), 12, MUTANTS),
        Kind("schedules", schedules.play_schedules, schedules.TIMED_STORMS, 2, schedules.TICK_MUTANTS),
        Kind("order", ordering.play_ordered, ordering.ORDERED_STORMS, 2, ordering.ORDER_MUTANTS),
        Kind("changes", changing.play_changed, changing.CHANGED_STORMS, 2, changing.CHANGE_MUTANTS),
        Kind("locks", locks.play_locks, tuple(locks.STORMS), 4, locks.LOCK_MUTANTS),
        Kind("replays", replays.play_replays, tuple(replays.STORMS), 1, replays.REPLAY_MUTANTS),
        Kind("keys", keys.play_keys, tuple(keys.STORMS), 1, keys.KEY_MUTANTS),
        Kind("forgetting", forgetting.play_forgetting, tuple(forgetting.STORMS), 1),
    )
}


def turns(first: int = 0) -> Iterator[tuple[str, int]]:
    """Yield kinds and seeds for ever, in rounds of all kinds; the seeds of each kind from ``first`` on."""
    seeds = {name: itertools.count(first) for name in KINDS}
    while True:
        for name, kind in KINDS.items():
            for _ in range(kind.share):
                yield name, next(seeds[name])


def play_turn(turn: tuple[str, int]) -> tuple[str, Played]:
    """Play a seed of a kind."""
    name, seed = turn
    return name, KINDS[name].play(seed)
