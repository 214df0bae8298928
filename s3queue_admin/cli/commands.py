"""All commands, gathered under ``s3queue-admin``."""

from __future__ import annotations

from typing import Any

import click

import s3queue
from s3queue.cli.completing import completion_of
from s3queue_admin.cli.actions import (
    audit,
    cancel,
    delay,
    discard,
    pause,
    priority,
    purge,
    release,
    replay,
    reset,
    resume,
    undo,
)
from s3queue_admin.cli.configuring import configure
from s3queue_admin.cli.costing import cost
from s3queue_admin.cli.dashboard import tui
from s3queue_admin.cli.dead import dlq
from s3queue_admin.cli.deploying import deploy
from s3queue_admin.cli.health import doctor_command, fsck_command, report_command
from s3queue_admin.cli.looking import locks, schedules, tickets, workers
from s3queue_admin.cli.messages import export_command, ls, show
from s3queue_admin.cli.status import status, watch
from s3queue_admin.cli.sticking import stuck_group


class _Program(click.Group):
    """The program; tells what is meant by options that are not where they belong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _with(error, "Options stand behind the command: s3queue-admin status --bucket prod.") from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.option_name == "--at":
                text = "--at shows what was, and this is about what is now: status, ls, show and the like take it."
                raise click.UsageError(text, error.ctx) from None
            if error.ctx is not None and any(each.name == "where" for each in error.ctx.command.params):
                raise _with(error, "A filter that begins with - comes after --, or say NOT.") from None
            raise


def _with(error: click.NoSuchOption, hint: str) -> click.NoSuchOption:
    return click.NoSuchOption(error.option_name, f"{error.message} {hint}", error.possibilities, error.ctx)


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Exit codes:
  0  done; of doctor and fsck: clean
  1  failed; of doctor and fsck: errors
  2  usage, or bad input: nothing was written
  3  cannot connect: endpoint, bucket, credentials or permission
  5  partly failed, stderr says what; of doctor and fsck: warnings
  6  refused: not confirmed, a copy not to be written, versions not kept

\b
Settings come from flags, else from the environment (S3QUEUE_BUCKET ...), else
from s3queue.toml in the current folder (or --config FILE) and its table
[admin]. Credentials are found as the AWS CLI finds them.""",
)
@click.version_option(s3queue.__version__, prog_name="s3queue-admin", message="%(prog)s %(version)s")
def cli() -> None:
    """Look into the queues of a bucket, explain what is stuck, repair it, reckon what it costs."""


for _command in (
    status, watch, tui, ls, show, dlq, stuck_group, replay, discard, cancel, release, reset, priority, delay, pause, resume,
    configure,    purge, undo, audit, workers, tickets, locks, schedules, cost, doctor_command, fsck_command, report_command,
    deploy, export_command, completion_of("s3queue-admin"),
):  # fmt: skip
    cli.add_command(_command)
