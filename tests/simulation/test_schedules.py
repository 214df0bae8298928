"""Schedules keep their promise in every storm, and each of their rules is missed when it is gone."""

from __future__ import annotations

from itertools import count, islice

import pytest

from tests.simulation.mutants import Mutant
from tests.simulation.schedules import TICK_MUTANTS, TIMED_STORMS, TimedRun, play_schedules, timed_scenario

SEEDS = len(TIMED_STORMS)
BATCHES = 4
WITHIN = {
    "tick not compared": 2,
    "judged for ever": 2,
    "tick struck unwritten": 2,
    "tick not seen": 6,
    "written first": 2,
    "tick by the clock": 2,
}
"""Within how many seeds, of the storms where it shows, each mutant is caught."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_storm_loses_or_doubles_a_tick(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        run = TimedRun(timed_scenario(seed))
        outcome = run.play()
        assert not outcome.violations, f"seed {seed}\n" + "\n".join(outcome.violations)
        assert len(run.ticks.lines) > 10
        assert {schedule for schedule, _ in run.ticks.lines} == {"steady", "moody"}


def test_the_same_seed_gives_the_same_run() -> None:
    assert play_schedules(1).digest == play_schedules(1).digest


@pytest.mark.parametrize("mutant", TICK_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_rule_is_noticed(mutant: Mutant) -> None:
    storms = mutant.storms or TIMED_STORMS
    seeds = (seed for seed in count() if TIMED_STORMS[seed % len(TIMED_STORMS)] in storms)
    with mutant.without():
        assert any(play_schedules(seed).violations for seed in islice(seeds, WITHIN[mutant.name])), mutant.rule
