"""The request model against the engine at work: within a tenth, by class of request and in dollars."""

from __future__ import annotations

import pytest

from tests.admin.metered_runs import STEADY_S, Run, check
from tests.simulation.conftest import quiet

__all__ = ["quiet"]  # a fixture


@pytest.mark.parametrize(
    "run",
    [
        Run(1, 100),
        Run(10, 100),
        Run(100, 100, quiet_s=320, settle_s=40, seconds=10),
        Run(10, 1000, batch=100),
        Run(1, 1, settle_s=20, seconds=200),
        Run(4, 30, failing=0.3, seconds=40),
    ],
    ids=str,
)
def test_the_estimate_is_what_a_metered_run_asks_for(run: Run) -> None:
    check(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        Run(1, settle_s=STEADY_S, seconds=1200),
        Run(10, lanes=2, settle_s=STEADY_S, seconds=600),
        Run(1, 10, seconds=60),
        Run(10, 1, quiet_s=STEADY_S, settle_s=20, seconds=120),
        Run(10, 10, quiet_s=STEADY_S, seconds=60),
        Run(10, 100, quiet_s=STEADY_S, seconds=60),
        Run(100, 10, quiet_s=STEADY_S, settle_s=20, seconds=120),
        Run(10, 100, batch=10, quiet_s=STEADY_S, seconds=60),
        Run(10, 100, lanes=2, quiet_s=STEADY_S, seconds=30),
        Run(10, 50, handler_s=0.1, seconds=30),
        Run(10, 100, handler_s=0.1, settle_s=20, seconds=30),
        Run(10, 50, handler_s=0.5, settle_s=20, seconds=30),
        Run(4, 20, handler_s=1.0, settle_s=20, seconds=30),
    ],
    ids=str,
)
def test_the_estimate_is_what_longer_runs_ask_for(run: Run) -> None:
    check(run)
