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

from tests.simulation.kinds import KINDS, Played, play_turn
from tests.simulation.mutant import Mutant
from tests.simulation.scenario import Outcome

CATCH_WITHIN = 400
"""Seeds (of the storms concerned) within which each mutant must be caught."""
REMEMBERED = Path(__file__).with_name("caught.json")
"""By kind and mutant, a seed that caught it: tried before all others. ``--remember`` writes it anew."""


@dataclass
class Tally:
    """The sum of many runs of a kind. ``situations``: what they came into, beside faults, and how often."""

    seeds: int = 0
    steps: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    situations: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: Played) -> None:
        """Add a run."""
        self.seeds += 1
        self.steps += outcome.steps
        self.faults = dict(Counter(self.faults) + Counter(outcome.faults))
        self.situations = dict(Counter(self.situations) + Counter(outcome.situations))


@dataclass
class Report:
    """The sum of many runs of all kinds; ``messages`` and ``duplicates`` are of the kind of that name."""

    seeds: int = 0
    steps: int = 0
    messages: int = 0
    duplicates: int = 0
    duplicates_by_cause: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    kinds: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in KINDS})
    violations: list[str] = field(default_factory=list)
    mutants: dict[str, dict[str, int | None]] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, outcome: Played) -> None:
        """Add a run."""
        self.seeds += 1
        self.steps += outcome.steps
        self.kinds[kind].add(outcome)
        if kind == "messages" and isinstance(outcome, Outcome):
            self.messages += outcome.messages
            self.duplicates += sum(outcome.duplicates.values())
            self.duplicates_by_cause = dict(Counter(self.duplicates_by_cause) + Counter(outcome.duplicates))
        replay = f"python -m tests.simulation --kind {kind} --seed {outcome.seed} --trace"
        self.violations += [f"{kind}, seed {outcome.seed}: {text} ({replay})" for text in outcome.violations]

    @property
    def survived(self) -> list[str]:
        """The mutants that were not caught."""
        return [f"{kind}: {name}" for kind, tries in self.mutants.items() for name, tried in tries.items() if not tried]

    def as_json(self) -> str:
        """Return the report as JSON, a mutant's value being the seeds it took (null: it survived)."""
        return json.dumps(asdict(self), indent=1)


def run(turns: Iterable[tuple[str, int]], *, until_s: float | None = None, processes: int = 2) -> Report:
    """Play seeds on several cores until they or the seconds are used up."""
    report, started = Report(), time.monotonic()
    with _pool(processes) as pool:
        for kind, outcome in pool.imap_unordered(play_turn, turns, chunksize=4):
            report.add(kind, outcome)
            if until_s is not None and time.monotonic() - started > until_s:
                break
    report.seconds = round(time.monotonic() - started, 1)
    return report


def _pool(processes: int) -> Pool:
    """Return processes that play in silence: the engine tells of every fault."""
    context = multiprocessing.get_context("spawn")
    return context.Pool(processes, logging.disable, (logging.CRITICAL,), maxtasksperchild=200)


def catch(mutant: Mutant, kind: str = "messages", within: int = CATCH_WITHIN) -> tuple[int, int] | None:
    """Return after how many seeds a mutant is caught, and the seed that does; None if it survives."""
    for tried, seed in enumerate(islice(KINDS[kind].seeds(mutant.storms, mutant.first), within), 1):
        if shows(mutant, kind, seed):
            return tried, seed
    return None


def shows(mutant: Mutant, kind: str, seed: int) -> bool:
    """Whether a seed catches a mutant."""
    with mutant.without():
        return bool(KINDS[kind].play(seed).violations)


def remembered() -> dict[str, dict[str, int]]:
    """Return the seeds that caught mutants, by kind and name."""
    found: dict[str, dict[str, int]] = json.loads(REMEMBERED.read_text("utf-8"))
    return found


def _catch(turn: tuple[str, str]) -> tuple[str, str, tuple[int, int] | None]:
    kind, name = turn
    (mutant,) = (mutant for mutant in KINDS[kind].mutants if mutant.name == name)
    return kind, name, catch(mutant, kind)


def hunt(processes: int = 2, *, remember: bool = False) -> dict[str, dict[str, int | None]]:
    """Return how many seeds each mutant took; ``remember`` the seeds that caught them."""
    turns = [(kind.name, mutant.name) for kind in KINDS.values() for mutant in kind.mutants]
    with _pool(processes) as pool:
        caught = {(kind, name): found for kind, name, found in pool.imap_unordered(_catch, turns)}
    if remember:
        seeds = {
            kind: {name: found[1] for of, name in turns if of == kind and (found := caught[of, name])} for kind in KINDS
        }
        REMEMBERED.write_text(json.dumps(seeds, indent=1) + "\n", "utf-8")
    tries: dict[str, dict[str, int | None]] = {}
    for kind, name in turns:
        found = caught[kind, name]
        tries.setdefault(kind, {})[name] = found and found[0]
    return tries


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


def explain(outcome: Played) -> dict[str, Any]:
    """Return a run as JSON shows it."""
    return {name: value for name, value in vars(outcome).items() if name != "trace"}
