"""Each safety rule is needed: without it the simulation finds a broken promise, within a stated number of seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s3queue.core import claiming, settling, upkeep
from s3queue.core.draft import Draft
from s3queue.protocol import consumer, janitor, journal
from s3queue.protocol.committer import Committer
from s3queue.protocol.sweeper import Sweeper
from s3queue.store.record import Record
from tests.simulation.defects import FOUND, Defect
from tests.simulation.mutants import MUTANTS
from tests.simulation.report import catch
from tests.simulation.scenario import play

ROOT = Path(__file__).parents[2]


DOC = ROOT / "docs" / "reliability.md"


def test_a_mutant_leaves_the_engine_as_it_was() -> None:
    """Actors take turns, and are killed, inside a mutant's patches: none may outlast it."""
    engine = [journal, consumer, claiming, settling, upkeep, janitor, Sweeper, Committer, Record, Draft]
    before = [dict(vars(owner)) for owner in engine]
    for mutant in MUTANTS:
        with mutant.without():
            play(10)  # late and paused: sweeps overlap
        assert [dict(vars(owner)) for owner in engine] == before, mutant.name


@pytest.mark.parametrize("defect", [defect for defect in FOUND if defect.again], ids=lambda defect: defect.name)
def test_a_defect_that_was_found_stays_mended(defect: Defect) -> None:
    assert not play(defect.seed).violations
    with defect.mutant().without():
        assert play(defect.seed).violations


def test_every_defect_that_was_found_is_kept_found() -> None:
    """By its seed or its own test, which the documentation names beside it."""
    rows = [line for line in DOC.read_text("utf-8").splitlines() if line.startswith("| ")]
    for defect in FOUND:
        (row,) = (row for row in rows if f"*{defect.name}*" in row)
        if defect.again:
            assert re.search(rf"\bseed {defect.seed}\b", row)
        else:
            file, _, function = defect.test.partition("::")
            assert f"`{file}`" in row
            assert f"def {function}(" in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("name", [mutant.name for mutant in MUTANTS])
def test_the_simulation_catches(name: str) -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    assert catch(mutant)
