"""Each safety rule is needed: without it the simulation finds a broken promise, within a stated number of seeds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.report import catch


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out the engine's log: it tells of every fault."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", [mutant.name for mutant in MUTANTS])
def test_the_simulation_catches(name: str) -> None:
    _, seeds = catch(name)
    assert seeds is not None
