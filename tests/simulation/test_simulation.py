"""The engine keeps its promise in every storm; runs repeat; the simulator sees what it should see."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from s3queue.protocol.coordinator import LEASE_MS
from tests.simulation.mutants import MUTANTS
from tests.simulation.plots import Scenario, scenario, seeds
from tests.simulation.scenario import Outcome, Run, play
from tests.simulation.shrink import shrink
from tests.simulation.storms import STORMS

SEEDS = 5
"""How often each storm is played."""
SITUATIONS = (
    "take-overs",
    "two coordinators at once",
    "proposed in an old term, refused",
    "commits by a coordinator whose term is over",
    "messages rescued from the dead",
    "workers left",
    "workers that took another name",
    "lanes raised",
    "lanes lowered with messages in them",
    "objects put into lanes given up",
    "messages ended in lanes given up",
    "replays into lanes that are not the first",
    "claims reset under a coordinator",
    "claims reset in a queue of several lanes",
    "told of a reset",
)
"""What the storms must have come into."""


@cache
def outcomes(storm: str) -> list[Outcome]:
    return [play(seed) for seed in islice(seeds((storm,)), SEEDS)]


def replay(outcome: Outcome) -> str:
    return f"replay: python -m tests.simulation --seed {outcome.seed} --trace\n" + "\n".join(outcome.violations)


@pytest.mark.parametrize("storm", STORMS)
def test_no_storm_breaks_a_rule(storm: str) -> None:
    for outcome in outcomes(storm):
        assert not outcome.violations, replay(outcome)
        assert outcome.steps > 0


@pytest.mark.parametrize("storm", [name for name, faults in STORMS.items() if faults != STORMS["calm"]])
def test_every_storm_has_its_faults(storm: str) -> None:
    happened = {fault for outcome in outcomes(storm) for fault in outcome.faults}
    wanted = {name for name, value in vars(STORMS[storm]).items() if value and not name.endswith("_s")}
    wanted -= {"page", "extra_sweep", "no_sweep"}  # no events of their own
    expected = {"vandals": {"corrupt", "corrupt_ledger", "foreign"}, "night": {"night"}}.get(storm, set())
    assert (wanted - {"vandals"}) | expected <= happened


def test_fleets_come_into_every_situation() -> None:
    happened = {name for storm in STORMS for outcome in outcomes(storm) for name in outcome.situations}
    assert set(SITUATIONS) - happened == set()


def test_the_same_seed_gives_the_same_trace() -> None:
    first, second = (Run(scenario(15), keep_trace=True).play() for _ in range(2))
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert play(16).digest != first.digest


def test_a_trace_does_not_depend_on_how_strings_hash() -> None:
    program = "import logging; logging.disable(50); from tests.simulation.scenario import play; print(play(31).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hashing},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for hashing in ("1", "2")
    }
    assert len(digests) == 1


def test_without_faults_nothing_runs_twice() -> None:
    outcome = Run(Scenario(7, poison=False)).play()
    assert (outcome.violations, outcome.duplicates, outcome.faults) == ([], {}, {})
    assert outcome.messages > 0


def test_a_failing_scenario_is_made_smaller() -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == "delivered twice")
    big = scenario(0)
    with mutant.without():
        assert Run(big).play().violations
        small = shrink(big, rounds=1)
        assert Run(small).play().violations
    assert small.messages < big.messages


def test_a_fleet_in_virtual_time_keeps_up_and_is_billed() -> None:
    bill = Fleet(workers=12, rate=60).run(20)
    assert bill.enqueued > 1000
    assert bill.completed > 0.95 * bill.enqueued
    assert 1 < bill.put_list_per_message < 1.5
    assert 1 < bill.get_per_message < 2
    assert 5 < bill.usd_per_million < 8


def test_a_coordinator_that_is_killed_is_replaced_within_two_terms() -> None:
    fleet = Fleet(workers=6, rate=40)
    leader = fleet.lead_after(20)
    fleet.kill(leader.worker)
    successor = fleet.lead_after(2 * LEASE_MS / 1000)
    assert (successor.worker != leader.worker, successor.epoch) == (True, leader.epoch + 1)
    done = fleet.completed
    bill = fleet.run(20)
    assert fleet.completed - done > 0.9 * bill.enqueued
