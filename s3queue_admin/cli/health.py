"""``s3queue-admin doctor``, ``fsck`` and ``report``: what is wrong, what contradicts the books, all of it in a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from s3queue.cli.keeping import moment
from s3queue.cli.keeping import span as span_option
from s3queue.cli.options import FAILED, NOT_CONNECTED, PARTLY
from s3queue.cli.render import put
from s3queue.text import counted
from s3queue_admin.checkup import doctor
from s3queue_admin.cli.arguments import queue_argument, queue_or_all
from s3queue_admin.cli.options import Common, need, place, with_bucket
from s3queue_admin.cli.render import TABLE, data, dollars, emit, emit_rows, record, span, when
from s3queue_admin.cli.telling import COLUMNS, finding_facts, tell_findings
from s3queue_admin.invariants import FsckReport, fsck
from s3queue_admin.snapshot import Finding
from s3queue_admin.text import plain

_UNREACHED = ("unreachable", "credentials", "store-refused")


@click.command("doctor", short_help="Say what is wrong with client, store and queues.")
@queue_or_all
@click.option("--write", is_flag=True, help="Try PUT and DELETE as well, on a key of its own.")
@click.option("--conditions", is_flag=True, help="Race writers on the store, as `s3queue probe` does.")
@click.option("--watch", callback=span_option, default="0", help="Look twice, so long apart, to see what changes: 60s.")
@with_bucket
def doctor_command(common: Common, queue: str | None, write: bool, conditions: bool, watch: float) -> None:
    """Say what keeps this client, the store or the queues from working: what was seen, and what to do; the worst first.

    GET and LIST alone, unless --write or --conditions. Exit code 0: nothing, or remarks; 5: warnings; 1: errors; 3: the
    store cannot be reached.
    """
    with common.open(queue, check=False) as bucket:
        found = doctor(bucket, queue, write=write, conditions=conditions, watch_s=watch)
        nothing = "Nothing is wrong."
        if not found and queue is None and not bucket.queue_names():
            nothing = f"Nothing is wrong, but there are no queues in {plain(place(bucket))}."
    facts = [finding_facts(each) for each in found]
    emit_rows(common.output, facts, lambda: tell_findings(found) or nothing, columns=COLUMNS)
    if any(each.code in _UNREACHED for each in found):
        raise common.fail("The store cannot be reached.", NOT_CONNECTED)
    _end(common, found)


def _end(common: Common, found: Sequence[Finding]) -> None:
    """End with the exit code that the findings stand for."""
    for severity, code in (("error", FAILED), ("warning", PARTLY)):
        count = sum(each.severity == severity for each in found)
        if count:
            raise common.fail(f"Found {counted(count, severity)}.", code)


@click.command("fsck", short_help="Check the books of a queue against the bucket.")
@queue_argument
@click.option("--deep", is_flag=True, help="Read every message, letter and reservation, too; a GET each.")
@with_bucket
def fsck_command(common: Common, queue: str, deep: bool) -> None:
    """Check the invariants of a queue on its bucket, while it is in use; reads alone.

    Exit code 0: clean; 5: warnings, something is left undone; 1: errors, something is lost, doubled or unreadable.
    """
    with common.open(queue) as bucket:
        report = fsck(bucket, queue, deep=deep)
    if common.output in (TABLE, "json"):
        facts = data(report) | {"status": report.status, "requests": sum(report.requests.values()), "usd": report.usd()}
        emit(common.output, facts, lambda: _told(report))
    else:
        emit_rows(common.output, [finding_facts(each) for each in report.findings], str, columns=COLUMNS)
    _end(common, report.findings)


def _told(report: FsckReport) -> str:
    looked = ", ".join(f"{count:,} {area}" for area, count in report.objects.items() if count) or "nothing"
    facts = {
        "queue": report.queue,
        "status": report.status,
        "at": f"{when(report.checked_at)}, in {span(report.took_s)}, {counted(report.looks, 'look')}",
        "looked at": looked,
        "requests": f"{sum(report.requests.values()):,}, {dollars(report.usd())}",
    }
    return "\n\n".join(filter(None, [record(facts), tell_findings(report.findings)]))


@click.command("report", short_help="Write a report as HTML or Markdown.")
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@click.option("--to", "path", type=click.Path(dir_okay=False), help="A file.  [default: stdout]")
@click.option(
    "--format", "kind", type=click.Choice(["html", "markdown"]), help="[default: by the file's name, else html]"
)
@click.option("--since", callback=moment, help="Where its window begins.  [default: a day before it is shown]")
@click.option("--title", default="s3queue report", show_default=True)
@click.option("--watch", callback=span_option, default="0", help="Look twice, so long apart, to tell rates: 60s.")
@with_bucket
def report_command(
    common: Common,
    *,
    queues: tuple[str, ...],
    path: str | None,
    kind: str | None,
    since: datetime | None,
    title: str,
    watch: float,
) -> None:
    """Write a report on some queues, or all: one HTML file with plots that asks for nothing else, or Markdown.

    Exit code 5 if not all could be read: the report says what.
    """
    need("jinja2", "A report")
    from s3queue_admin.reports import gather, write_up

    kind = kind or ("markdown" if (path or "").lower().endswith((".md", ".markdown")) else "html")
    with common.open(queues[0] if len(queues) == 1 else None) as bucket:
        found = gather(bucket, queues or None, since=since, watch_s=watch)
        text = write_up(found, format=kind, title=title)
    if path is None:
        put(text.rstrip("\n"))
        common.fail_if_partly(found.bucket.failed, found.bucket.queues.values())
        return
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise common.fail(f"{path!r} cannot be written: {error.strerror}.", FAILED) from error
    facts = {"file": path, "format": kind, "bytes": len(text.encode())}
    emit(common.output, facts, lambda: record(facts))
    common.fail_if_partly(found.bucket.failed, found.bucket.queues.values())
