"""``s3queue-admin replay``, ``discard``, ``cancel`` and the like: what changes messages and queues; ``undo`` and ``audit``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from s3queue.cli.keeping import moment
from s3queue.cli.keeping import span as span_option
from s3queue.cli.options import FAILED, Command, decorate
from s3queue.clock import to_datetime
from s3queue.errors import NotFound
from s3queue_admin import actions
from s3queue_admin.actions import VERBS
from s3queue_admin.cli.acting import Consent, carry_out, with_consent
from s3queue_admin.cli.arguments import filter_argument, number_option, queue_argument, queue_or_all
from s3queue_admin.cli.messages import emit_some
from s3queue_admin.cli.options import Common, read_filter, with_bucket, with_place
from s3queue_admin.cli.render import when
from s3queue_admin.cli.telling import wrapped
from s3queue_admin.filters import Filter, parse
from s3queue_admin.frames import audit as audit_rows
from s3queue_admin.rows import Row
from s3queue_admin.text import json_text, plain

_LIMIT = 100_000


def with_choice(function: Callable[..., None]) -> Command:
    """Decorate an action on messages with how they are chosen: a filter, ``--id``, or ``--all``; and with consent."""
    limit = click.option(
        "--limit", type=click.IntRange(1, 10_000_000), default=_LIMIT, show_default=True, help="So many at most."
    )
    everything = click.option("--all", "everything", is_flag=True, help="All of them, where no filter is given.")
    ids = click.option("--id", "ids", multiple=True, metavar="ID", help="The message with this id; may be repeated.")
    chosen = (queue_argument, filter_argument, ids, everything, limit)
    return decorate(with_consent(with_place(function)), chosen)


def act(
    common: Common,
    verb: str,
    *,
    queue: str,
    where: tuple[str, ...] = (),
    ids: tuple[str, ...] = (),
    everything: bool = False,
    limit: int = _LIMIT,
    reason: str,
    dry_run: bool,
    yes: bool,
    narrowed: str = "",
    **options: Any,
) -> None:
    """Plan an action on the messages chosen and carry it out; ``narrowed``: a filter that must match, too."""
    ways = bool(where) + bool(ids) + everything
    if ways > 1 or (ids and narrowed) or not (ways or narrowed):
        raise click.UsageError("Say which: a filter, --id, or --all.")
    chosen: Filter | list[str] = list(ids) if ids else parse(narrowed) & read_filter(where)
    options = {name: value for name, value in options.items() if value is not None or name not in ("per_s", "to")}
    with common.open(queue) as bucket:
        opened = bucket.queue(queue, write=True)
        if isinstance(options.get("to"), str):
            options["to"] = bucket.queue(options["to"], write=True)
        plan = actions.plan(opened, verb, chosen, limit=limit, redactor=bucket.redactor, **options)
        carry_out(common, plan, Consent(reason, dry_run, yes))


def document(_ctx: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """Return what JSON says, wrapped so that null differs from nothing given (a callback)."""
    if text is None:
        return None
    try:
        return (json.loads(text),)
    except ValueError as error:
        raise click.BadParameter(f"this is no JSON: {error}", param=parameter) from None


def a_span(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return the span of time as a filter writes it (a callback)."""
    seconds = span_option(ctx, parameter, text)
    if seconds is not None and not 0 <= seconds < 1e9:
        raise click.BadParameter(f"{text!r} is no span of time like 5m, 1h.", ctx, parameter)
    return f"{seconds:.0f}s" if seconds is not None else None


# -- dead letters -----------------------------------------------------------------------------------------------------


