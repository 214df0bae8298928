"""Each safety rule is needed: without it the simulation finds a broken promise, within a stated number of seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s3queue import operating, producing
from s3queue.core import changing, claiming, dispatch, lease, settling, upkeep
from s3queue.core.draft import Draft
from s3queue.core.settings import Settings
from s3queue.core.ticking import Fire
from s3queue.core.transitions import Publish
from s3queue.protocol import consumer, coordinator, dead_letters, dedup, duties, janitor, journal, locks, moves
from s3queue.protocol.committer import Committer
from s3queue.protocol.janitor import Janitor
from s3queue.protocol.locks import Lock
from s3queue.protocol.registry import Registry
from s3queue.protocol.sweeper import Sweeper
from s3queue.store.record import Record
from tests.simulation.defects import FOUND, Defect
from tests.simulation.kinds import KINDS
from tests.simulation.mutant import Mutant
from tests.simulation.report import catch, remembered, shows
from tests.simulation.scenario import play

ROOT = Path(__file__).parents[2]


DOC = ROOT / "docs" / "reliability.md"


ENGINE = [
    changing, claiming, coordinator, consumer, dead_letters, dedup, dispatch, duties, janitor, journal, lease, locks, moves,
    operating, producing, settling, upkeep, Committer, Draft, Fire, Janitor, Lock, Publish, Record, Registry, Settings, Sweeper,
]  # fmt: skip
"""What mutants patch: actors take turns, and are killed, inside the patches, and none may outlast them."""
ALL = [(kind.name, mutant) for kind in KINDS.values() for mutant in kind.mutants]


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


@pytest.mark.timeout(300)  # where runs have changed, another seed must be found
@pytest.mark.parametrize(("kind", "mutant"), ALL, ids=[f"{kind}-{mutant.name}" for kind, mutant in ALL])
def test_the_simulation_catches(kind: str, mutant: Mutant) -> None:
    """By the seed that did before; should runs have changed, by another (``--remember`` writes them down)."""
    before = [dict(vars(owner)) for owner in ENGINE]
    seed = remembered().get(kind, {}).get(mutant.name)
    assert (seed is not None and shows(mutant, kind, seed)) or catch(mutant, kind), mutant.rule
    assert [dict(vars(owner)) for owner in ENGINE] == before


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mutant"), ALL, ids=[f"{kind}-{mutant.name}" for kind, mutant in ALL])
def test_a_search_catches(kind: str, mutant: Mutant) -> None:
    assert catch(mutant, kind), mutant.rule
