"""``s3queue dlq``: dead letters, shown, put back, thrown away."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

import click

from s3queue.cli.options import PARTLY, REFUSED, Common, setting, with_queue
from s3queue.cli.render import emit, record, table, when
from s3queue.core.message import DeadLetter, Message
from s3queue.text import clean, counted

_MAX_TOLD: Final = 5
"""Refusals that an error names one by one."""

number_option = setting(
    "--number", "-n", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many at most."
)


@click.group(short_help="Show dead letters, replay or discard them.")
def dlq() -> None:
    """Look at the dead letters, put them back or throw them away. Exit code 5: some were refused, stderr says which."""


@dlq.command("list", short_help="Show dead letters, oldest first.")
@number_option
@with_queue
def list_letters(common: Common, number: int) -> None:
    """Show dead letters, oldest first; a GET each. --output json has all errors, with tracebacks."""
    show_letters(common, number)


@dlq.command(short_help="Show one dead letter with all its errors.")
@click.argument("message_id", metavar="ID")
@with_queue
def show(common: Common, message_id: str) -> None:
    """Show one dead letter with the error and the traceback of every attempt."""
    with common.open() as queue:
        letter = queue.dlq.get(message_id)
    message = letter.message
    facts: dict[str, object] = {"id": letter.id, "died": when(letter.dead_at_ms), "reason": letter.reason}
    facts |= {"enqueued": when(message.enqueued_at_ms), "attempts": message.attempts}
    lines = [record(facts), f"payload   {clean(json.dumps(letter.payload, ensure_ascii=False))}"]
    for error in letter.errors:
        head = f"attempt {error.attempt} at {when(error.at_ms)} by {error.worker}: {error.type}: {error.message}"
        lines += ["", clean(head), *(f"  {clean(line)}" for line in error.traceback.splitlines())]
    emit(common.output, _letter(letter), "\n".join(lines))


@dlq.command(short_help="Put dead letters back.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@with_queue
def replay(common: Common, ids: tuple[str, ...], everything: bool) -> None:
    """Put dead letters back into the queue, their attempts reset; name them by the ids of their messages, or --all."""
    _check_choice(ids, everything)
    with common.open() as queue:
        done = queue.dlq.replay(filter=lambda _: True) if everything else queue.dlq.replay(ids)
    emit(common.output, {"replayed": done.replayed, "refused": done.refused}, "\n".join(done.replayed))
    if done.refused:
        reasons = "; ".join(f"{name}: {why}" for name, why in islice(done.refused.items(), _MAX_TOLD))
        if (more := len(done.refused) - _MAX_TOLD) > 0:
            reasons += f"; and {more:,} more (--output json names all)"
        raise common.fail(f"{len(done.replayed)} replayed, {len(done.refused)} refused: {reasons}.", PARTLY)


@dlq.command(short_help="Throw dead letters away.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them; wants --yes.")
@click.option("--yes", is_flag=True, help="Confirm --all.")
@with_queue
def discard(common: Common, ids: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Throw dead letters away for good; name them by the ids of their messages, or --all --yes."""
    _check_choice(ids, everything)
    with common.open() as queue:
        if everything and not yes:
            raise common.fail(
                f"Throwing away {counted(queue.dlq.count(), 'dead letter')} was not confirmed. Give --yes.", REFUSED
            )
        gone = queue.dlq.purge() if everything else queue.dlq.discard(ids)
    emit(common.output, {"discarded": gone}, record({"discarded": gone}))
    if not everything and gone < len(set(ids)):
        raise common.fail(f"{gone} discarded; there is no dead letter of the other {len(set(ids)) - gone}.", PARTLY)


def _check_choice(ids: tuple[str, ...], everything: bool) -> None:
    if bool(ids) == everything:
        raise click.UsageError("Say which: ids of messages, or --all.")


def show_letters(common: Common, number: int) -> None:
    """Print up to ``number`` dead letters, oldest first."""
    with common.open() as queue:
        letters = queue.dlq.list(number)
    columns = ("id", "died", "attempts", "reason", "last error", "payload")
    emit(common.output, [_letter(one) for one in letters], table(columns, [_row(one) for one in letters]))


def _row(letter: DeadLetter) -> tuple[object, ...]:
    error, payload = last_error(letter.message), json.dumps(letter.payload, ensure_ascii=False)
    return (letter.id, when(letter.dead_at_ms), letter.message.attempts, letter.reason, error, payload)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    facts = {"dead_at_ms": letter.dead_at_ms, "dead_at": when(letter.dead_at_ms)}
    return message_facts(letter.message) | facts | {"reason": letter.reason, "source": letter.source}


def message_facts(message: Message) -> dict[str, Any]:
    """Return all that is known of a message, errors with tracebacks included."""
    return asdict(message) | {"enqueued_at": when(message.enqueued_at_ms)}


def last_error(message: Message) -> str:
    """Return type and text of the last error, cut for a table."""
    return f"{message.errors[-1].type}: {message.errors[-1].message}"[:80] if message.errors else ""
