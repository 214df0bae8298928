"""``s3queue-admin ls``, ``show`` and ``export``: messages that a filter matches, one with all that is known, many in a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

import click

from s3queue.cli.keeping import moment
from s3queue.cli.options import FAILED
from s3queue.cli.render import put
from s3queue.clock import to_datetime
from s3queue.core.message import AttemptError
from s3queue.protocol.viewing import MessageView, find
from s3queue.queue import Queue
from s3queue_admin.bucket import Bucket
from s3queue_admin.cli.arguments import filter_argument, message_argument, number_option, queue_argument
from s3queue_admin.cli.options import Common, read_filter, with_bucket
from s3queue_admin.cli.render import TABLE, Facts, data, emit, is_narrow, record, span, table, when
from s3queue_admin.cli.telling import explanation_facts, tell_explanation, wrapped
from s3queue_admin.exporting import FORMATS, export
from s3queue_admin.frames import history, letters, messages, tickets, workers
from s3queue_admin.grouping import LATEST_MS, fingerprint
from s3queue_admin.rows import Row, Rows
from s3queue_admin.stalls import explain
from s3queue_admin.text import json_text, lines, plain

_SINCE = {"pending": "visible_at", "scheduled": "enqueued_at", "processing": "claimed_at", "dead": "dead_at"}


@click.command(short_help="List messages that a filter matches.")
@queue_argument
@filter_argument
@number_option
@with_bucket
def ls(common: Common, queue: str, where: tuple[str, ...], number: int) -> None:
    """List the messages of a queue that FILTER matches (all, without one), state by state, oldest first; a GET an object.

    \b
    s3queue-admin ls emails state:dead error~timeout
    s3queue-admin ls emails 'age>10m attempts>=3 payload.user.id=42 NOT group:eu'
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    chosen = read_filter(where)
    with common.open(queue) as bucket:
        rows = messages(bucket, queue, chosen)
        now_ms = bucket.queue(queue).connect().lane.now_ms()
        emit_some(common.output, rows, number, lambda some: _listed(some, now_ms))


def emit_some(output: str, rows: Rows, number: int, text: Callable[[list[Row]], str]) -> None:
    """Write the first rows, ``text`` of them as the table; tell on stderr if there are more."""
    some = list(islice(rows.watched(), number + 1))
    kept, is_more = some[:number], len(some) > number
    if output == TABLE:
        put(text(kept))
    else:
        _emit_data(output, Rows(rows.schema, lambda: kept))
    if is_more:
        click.echo(f"There are more than {number:,}: --number, or s3queue-admin export.", err=True)


def _emit_data(output: str, rows: Rows) -> None:
    out = io.StringIO()
    export(rows, "csv" if output == "csv" else "jsonl", out, on_progress=None)
    text = out.getvalue().rstrip("\n")
    if output == "json":
        text = "[\n" + ",\n".join(text.splitlines()) + "\n]" if text else "[]"
    if text:
        put(text)


def _listed(rows: list[Row], now_ms: int) -> str:
    """Return a table with the columns that tell something; where there is no room, errors or payloads are in one."""
    if not rows:
        return "No message matches."
    columns = {
        "id": [row["id"] for row in rows],
        "state": [row["state"] for row in rows],
        "age": [_age(row, now_ms) for row in rows],
        "att.": [row["attempts"] for row in rows],
        "group": [row["group"] for row in rows],
        "worker": [row["worker"] for row in rows],
    }
    errors, payloads = [error_of(row) for row in rows], [json_text(row["payload"]) for row in rows]
    if is_narrow() and any(errors):
        columns["last error, or payload"] = [error or payload for error, payload in zip(errors, payloads, strict=True)]
    else:
        columns |= {"last error": errors, "payload": payloads}
    columns = {name: cells for name, cells in columns.items() if any(cells) or name == "att."}
    wide = [name for name in columns if name not in ("id", "state", "age", "att.")]
    return table(list(columns), list(zip(*columns.values(), strict=True)), wide=wide)


