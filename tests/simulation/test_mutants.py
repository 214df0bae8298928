"""Each safety rule is needed: without it the simulation finds a broken promise, within a stated number of seeds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.report import catch
from tests.simulation.scenario import play


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out the engine's log: it tells of every fault."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


FOUND = {
    "what a claim takes was settled while it took it": ("nothing pinned", 0),
    "a late copy of a replayed dead letter was replayed again": ("letter journal unread", 307),
}
"""Defects that the simulation found in the engine: the mutant that puts each back, and a seed that shows it.

Should a seed show it no more, because runs have changed, ``report.catch`` finds another.
"""


@pytest.mark.parametrize("defect", FOUND)
def test_a_defect_that_was_found_stays_mended(defect: str) -> None:
    name, seed = FOUND[defect]
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    assert not play(seed).violations
    with mutant.without():
        assert play(seed).violations


@pytest.mark.parametrize("name", [mutant.name for mutant in MUTANTS])
def test_the_simulation_catches(name: str) -> None:
    _, seeds = catch(name)
    assert seeds is not None
