"""``s3queue demo`` and ``s3queue presets``."""

from __future__ import annotations

from typing import Any

import click

from s3queue.cli.options import FAILED, Failed, with_manners
from s3queue.cli.render import emit, table
from s3queue.presets import COLUMNS, PRESETS, as_data, rows


@click.command(short_help="See it at work: real messages, real workers, one of them killed.")
@click.option(
    "--store",
    type=click.Choice(["ministack", "file"]),
    default="ministack",
    show_default=True,
    help="An S3 server of its own on 127.0.0.1, or a folder.",
)
@click.option("--messages", type=click.IntRange(10, 1_000_000), default=2000, show_default=True)
@click.option("--workers", type=click.IntRange(2, 64), default=3, show_default=True, help="Worker processes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides which messages fail.")
@click.option("--timeout", type=click.FloatRange(min=1), default=90.0, show_default=True, help="Seconds, all in all.")
@click.option("--keep", is_flag=True, help="Keep the folder with the greetings, the logs and the bucket.")
@with_manners
def demo(output: str, log_format: str, verbose: bool, **options: Any) -> None:
    """Send messages through worker processes, kill one of them in the middle, and count what came out.

    Ends with exit code 0 only if every message was completed or is a dead letter, by the queue's books and by what the
    handlers wrote down themselves.
    """
    from s3queue.demo.play import Plan, play  # starts servers and processes: nothing that other commands need

    tally = play(Plan(**options, verbose=verbose), lambda line: click.echo(line, err=True))
    emit(output, tally.as_dict(), tally.as_text())
    if tally.problems:
        raise Failed("; ".join(tally.problems), FAILED, style=log_format)


@click.command(short_help="Show the presets, and what idle workers cost.")
@with_manners
def presets(output: str, log_format: str, verbose: bool) -> None:  # noqa: ARG001 - with_manners has seen to them
    """Show what --preset sets, and what the workers cost while they are idle, beside the figures of s3db.js.

    The figures are computed for the most workers of each preset, at the list prices of S3 Standard and for 30 days: an
    estimate from the intervals at which idle workers ask the store. Those of s3db.js's S3QueuePlugin follow its guide: a
    PUT a heartbeat, a LIST a poll and, beyond idle, a GET for each of 50 tickets that wait. Messages cost extra in both.
    """
    uses = "\n".join(f"{preset.name}: {preset.use}" for preset in PRESETS.values())
    emit(output, as_data(), f"{table(COLUMNS, rows())}\n\n{uses}")