def _age(row: Row, now_ms: int) -> str:
    at_ms = row[_SINCE[row["state"]]] or row["enqueued_at"]
    return span((now_ms - at_ms) / 1000, 1) if at_ms else ""


def error_of(row: Row) -> str:
    """Return the last error of a row of messages or letters."""
    return f"{row['error_type']}: {row['error_message']}" if row["error_type"] else ""


# -- one message ------------------------------------------------------------------------------------------------------


@click.command(short_help="Show one message with all that is known of it.")
@queue_argument
@message_argument
@with_bucket
def show(common: Common, queue: str, message_id: str) -> None:
    """Show a message: where it lies, who has it, every attempt's error, its payload, and why it is not processed now.

    Exit code 1 if there is none: it was completed or discarded, or never was; stderr says what is known.
    """
    with common.open(queue) as bucket:
        show_message(common, bucket, queue, message_id)


def show_message(common: Common, bucket: Bucket, name: str, message_id: str) -> None:
    """Write what is known of a message; Failed if there is none."""
    queue, redactor = bucket.queue(name), bucket.redactor
    found = explain(queue, message_id)
    view = found.view
    if view is None:
        raise common.fail(f"There is no message {message_id!r} in {name!r}. {' '.join(found.why)}", FAILED)
    shown, kind = redactor.view(view), fingerprint(view)
    facts = {**message_facts(name, shown, kind), "explanation": explanation_facts(found, redactor)}
    now = to_datetime(queue.connect().lane.now_ms())
    text = [*_sections(name, shown, kind, now), tell_explanation(found, redactor), f"payload\n  {_payload(shown)}"]
    emit(common.output, facts, lambda: "\n\n".join(text))


def _payload(view: MessageView) -> str:
    return plain(json_text(view.payload))


def find_message(common: Common, queue: Queue, message_id: str) -> MessageView:
    """Return the message; Failed if it is not there."""
    view = find([agents.lane for agents in queue.connect().lanes.all()], [message_id]).get(message_id)
    if view is None:
        raise common.fail(
            f"There is no message {message_id!r} in {queue.name!r}: it was completed or discarded, or never was.",
            FAILED,
        )
    return view


def message_facts(queue: str, view: MessageView, kind: str) -> Facts:
    """Return all that is known of a message as data."""
    message = view.message
    times = {name: _at(getattr(view, f"{name}_ms")) for name in ("visible_at", "claimed_at", "expires_at", "dead_at")}
    return {
        "queue": queue,
        "id": view.id,
        "state": view.state,
        "enqueued_at": _at(message.enqueued_at_ms),
        **times,
        "priority": message.priority,
        "group": message.group,
        "attempts": message.attempts,
        "max_attempts": message.max_attempts,
        "headers": dict(message.headers),
        "worker": view.worker,
        "token": view.token,
        "assigned_to": view.assigned_to,
        "ticket": view.ticket,
        "rescues": view.rescues,
        "reason": view.reason,
        "fingerprint": kind,
        "lane": view.lane,
        "key": view.key,
        "index": view.index,
        "errors": [data(error) | {"at": data(_at(error.at_ms))} for error in view.errors],
        "payload": view.payload,
    }


def _sections(queue: str, view: MessageView, kind: str, now: datetime) -> Iterator[str]:
    message = view.message
    facts: dict[str, object] = {"id": view.id, "queue": queue, "state": view.state, "reason": view.reason}
    facts["attempts"] = f"{message.attempts}" + (f" of {message.max_attempts}" if message.max_attempts else "")
    facts |= {"priority": message.priority or None, "group": message.group, "fingerprint": kind}
    for name, at_ms in _timeline(view):
        facts[name] = _moment(at_ms, now)
    facts |= {"worker": view.worker, "token": view.token or None, "assigned to": view.assigned_to}
    facts |= {"rescues": view.rescues or None, "lies in": f"{view.key} (message {view.index})"}
    facts |= {f"header {name}": value for name, value in message.headers.items()}
    yield record({name: value for name, value in facts.items() if value not in ("", None)})
    if view.errors:
        yield "\n".join(line for error in view.errors for line in _attempt(error, now))


