"""``s3queue purge``, ``pause`` and ``resume``."""

from __future__ import annotations

import sys

import click

from s3queue.cli.options import PARTLY, REFUSED, Common, with_queue
from s3queue.cli.render import emit, record
from s3queue.errors import S3QueueError
from s3queue.queue import Queue


@click.command(short_help="Throw messages away.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dead-letters", is_flag=True, help="Throw the dead letters away too.")
@with_queue
def purge(common: Common, yes: bool, dead_letters: bool) -> None:
    """Throw away every message that waits or is being processed; live claims are fenced off.

    Asks first on a terminal; elsewhere it wants --yes. What is discarded is recorded as such before it is deleted.
    """
    with common.open() as queue:
        if not yes:
            _confirm(common, queue, dead_letters)
        gone = {"discarded": queue.truncate()}
        if dead_letters:
            try:
                gone["dead_letters"] = queue.dlq.purge()
            except S3QueueError as error:
                emit(common.output, gone, record(gone))
                raise common.fail(f"The messages are gone, but not all dead letters: {error}", PARTLY) from error
    emit(common.output, gone, record(gone))


def _confirm(common: Common, queue: Queue, dead_letters: bool) -> None:
    found = queue.stats()
    what = _counted(found.unfinished, "message")
    if dead_letters:
        what += f" and {_counted(found.dead, 'dead letter')}"
    elif found.dead:
        what += f" (not the {_counted(found.dead, 'dead letter')}: --dead-letters)"
    if not sys.stdin.isatty():
        raise common.fail(f"Throwing {what} of {queue.name!r} away was not confirmed. Give --yes.", REFUSED)
    if not click.confirm(f"Throw away {what} of {queue.name!r} for good?", err=True):
        raise common.fail("Nothing was thrown away.", REFUSED)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


@click.command(short_help="Stop all workers from taking messages.")
@with_queue
def pause(common: Common) -> None:
    """Refuse claims from now on, for all workers. What is claimed is finished; enqueueing goes on."""
    _switch(common, paused=True)


@click.command(short_help="Let workers take messages again.")
@with_queue
def resume(common: Common) -> None:
    """Allow claims again."""
    _switch(common, paused=False)


def _switch(common: Common, *, paused: bool) -> None:
    with common.open() as queue:
        (queue.pause if paused else queue.resume)()
    data = {"queue": queue.name, "paused": paused}
    emit(common.output, data, record(data))
