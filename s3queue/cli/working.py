"""``s3queue worker``."""

from __future__ import annotations

import json
import logging
from typing import Any, TextIO

import click

from s3queue.cli.options import FAILED, Common, setting, with_coordination, with_queue
from s3queue.cli.streams import data_stream
from s3queue.presets import PRESETS
from s3queue.runtime.handler import load
from s3queue.runtime.tuning import Tuning
from s3queue.runtime.worker import Worker

_READERS_AND_MORE = 24
_DEFAULT = Tuning()

log = logging.getLogger("s3queue")


@click.command(short_help="Process messages with a handler.")
@click.argument("handler", metavar="MODULE:FUNCTION")
@setting(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Defaults for a kind of work or a size of fleet: s3queue presets.",
)
@setting("--concurrency", type=int, help=f"Handlers at work at once.  [default: {_DEFAULT.concurrency}]")
@setting(
    "--executor",
    type=click.Choice(["thread", "process"]),
    help=f"Where handlers run.  [default: {_DEFAULT.executor}]",
)
@setting("--handler-timeout", type=float, help="Seconds after which a handler's attempt fails.  [default: none]")
@setting(
    "--poll-interval",
    type=float,
    help=f"Seconds between looks while there is work.  [default: {_DEFAULT.poll_interval:g}]",
)
@setting(
    "--max-poll-interval",
    type=float,
    help=f"The same when there was none for long.  [default: {_DEFAULT.max_poll_interval:g}]",
)
@setting("--prefetch", type=int, help=f"Messages to hold at most.  [default: {_DEFAULT.prefetch}]")
@setting(
    "--shutdown-grace",
    type=float,
    help=f"Seconds a stop waits for handlers.  [default: {_DEFAULT.shutdown_grace:g}]",
)
@setting("--health-port", type=int, help="Answer /healthz, /readyz and /metrics on this port; 0: any that is free.")
@setting("--health-host", help=f"Address of this machine to answer on.  [default: {_DEFAULT.health_host}]")
@setting("--manual-ack", is_flag=True, help="A message is done only if the handler says ctx.ack().")
@setting("--burst", is_flag=True, help="Stop when nothing is left that could be processed now.")
@setting(
    "--visibility-timeout", type=float, help="Seconds a claim hides a message, if the queue is new.  [default: 30]"
)
@setting("--max-attempts", type=int, help="Attempts before a message is dead, if the queue is new.  [default: 3]")
@setting("--worker-id", help="Name of this worker, unique in the queue.  [default: a random one]")
@setting("--report", type=click.FloatRange(min=0.1), help="Print a JSON line of metrics every so many seconds.")
@with_coordination
@with_queue
def worker(
    common: Common,
    *,
    handler: str,
    report: float | None,
    **options: Any,
) -> None:
    """Process messages with a handler: a function of (payload) or (payload, ctx) in an importable module.

    The first SIGTERM or Ctrl-C takes no more messages, lets handlers finish, gives back the rest, and exits with 0. A
    second one waits for no handler, gives back what they hold, and exits with 1. What handlers print goes to stderr:
    stdout is for --report.
    """
    with data_stream() as data:
        _work(common, handler, data, report=report, **options)


def _work(
    common: Common,
    handler: str,
    data: TextIO,
    *,
    report: float | None,
    worker_id: str | None,
    visibility_timeout: float | None,
    max_attempts: int | None,
    coordination: str | None,
    preset: str | None,
    concurrency: int | None,
    **options: Any,
) -> None:
    """Run the worker until it is stopped; its reports go to ``data``."""
    function = load(handler)
    handlers = Tuning.of(preset, concurrency=concurrency).concurrency
    queue = common.open(
        make=True,
        max_connections=max(32, handlers + _READERS_AND_MORE),
        visibility_timeout=visibility_timeout,
        max_attempts=max_attempts,
        worker_id=worker_id,
        coordination=coordination,
        preset=preset,
    )
    reports = _Reports(data if report is not None else None)
    work = Worker(
        queue,
        function,
        report=reports,
        report_interval=report or 10.0,
        preset=preset,
        concurrency=concurrency,
        **options,
    )
    reports.worker = work
    log.info("%r: %s", queue, handler)
    with queue:
        work.run()
    if report is not None:
        reports(work.metrics())  # closing the queue cost requests too
    if work.cut_short:
        raise common.fail("A second signal stopped the worker; handlers that still ran will run again.", FAILED)


class _Reports:
    """Prints metrics, and stops the worker when nobody reads them any more: it belonged to whoever did."""

    def __init__(self, data: TextIO | None) -> None:
        self._data = data
        self.worker: Worker | None = None

    def __call__(self, metrics: dict[str, Any]) -> None:
        if self._data is None:
            return
        try:
            self._data.write(json.dumps(metrics) + "\n")
            self._data.flush()
        except BrokenPipeError:
            self._data = None
            if self.worker is not None:
                self.worker.stop(wait=False)
        except OSError as error:
            log.warning("the metrics cannot be written: %s", error.strerror)
