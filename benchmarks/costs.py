"""``python -m benchmarks.costs``: what the request model says, beside what fleets ask for. See docs/operator.md.

The fleets run in virtual time, as in ``benchmarks.fleet``: the engine's own agents, metered where they are billed.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor

from benchmarks.metered import STEADY_S, Compared, Run, compare
from s3queue_admin.cost import Load
from s3queue_admin.cost.bill import Rate

WITHIN = 0.10
"""How far the model may be off, in dollars."""

KNOWN = (
    Run(Load(workers=1), settle_s=STEADY_S, seconds=1200),
    Run(Load(workers=10), settle_s=STEADY_S, seconds=600),
    Run(Load(workers=100), settle_s=700, seconds=600),
    Run(Load(workers=10), {"lanes": 2}, settle_s=STEADY_S, seconds=600),
    Run(Load(100)),
    Run(Load(100, 10)),
    Run(Load(100, 100), quiet_s=320, settle_s=40, seconds=10),
    Run(Load(1000, 10, batch=100)),
    Run(Load(1), seconds=200),
    Run(Load(1, 10), quiet_s=STEADY_S, seconds=120),
    Run(Load(10, 100), quiet_s=STEADY_S, seconds=120),
    Run(Load(1000, 20), {"lanes": 4}, seconds=15),
    Run(Load(30, 4, failing=0.3), seconds=60),
    Run(Load(50, 10, handler_s=0.1)),
    Run(Load(50, 10, handler_s=0.5)),
    Run(Load(20, 4, handler_s=1.0)),
    Run(Load(100, 30, handler_s=0.5)),
)
"""Points that were looked at while the model was made."""

HELD_OUT = (
    Run(Load(3, 3), seconds=200),
    Run(Load(250, 6)),
    Run(Load(15, 2, handler_s=0.05), seconds=60),
    Run(Load(80, 12, handler_s=0.3)),
    Run(Load(60, 40, handler_s=2.0), settle_s=60),
    Run(Load(5, 8, handler_s=4.0), settle_s=40, seconds=60),
    Run(Load(40, 5, concurrency=2, handler_s=0.2)),
    Run(Load(200, 16, concurrency=32, handler_s=0.5)),
    Run(Load(600, 24, batch=10, handler_s=0.05), {"lanes": 3}),
    Run(Load(20, 3, batch=20), seconds=60),
    Run(Load(5000, 8, batch=250)),
    Run(Load(10, 4, poll_interval_s=1.0, max_poll_interval_s=20.0), seconds=120),
    Run(Load(0.2, 5, poll_interval_s=2.0, max_poll_interval_s=30.0), quiet_s=STEADY_S, seconds=600),
    Run(Load(20, 4, poll_interval_s=0.05, max_poll_interval_s=1.0), seconds=60),
    Run(Load(workers=40, max_poll_interval_s=15.0), settle_s=STEADY_S, seconds=600),
    Run(Load(50, 8, failing=0.1), seconds=60),
    Run(Load(10, 4, failing=0.6), settle_s=60, seconds=60),
    Run(Load(50, 5), delay_s=5.0, settle_s=40),
    Run(Load(1, 2, deduplicated=1.0), {"dedup_ttl": 300}, settle_s=3000, seconds=2400),
    Run(Load(1, 2), {"results": True, "result_ttl": 300, "history": True}, settle_s=1800, seconds=2400),
    Run(Load(0.01, 2), quiet_s=STEADY_S, seconds=3600),
)
"""Points that nothing was fitted to."""

ORDERS_AND_HINTS = (
    Run(Load(2, 1), {"order": "strict"}, seconds=60),
    Run(Load(2, 5), {"order": "strict"}, seconds=200),
    Run(Load(1, 5, handler_s=0.3), {"order": "strict"}, seconds=60),
    Run(Load(20, 1, groups=20), {"order": "strict-group"}, seconds=60),
    Run(Load(20, 5, groups=50), {"order": "strict-group"}, seconds=60),
    Run(Load(50, 8, groups=200, handler_s=0.1), {"order": "strict-group"}),
    Run(Load(workers=5), {"order": "strict"}, settle_s=STEADY_S, seconds=600),
    Run(Load(50, 1), {"order": "lifo"}, seconds=60),
    Run(Load(50, 8), {"order": "lifo"}, seconds=60),
    Run(Load(100, 10, handler_s=0.2), {"order": "lifo"}),
    Run(Load(20, 1, coordination="redis"), seconds=60),
    Run(Load(1, 5, coordination="redis", max_poll_interval_s=30.0), quiet_s=320, seconds=200),
    Run(Load(50, 10, handler_s=0.5, coordination="redis")),
    Run(Load(20, 1, coordination="sqs"), seconds=60),
    Run(Load(1, 5, coordination="sqs", max_poll_interval_s=30.0), quiet_s=320, seconds=200),
    Run(Load(50, 10, handler_s=0.5, coordination="sqs")),
    Run(Load(workers=10, coordination="sqs"), settle_s=STEADY_S, seconds=600),
)
"""Other orders than fifo, and hints; nothing was fitted to these either."""

DRAWN = (
    Run(Load(140, 7, handler_s=0.24, concurrency=16, coordination="sqs", max_poll_interval_s=15.0)),
    Run(Load(8, 12, concurrency=16, coordination="redis", groups=60), {"order": "strict-group"}),
    Run(
        Load(70, 2, handler_s=0.03, concurrency=4, batch=5, coordination="redis", max_poll_interval_s=15.0),
        {"order": "lifo"},
    ),
    Run(Load(25, 2, concurrency=16, coordination="sqs", groups=60), {"order": "strict-group"}),
    Run(
        Load(2, 7, handler_s=0.2, max_poll_interval_s=15.0, groups=60),
        {"order": "strict-group"},
        settle_s=120,
        seconds=200,
    ),
    Run(Load(70, 18, coordination="redis", max_poll_interval_s=15.0, groups=60), {"order": "strict-group"}),
    Run(Load(140, 12, handler_s=0.1, concurrency=4, groups=60), {"order": "strict-group"}),
    Run(
        Load(70, 12, handler_s=0.02, coordination="sqs", max_poll_interval_s=15.0, groups=60), {"order": "strict-group"}
    ),
    Run(
        Load(140, 7, handler_s=0.24, concurrency=16, coordination="sqs", max_poll_interval_s=15.0, groups=60),
        {"order": "strict-group"},
    ),
    Run(Load(25, 4, handler_s=0.2, concurrency=4, coordination="sqs", max_poll_interval_s=15.0), {"order": "lifo"}),
    Run(Load(70, 7, handler_s=0.8, concurrency=16, batch=5, max_poll_interval_s=15.0)),
    Run(Load(140, 12, handler_s=0.2, coordination="sqs")),
    Run(
        Load(2, 7, handler_s=0.02, concurrency=16, batch=5, coordination="sqs"),
        {"order": "lifo", "lanes": 2},
        settle_s=120,
        seconds=200,
    ),
    Run(Load(140, 18, concurrency=16), {"order": "lifo"}),
)
"""Points drawn at random when the model was done; one of them was off by more than a tenth then."""

DRAWN_AGAIN = (
    Run(Load(200, 6, concurrency=4, batch=4, coordination="sqs")),
    Run(Load(60, 15, concurrency=4), {"lanes": 2}),
    Run(Load(30, 15, concurrency=16, coordination="redis"), {"order": "lifo"}),
    Run(Load(30, 20, handler_s=0.05), {"order": "lifo", "lanes": 2}),
    Run(Load(30, 25, handler_s=0.15, coordination="redis")),
    Run(Load(12, 3, coordination="sqs", groups=150), {"order": "strict-group"}),
    Run(Load(200, 15, handler_s=0.15, concurrency=16, groups=150), {"order": "strict-group"}),
    Run(Load(12, 6, concurrency=4, coordination="sqs", groups=40), {"order": "strict-group"}),
    Run(
        Load(4, 25, handler_s=0.4, concurrency=4, coordination="sqs", groups=150),
        {"order": "strict-group"},
        settle_s=120,
        seconds=200,
    ),
    Run(Load(60, 3, groups=40), {"order": "strict-group"}),
    Run(Load(12, 15, handler_s=1.0, groups=40), {"order": "strict-group"}),
    Run(Load(60, 25, handler_s=0.15, concurrency=4, batch=4, coordination="sqs"), {"order": "lifo"}),
)
"""Points drawn at random when it had been mended, and never looked at before."""

SETS = {"known": KNOWN, "held-out": HELD_OUT, "orders": ORDERS_AND_HINTS, "drawn": DRAWN, "drawn-again": DRAWN_AGAIN}


def by_line(found: Compared) -> list[tuple[str, str, float, float]]:
    """Return verb, purpose, and requests a second metered and estimated, the dearest first."""
    lines: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    sides: tuple[tuple[Rate, ...], ...] = (found.metered, found.estimated)
    for side, rates in enumerate(sides):
        for rate in rates:
            lines[rate.verb, rate.purpose.value][side] += rate.per_second
    rows = [(verb, purpose, was, said) for (verb, purpose), (was, said) in lines.items()]
    return sorted(rows, key=lambda row: -max(row[2], row[3]) * (0.08 if row[0] == "GET" else 1))


def row(found: Compared) -> str:
    """Return the point as a row of a Markdown table."""
    was, said = found.usd_a_month()
    off = {
        name: f"{share:+.1%}".replace("-", "\N{MINUS SIGN}").replace("%", " %")
        for name, share in found.errors().items()
    }
    missed = "" if abs(found.errors()["usd"]) <= WITHIN else " **missed**"
    slow = "" if found.kept_up else " (does not keep up)"
    return f"| {found.run}{slow} | {was:.2f} | {said:.2f} | {off['put_list']} | {off['get']} | {off['usd']}{missed} |"


def main(argv: list[str] | None = None) -> int:
    """Compare the points of some sets, print a row each, and return 1 if one misses."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", choices=[[], *SETS], help="which points; all, if none is named")
    parser.add_argument("--only", default="", help="points with this in their title")
    parser.add_argument("--jobs", type=int, default=1, help="how many to run at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--purposes", action="store_true", help="tell each verb and purpose, too")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    runs = [run for name in given.sets or SETS for run in SETS[name] if given.only in str(run)]
    with ProcessPoolExecutor(given.jobs) as pool:
        compared = pool.map(compare, [run.with_seed(given.seed) for run in runs])
        if not given.json:
            print("| run | $ a month, metered | estimated | PUT, LIST, POST | GET | dollars |")
            print("| --- | --- | --- | --- | --- | --- |")
        missed = 0
        for found in compared:
            missed += abs(found.errors()["usd"]) > WITHIN
            if given.json:
                print(
                    json.dumps({"run": str(found.run), "errors": found.errors(), "lines": by_line(found)}), flush=True
                )
                continue
            print(row(found), flush=True)
            for line in by_line(found) if given.purposes else ():
                print(f"    {line[0]:<6} {line[1]:<22} {line[2]:9.4f} {line[3]:9.4f}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
