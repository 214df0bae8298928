"""Schedules keep their promise in every storm, though several leaders fire them."""

from __future__ import annotations

import pytest

from tests.simulation.schedules import TIMED_STORMS, TimedRun, play_schedules, timed_scenario

SEEDS = len(TIMED_STORMS)
BATCHES = 4


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
