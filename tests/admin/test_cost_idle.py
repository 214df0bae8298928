"""The request model against the engine at rest: within a tenth, by class of request and in dollars."""

from __future__ import annotations

import pytest

from tests.admin.metered_runs import STEADY_S, Run, check
from tests.simulation.conftest import quiet

__all__ = ["quiet"]  # a fixture


@pytest.mark.parametrize(
    "run",
    [
        Run(10, settle_s=STEADY_S, seconds=600),
        Run(100, settle_s=700, seconds=600),  # a heartbeat each in that time
    ],
    ids=str,
)
def test_the_estimate_is_what_idle_workers_ask_for(run: Run) -> None:
    check(run)
