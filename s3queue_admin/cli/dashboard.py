"""``s3queue-admin tui``: the dashboard in a terminal, in a browser, or as one frame of text."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import click
from click.core import ParameterSource

from s3queue.cli.keeping import span as span_option
from s3queue.cli.options import BAD_INPUT, FAILED, NOT_CONNECTED, PARTLY, Failed
from s3queue.cli.render import put
from s3queue.text import counted
from s3queue_admin.cli.arguments import queue_or_all
from s3queue_admin.cli.options import Common, need, with_bucket

SMALLEST: Final = (20, 6)
LARGEST: Final = (1000, 500)
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_FAREWELL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for; ``interval`` in seconds, ``size`` in columns and lines."""

    queue: str | None
    screen: str
    interval: float
    write: bool
    size: tuple[int, int] | None


def _size(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(low <= value <= high for low, value, high in zip(SMALLEST, size, LARGEST, strict=True)):
        told = f"{text!r} is no size like 120x40: columns ({SMALLEST[0]}-{LARGEST[0]}) x lines ({SMALLEST[1]}-{LARGEST[1]})."
        raise click.BadParameter(told, ctx, parameter)
    return size


@click.command(name="tui", short_help="Open the dashboard.")
@queue_or_all
@click.option("--screen", default="", help="The screen to begin with, as after `:` on the dashboard.")
@click.option("--interval", callback=span_option, default="2", show_default=True, help="How often to look: 2, 30s, 5m.")
@click.option("--write", is_flag=True, help="Allow the actions that change queues.")
@click.option("--once", is_flag=True, help="Print one frame, and end.")
@click.option("--size", callback=_size, help="Of that frame, as 120x40.  [default: the terminal's, or 80x24]")
@click.option(
    "--serve", type=click.IntRange(1, 65_535), metavar="PORT", help="Show it in browsers, on 127.0.0.1 alone."
)
@click.option("--demo", is_flag=True, help="Show a bucket made up for it, with workers and failures; gone afterwards.")
@with_bucket
def tui(
    common: Common,
    *,
    queue: str | None,
    screen: str,
    interval: float,
    write: bool,
    once: bool,
    size: tuple[int, int] | None,
    serve: int | None,
    demo: bool,
) -> None:
    """Show the bucket's queues in a terminal, all day long; it only reads, unless --write is given. `?` shows the keys.

    --once prints what the first frame shows, without escapes unless stdout is a terminal: exit code 3 if the bucket does not
    answer, 5 if a queue cannot be read. --serve needs the extra `web`, and ends with Ctrl-C.
    """
    need("textual", "The dashboard")
    wanted = Wanted(queue, _known(screen), interval, write, size)
    _check(common, wanted, once=once, serve=serve, demo=demo)
    with _placed(common, demo=demo) as there:
        if once:
            _print_frame(there, wanted)
        elif serve is not None:
            _serve(there, wanted, serve)
        else:
            _show(there, wanted)


def _known(screen: str) -> str:
    from s3queue_admin.tui.screens import PLACES

    if screen and screen not in PLACES:
        raise click.BadParameter(f"{screen!r} is none of {', '.join(PLACES)}.", param_hint="'--screen'")
    return screen


def _check(common: Common, wanted: Wanted, *, once: bool, serve: int | None, demo: bool) -> None:
    if wanted.interval <= 0:
        raise click.UsageError("--interval must be more than 0.")
    if once and serve is not None:
        raise click.UsageError("--once prints a frame, --serve shows it in a browser: choose one.")
    if wanted.size is not None and not once:
        raise click.UsageError("--size is for --once; a dashboard is as large as its terminal.")
    if common.at is not None and wanted.write:
        raise click.UsageError("--at shows what was, which nobody can change: leave out --write.")
    if demo and any(_given(name) for name in ("bucket", "url", "prefix", "endpoint_url", "at")):
        raise click.UsageError("--demo has a bucket of its own: leave out where yours is.")
    if not once and serve is None and not _has_terminal():
        raise click.UsageError(
            "There is no terminal here: --once prints one frame, --serve PORT shows it in a browser."
        )


def _given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _has_terminal() -> bool:
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())


@contextmanager
def _placed(common: Common, *, demo: bool) -> Iterator[Common]:
    """Yield the options, with the demo's bucket in place of another, if it is that which is wanted."""
    if not demo:
        yield common
        return
    from s3queue_admin.tui.demo import stage

    with stage() as url:
        yield replace(common, bucket=None, url=url, prefix=None, endpoint_url=None, region=None, profile=None, at=None)


# -- one frame --------------------------------------------------------------------------------------------------------


def _print_frame(common: Common, wanted: Wanted) -> None:
    from s3queue_admin.tui.once import frame

    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    size = wanted.size
    if size is None:
        size = os.get_terminal_size() if sys.stdout.isatty() else (80, 24)
    with common.open(wanted.queue) as bucket:
        seen = frame(bucket, size=(size[0], size[1]), queue=wanted.queue, screen=wanted.screen, colours=colours)
    put(seen.text.removesuffix("\n"))
    if seen.condition != "live":
        raise common.fail(f"The bucket is {seen.condition}: {seen.trouble}", NOT_CONNECTED)
    if seen.partly:
        told = f"{counted(len(seen.partly), 'queue')} could not be read: {', '.join(seen.partly)}"
        raise common.fail(told, PARTLY)


# -- in the terminal --------------------------------------------------------------------------------------------------


def _show(common: Common, wanted: Wanted) -> None:
    from s3queue_admin.tui import run

    with common.open(wanted.queue) as bucket:
        code = run(bucket, interval=wanted.interval, write=wanted.write, queue=wanted.queue, screen=wanted.screen)
    _leave(code)


def _leave(code: int) -> None:
    """End with this exit code, without waiting for threads that wait for a bucket that does not answer."""
    click.get_current_context().call_on_close(lambda: _end(code))


def _end(code: int) -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(_FAREWELL_S)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    if code:
        sys.exit(code)


# -- in a browser -----------------------------------------------------------------------------------------------------


def _serve(common: Common, wanted: Wanted, port: int) -> None:
    try:
        from s3queue_admin.tui.web import HOST, Page
    except ImportError as error:
        told = "--serve needs textual-serve, which is not installed: pip install 's3queue[web]'."
        raise Failed(told, FAILED) from error
    with common.open(wanted.queue):
        pass  # what is wrong with the options is told here, not in each browser
    click.echo(f"The dashboard is at http://{HOST}:{port} until Ctrl-C.", err=True)
    try:
        Page(_command(common, wanted), port).serve()
    except OSError as error:
        told = f"Port {port} of {HOST} cannot be had: {error.strerror or error}. Choose another one."
        raise common.fail(told, BAD_INPUT) from error


def _command(common: Common, wanted: Wanted) -> Sequence[str]:
    """Return the command that starts the dashboard for a visit."""
    settings: dict[str, Any] = {
        "screen": wanted.screen or None,
        "interval": wanted.interval,
        "bucket": common.bucket,
        "url": common.url,
        "prefix": common.prefix,
        "endpoint-url": common.endpoint_url,
        "region": common.region,
        "profile": common.profile,
        "connect-timeout": common.connect_timeout,
        "at": common.at.isoformat() if common.at is not None else None,
    }
    flags = {"write": wanted.write, "show-secrets": common.show_secrets}
    return [
        *(sys.executable, "-m", "s3queue_admin", "tui"),
        *(f"--{name}={value}" for name, value in settings.items() if value is not None),
        *(f"--{name}" for name, is_set in flags.items() if is_set),
        *(["--", wanted.queue] if wanted.queue is not None else []),
    ]
