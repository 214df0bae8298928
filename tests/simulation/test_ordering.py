"""Order is kept in every storm."""

from __future__ import annotations

import pytest

from tests.simulation.ordering import ORDERED_STORMS, play_ordered

SEEDS = 2 * len(ORDERED_STORMS)
BATCHES = 4


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_storm_breaks_the_order(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        outcome = play_ordered(seed)
        assert not outcome.violations, f"seed {seed}\n" + "\n".join(outcome.violations)
        assert outcome.messages > 0
