"""Snapshots as a notebook shows them: HTML of what is known already, nothing is asked of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from s3queue.protocol.census import STATES
from s3queue.text import counted
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot, WorkerView
from s3queue_admin.text import html

MOST_ROWS: Final = 20
"""Rows of a table; how many more there are is told below it."""
_WIDTH: Final = 80
_FINISHED: Final = ("completed", "failed", "retried", "rescued", "died", "discarded")
_NUMBER: Final = "text-align:right"
# No formulas: what a stranger wrote between dollar signs is none.
_BOX: Final = '<div class="tex2jax_ignore mathjax_ignore" style="font-variant-numeric:tabular-nums">'


def queue_html(snapshot: QueueSnapshot) -> str:
    """Return a queue as HTML: messages by state, what became of others, workers, coordinators, problems; all escaped."""
    stats = snapshot.stats
    head = f"<h4>{html(snapshot.queue, _WIDTH)}{' (paused)' if stats.paused else ''}</h4>" + _scope(
        snapshot.location, snapshot.taken_at, snapshot.took_s, sum(snapshot.requests.values())
    )
    states = [
        (state, span.count, _when(span.oldest_at), _when(span.newest_at)) for state, span in snapshot.spans.items()
    ]
    done = [(name, getattr(stats, name)) for name in _FINISHED]
    parts = [
        _table(("state", "messages", "oldest", "newest"), states),
        _table(("since the queue was made", "count"), done),
        _table(("worker", "state", "claimed", "processed", "failed", "heartbeat"), map(_worker, snapshot.workers)),
    ]
    if snapshot.rates is not None:
        rates = snapshot.rates
        facts = [("completed", rates.completed), ("failed", rates.failed), ("died", rates.died)]
        parts.append(_table((f"in the last {rates.seconds:.0f} s", "a second"), [(n, f"{v:.1f}") for n, v in facts]))
    findings = [(each.severity, each.title, each.evidence, each.remedy) for each in snapshot.findings]
    parts.insert(0, _table(("", "needs attention", "seen", "remedy"), findings))
    problems = [(each.part, each.key, each.error) for each in snapshot.problems]
    parts.append(_table(("not read", "key", "why"), problems))
    return f"{_BOX}{head}{''.join(parts)}</div>"


def bucket_html(snapshot: BucketSnapshot) -> str:
    """Return a bucket as HTML: a row for each queue, and those that could not be read; all escaped."""
    head = f"<h4>{html(snapshot.location, _WIDTH)} {html(snapshot.prefix, _WIDTH)}</h4>" + _scope(
        counted(len(snapshot.queues), "queue"), snapshot.taken_at, snapshot.took_s, sum(snapshot.requests.values())
    )
    rows = [
        (
            name,
            *(getattr(each.stats, state) for state in STATES),
            each.stats.stalled,
            len(each.living),
            len(each.problems),
        )
        for name, each in snapshot.queues.items()
    ]
    columns = ("queue", *STATES, "stalled", "workers", "problems")
    failed = _table(("not read", "why"), snapshot.failed.items())
    return f"{_BOX}{head}{_table(columns, rows)}{failed}</div>"


def _scope(what: str, taken_at: datetime, took_s: float, requests: int) -> str:
    return f"<p>{html(what, _WIDTH)}, {_when(taken_at)}, read in {took_s:.1f} s by {counted(requests, 'request')}</p>"


def _worker(view: WorkerView) -> tuple[object, ...]:
    own = view.presence
    counts = (own.processed, own.failed) if own else ("", "")
    return (view.worker, view.state, view.claimed, *counts, _when(view.beat_at))


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, '' without rows; of many rows the first."""
    known = list(rows)
    if not known:
        return ""
    head = "".join(f"<th>{html(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in known[:MOST_ROWS])
    more = f"<p>… and {len(known) - MOST_ROWS:,} more</p>" if len(known) > MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td style="{_NUMBER}">{value:,}</td>'
    return f"<td>{html(value, _WIDTH)}</td>"
