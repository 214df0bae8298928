"""Order is kept in every storm, and each of its rules is missed when it is gone."""

from __future__ import annotations

from itertools import count, islice

import pytest

from tests.simulation.mutants import Mutant
from tests.simulation.ordering import ORDER_MUTANTS, ORDERED_STORMS, play_ordered

SEEDS = 2 * len(ORDERED_STORMS)
BATCHES = 4
WITHIN = {
    "retry does not hold back": 2,
    "in flight unchecked": 1,
    "skipped ignored": 5,
    "listing first": 1,
    "place not kept": 6,
    "names unordered": 4,
}
"""Within how many seeds, of the storms where it shows, each mutant is caught."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_storm_breaks_the_order(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        outcome = play_ordered(seed)
        assert not outcome.violations, f"seed {seed}\n" + "\n".join(outcome.violations)
        assert outcome.messages > 0


@pytest.mark.parametrize("mutant", ORDER_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_rule_is_noticed(mutant: Mutant) -> None:
    storms = mutant.storms or ORDERED_STORMS
    seeds = (seed for seed in count() if ORDERED_STORMS[seed % len(ORDERED_STORMS)] in storms)
    with mutant.without():
        assert any(play_ordered(seed).violations for seed in islice(seeds, WITHIN[mutant.name])), mutant.rule
