"""``s3queue schedule``: messages that are enqueued by the clock."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from s3queue.cli.options import BAD_INPUT, Common, headers, setting, with_queue
from s3queue.cli.producing import parse
from s3queue.cli.render import emit, record, table
from s3queue.clock import iso
from s3queue.core.schedule import CATCH_UP
from s3queue.protocol.schedules import Schedule


@click.group(short_help="Enqueue messages by the clock.")
def schedule() -> None:
    """Let messages be enqueued by the clock, as long as a worker runs: cron lines, in any time zone."""


@schedule.command(short_help="Make or change a schedule.")
@click.argument("name")
@click.argument("cron")
@click.argument("payload", metavar="[JSON]", default="null")
@setting("--timezone", default="UTC", show_default=True, help="Where the clock hangs: a name such as Europe/Berlin.")
@setting("--priority", type=int, default=0, show_default=True, help="0 to 9, higher first.")
@setting("--group", help="Group the messages belong to.")
@setting("--max-attempts", type=int, help="Attempts before they are dead.  [default: the queue's]")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", callback=headers, help="May be repeated.")
@setting(
    "--catch-up",
    type=click.Choice(CATCH_UP),
    default="one",
    show_default=True,
    help="Of the ticks that were missed while no worker ran: the latest, none, or all (the last hundred).",
)
@with_queue
def add(common: Common, name: str, cron: str, payload: str, **options: Any) -> None:
    """Make the schedule NAME, or change the one of that name, and print it with the time at which it is due next.

    CRON is one argument: '0 3 * * *' is every day at three, '*/10 8-18 * * MON-FRI' every ten minutes of office hours.
    On the days that clocks change a daily job runs once all the same.
    """
    document = parse(payload, "The payload")
    with common.open(make=True) as queue:
        made = queue.schedule(name, cron=cron, payload=document, **options)
    emit(common.output, _facts(made), record(_row(made)), done=f"schedule {name} is made")


@schedule.command("list", short_help="Show the schedules.")
@with_queue
def list_schedules(common: Common) -> None:
    """Show the schedules by name, with the time at which each is due next and the last tick that was fired (UTC)."""
    with common.open() as queue:
        found = queue.schedules()
    rows = [tuple(_row(each).values()) for each in found]
    emit(common.output, [_facts(each) for each in found], table(_COLUMNS, rows))


@schedule.command(short_help="Remove a schedule.")
@click.argument("name")
@with_queue
def remove(common: Common, name: str) -> None:
    """Remove the schedule NAME; what it has enqueued stays."""
    with common.open() as queue:
        removed = queue.unschedule(name)
    if not removed:
        raise common.fail(f"There is no schedule {name!r}. `s3queue schedule list` shows which there are.", BAD_INPUT)
    emit(common.output, {"removed": name}, record({"removed": name}), done=f"schedule {name} is removed")


_COLUMNS = ("name", "cron", "timezone", "next", "last", "catch up", "payload")


def _row(found: Schedule) -> dict[str, object]:
    payload = json.dumps(found.payload, ensure_ascii=False)
    times = (_when(found.next_at), _when(found.last_at))
    cells = (found.name, found.cron, found.timezone, *times, found.catch_up, payload)
    return dict(zip(_COLUMNS, cells, strict=True))


def _facts(found: Schedule) -> dict[str, Any]:
    return asdict(found) | {"next_at": _when(found.next_at), "last_at": _when(found.last_at)}


def _when(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
