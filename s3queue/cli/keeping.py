"""``s3queue result``, ``history`` and ``forget``: what is kept beside the messages, for a while."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from s3queue.cli.options import REFUSED, Common, with_queue
from s3queue.cli.render import emit, record, table, when
from s3queue.clock import SystemClock, to_datetime
from s3queue.core.kept import HistoryRecord
from s3queue.text import clean

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(\d{1,9})([smhd])")


def moment(ctx: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return a time as an aware datetime: ISO 8601 (UTC unless it says otherwise), or how long ago (a callback)."""
    if text is None:
        return None
    ago = text.strip().removesuffix("ago").rstrip()
    try:
        if _SPAN.fullmatch(ago):
            return to_datetime(SystemClock().now_ms()) - timedelta(seconds=span(ctx, parameter, ago) or 0)
        at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither a time (UTC, or with its zone) like 2026-01-31T07:00 or 2026-01-31T07:00+02:00, nor how "
            "long ago, like 90m, 12h, 7d.",
            ctx,
            parameter,
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def span(ctx: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Return a span of time in seconds: 90m, 12h, 7d, or a number of seconds (a callback)."""
    if text is None:
        return None
    if found := _SPAN.fullmatch(text):
        return float(int(found[1]) * _UNITS[found[2]])
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no span of time like 90m, 12h, 7d or 3600.", ctx, parameter) from None


@click.command(short_help="Show what the handler returned for a message.")
@click.argument("message_id", metavar="ID")
@click.option("--wait", callback=span, default="0", help="How long to wait for it: 30s, 10m, 1h.")
@with_queue
def result(common: Common, message_id: str, wait: float) -> None:
    """Show what the handler returned for a message, as JSON, in queues that keep results.

    Exit code 1 if there is none; stderr says why: not yet completed, dead, too old, or the queue keeps none.
    """
    with common.open() as queue:
        value = queue.result(message_id, wait=wait)
    emit(common.output, {"id": message_id, "value": value}, clean(json.dumps(value, ensure_ascii=False)))


@click.command(short_help="Show the attempts that ended.")
@click.option("--since", callback=moment, default="1h", show_default=True, help="From when: a time, or how long ago.")
@click.option("--until", callback=moment, help="Up to when.  [default: now]")
@click.option(
    "--number", "-n", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="How many at most."
)
@with_queue
def history(common: Common, since: datetime, until: datetime | None, number: int) -> None:
    """Show the attempts that ended, oldest first, in queues that keep history; a GET for a thousand.

    \b
    wait      from when the message was visible until its handler began
    run       how long that ran
    outcome   completed; retry: failed, to be tried again; dead: failed for good
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    with common.open() as queue:
        found = list(queue.history(since=since, until=until, limit=number))
        if not found and not queue.connect().register.current().history:
            click.echo(
                f"Note: {queue.name!r} keeps no history: `s3queue-admin configure {queue.name} history=true` records attempts "
                "from then on.",
                err=True,
            )
    columns = ("ended", "id", "attempt", "outcome", "wait ms", "run ms", "worker", "error")
    emit(common.output, [_facts(one) for one in found], table(columns, [_row(one) for one in found]))


def _facts(one: HistoryRecord) -> dict[str, Any]:
    return asdict(one) | {"ended_at": when(one.ended_at_ms)}


def _row(one: HistoryRecord) -> tuple[object, ...]:
    error = f"{one.error_type}: {one.error}"[:80] if one.error_type else ""
    return (when(one.ended_at_ms), one.id, one.attempt, one.outcome, one.wait_ms, one.run_ms, one.worker, error)


@click.command(short_help="Forget deduplication keys.")
@click.option("--older-than", callback=span, help="Only those reserved longer ago: 90m, 12h, 7d.")
@click.option("--yes", is_flag=True, help="Confirm that all are forgotten.")
@with_queue
def forget(common: Common, older_than: float | None, yes: bool) -> None:
    """Forget deduplication keys, so that messages can be enqueued again under them before their time is over.

    All of them, which wants --yes, or those --older-than a span of time.
    """
    if older_than is None and not yes:
        raise common.fail("Forgetting all deduplication keys was not confirmed. Give --yes, or --older-than.", REFUSED)
    with common.open() as queue:
        gone = {"forgotten": queue.clear_processed_cache(older_than)}
    emit(common.output, gone, record(gone))
