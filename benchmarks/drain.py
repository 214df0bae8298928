"""``python -m benchmarks.drain``: drain queues, and print how fast and at how many requests. See ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.cases import CASES, Plan, run_case
from benchmarks.figures import GOALS, Figures
from benchmarks.run import Unfinished
from benchmarks.site import open_site

COLUMNS = (
    "messages_per_s",
    "put_list_per_message",
    "get_per_message",
    "lost_races_per_message",
    "start_p50_ms",
    "start_p99_ms",
    "usd_per_million",
)
_IN_MEMORY = ("bulk", "singles")


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain", description="Drain queues and measure it.")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (threads in memory and in a folder)")
    parser.add_argument("--latency-ms", type=float, default=20, help="how late each request reaches the S3 server")
    parser.add_argument("--store", choices=("ministack", "seaweedfs", "memory", "file"), default="ministack")
    parser.add_argument("--cases", default="", help=f"some of {','.join(CASES)}; default: all (at a server)")
    parser.add_argument("--messages", type=int, help="instead of what the case has by itself")
    parser.add_argument("--concurrency", type=int, default=8, help="handlers at a time in each worker")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects in place of a table")
    found = parser.parse_args(argv)
    found.cases = [case for case in found.cases.split(",") if case]
    if not found.cases:
        found.cases = list(_IN_MEMORY if found.store in ("memory", "file") else CASES)
    for case in found.cases:
        if case not in CASES:
            parser.error(f"there is no case {case!r}; use some of {','.join(CASES)}")
    if min(found.workers, found.concurrency, found.messages or 1) < 1 or found.latency_ms < 0:
        parser.error("workers, messages and concurrency are at least 1, latency-ms at least 0")
    return found


def table(results: list[Figures]) -> str:
    """Return the figures as a table, and below it how each case stands to its goals."""
    lines = [f"{'case':<12}" + "".join(f"{name.removesuffix('_per_message'):>17}" for name in COLUMNS)]
    lines += [f"{each['case']:<12}" + "".join(f"{each[name]:>17,g}" for name in COLUMNS) for each in results]
    lines.append("")
    for figures in results:
        verdict = {True: "met", False: "NOT met", None: "not comparable"}[figures["met"]]
        values = ", ".join(f"{goal} (is {figures[goal.figure]:g})" for goal in GOALS[figures["case"]])
        lines.append(f"{figures['case']:<12} goal {verdict}: {values}")
        lines.append(f"{'':<12} requests: " + ", ".join(f"{line} {n}" for line, n in figures["requests"].items()))
        lines.append(f"{'':<12} CPU seconds: " + ", ".join(f"{part} {used}" for part, used in figures["cpu_s"].items()))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the cases one after the other; return 1 if one did not come to its end, 0 otherwise."""
    options = arguments(argv)
    results: list[Figures] = []
    failed = False
    for case in options.cases:
        try:
            # A server of its own for each case: what one leaves behind must not slow the next.
            with open_site(options.store, options.latency_ms) as site:
                plan = Plan(site, options.workers, options.concurrency, options.messages)
                results.append(run_case(case, plan))
        except Unfinished as error:
            print(f"{case}: {error}", file=sys.stderr)
            failed = True
    print(json.dumps(results, indent=2, ensure_ascii=False) if options.json else table(results))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
