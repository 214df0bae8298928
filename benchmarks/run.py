"""One measured run: a crew works on a queue until the ledger says that all is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from benchmarks.crew import Member
from benchmarks.handlers import now_ms
from benchmarks.part import Report, requests_of
from benchmarks.site import Site, cpu_s, rss_mb
from s3queue import Queue
from s3queue.core.ledger import Ledger

POLL_S = 0.1
LAST_POLL_S = 0.02
LAST_MESSAGES = 1000
_RSS_S = 0.5
_numbers = count(1)

Counts = dict[tuple[str, str, str], int]


class Unfinished(Exception):
    """A run did not come to its end in time, or a part of it failed."""


@dataclass
class Run:
    """What one run measured. ``progress``: (seconds since the start, messages done); ``rss_mb``: of the first worker."""

    messages: int
    seconds: float = 0.0
    started_ms: int = 0
    requests: Counts = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    progress: list[tuple[float, int]] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def workers(self) -> list[Report]:
        """The reports of the workers."""
        return [report for report in self.reports if report["kind"] == "worker"]

    @property
    def waits_ms(self) -> list[int]:
        """Milliseconds from enqueue (or the start of the clock) to the start of the handler, ascending."""
        return sorted(wait for report in self.workers for wait in report["waits_ms"])

    @property
    def handling_s(self) -> float:
        """Seconds from the first start of a handler to the last end of one."""
        busy = [report for report in self.workers if report["first_start_ms"]]
        if not busy:
            return 0.0
        first = min(report["first_start_ms"] for report in busy)
        return float(max(report["last_end_ms"] for report in busy) - first) / 1000

    def add(self, requests: list[Any]) -> None:
        """Count the requests of a part."""
        for verb, area, outcome, number in requests:
            line = (verb, area, outcome)
            self.requests[line] = self.requests.get(line, 0) + number


def new_queue(site: Site, **settings: Any) -> Queue:
    """Make a queue of its own for a run and return it, opened past the proxy: what it asks for is not measured."""
    queue = site.near.queue(f"run-{next(_numbers)}", **settings)
    queue.connect()
    return queue


def enqueue(site: Site, queue: Queue, payloads: Sequence[Any], per_call: int) -> list[Any]:
    """Enqueue a backlog past the proxy and return the requests, which count all the same."""
    producer = site.near.queue(queue.name)
    producer.connect()
    for start in range(0, len(payloads), per_call):
        producer.enqueue_many(payloads[start : start + per_call])
    requests = requests_of(producer)
    producer.close()
    return requests


def measure(
    site: Site,
    queue: Queue,
    crew: Sequence[Member],
    run: Run,
    *,
    done: Callable[[Ledger], int],
    timeout_s: float,
) -> Run:
    """Let a crew that is ready begin, wait until ``done(ledger)`` reaches ``run.messages``, and stop it."""
    before = {part: cpu_s(pid) for part, pid in site.pids.items()}
    run.started_ms = now_ms()
    for member in crew:
        member.go()
    try:
        _watch(queue, crew, run, done, timeout_s)
    finally:
        run.reports += [member.stop() for member in crew]
    for report in run.reports:
        run.add(report["requests"])
        if site.in_processes:
            kind = f"{report['kind']}s"
            run.cpu_s[kind] = round(run.cpu_s.get(kind, 0.0) + report["cpu_s"], 2)
        if report["error"]:
            raise Unfinished(f"A {report['kind']} failed: {report['error']}")
    for part, used in before.items():
        run.cpu_s[part] = round(cpu_s(site.pids[part]) - used, 2)
    return run


def _watch(queue: Queue, crew: Sequence[Member], run: Run, done: Callable[[Ledger], int], timeout_s: float) -> None:
    committer = queue.connect().lane.committer
    started = time.monotonic()
    rss_due = started
    while True:
        committer.read()
        now = time.monotonic()
        reached = done(committer.ledger)
        run.progress.append((round(now - started, 3), reached))
        if reached >= run.messages:
            run.seconds = now - started
            return
        if now - started > timeout_s:
            raise Unfinished(
                f"After {timeout_s:.0f} s {reached} of {run.messages} messages of {queue.name} were done: "
                f"{queue.stats().as_dict()}"
            )
        if now >= rss_due and crew[0].pid:
            run.rss_mb.append(round(rss_mb(crew[0].pid), 1))
            rss_due = now + _RSS_S
        time.sleep(LAST_POLL_S if run.messages - reached <= LAST_MESSAGES else POLL_S)


def completed(ledger: Ledger) -> int:
    """Return how many messages have completed."""
    return ledger.counters.get("completed", 0)


def died(ledger: Ledger) -> int:
    """Return how many messages have completed or lie among the dead letters, nothing left to be moved."""
    dead = ledger.counters.get("dead", 0)
    return completed(ledger) + (0 if ledger.outbox else dead)
