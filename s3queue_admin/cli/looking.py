"""``s3queue-admin workers``, ``tickets``, ``locks`` and ``schedules``: parts of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields

import click

from s3queue.protocol.locks import LockInfo
from s3queue.protocol.schedules import Schedule
from s3queue_admin.cli.arguments import queue_or_all
from s3queue_admin.cli.messages import emit_some
from s3queue_admin.cli.options import Common, with_bucket
from s3queue_admin.cli.render import ago, emit_rows, table, when
from s3queue_admin.frames import tickets as ticket_rows
from s3queue_admin.frames import workers as worker_rows
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot, TicketView, WorkerView
from s3queue_admin.text import Redactor, json_text

_ALL = 1_000_000
Line = tuple[object, ...]


@contextmanager
def _look(common: Common, queue: str | None) -> Iterator[tuple[BucketSnapshot, Redactor]]:
    """Yield the queues, or the one, and what hides secrets; afterwards Failed if not all could be read."""
    with common.open(queue) as bucket:
        seen = bucket.snapshot([queue] if queue is not None else None)
        yield seen, bucket.redactor
    common.fail_if_partly(seen.failed, seen.queues.values())


def _text(
    seen: BucketSnapshot,
    queue: str | None,
    columns: Sequence[str],
    lines: Callable[[QueueSnapshot], Iterable[Line]],
    *,
    wide: Sequence[str],
    nothing: str,
) -> Callable[[], str]:
    """Return what makes the table: with a column for the queue, if it is of several."""

    def make() -> str:
        rows = [(each.queue, *line) for each in seen.queues.values() for line in lines(each)]
        if not rows:
            return nothing
        if queue is not None:
            return table(columns, [row[1:] for row in rows], wide=wide)
        return table(("queue", *columns), rows, wide=("queue", *wide))

    return make


@click.command(short_help="Show who works.")
@queue_or_all
@with_bucket
def workers(common: Common, queue: str | None) -> None:
    """Show who works on a queue, or on all, by heartbeats and ledgers; a GET each.

    late: the heartbeat is overdue; dead: so long that what it holds is rescued; unlisted: a ledger knows it and the registry
    does not, as receive() and bursts.
    """
    columns = ("worker", "state", "beat", "lanes", "leads", "held", "done", "failed", "host")
    with _look(common, queue) as (seen, _):
        text = _text(seen, queue, columns, _workers, wide=("worker", "host"), nothing="Nobody works.")
        emit_some(common.output, worker_rows(seen), _ALL, lambda _: text())


def _workers(snapshot: QueueSnapshot) -> Iterable[Line]:
    return (_worker(snapshot, view) for view in snapshot.workers)


def _worker(snapshot: QueueSnapshot, view: WorkerView) -> Line:
    own = view.presence
    lanes = ",".join(map(str, own.lanes)) if own else ""
    who = (view.worker, view.state, ago(view.beat_at, snapshot.taken_at), lanes, ",".join(map(str, view.leads)))
    return (*who, view.claimed, *((own.processed, own.failed, own.host) if own else (None, None, "")))


@click.command(short_help="Show the tickets of the ledgers.")
@queue_or_all
@with_bucket
def tickets(common: Common, queue: str | None) -> None:
    """Show what the ledgers know to be there: available to all, assigned to a worker, claimed, or stalled past its lease."""
    columns = ("lane", "ticket", "state", "size", "worker", "claimed", "lease ends", "rescues")
    with _look(common, queue) as (seen, _):
        text = _text(seen, queue, columns, _tickets, wide=("worker",), nothing="There are no tickets.")
        emit_some(common.output, ticket_rows(seen), _ALL, lambda _: text())


def _tickets(snapshot: QueueSnapshot) -> Iterable[Line]:
    return (_ticket(snapshot, view) for view in snapshot.tickets)


def _ticket(snapshot: QueueSnapshot, view: TicketView) -> Line:
    claimed, ends = (ago(at, snapshot.taken_at) for at in (view.claimed_at, view.expires_at))
    return (str(view.lane), view.id, view.state, view.size, view.worker, claimed, ends, view.rescues)


@click.command(short_help="Show who holds which lock.")
@queue_or_all
@with_bucket
def locks(common: Common, queue: str | None) -> None:
    """Show the locks that are held, by name. One that has expired may be taken by others; `s3queue lock release` frees it."""
    names = [item.name for item in fields(LockInfo)]
    columns = ("lock", "holder", "token", "acquired", "expires")
    with _look(common, queue) as (seen, _):
        facts = [
            {"queue": each.queue, **{name: getattr(one, name) for name in names}}
            for each in seen.queues.values()
            for one in each.locks
        ]
        text = _text(seen, queue, columns, _locks, wide=("lock", "holder"), nothing="No lock is held.")
        emit_rows(common.output, facts, text, columns=("queue", *names))


def _locks(snapshot: QueueSnapshot) -> Iterable[Line]:
    for one in snapshot.locks:
        acquired, expires = (ago(at, snapshot.taken_at) for at in (one.acquired_at, one.expires_at))
        yield (one.name, one.holder, str(one.token), acquired, expires)


@click.command(short_help="Show the schedules.")
@queue_or_all
@with_bucket
def schedules(common: Common, queue: str | None) -> None:
    """Show the schedules by name, with the time at which each is due next and that of the last tick fired (UTC)."""
    names = [item.name for item in fields(Schedule)]
    columns = ("schedule", "cron", "timezone", "next", "last", "payload")
    with _look(common, queue) as (seen, redactor):

        def lines(snapshot: QueueSnapshot) -> Iterable[Line]:
            for one in snapshot.schedules:
                payload = json_text(redactor.value(one.payload, "payload"))
                yield (one.name, one.cron, one.timezone, when(one.next_at) or "never", when(one.last_at), payload)

        facts = [
            {"queue": each.queue, **{name: redactor.value(getattr(one, name), name) for name in names}}
            for each in seen.queues.values()
            for one in each.schedules
        ]
        text = _text(seen, queue, columns, lines, wide=("schedule", "payload"), nothing="There are no schedules.")
        emit_rows(common.output, facts, text, columns=("queue", *names))
