"""``s3queue-admin configure``: the settings that all processes of a queue share, shown and changed."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from s3queue.options import make_settings
from s3queue_admin import actions
from s3queue_admin.actions import Result
from s3queue_admin.cli.acting import Consent, carry_out, result_facts, with_consent
from s3queue_admin.cli.arguments import queue_argument
from s3queue_admin.cli.options import Common, with_place
from s3queue_admin.cli.render import emit, record
from s3queue_admin.cli.settings import NAMES, WORDS, facts_of, read_changes, said


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    name, equals, begun = incomplete.partition("=")
    if equals:
        return [CompletionItem(f"{name}={word}") for word in WORDS.get(name, ()) if word.startswith(begun)]
    return [CompletionItem(f"{one}=", help=meaning) for one, (_, meaning) in NAMES.items() if one.startswith(name)]


@click.command(short_help="Show the settings of a queue, or change them.")
@queue_argument
@click.argument("pairs", metavar="[NAME=VALUE]...", nargs=-1, shell_complete=_complete)
@with_consent
@with_place
def configure(common: Common, queue: str, pairs: tuple[str, ...], **consent: Any) -> None:
    """Show the settings that all processes of a queue share, or change some: they follow within seconds.

    \b
    s3queue-admin configure emails
    s3queue-admin configure emails visibility_timeout=2m max_attempts=5 lanes=auto retry.cap=1h
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    with common.open(queue) as bucket:
        opened = bucket.queue(queue, write=bool(pairs))
        now = opened.connect().register.current()
        before = facts_of(now)
        if not pairs:
            emit(common.output, {"queue": queue, **before}, lambda: record(_shown(queue, before)))
            return
        changes = read_changes(pairs, now)
        after = facts_of(make_settings(now, **changes))
        notes = [
            f"{name}: {said(name, before[name])} → {said(name, after[name])}"
            for name in after
            if before[name] != after[name]
        ]
        if not notes:
            click.echo("Nothing changes: it is so already.", err=True)
            emit(
                common.output,
                result_facts(Result("configure", queue, 0)),
                lambda: record({"queue": queue, "changed": 0}),
            )
            return
        plan = actions.plan(opened, "configure", redactor=bucket.redactor, **changes)
        carry_out(common, plan, Consent(**consent), notes=notes)


def _shown(queue: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"queue": queue, **{name: said(name, value) for name, value in settings.items()}}
