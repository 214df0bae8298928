"""``s3queue stats``, ``peek`` and ``probe``: commands that change no message."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from s3queue.cli.options import REFUSED, Common, setting, with_queue
from s3queue.cli.render import emit, record, table
from s3queue.clock import SystemClock, to_datetime
from s3queue.core.message import Message
from s3queue.ids import SystemIds
from s3queue.protocol.census import Stats


@click.command(short_help="Count messages by state.")
@with_queue
def stats(common: Common) -> None:
    """Count messages by state, from listings and the ledger: no message is read."""
    with common.open() as queue:
        found = queue.stats()
    data = {"queue": queue.name} | found.as_dict()
    emit(common.output, data, record({"queue": queue.name} | _facts(found)))


def _facts(found: Stats) -> dict[str, object]:
    """Return the numbers as a table tells them."""
    facts = found.as_dict()
    for name in ("at_ms", "latency_ms", "oldest_age_s"):
        del facts[name]
    return facts | {
        "oldest": f"{found.oldest_age_s:.1f} s",
        "at": to_datetime(found.at_ms).isoformat(timespec="seconds"),
    }


@click.command(short_help="Show messages that wait.")
@setting("--number", "-n", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many at most.")
@with_queue
def peek(common: Common, number: int) -> None:
    """Show the messages that wait, next first, without claiming them; a GET for each object they lie in."""
    with common.open() as queue:
        messages = queue.peek(number)
    columns = ("id", "enqueued", "priority", "attempts", "group", "last error", "payload")
    emit(common.output, [_message(one) for one in messages], table(columns, [_row(one) for one in messages]))


def _message(message: Message) -> dict[str, Any]:
    return asdict(message) | {"enqueued_at": _iso(message.enqueued_at_ms)}


def _row(message: Message) -> tuple[object, ...]:
    error = message.errors[-1] if message.errors else None
    return (
        message.id,
        _iso(message.enqueued_at_ms),
        message.priority,
        message.attempts,
        message.group,
        f"{error.type}: {error.message}"[:80] if error else "",
        json.dumps(message.payload, ensure_ascii=False),
    )


def _iso(at_ms: int) -> str:
    return to_datetime(at_ms).isoformat(timespec="seconds").replace("+00:00", "Z")


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
    rows = [("held" if check.ok else "BROKEN", check.name, check.evidence) for check in report.checks]
    emit(common.output, data, table(("", "check", "evidence"), rows))
    if not report.ok:
        raise common.fail(
            f"{report.location} is not safe for s3queue: {', '.join(check.name for check in report.failed)}: broken.",
            REFUSED,
        )
