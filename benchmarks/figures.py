"""From what runs measured to the figures that are compared: rates, requests a message, dollars, and the goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.run import Counts, Run
from s3queue.store.metered import billed, usd

Figures = dict[str, Any]

GOAL_WORKERS = 4
GOAL_LATENCY_MS = 20
FLAT = 1.10
"""Memory is flat if its mean in the last quarter is at most this much of that in the first."""


@dataclass(frozen=True)
class Goal:
    """A bound on a figure: at least or at most ``bound``."""

    figure: str
    sense: str
    bound: float

    def __str__(self) -> str:
        return f"{self.figure} {self.sense} {self.bound:g}"

    def met(self, figures: Figures) -> bool:
        """Whether the figures keep it."""
        value = figures[self.figure]
        return bool(value >= self.bound if self.sense == "≥" else value <= self.bound)


GOALS: dict[str, tuple[Goal, ...]] = {
    "bulk": (Goal("messages_per_s", "≥", 5000), Goal("put_list_per_message", "≤", 0.03)),
    "singles": (
        Goal("messages_per_s", "≥", 400),
        Goal("put_list_per_message", "≤", 1.10),
        Goal("get_per_message", "≤", 1.10),
    ),
    "steady": (Goal("put_list_per_message", "≤", 2.0),),
    "backlog": (Goal("rate_ratio", "≥", 0.8),),
    "failing": (Goal("billed_per_dying_message", "≤", 10),),
    "memory-flat": (Goal("rss_ratio", "≤", FLAT),),
}
MESSAGES = {
    "bulk": 50_000,
    "singles": 5_000,
    "steady": 3_000,
    "backlog": 50_000,
    "failing": 500,
    "memory-flat": 100_000,
}
"""How many messages a case has unless told otherwise; its goals are meant for these."""


def percentile(ascending: Sequence[int], share: float) -> int:
    """Return the value that ``share`` of all are not above; 0 of none."""
    if not ascending:
        return 0
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def per_message(counts: Counts, messages: int) -> Figures:
    """Return the requests a message and what a million messages cost."""
    sums = billed(counts)
    lost = sum(number for (_, _, outcome), number in counts.items() if outcome == "lost")
    return {
        "put_list_per_message": round(sums["put_list"] / messages, 4),
        "get_per_message": round(sums["get"] / messages, 4),
        "lost_races_per_message": round(lost / messages, 4),
        "usd_per_million": round(usd(counts) / messages * 1_000_000, 2),
    }


def of_runs(runs: Sequence[Run]) -> Figures:
    """Return the figures that every case has, of its runs taken together."""
    messages, seconds = sum(run.messages for run in runs), sum(run.seconds for run in runs)
    counts: Counts = {}
    cpu: dict[str, float] = {}
    for run in runs:
        for line, number in run.requests.items():
            counts[line] = counts.get(line, 0) + number
        for part, used in run.cpu_s.items():
            cpu[part] = round(cpu.get(part, 0.0) + used, 2)
    waits = sorted(wait for run in runs for wait in run.waits_ms)
    handling = sum(run.handling_s for run in runs)
    return {
        "messages": messages,
        "seconds": round(seconds, 3),
        "messages_per_s": round(messages / seconds, 1),
        "handlers_per_s": round(len(waits) / handling, 1) if handling else 0.0,
        **per_message(counts, messages),
        "start_p50_ms": percentile(waits, 0.50),
        "start_p99_ms": percentile(waits, 0.99),
        "attempts": len(waits),
        "commits": sum(report["commits"] for run in runs for report in run.workers),
        "by_worker": [[report["processed"] for report in run.workers] for run in runs][-1],
        "requests": {" ".join(line): number for line, number in sorted(counts.items())},
        "cpu_s": cpu,
    }


def judge(case: str, figures: Figures, *, comparable: bool) -> Figures:
    """Add ``goal`` and ``met``; None if the run was not ``comparable`` with what the goal is meant for."""
    goals = GOALS[case]
    met = all(goal.met(figures) for goal in goals) if comparable else None
    return figures | {"goal": [str(goal) for goal in goals], "met": met}