@click.command(short_help="Put dead letters back.")
@click.option("--per-second", "per_s", type=float, help="So many a second at most; at once without it.")
@click.option("--to", metavar="QUEUE", help="Into another queue of the bucket, as new messages.")
@click.option("--payload", callback=document, help="With this JSON in place of the payload, as new messages.")
@click.option("--patch", callback=document, help="With the payload changed by this JSON merge patch (RFC 7396).")
@with_choice
def replay(common: Common, **options: Any) -> None:
    """Put dead letters back into the queue, their attempts reset: those that FILTER matches, --id, or --all.

    \b
    s3queue-admin replay emails error~timeout --reason mended --per-second 50
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    for name in ("payload", "patch"):
        value = options.pop(name)
        if value is not None:
            options[name] = value[0]
    act(common, "replay", **options)


@click.command(short_help="Throw dead letters away.")
@with_choice
def discard(common: Common, **options: Any) -> None:
    """Throw dead letters away: those that FILTER matches, --id, or --all; undo brings them back if versions are kept."""
    act(common, "discard", **options)


# -- messages that wait or are at work --------------------------------------------------------------------------------


@click.command(short_help="Throw messages away that wait or are at work.")
@click.option("--unclaimed", is_flag=True, help="Only those that no worker holds.")
@with_choice
def cancel(common: Common, unclaimed: bool, **options: Any) -> None:
    """Throw messages away before they are processed; a worker that holds one is refused its outcome."""
    act(common, "cancel", claimed=not unclaimed, **options)


@click.command(short_help="Give claimed messages back, without an attempt counted.")
@with_choice
def release(common: Common, **options: Any) -> None:
    """Give messages that workers hold back to the queue; no attempt is counted. Their workers are fenced off."""
    act(common, "release", **options)


@click.command(short_help="Take claimed messages from their workers.")
@click.option("--older-than", callback=a_span, metavar="SPAN", help="Claimed so long ago: 5m.")
@click.option("--lapsed", is_flag=True, help="Only those whose lease has ended.")
@with_choice
def reset(common: Common, older_than: str | None, lapsed: bool, **options: Any) -> None:
    """Take messages from workers that hold them, as from one that died; a worker that lives is fenced off."""
    act(common, "reset", narrowed=older(older_than), lapsed=lapsed, **options)


def older(span: str | None) -> str:
    """Return the filter for claims that are older than that."""
    return f"age>{span}" if span is not None else ""


@click.command(short_help="Change the priority of messages that wait.")
@click.option("--priority", "-p", type=click.IntRange(0, 9), required=True, help="0 to 9, higher first.")
@with_choice
def priority(common: Common, **options: Any) -> None:
    """Give messages that wait another priority: those that FILTER matches, --id, or --all."""
    act(common, "reprioritise", **options)


@click.command(short_help="Let messages wait longer, or not at all.")
@click.option(
    "--by", "seconds", callback=span_option, required=True, help="From now: 90, 30m, 12h; 0: visible at once."
)
@with_choice
def delay(common: Common, **options: Any) -> None:
    """Make messages that wait visible so long from now, or at once: those that FILTER matches, --id, or --all."""
    act(common, "delay", **options)


# -- queues -----------------------------------------------------------------------------------------------------------


@click.command(short_help="Stop all workers from taking messages.")
@queue_argument
@with_consent
@with_place
def pause(common: Common, queue: str, **consent: Any) -> None:
    """Refuse claims from now on, for all workers. What is claimed is finished; enqueueing goes on. It does not ask."""
    _switch(common, "pause", queue, Consent(**consent))


@click.command(short_help="Let workers take messages again.")
@queue_argument
@with_consent
@with_place
def resume(common: Common, queue: str, **consent: Any) -> None:
    """Allow claims again. It does not ask."""
    _switch(common, "resume", queue, Consent(**consent))


def _switch(common: Common, verb: str, queue: str, consent: Consent) -> None:
    with common.open(queue) as bucket:
        plan = actions.plan(bucket.queue(queue, write=True), verb, redactor=bucket.redactor)
        carry_out(common, plan, consent, asks=False)


@click.command(short_help="Throw all messages away that wait or are at work.")
@queue_argument
@click.option("--limit", type=click.IntRange(1, 10_000_000), default=_LIMIT, show_default=True, help="So many at most.")
@with_consent
@with_place
def purge(common: Common, queue: str, **options: Any) -> None:
    """Throw away every message that waits or is being processed; live claims are fenced off. Dead letters: dlq purge."""
    act(common, "cancel", queue=queue, everything=True, **options)


# -- what was done ----------------------------------------------------------------------------------------------------


@click.command(short_help="Take back what an action did, as far as that can be.")
@queue_argument
@click.argument("entry", metavar="AUDIT-ID")
@with_consent
@with_place
def undo(common: Common, queue: str, entry: str, **consent: Any) -> None:
    """Take back an action, by its id in the audit trail, as far as that can be.

    Letters discarded come from the versions that the bucket keeps; pause and resume, if nobody has changed it since.
    """
    with common.open(queue) as bucket:
        try:
            plan = actions.undo(bucket.queue(queue, write=True), entry, redactor=bucket.redactor)
        except NotFound as error:
            raise common.fail(f"There is no audit entry {entry!r}: s3queue-admin audit {queue}.", FAILED) from error
        carry_out(common, plan, Consent(**consent))


@click.command(short_help="Show what operators did.")
@queue_or_all
@click.option("--since", callback=moment, help="From when: a time (UTC), or how long ago: 90m, 7d.")
@click.option("--until", callback=moment, help="Up to when.")
@number_option
@with_bucket
def audit(common: Common, queue: str | None, since: datetime | None, until: datetime | None, number: int) -> None:
    """Show what operators did to a queue, or to all: when, who, what, where, why, and what came of it; oldest first."""
    with common.open(queue) as bucket:
        entries = actions.audit(bucket.queue(queue) if queue is not None else bucket, since=since, until=until)
        emit_some(common.output, audit_rows(entries, bucket.redactor), number, _entries)


def _entries(rows: list[Row]) -> str:
    return "\n\n".join(map(_entry, rows)) if rows else "Nothing was done."


def _entry(row: Row) -> str:
    head = f"{when(to_datetime(row['at']))}  {row['verb']} {row['queue']}: {_outcome(row)}; by {row['who']}"
    where = row["where"] or (json_text(row["options"]) if row["options"] else "")
    told = [
        where,
        f"reason: {row['reason']}" if row["reason"] else "",
        f"error: {row['error']}" if row["error"] else "",
    ]
    return "\n".join([wrapped(head), f"  {plain(row['id'])}", *(wrapped(line, "  ") for line in told if line)])


def _outcome(row: Row) -> str:
    if row["ended_at"] is None:
        return f"{row['planned']:,} meant, not ended"
    if not VERBS.get(row["verb"]) and row["verb"] != "undo":
        return "failed" if row["error"] else "done"
    counts = {"done": row["count"], "refused": row["refusals"], "unknown": row["unknown"]}
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count or what == "done")
    return told + ", stopped" * bool(row["stopped"])
