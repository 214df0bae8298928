"""Rounds of chaos from the command line: ``python -m tests.chaos --rounds 50 --json``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from s3queue.devserver import MiniStack
from tests.chaos.handlers import MUTANT
from tests.chaos.proxy import FaultProxy
from tests.chaos.rounds import Outcome, Round

MAX_TOLD = 8
SUMS = (
    "messages", "acknowledged", "executions", "duplicates", "dead", "ledger_versions", "requests", "kills", "stops"
)  # fmt: skip


def summary(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return the sums of all rounds, and those that failed, each with its seed, its folder and some of its violations."""
    done = list(outcomes)
    faults: Counter[str] = Counter()
    for one in done:
        faults.update(one.faults)
    return {
        "rounds": len(done),
        **{name: sum(getattr(one, name) for one in done) for name in SUMS},
        "faults": dict(sorted(faults.items())),
        "seconds": round(sum(one.seconds for one in done), 1),
        "violations": sum(len(one.violations) for one in done),
        "failed": [brief(one) for one in done if one.violations],
    }


def brief(outcome: Outcome) -> dict[str, Any]:
    """Return a round as a line of JSON has it: one defect may be seen a hundred times."""
    return outcome.as_dict() | {"violations": outcome.violations[:MAX_TOLD], "violated": len(outcome.violations)}


def main() -> int:
    """Play the rounds; 0 if nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, on stdout")
    parser.add_argument("--mutant", help="let the workers break this rule (tests/simulation/mutants.py)")
    parser.add_argument("--folder", type=Path, help="where failing rounds are kept")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up, as Ctrl-C does
    if chosen.mutant:
        os.environ[MUTANT] = chosen.mutant  # which the workers inherit
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="s3queue-chaos-"))
    outcomes = []
    with MiniStack() as server, FaultProxy(server.endpoint_url) as proxy:
        bucket = server.create_bucket("chaos")
        for seed in range(chosen.seed, chosen.seed + chosen.rounds):
            outcome = Round(seed, server, proxy, bucket, folder / f"seed-{seed}").play()
            outcomes.append(outcome)
            sys.stderr.write(json.dumps(brief(outcome)) + "\n")
    total = summary(outcomes)
    lines = json.dumps(total) if chosen.json else "\n".join(f"{name:16} {value}" for name, value in total.items())
    sys.stdout.write(lines + "\n")
    return 1 if total["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
