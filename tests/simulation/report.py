"""Many seeds on all cores, and what they add up to."""

from __future__ import annotations

import json
import logging
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.scenario import Outcome, play, seeds

CATCH_WITHIN = 400
"""Seeds (of the storms concerned) within which each mutant must be caught."""


@dataclass
class Report:
    """The sum of many runs."""

    seeds: int = 0
    steps: int = 0
    messages: int = 0
    duplicates: int = 0
    duplicates_by_cause: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    mutants: dict[str, int | None] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Add a run."""
        self.seeds += 1
        self.steps += outcome.steps
        self.messages += outcome.messages
        self.duplicates += sum(outcome.duplicates.values())
        self.duplicates_by_cause = dict(Counter(self.duplicates_by_cause) + Counter(outcome.duplicates))
        self.faults = dict(Counter(self.faults) + Counter(outcome.faults))
        for text in outcome.violations:
            self.violations.append(
                f"seed {outcome.seed}: {text} (python -m tests.simulation --seed {outcome.seed} --trace)"
            )

    def as_json(self) -> str:
        """Return the report as JSON, a mutant's value being the seeds it took (null: it survived)."""
        return json.dumps(asdict(self), indent=1)


def run(numbers: Iterable[int], *, until_s: float | None = None, processes: int = 2) -> Report:
    """Play seeds on several cores until they or the seconds are used up."""
    report, started = Report(), time.monotonic()
    with _pool(processes) as pool:
        for outcome in pool.imap_unordered(play, numbers, chunksize=4):
            report.add(outcome)
            if until_s is not None and time.monotonic() - started > until_s:
                break
    report.seconds = round(time.monotonic() - started, 1)
    return report


def _pool(processes: int) -> Pool:
    """Return processes that play in silence: the engine tells of every fault."""
    context = multiprocessing.get_context("spawn")
    return context.Pool(processes, logging.disable, (logging.CRITICAL,), maxtasksperchild=200)


def catch(mutant: Mutant, within: int = CATCH_WITHIN) -> tuple[int, int] | None:
    """Return after how many seeds a mutant is caught, and the seed that does; None if it survives."""
    for tried, seed in enumerate(islice(seeds(mutant.storms, mutant.first), within), 1):
        with mutant.without():
            if play(seed).violations:
                return tried, seed
    return None


def _catch(name: str) -> tuple[str, int | None]:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    caught = catch(mutant)
    return name, caught and caught[0]


def hunt(processes: int = 2) -> dict[str, int | None]:
    """Return how many seeds each mutant took."""
    with _pool(processes) as pool:
        return dict(pool.imap_unordered(_catch, [mutant.name for mutant in MUTANTS]))


def covered(first: int, count: int) -> dict[str, float]:
    """Return the share of statements that these seeds execute, in per cent, by module of core and protocol, and of ``all``.

    In a process of its own, as coverage counts what is imported while it looks on.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, shares = Path(folder) / "data", Path(folder) / "shares.json"
        coverage = [sys.executable, "-m", "coverage"]
        program = ["-m", "tests.simulation", "--play", str(first), str(count)]
        run = [*coverage, "run", f"--data-file={data}", "--source=s3queue.core,s3queue.protocol", *program]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [*coverage, "json", f"--data-file={data}", "-o", str(shares)], check=True, stdout=subprocess.DEVNULL
        )
        found = json.loads(shares.read_text())
    modules = {
        name.rpartition("s3queue/")[2]: round(entry["summary"]["percent_covered"], 1)
        for name, entry in found["files"].items()
        if entry["summary"]["num_statements"]
    }
    return modules | {"all": round(found["totals"]["percent_covered"], 1)}


def explain(outcome: Outcome) -> dict[str, Any]:
    """Return a run as JSON shows it."""
    return {name: value for name, value in asdict(outcome).items() if name != "trace"}
