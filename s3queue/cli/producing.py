"""``s3queue enqueue``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, Final, NoReturn

import click

from s3queue.cli.keeping import span
from s3queue.cli.options import FAILED, JSON, PARTLY, Common, headers, setting, with_coordination, with_queue
from s3queue.cli.render import emit
from s3queue.cli.streams import read_lines
from s3queue.clock import SystemClock
from s3queue.core.keys import MAX_MESSAGES_PER_OBJECT
from s3queue.errors import InvalidPayload, S3QueueError
from s3queue.options import MAX_OBJECT_BYTES

_MAX_SHOWN: Final = 60
_LINGER_S: Final = 1.0
"""How long a line may wait for others to share its PUT."""


@click.command(short_help="Put messages into the queue.")
@click.argument("payload", metavar="JSON|-")
@click.option("--lines", is_flag=True, help="Read one JSON document a line from stdin; empty lines are skipped.")
@setting("--delay", callback=span, default="0", help="How long until they become visible: 90, 30s, 10m, 1h.")
@setting("--priority", type=int, default=0, show_default=True, help="0 to 9, higher first.")
@setting("--group", help="Group the messages belong to.")
@setting("--max-attempts", type=int, help="Attempts before they are dead.  [default: the queue's]")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", callback=headers, help="May be repeated.")
@with_coordination
@with_queue
def enqueue(common: Common, payload: str, lines: bool, coordination: str | None, **options: Any) -> None:
    """Put a message, or many, into the queue and print their ids once they are durable.

    The payload is any JSON value: '{"to": "a@b.c"}', '"text"', 42; '-' reads it from stdin. With --lines, up to a
    thousand go into one PUT, or as many as came within a second. If a line is bad, the store fails on the way, or Ctrl-C
    comes, what was enqueued before stays: its ids are printed and the exit code is 5.
    """
    if lines and payload != "-":
        raise click.UsageError("--lines reads stdin: write '-' in place of the payload.")
    if lines:
        batches = _batches()
    else:
        text = _decode(_stdin().read(), "stdin") if payload == "-" else payload
        batches = iter([[parse(text, "stdin" if payload == "-" else "The payload")]])
    first = next(batches, None)
    if first is None:
        raise InvalidPayload("stdin is empty.", remedy="Write one JSON document a line.")
    with common.open(make=True, coordination=coordination) as queue:
        _enqueue(common, partial(queue.enqueue_many, **options), first, batches)


def _enqueue(
    common: Common, write: Callable[[list[Any]], list[str]], first: list[Any], batches: Iterator[list[Any]]
) -> None:
    """Enqueue batch after batch, telling the ids of each as soon as it is durable; JSON is told at the end, in any case."""
    ids: list[str] = []
    writing = 0
    try:
        batch: list[Any] | None = first
        while batch is not None:
            writing = len(batch)
            new = write(batch)
            ids += new
            writing = 0
            if common.output != JSON:
                _print(common, new, ids)
            batch = next(batches, None)
    except S3QueueError as error:
        if not ids:
            raise
        notes = " ".join(getattr(error, "__notes__", ()))
        raise common.fail(f"{_enqueued(ids)}, then: {error} {notes}".rstrip(), PARTLY) from error
    except KeyboardInterrupt:
        unsure = f" The PUT of {writing} more was under way: they may be enqueued, too." if writing else ""
        done = _enqueued(ids) if ids else "Nothing is known to be enqueued"
        raise common.fail(f"{done}, then: interrupted.{unsure}", PARTLY if ids else FAILED) from None
    finally:
        if common.output == JSON and ids:
            _print(common, ids, ids)


def _print(common: Common, ids: list[str], all_ids: list[str]) -> None:
    emit(common.output, {"ids": ids}, "\n".join(ids), done=_enqueued(all_ids))


def _enqueued(ids: list[str]) -> str:
    """Return the fact that must not be lost."""
    if len(ids) == 1:
        return f"1 message is enqueued, {ids[0]}"
    return f"{len(ids):,} messages are enqueued, {ids[0]} to {ids[-1]}"


def _batches() -> Iterator[list[Any]]:
    """Yield the documents on stdin: as many at once as go into one object, or as came within a second."""
    clock = SystemClock()
    batch: list[Any] = []
    size, began = 0, 0.0
    number = 0
    for line in read_lines(_stdin(), _LINGER_S / 4):
        if batch and clock.monotonic() - began >= _LINGER_S:
            yield batch
            batch, size = [], 0
        if line is None:
            continue
        number += 1
        text = _decode(line, f"Line {number}", bom=number == 1)
        if not text.strip():
            continue
        if batch and (len(batch) >= MAX_MESSAGES_PER_OBJECT or size + len(line) > MAX_OBJECT_BYTES // 2):
            yield batch
            batch, size = [], 0
        if not batch:
            began = clock.monotonic()
        batch.append(parse(text, f"Line {number}"))
        size += len(line)
    if batch:
        yield batch


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise InvalidPayload("stdin is closed.", remedy="Give the payload as an argument, or a file: < FILE.")
    return sys.stdin.buffer


def _decode(data: bytes, where: str, *, bom: bool = True) -> str:
    """Return the text; ``bom``: it may begin with a byte order mark, as files from Windows do."""
    try:
        return data.decode("utf-8-sig" if bom else "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"{where} is not UTF-8: {error}.", remedy="Convert it (iconv).") from None


def parse(text: str, where: str) -> Any:
    """Return the JSON value in ``text``; InvalidPayload says where it came from and what is wrong."""
    if not text.strip():
        raise InvalidPayload(f"{where} is empty.", remedy="Give a JSON value; null is one.")
    shown = text.strip() if len(text.strip()) <= _MAX_SHOWN else text.strip()[:_MAX_SHOWN] + "…"
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except RecursionError:
        raise InvalidPayload(f"{where} is nested too deeply: {shown}.", remedy="Flatten it.") from None
    except ValueError as error:
        raise InvalidPayload(
            f"{where} is not JSON ({error}): {shown}.",
            remedy="""Quote text twice: '"text"'; write objects as '{"key": "value"}'.""",
        ) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return the pairs as a dict; a key given twice would silently lose a value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found
