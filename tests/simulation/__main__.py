"""``python -m tests.simulation``: as many seeds as there is time for, the mutants, the coverage; or one seed, told."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys

from tests.simulation import report
from tests.simulation.defects import FOUND
from tests.simulation.kinds import KINDS, play_turn, turns
from tests.simulation.plots import scenario
from tests.simulation.scenario import Run
from tests.simulation.shrink import shrink

COVERED = 105
"""How many seeds the coverage is measured with."""


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to play seeds")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--kind", choices=KINDS, default="messages", help="with --seed: what kind of run")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every turn")
    parser.add_argument(
        "--shrink", action="store_true", help="with --seed: make a failing scenario smaller, and trace it"
    )
    parser.add_argument("--play", type=int, nargs=2, metavar=("FIRST", "COUNT"), help="play seeds, and say nothing")
    parser.add_argument("--defects", action="store_true", help="find the seed that shows each defect that was found")
    parser.add_argument("--remember", action="store_true", help="write down the seeds that catch the mutants")
    parser.add_argument("--no-mutants", action="store_true", help="leave the mutants out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def one(options: argparse.Namespace) -> int:
    """Play one seed and tell about it."""
    if options.kind != "messages":
        return other(options)
    plot = scenario(options.seed)
    if options.shrink:
        plot = shrink(plot)
        print(plot)
    outcome = Run(plot, keep_trace=options.trace or options.shrink).play()
    for line in outcome.trace or ():
        print(line)
    print(json.dumps(report.explain(outcome), indent=1))
    return 1 if outcome.violations else 0


def other(options: argparse.Namespace) -> int:
    """Play one seed of another kind and tell about it."""
    outcome = KINDS[options.kind].play(options.seed, keep_trace=options.trace)
    for line in outcome.trace or ():
        print(line)
    print(json.dumps(report.explain(outcome), indent=1))
    return 1 if outcome.violations else 0


def many(options: argparse.Namespace) -> int:
    """Play seeds as long as there is time and report."""
    found = report.run(turns(options.first), until_s=options.minutes * 60)
    found.coverage = report.covered(options.first, COVERED)
    if not options.no_mutants:
        found.mutants = report.hunt(remember=options.remember)
    if options.json:
        print(found.as_json())
    else:
        print(f"{found.seeds} seeds, {found.steps:,} steps, {found.messages:,} messages in {found.seconds} s")
        for name, tally in found.kinds.items():
            print(f"{name}: {tally.seeds} seeds, {tally.steps:,} steps\n  faults: {tally.faults}\n  {tally.situations}")
        print(f"duplicate executions: {found.duplicates} {found.duplicates_by_cause}")
        print(f"coverage of core and protocol: {found.coverage.get('all')} %")
        print(f"mutants: {sum(map(len, found.mutants.values()))}, {len(found.survived)} survived {found.survived}")
        print("\n".join(found.violations) or "no violations")
    return 1 if found.violations or found.survived else 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # the engine tells of each fault; the trace has them all
    given = arguments()
    if given.play:
        for turn in itertools.islice(turns(given.play[0]), given.play[1]):
            play_turn(turn)
        sys.exit(0)
    if given.defects:
        for defect in (defect for defect in FOUND if defect.again):
            print(defect.name, report.catch(defect.mutant()), sep=": ", flush=True)
        sys.exit(0)
    sys.exit(one(given) if given.seed is not None else many(given))
