"""``s3queue-admin status`` and ``watch``: all queues at a glance, one in detail, again and again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime

import click

from s3queue.cli.keeping import span as span_option
from s3queue.cli.options import NOT_CONNECTED, exit_code
from s3queue.cli.render import put
from s3queue.clock import to_datetime
from s3queue.errors import S3QueueError
from s3queue.text import counted
from s3queue_admin.bucket import Bucket
from s3queue_admin.cli.arguments import queue_or_all
from s3queue_admin.cli.options import Common, with_bucket, with_place
from s3queue_admin.cli.render import (
    Facts,
    ago,
    csv_text,
    data,
    dollars,
    emit,
    emit_rows,
    record,
    span,
    table,
    when,
)
from s3queue_admin.cli.telling import tell_findings
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot
from s3queue_admin.text import plain

_STATES = ("pending", "scheduled", "processing", "stalled", "dead")
_EVER = ("completed", "failed", "retried", "rescued", "died", "replayed", "discarded", "missing")
_CLEAR = "\x1b[H\x1b[2J"
"""Cursor home, erase display (ECMA-48)."""


@click.command(short_help="Show the queues, or one in detail.")
@queue_or_all
@with_bucket
def status(common: Common, queue: str | None) -> None:
    """Show all queues of the bucket, or one in detail: messages by state with their ages, workers, what needs attention.

    GET and LIST alone; a LIST per thousand objects, and a GET for each lane and worker. Exit code 5 if a queue, or a
    part of it, cannot be read; stderr says why.
    """
    with common.open(queue) as bucket:
        if queue is not None:
            found = bucket.inspect(queue)
            facts = overview(found) if common.output == "csv" else queue_facts(found)
            emit(common.output, facts, lambda: _in_detail(found))
            common.fail_if_partly({}, [found])
            return
        seen = bucket.snapshot()
    rows = [overview(each) for each in seen.queues.values()]
    emit_rows(common.output, rows, lambda: _overview_text(seen), columns=_OVERVIEW)
    common.fail_if_partly(seen.failed, seen.queues.values())


@click.command(short_help="Show the queues again and again.")
@queue_or_all
@click.option("--interval", callback=span_option, default="2", show_default=True, help="How often: 2, 30s, 5m.")
@click.option("--for", "duration", callback=span_option, default="1h", show_default=True, help="For how long.")
@click.option("--count", type=click.IntRange(1), help="How often at most.")
@with_place
def watch(common: Common, queue: str | None, interval: float, duration: float, count: int | None) -> None:
    """Show what status shows, again and again, until Ctrl-C; with what happens a second.

    What has not changed is not read again: an idle queue costs a handful of GETs a look. --output jsonl is a line for
    each queue and look, csv too; a look that fails is told on stderr, and the next is tried.
    """
    if common.output == "json":
        raise click.UsageError("This never ends, as a JSON document must: use --output jsonl, csv or table.")
    if interval <= 0:
        raise click.UsageError("--interval must be more than 0.")
    with common.open(queue) as bucket:
        show = _Screen(common, bucket, queue)
        until = bucket.clock.monotonic() + duration
        try:
            while True:
                show()
                if show.looks == count or bucket.clock.monotonic() + interval > until:
                    return
                bucket.clock.sleep(interval)
        except KeyboardInterrupt:
            return


class _Screen:
    """Writes one look after the other: over the last one on a terminal, below it elsewhere."""

    def __init__(self, common: Common, bucket: Bucket, queue: str | None) -> None:
        self._common, self._bucket, self._queue = common, bucket, queue
        self._clears = common.output == "table" and sys.stdout.isatty()
        self.looks = 0

    def __call__(self) -> None:
        self.looks += 1
        try:
            seen = self._bucket.snapshot([self._queue] if self._queue is not None else None)
        except S3QueueError as error:
            if exit_code(error) != NOT_CONNECTED:
                raise
            click.echo(f"Warning: {plain(error)}", err=True)
            return
        for name, why in seen.failed.items():
            click.echo(f"Warning: {plain(name)}: {plain(why)}", err=True)
        self._write(seen)

    def _write(self, seen: BucketSnapshot) -> None:
        rows = [_with_rates(each) for each in seen.queues.values()]
        if self._common.output == "jsonl":
            put("\n".join(json.dumps(data(row)) for row in rows))
        elif self._common.output == "csv":
            text = csv_text(_WATCHED, rows)
            put(text if self.looks == 1 else text.partition("\n")[2])
        else:
            one = len(seen.queues) == 1 and self._queue is not None
            text = _in_detail(next(iter(seen.queues.values()))) if one else _overview_text(seen)
            put((_CLEAR if self._clears else "\n" if self.looks > 1 else "") + text)
        sys.stdout.flush()


# -- all queues -------------------------------------------------------------------------------------------------------

_OVERVIEW = (
    "queue", *_STATES, "oldest_age_s", "paused", "workers", "led", "completed", "died", "errors", "warnings", "attention",
    "taken_at",
)  # fmt: skip
_WATCHED = (*_OVERVIEW, "completed_per_s", "failed_per_s", "died_per_s", "ticketed_per_s")


def overview(found: QueueSnapshot) -> Facts:
    """Return a queue in a line of facts."""
    severities = Counter(finding.severity for finding in found.findings)
    stats = found.stats
    return {
        "queue": found.queue,
        **{state: getattr(stats, state) for state in _STATES},
        "oldest_age_s": stats.oldest_age_s,
        "paused": stats.paused,
        "workers": len(found.living),
        "led": found.is_led,
        "completed": stats.completed,
        "died": stats.died,
        "errors": severities["error"],
        "warnings": severities["warning"],
        "attention": [finding.code for finding in found.findings if finding.severity != "info"],
        "taken_at": found.taken_at,
    }


def _with_rates(found: QueueSnapshot) -> Facts:
    names = ("completed", "failed", "died", "ticketed")
    return {
        **overview(found),
        **{f"{name}_per_s": getattr(found.rates, name) if found.rates else None for name in names},
    }


def _overview_text(seen: BucketSnapshot) -> str:
    columns = ["queue", "pending", "sched.", "proc.", "dead", "oldest", "workers", "attention"]
    has_rates = any(each.rates for each in seen.queues.values())
    if has_rates:
        columns.insert(-1, "done/s")
    rows = []
    for each in seen.queues.values():
        stats, facts = each.stats, overview(each)
        row = [each.queue, stats.pending, stats.scheduled, stats.processing, stats.dead]
        row += [span(stats.oldest_age_s) if stats.pending else "", len(each.living)]
        row += [each.rates.completed if each.rates else None] if has_rates else []
        rows.append((*row, ", ".join(["paused"] * stats.paused + list(facts["attention"]))))
    rows += [(name, *[""] * (len(columns) - 2), "cannot be read") for name in seen.failed]
    head = f"{plain(seen.location)}/{plain(seen.prefix)}  {when(seen.taken_at)}  {_cost(seen.took_s, seen.requests)}"
    if not rows:
        return f"{head}\n\nThere are no queues."
    return f"{head}\n\n{table(columns, rows, wide=('queue', 'attention'))}"


def _cost(took_s: float, requests: Mapping[tuple[str, str, str], int]) -> str:
    return f"({counted(sum(requests.values()), 'request')}, {span(took_s)})"


# -- one queue --------------------------------------------------------------------------------------------------------


def queue_facts(found: QueueSnapshot) -> Facts:
    """Return all that a snapshot tells of a queue, its ledgers and tickets apart."""
    return {
        **overview(found),
        "location": found.location,
        "root": found.root,
        "listed_at": found.listed_at,
        "took_s": found.took_s,
        "requests": sum(found.requests.values()),
        "usd": found.usd(),
        "settings": found.settings,
        "stats": found.stats.as_dict(),
        "spans": found.spans,
        "lanes": [
            {"number": lane.number, "coordinator": lane.coordinator, "tickets": len(lane.tickets), "bytes": lane.bytes,
             "error": lane.error}
            for lane in found.lanes
        ],
        "locks": len(found.locks),
        "schedules": len(found.schedules),
        "rates": found.rates,
        "problems": found.problems,
        "findings": found.findings,
    }  # fmt: skip


def _in_detail(found: QueueSnapshot) -> str:
    sections: list[tuple[Callable[[QueueSnapshot], str], bool]] = [
        (_head, True),
        (_messages, True),
        (_lanes, True),
        (lambda each: tell_findings(each.findings), bool(found.findings)),
    ]
    return "\n\n".join(section(found) for section, shown in sections if shown)


def _head(found: QueueSnapshot) -> str:
    chosen, stats = found.settings, found.stats
    workers = Counter(worker.state for worker in found.workers)
    facts: dict[str, object] = {
        "queue": found.queue,
        "at": f"{when(found.taken_at)}  {_cost(found.took_s, found.requests)}, {dollars(found.usd())}",
        "in": f"{found.location}/{found.root}",
        "state": "paused" if stats.paused else "running",
        "workers": ", ".join(f"{count} {state}" for state, count in sorted(workers.items())) or "none",
        "settings": f"visibility timeout {span(chosen.visibility_timeout_s)}, {counted(chosen.max_attempts, 'attempt')}, "
        f"order {chosen.order}, {counted(chosen.lanes, 'lane')}",
    }
    if found.rates:
        rates = found.rates
        facts["a second"] = (
            f"{rates.completed:.4g} completed, {rates.failed:.4g} failed, {rates.died:.4g} died; latency p50 "
            f"{span(rates.p50_ms / 1000)}, p99 {span(rates.p99_ms / 1000)}"
        )
    return record(facts)


def _messages(found: QueueSnapshot) -> str:
    now = found.taken_at
    rows = []
    for state in _STATES:
        each = found.spans.get(state)
        if each is None:
            continue
        oldest, newest = (
            span(abs((now - at).total_seconds())) if at else "" for at in (each.oldest_at, each.newest_at)
        )
        rows.append((state, each.count, oldest, newest, _AGES[state]))
    ever = {name: number for name, number in asdict(found.stats).items() if name in _EVER and number}
    told = ", ".join(f"{number:,} {name}" for name, number in ever.items()) or "nothing yet"
    return f"{table(('messages', 'now', 'oldest', 'newest', ''), rows)}\n\never: {told}"


_AGES = {
    "pending": "since visible",
    "scheduled": "until visible: the first, the last",
    "processing": "since claimed",
    "stalled": "of these past their lease",
    "dead": "since they died",
}


def _lanes(found: QueueSnapshot) -> str:
    rows = []
    for lane in found.lanes:
        leader = lane.coordinator
        who = "none" if leader is None or not leader.leads else f"{leader.worker} (term {leader.epoch})"
        states = Counter(ticket.state for ticket in lane.tickets)
        tickets = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        swept = ago(_at(lane.ledger.swept_at_ms), found.taken_at)
        rows.append((str(lane.number), who, lane.error or tickets or "none", swept, lane.bytes))
    return table(("lane", "coordinator", "tickets", "swept", "bytes"), rows, wide=("coordinator", "tickets"))


def _at(at_ms: int) -> datetime | None:
    return to_datetime(at_ms) if at_ms else None
