"""``s3queue stats``, ``workers``, ``peek`` and ``probe``: commands that change no message."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

import click

from s3queue.cli.dead import last_error, message_facts, number_option, show_letters
from s3queue.cli.options import REFUSED, Common, with_coordination, with_queue
from s3queue.cli.render import emit, record, table, when
from s3queue.clock import SystemClock
from s3queue.core.message import Message
from s3queue.ids import SystemIds
from s3queue.protocol.census import Stats
from s3queue.protocol.roster import WorkerInfo
from s3queue.text import clean, cut

_NOW = ("pending", "scheduled", "processing", "stalled", "dead")
_EVER = ("completed", "failed", "retried", "rescued", "died", "replayed", "discarded", "missing")
_EVIDENCE = 60
"""Columns of a table that the evidence of a check may take; JSON has all of it."""


@click.command(short_help="Count messages by state.")
@with_queue
def stats(common: Common) -> None:
    """Count messages by state, from listings and the ledger: no message is read.

    \b
    Now:
      pending      visible, claimed by nobody; oldest (in JSON oldest_age_s): how long the first of them has waited
      scheduled    visible later, retries included
      processing   claimed; of these stalled: the claim ran out, another worker will take them
      dead         in the dead letter queue
    \b
    Ever, since the queue was made:
      completed    messages
      failed       attempts, not messages: one that fails three times counts three
      retried      attempts that failed and were scheduled again
      rescued      messages taken from a worker that died or was too slow
      died         messages that became dead letters; dead is how many of these lie there now
      replayed     dead letters put back
      discarded    messages thrown away
      missing      messages whose object somebody else had deleted
    \b
    JSON alone:
      latency_ms   completed messages by the time from enqueue to completion: {"256": 7} is 7 in over 128, up to 256 ms
      at_ms        when, in ms since 1970, by the clock of the store
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    with common.open() as queue:
        found = queue.stats()
    data = {"queue": queue.name} | found.as_dict()
    emit(common.output, data, record({"queue": queue.name} | _facts(found)))


def _facts(found: Stats) -> dict[str, object]:
    """Return the numbers as a table tells them."""
    facts = found.as_dict()
    now = {name: facts[name] for name in _NOW} | {"oldest": f"{found.oldest_age_s:.1f} s"}
    ever = {name: facts[name] for name in _EVER}
    return (
        {"paused": found.paused, "at": when(found.at_ms), "now": None}
        | {f"  {name}": value for name, value in now.items()}
        | {"ever": None}
        | {f"  {name}": value for name, value in ever.items()}
    )


@click.command(short_help="Show who works on the queue.")
@with_coordination
@with_queue
def workers(common: Common, coordination: str | None) -> None:
    """Show who works on the queue, by the heartbeats of the registry; a GET each.

    An idle worker writes one in ten minutes. It is dead when it has missed some, and others take what it holds. With
    --coordination redis, *present* says who was there within the last 15 seconds, which is fresher.
    """
    with common.open(coordination=coordination) as queue:
        found = queue.workers()
    columns = ("worker", "host", "pid", "lanes", "heartbeat", "dead", "present", "held", "processed", "failed")
    facts = [asdict(one) | {"beat_at": _moment(one.beat_at), "started_at": _moment(one.started_at)} for one in found]
    emit(common.output, facts, table(columns, [_worker(one) for one in found]))


def _worker(one: WorkerInfo) -> tuple[object, ...]:
    lanes = ",".join(map(str, one.lanes))
    who = (one.worker, one.host, str(one.pid), lanes, _moment(one.beat_at), one.dead, one.present)
    return (*who, one.held, one.processed, one.failed)


def _moment(at: datetime) -> str:
    return when(round(at.timestamp() * 1000))


@click.command(short_help="Show messages that wait, or dead letters.")
@number_option
@click.option("--dead", is_flag=True, help="Show the dead letters, oldest first (`s3queue dlq` does more).")
@with_queue
def peek(common: Common, number: int, dead: bool) -> None:
    """Show the messages that wait, next first, without claiming them; a GET for each object they lie in.

    With --dead: the dead letters, a GET each. --output json has all errors, with tracebacks.
    """
    if dead:
        show_letters(common, number)
        return
    with common.open() as queue:
        messages = queue.peek(number)
    columns = ("id", "enqueued", "priority", "attempts", "group", "last error", "payload")
    emit(common.output, [message_facts(one) for one in messages], table(columns, [_row(one) for one in messages]))


def _row(message: Message) -> tuple[object, ...]:
    return (
        message.id,
        when(message.enqueued_at_ms),
        message.priority,
        message.attempts,
        message.group,
        last_error(message),
        json.dumps(message.payload, ensure_ascii=False),
    )


@click.command(short_help="Test whether the store keeps its conditions.")
@with_queue
def probe(common: Common) -> None:
    """Race real conditional writes on the store, on keys of its own, and show what held.

    Exit code 6 if something did not: s3queue does not run on such a store. --queue is not needed.
    """
    from s3queue.store.probe import probe as run_probe  # the demo and workers never come here

    store, prefix = common.store()
    try:
        report = run_probe(store, prefix, ids=SystemIds(), clock=SystemClock())
    finally:
        store.close()
    data = {
        "location": report.location,
        "ok": report.ok,
        "requests": report.requests,
        "checks": [asdict(check) for check in report.checks],
    }
    rows = [
        ("held" if check.ok else "BROKEN", check.name, cut(clean(check.evidence), _EVIDENCE)) for check in report.checks
    ]
    emit(common.output, data, table(("", "check", "evidence"), rows))
    if not report.ok:
        raise common.fail(
            f"{report.location} is not safe for s3queue: {', '.join(check.name for check in report.failed)}: broken.",
            REFUSED,
        )
