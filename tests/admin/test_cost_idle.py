"""The request model against the engine at rest: within a tenth in dollars."""

from __future__ import annotations

import pytest

from benchmarks.costs import KNOWN, WITHIN
from benchmarks.metered import Run, compare
from tests.simulation.conftest import quiet

__all__ = ["quiet"]  # a fixture

IDLE = [run for run in KNOWN if not run.load.messages_per_s and run.load.workers in (1, 10)]


@pytest.mark.parametrize("run", IDLE, ids=str)
def test_the_estimate_is_what_idle_workers_ask_for(run: Run) -> None:
    assert all(abs(off) <= WITHIN for off in compare(run).errors().values())
