"""``s3queue-admin dlq``: dead letters listed, grouped by error, shown, replayed, edited, thrown away."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from s3queue.cli.options import BAD_INPUT
from s3queue.clock import to_datetime
from s3queue_admin import actions
from s3queue_admin.cli.acting import Consent, carry_out, with_consent
from s3queue_admin.cli.actions import act, discard, document, replay
from s3queue_admin.cli.arguments import filter_argument, message_argument, number_option, queue_argument
from s3queue_admin.cli.messages import emit_some, error_of, find_message, show_message
from s3queue_admin.cli.options import Common, read_filter, with_bucket, with_place
from s3queue_admin.cli.render import ago, emit_rows, is_narrow, span, table
from s3queue_admin.filters import parse
from s3queue_admin.frames import letters, matching
from s3queue_admin.grouping import ErrorGroup, group_errors
from s3queue_admin.progress import watched
from s3queue_admin.rows import Row
from s3queue_admin.text import json_text

_GROUP = ("fingerprint", "count", "title", "type", "first_at", "last_at", "sample")


@click.group(short_help="Show, group, replay, edit or discard dead letters.")
def dlq() -> None:
    """Look at the dead letters of a queue, put them back, mend them or throw them away."""


dlq.add_command(replay)
dlq.add_command(discard)


@dlq.command("list", short_help="List dead letters, oldest first.")
@queue_argument
@filter_argument
@number_option
@with_bucket
def list_letters(common: Common, queue: str, where: tuple[str, ...], number: int) -> None:
    """List the dead letters that FILTER matches, oldest first; a GET each. `dlq show` has the errors of one in full."""
    chosen = read_filter(where)
    with common.open(queue) as bucket:
        now_ms = bucket.queue(queue).connect().lane.now_ms()
        emit_some(common.output, letters(bucket, queue, chosen), number, lambda rows: _listed(rows, now_ms))


def _listed(rows: list[Row], now_ms: int) -> str:
    texts = ("last error",) if is_narrow() else ("last error", "payload")
    lines = [
        (row["id"], f"{span((now_ms - row['dead_at']) / 1000, 1)} ago", row["attempts"], row["fingerprint"],
         *(error_of(row) or row["reason"], json_text(row["payload"]))[: len(texts)])
        for row in rows
    ]  # fmt: skip
    nothing = "There are no such dead letters."
    return table(("id", "died", "att.", "kind", *texts), lines, wide=texts) if rows else nothing


@dlq.command(short_help="Count dead letters by kind of error.")
@queue_argument
@filter_argument
@with_bucket
def groups(common: Common, queue: str, where: tuple[str, ...]) -> None:
    """Count the dead letters that FILTER matches by kind of error: those that differ in numbers, ids and quotes alone are one.

    A GET each. The fingerprint chooses a kind elsewhere: s3queue-admin replay emails fingerprint:3fa0
    """
    chosen = parse("state:dead") & read_filter(where)
    with common.open(queue) as bucket:
        now = bucket.queue(queue).stats()
        views = (view for _, view in matching(bucket, queue, chosen))
        found = group_errors(watched(views, "bar", label="reading letters", total=lambda: now.dead))
        text = bucket.redactor.text
        facts = [_group(each, text) for each in found]
    now_at = to_datetime(now.at_ms)
    rows = [
        (one["fingerprint"], one["count"], ago(each.first_at, now_at), ago(each.last_at, now_at), one["title"],
         one["sample"])
        for one, each in zip(facts, found, strict=True)
    ]  # fmt: skip
    columns = ("kind", "count", "first", "last", "error", "sample")
    nothing = "There are no such dead letters."
    emit_rows(common.output, facts, lambda: table(columns, rows, wide=("error",)) if rows else nothing, columns=_GROUP)


def _group(group: ErrorGroup, text: Callable[..., str]) -> dict[str, Any]:
    facts = {name: getattr(group, name) for name in _GROUP}
    return facts | {
        "title": text(group.title, "error"),
        "type": text(group.type, "error_type"),
        "sample": group.sample.id,
    }


@dlq.command(short_help="Show one dead letter with all its errors.")
@queue_argument
@message_argument
@with_bucket
def show(common: Common, queue: str, message_id: str) -> None:
    """Show a dead letter: every attempt's error with its traceback, its payload, where it lies."""
    with common.open(queue) as bucket:
        show_message(common, bucket, queue, message_id)


@dlq.command(short_help="Throw all dead letters away.")
@queue_argument
@with_consent
@with_place
def purge(common: Common, queue: str, **consent: Any) -> None:
    """Throw all dead letters away, without reading them; undo brings them back if versions are kept."""
    with common.open(queue) as bucket:
        plan = actions.plan(bucket.queue(queue, write=True), "purge", redactor=bucket.redactor)
        carry_out(common, plan, Consent(**consent))


@dlq.command(short_help="Mend the payload of a dead letter and replay it.")
@queue_argument
@message_argument
@click.option("--payload", callback=document, help="The new payload, JSON; without it, $EDITOR is opened.")
@click.option("--to", metavar="QUEUE", help="Into another queue of the bucket.")
@with_consent
@with_place
def edit(common: Common, queue: str, message_id: str, payload: Any, to: str | None, **consent: Any) -> None:
    """Replay a dead letter with another payload, as a new message: --payload, or what is saved in $EDITOR.

    The editor shows the payload as it is, secrets included.
    """
    if payload is None:
        payload = (_edited(common, queue, message_id),)
    act(common, "replay", queue=queue, ids=(message_id,), payload=payload[0], to=to, **consent)


def _edited(common: Common, queue: str, message_id: str) -> Any:
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal for an editor: give --payload.")
    with common.open(queue) as bucket:
        before = json.dumps(find_message(common, bucket.queue(queue), message_id).payload, indent=2)
    after = click.edit(before + "\n", extension=".json")
    if after is None or not after.strip() or after.strip() == before:
        raise common.fail(
            "The payload was not changed, so nothing was done: dlq replay puts it back as it is.", BAD_INPUT
        )
    try:
        return json.loads(after)
    except ValueError as error:
        raise common.fail(f"What was saved is no JSON: {error}. Nothing was changed.", BAD_INPUT) from error
