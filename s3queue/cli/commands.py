"""All commands, gathered under ``s3queue``."""

from __future__ import annotations

import click

import s3queue
from s3queue.cli.completing import completion_of
from s3queue.cli.dead import dlq
from s3queue.cli.keeping import forget, history, result
from s3queue.cli.locking import lock
from s3queue.cli.looking import peek, probe, stats, workers
from s3queue.cli.operating import pause, purge, resume
from s3queue.cli.producing import enqueue
from s3queue.cli.scheduling import schedule
from s3queue.cli.showing import demo, presets
from s3queue.cli.working import worker


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Exit codes:
  0  done (a worker: stopped by SIGTERM or Ctrl-C, and drained)
  1  failed (a worker: stopped at once by a second signal; the demo: something was lost, or it took too long)
  2  usage, or bad input: nothing was written
  3  cannot connect: endpoint down, bucket missing, credentials or permission refused
  4  held: somebody else has the lock, and the command did not run (lock run)
  5  partly failed: some of it is done, stderr says what
  6  refused: the store breaks conditional writes, or a destructive command was not confirmed

\b
Settings come from flags, else from the environment (S3QUEUE_BUCKET, S3QUEUE_CONCURRENCY ...), else from the file
s3queue.toml in the current folder (or --config FILE). Credentials are found as the AWS CLI finds them.""",
)
@click.version_option(s3queue.__version__, prog_name="s3queue", message="%(prog)s %(version)s")
def cli() -> None:
    """A job queue whose only server is an S3 bucket."""


for _command in (
    worker, enqueue, schedule, stats, peek, dlq, purge, pause, resume, probe, presets, demo, result,
    history, forget, lock, workers, completion_of("s3queue"),
):  # fmt: skip
    cli.add_command(_command)
