"""What a seed makes of a run: which storm, who takes part, for how long."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.simulation.bucket import Faults
from tests.simulation.storms import CALM, LONG, STORMS

LEASE_S = 10.0
STORM_S = 90.0
LONG_LEASE_S = 150.0
"""Longer than it takes until a silent worker is dead, so that it is rescued from before its leases end."""
LONG_S = 240.0
"""How long a storm takes that is about terms, and who is dead."""
CALM_S = 4 * 3600.0
LOOK_S = 10.0
SETTLE_S = 300.0
MAX_STEPS = 60_000
LEAVES = 0.01
"""How likely a worker ends in peace before it looks again."""
ONCE_KEYS = 8
"""How many deduplication keys the producers share."""
NIGHT_S = 2 * 3600.0
"""Longer than the journal is kept."""


@dataclass(frozen=True)
class Scenario:
    """What a seed makes of a run."""

    seed: int
    workers: int = 3
    producers: int = 2
    messages: int = 30
    max_attempts: int = 3
    faults: Faults = field(default_factory=Faults)
    operator: bool = False
    poison: bool = True
    night_s: float = 0.0
    members: float = 0.8
    """How likely a worker takes part in coordination; the others claim for themselves, whoever leads."""
    lanes: int = 1
    """How many lanes the queue has at first."""
    tuned: str = ""
    """Who changes that: an ``operator``, coordinators (``auto``), or nobody."""
    namesakes: bool = False
    """Whether two workers are given one id."""
    storm_s: float = STORM_S
    lease_s: float = LEASE_S


def seeds(storms: tuple[str, ...] = (), first: int = 0) -> Iterator[int]:
    """Yield the seeds, from ``first``, of runs in these storms (default: all)."""
    names = list(STORMS)
    return (seed for seed in itertools.count(first) if not storms or names[seed % len(names)] in storms)


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: the storms take turns, every other one with an operator, every third with several lanes.

    By turns many coordinate or few, and an operator or coordinators change the number of lanes.
    """
    names = list(STORMS)
    name = names[seed % len(names)]
    storm, turn, long = STORMS[name], seed // len(names), name in LONG
    tuned = ("operator", "auto")[turn // 3 % 2] if turn % 3 == 1 else ""
    return Scenario(
        seed,
        workers=2 + seed % 3,
        faults=replace(storm),
        operator=turn % 2 == 1,
        members=1.0 if long else 0.8 if turn // 2 % 2 == 0 else 0.2,
        poison=storm != CALM,
        night_s=NIGHT_S if name == "night" else 0.0,
        lanes=1 + seed % 3 if tuned == "operator" else 1,
        tuned=tuned,
        namesakes=turn % 5 == 3,
        storm_s=LONG_S if long else STORM_S,
        lease_s=LONG_LEASE_S if name == "undead" else LEASE_S,
    )
