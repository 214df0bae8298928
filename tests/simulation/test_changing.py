"""Changing single messages breaks no rule, in any storm."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.changing import CHANGED_STORMS, play_changed

SEEDS = 2 * len(CHANGED_STORMS)
BATCHES = 4
SITUATIONS = (
    "messages cancelled",
    "messages moved",
    "messages taken back",
    "messages refused that had changed",
)
"""What each batch must have come into."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_storm_breaks_a_rule(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, SEEDS, BATCHES):
        outcome = play_changed(seed)
        assert not outcome.violations, f"seed {seed}\n" + "\n".join(outcome.violations)
        seen.update(outcome.situations)
    assert [name for name in SITUATIONS if not seen[name]] == []
