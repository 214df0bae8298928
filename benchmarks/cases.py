"""The cases: what is enqueued, who works on it, and what is special about its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.crew import Member, crew
from benchmarks.figures import GOAL_LATENCY_MS, GOAL_WORKERS, MESSAGES, Figures, judge, of_runs
from benchmarks.run import Run, completed, died, enqueue, measure, new_queue
from benchmarks.site import Site
from s3queue import RetryPolicy

BULK = 100
STEADY_PER_S = 100
SMALL_BACKLOG = 500
ROUNDS = 10
_SLOWEST_PER_S = 100


@dataclass(frozen=True)
class Plan:
    """What was asked for: ``messages`` is None for what the case has by itself."""

    site: Site
    workers: int = GOAL_WORKERS
    concurrency: int = 8
    messages: int | None = None

    def count(self, case: str) -> int:
        """Return how many messages the case has."""
        return self.messages or MESSAGES[case]

    def comparable(self, case: str) -> bool:
        """Whether the case runs as its goals are meant."""
        as_meant = self.workers == GOAL_WORKERS and self.site.latency_ms == GOAL_LATENCY_MS
        return as_meant and self.count(case) >= MESSAGES[case]


def _drain(plan: Plan, members: Sequence[Member], messages: int, per_call: int, *, first: int | None = None) -> Run:
    """Drain a backlog, or only the ``first`` so many messages of it, and return the run."""
    run = Run(first or messages)
    with new_queue(plan.site) as queue:
        payloads = [{"number": number} for number in range(messages)]
        run.add(enqueue(plan.site, queue, payloads, per_call))
        for member in members:
            member.ready("worker", queue.name, handler="noop", concurrency=plan.concurrency)
        return measure(plan.site, queue, members, run, done=completed, timeout_s=30 + messages / _SLOWEST_PER_S)


def bulk(plan: Plan) -> Figures:
    """Drain a backlog that was enqueued 100 messages a call."""
    with crew(plan.site, plan.workers) as members:
        return of_runs([_drain(plan, members, plan.count("bulk"), BULK)])


def singles(plan: Plan) -> Figures:
    """Drain a backlog that was enqueued message by message."""
    with crew(plan.site, plan.workers) as members:
        return of_runs([_drain(plan, members, plan.count("singles"), 1)])


def steady(plan: Plan) -> Figures:
    """Keep up with a producer of 100 messages a second, each enqueued singly, at even pace."""
    messages = plan.count("steady")
    run = Run(messages)
    with new_queue(plan.site) as queue, crew(plan.site, plan.workers + 1) as members:
        producer, *workers = members
        for member in workers:
            member.ready("worker", queue.name, handler="noop", concurrency=plan.concurrency)
        producer.ready("producer", queue.name, rate=STEADY_PER_S, count=messages)
        timeout_s = 30 + messages / STEADY_PER_S * 2
        figures = of_runs([measure(plan.site, queue, [*workers, producer], run, done=completed, timeout_s=timeout_s)])
    report = run.reports[-1]
    return figures | {
        "enqueue_p50_ms": sorted(report["enqueue_ms"])[messages // 2],
        "producer_late_ms": report["late_ms"],
    }


def backlog(plan: Plan) -> Figures:
    """Compare how fast the first messages are completed when few more lie behind them, and when very many do.

    Like with like: the same number of messages, from the same cold start, so that only what lies behind them differs. The
    last fifth of the small backlog is not waited for: with nothing left to claim, outcomes linger there by design.
    """
    large = plan.count("backlog")
    small = min(SMALL_BACKLOG, large)
    first = small * 4 // 5
    taken_s = {small: 0.0, large: 0.0}
    with crew(plan.site, plan.workers) as members:
        for _ in range(ROUNDS):  # in turn, so that what else the machine does meets both
            for lying in taken_s:
                taken_s[lying] += _drain(plan, members, lying, BULK, first=first).seconds
        run = _drain(plan, members, large, BULK)
    rates = {lying: first * ROUNDS / seconds for lying, seconds in taken_s.items()}
    return of_runs([run]) | {
        "first_messages": first,
        "first_messages_per_s_of_small": round(rates[small], 1),
        "first_messages_per_s_of_large": round(rates[large], 1),
        "rate_ratio": round(rates[large] / rates[small], 3),
        "rate_by_quarter": _by_quarter(run),
    }


def _by_quarter(run: Run) -> list[float]:
    """Return the rates at which the four quarters of the messages were completed, first to last."""
    rates, begun_s, begun = [], 0.0, 0
    for quarter in (1, 2, 3, 4):
        at_s, done = next((at, done) for at, done in run.progress if done * 4 >= run.messages * quarter)
        if done > begun:  # several quarters may end in one look
            rates.append(round((done - begun) / (at_s - begun_s), 1))
        begun_s, begun = at_s, done
    return rates


def failing(plan: Plan) -> Figures:
    """Let messages that were enqueued singly fail three times each and die, all at once: the dearest way to do it."""
    messages = plan.count("failing")
    run = Run(messages)
    retry = RetryPolicy(base_s=0.5, factor=1, cap_s=1, jitter=0.5)
    with new_queue(plan.site, max_attempts=3, retry=retry) as queue, crew(plan.site, plan.workers) as members:
        payloads = [{"number": number, "dies": True} for number in range(messages)]
        run.add(enqueue(plan.site, queue, payloads, 1))
        for member in members:
            member.ready("worker", queue.name, handler="failing", concurrency=plan.concurrency)
        measure(plan.site, queue, members, run, done=died, timeout_s=60 + messages / 10)
        letters = queue.dlq.count()
    figures = of_runs([run])
    total = figures["put_list_per_message"] + figures["get_per_message"]
    return figures | {"billed_per_dying_message": round(total, 3), "dead_letters": letters}


def memory_flat(plan: Plan) -> Figures:
    """Let one worker drain a large backlog and watch its memory."""
    with crew(plan.site, 1) as members:
        run = _drain(plan, members, plan.count("memory-flat"), BULK)
    quarter = max(1, len(run.rss_mb) // 4)
    first, last = mean(run.rss_mb[:quarter] or [0]), mean(run.rss_mb[-quarter:] or [0])
    return of_runs([run]) | {
        "rss_first_mb": round(first, 1),
        "rss_last_mb": round(last, 1),
        "rss_ratio": round(last / first, 3) if first else 0.0,
        "rss_mb": run.rss_mb,
    }


CASES: dict[str, Callable[[Plan], Figures]] = {
    "bulk": bulk,
    "singles": singles,
    "steady": steady,
    "backlog": backlog,
    "failing": failing,
    "memory-flat": memory_flat,
}


def run_case(case: str, plan: Plan) -> Figures:
    """Return the figures of a case, judged."""
    settings = {
        "case": case,
        "store": plan.site.store,
        "workers": 1 if case == "memory-flat" else plan.workers,
        "concurrency": plan.concurrency,
        "latency_ms": plan.site.latency_ms,
    }
    return settings | judge(case, CASES[case](plan), comparable=plan.comparable(case))
