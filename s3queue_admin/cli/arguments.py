"""Arguments that commands share, with what the shell completes them to."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from s3queue.errors import S3QueueError
from s3queue_admin.bucket import Bucket
from s3queue_admin.filters import FIELDS, completions

_PLACE = ("bucket", "url", "prefix", "endpoint_url", "region", "profile")


def _names(ctx: click.Context) -> list[str]:
    """Return the names of the queues in the bucket that the command line names so far; none if it cannot be read."""
    try:
        where: dict[str, Any] = {name: ctx.params.get(name) for name in _PLACE}
        with Bucket(**where) as bucket:
            return bucket.queue_names()
    except S3QueueError:
        return []


def _complete_queue(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in _names(ctx) if name.startswith(incomplete)]


def _complete_filter(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    values = {"queue": _names(ctx)} if incomplete.startswith("queue") else {}
    found = completions(incomplete, values=values)
    return [CompletionItem(text, help=_meaning(text)) for text in found]


def _meaning(text: str) -> str | None:
    field = FIELDS.get(text.rstrip(":~>=.!<"))
    return field.meaning if field is not None else None


queue_argument = click.argument("queue", shell_complete=_complete_queue)
queue_or_all = click.argument("queue", metavar="[QUEUE]", required=False, shell_complete=_complete_queue)
filter_argument = click.argument("where", metavar="[FILTER]...", nargs=-1, shell_complete=_complete_filter)
message_argument = click.argument("message_id", metavar="ID")
number_option = click.option(
    "--number", "-n", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="How many at most."
)
