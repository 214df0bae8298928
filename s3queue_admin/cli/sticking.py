"""``s3queue-admin stuck``: what does not get on and why, and getting it going."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import click

from s3queue.cli.keeping import span as span_option
from s3queue.text import counted
from s3queue_admin.cli.acting import Consent, carry_out, with_consent
from s3queue_admin.cli.arguments import message_argument, queue_argument
from s3queue_admin.cli.options import Common, with_bucket, with_place
from s3queue_admin.cli.render import ago, emit, emit_rows, record, when
from s3queue_admin.cli.telling import explanation_facts, tell_explanation, wrapped
from s3queue_admin.snapshot import QueueSnapshot
from s3queue_admin.stalls import Stuck, explain, recovery, stuck


@click.group("stuck", short_help="Say what is stuck and why; get it going.")
def stuck_group() -> None:
    """Say what does not get on and why, with evidence and remedy; take back what dead workers have left."""


@stuck_group.command("list", short_help="List what is stuck.")
@queue_argument
@click.option(
    "--held", callback=span_option, help="How long a living worker may have a message.  [default: 5m, or more]"
)
@with_bucket
def list_stuck(common: Common, queue: str, held: float | None) -> None:
    """List what is stuck: tickets by cause, and lanes whose messages wait; errors first, the longest first."""
    limit = timedelta(seconds=held) if held is not None else None
    with common.open(queue) as bucket:
        snapshot = bucket.inspect(queue)
    found = stuck(snapshot, held=limit)
    names = [item.name for item in fields(Stuck)]
    facts = [{"queue": queue, **{name: getattr(each, name) for name in names}} for each in found]
    emit_rows(common.output, facts, lambda: _told(found, snapshot), columns=("queue", *names))
    common.fail_if_partly({}, [snapshot])


def _told(found: list[Stuck], snapshot: QueueSnapshot) -> str:
    return "\n\n".join(_one(each, snapshot) for each in found) or "Nothing is stuck."


def _one(each: Stuck, snapshot: QueueSnapshot) -> str:
    what = f"ticket {each.ticket}" if each.ticket else f"lane {each.lane}"
    told = f"{what}, {counted(each.messages, 'message')}, {ago(each.since, snapshot.taken_at)}"
    lines = [f"{each.severity.upper()} {each.title} [{each.code}] {told}", each.evidence, f"→ {each.remedy}"]
    return "\n".join([wrapped(lines[0]), *(wrapped(line, "  ") for line in lines[1:])])


@stuck_group.command("explain", short_help="Say why one message is not processed.")
@queue_argument
@message_argument
@with_bucket
def explain_command(common: Common, queue: str, message_id: str) -> None:
    """Say what state a message is in and why it is not processed now: cause, evidence, remedy."""
    with common.open(queue) as bucket:
        found, redactor = explain(bucket.queue(queue), message_id), bucket.redactor
    facts = {"queue": queue, **explanation_facts(found, redactor)}
    head = {name: facts[name] for name in ("id", "queue", "state")}
    if found.since is not None:
        head["since"] = when(found.since)
    emit(common.output, facts, lambda: f"{record(head)}\n\n{tell_explanation(found, redactor)}")


@stuck_group.command(short_help="Take back what dead workers hold.")
@queue_argument
@click.option("--older-than", callback=span_option, required=True, help="Whose lease ended so long ago: 5m, 1h.")
@with_consent
@with_place
def reset(common: Common, queue: str, older_than: float, **consent: Any) -> None:
    """Take messages back whose lease ended so long ago, or that a dead worker has held as long; each counts as an attempt.

    A worker that lives loses none. `s3queue-admin reset` takes messages from the living, too.
    """
    with common.open(queue) as bucket:
        opened = bucket.queue(queue, write=True)
        carry_out(common, recovery(opened, older_than=older_than, redactor=bucket.redactor), Consent(**consent))