def _timeline(view: MessageView) -> Iterator[tuple[str, int]]:
    yield "enqueued", view.message.enqueued_at_ms
    if view.visible_at_ms != view.message.enqueued_at_ms:
        yield "visible", view.visible_at_ms
    yield from (("claimed", view.claimed_at_ms), ("lease ends", view.expires_at_ms), ("died", view.dead_at_ms))


def _moment(at_ms: int, now: datetime) -> str:
    at = _at(at_ms)
    if at is None:
        return ""
    ago = (now - at).total_seconds()
    return f"{when(at)} ({span(ago)} ago)" if ago >= 0 else f"{when(at)} (in {span(-ago)})"


def _attempt(error: AttemptError, now: datetime) -> Iterator[str]:
    yield f"attempt {error.attempt}  {_moment(error.at_ms, now)}  {plain(error.worker, 40)}"
    yield wrapped(f"{error.type}: {error.message}", "  ")
    yield from (f"    {line}" for line in lines(error.traceback).splitlines())


def _at(at_ms: int) -> datetime | None:
    return to_datetime(min(max(at_ms, 0), LATEST_MS)) if at_ms else None


# -- files ------------------------------------------------------------------------------------------------------------

_WHAT = ("messages", "letters", "history", "workers", "tickets")


@click.command("export", short_help="Write messages, dead letters, history ... into a file.")
@click.argument("what", type=click.Choice(_WHAT))
@queue_argument
@filter_argument
@click.option(
    "--to", "path", type=click.Path(dir_okay=False), help="A file; it is whole or not there.  [default: stdout]"
)
@click.option("--format", "kind", type=click.Choice(FORMATS), help="[default: by the file's name, else jsonl]")
@click.option("--since", callback=moment, help="Of history: from when, a time or how long ago.")
@click.option("--until", callback=moment, help="Of history: up to when.")
@click.option("--columns", help="Some columns alone, in this order: id,error_type,payload.")
@with_bucket
def export_command(
    common: Common,
    *,
    what: str,
    queue: str,
    where: tuple[str, ...],
    path: str | None,
    kind: str | None,
    since: datetime | None,
    until: datetime | None,
    columns: str | None,
) -> None:
    """Write rows into a CSV, JSON lines or Parquet file, in memory of a fixed size; a progress bar on a terminal.

    CSV is harmless in spreadsheets (a formula gets an apostrophe), jsonl and parquet hold texts exactly. Secrets are
    hidden in all of them, unless --show-secrets. FILTER is for messages and letters. No rows are no error; a queue that keeps
    no history is told on stderr.
    """
    if where and what not in ("messages", "letters"):
        raise click.UsageError(f"A filter chooses messages or letters, not {what}.")
    if (since or until) and what != "history":
        raise click.UsageError("--since and --until are for history.")
    chosen = read_filter(where)
    kind = kind or ("csv" if common.output == "csv" else "jsonl") if path is None else kind
    with common.open(queue) as bucket:
        if what == "history":
            rows = history(bucket, queue, since=since, until=until)
        elif what in ("workers", "tickets"):
            rows = (workers if what == "workers" else tickets)(bucket.inspect(queue))
        else:
            rows = (messages if what == "messages" else letters)(bucket, queue, chosen)
        if columns is not None:
            rows = rows.only(name.strip() for name in columns.split(","))
        done = export(rows, kind, path if path is not None else sys.stdout)
        if what == "history" and not done:
            _tell_no_history(bucket, queue)
        if path is None:
            sys.stdout.flush()
            return
    facts = {"file": path, "rows": done, "what": what, "queue": queue}
    emit(common.output, facts, lambda: record(facts), done=f"{path} is written")


def _tell_no_history(bucket: Bucket, queue: str) -> None:
    """Tell on stderr why no attempt was found: none ended then, or the queue records none."""
    told = "No attempt ended in that time, or its record has expired."
    if not bucket.queue(queue).connect().register.current().history:
        told = (
            f"{queue!r} keeps no history: `s3queue-admin configure {queue} history=true` records attempts from then on."
        )
    click.echo(f"Note: {told}", err=True)
