"""``s3queue lock``: locks that all processes of a queue share, shown, held while a command runs, broken."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from types import FrameType
from typing import Any, Final

import click

from s3queue.cli.keeping import span
from s3queue.cli.options import BAD_INPUT, FAILED, HELD, PARTLY, REFUSED, Common, Failed, with_queue
from s3queue.cli.render import emit, record, table
from s3queue.clock import iso, to_datetime
from s3queue.core.keys import check_lock_name
from s3queue.core.lease import MARGIN_MS, TRUST
from s3queue.errors import LockHeld, LockLost
from s3queue.protocol.locks import Lock, LockInfo
from s3queue.queue import Queue
from s3queue.text import clean

TOKEN_VARIABLE: Final = "S3QUEUE_LOCK_TOKEN"  # noqa: S105 - the name of a variable, and no secret in it
_LOOK_S = 0.2
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)


@click.group(short_help="Hold, show or break the queue's locks.")
def lock() -> None:
    """Hold a lock that all processes of the queue share while a command runs; show who holds which; break one."""


@lock.command("list", short_help="Show the locks that are held.")
@with_queue
def list_locks(common: Common) -> None:
    """Show the locks that are held, by name; a GET each. One that has expired may be taken by others."""
    with common.open() as queue:
        found, now = queue.locks(), to_datetime(queue.connect().store.now_ms())
    columns = ("name", "holder", "token", "acquired at", "expires in")
    rows = [(one.name, one.holder, str(one.token), iso(one.acquired_at), _left(one, now)) for one in found]
    emit(common.output, [_facts(one, now) for one in found], table(columns, rows))


@lock.command(short_help="Run a command while holding a lock.")
@click.argument("name")
@click.option("--ttl", callback=span, default="30", show_default=True, help="When others get it, should we die.")
@click.option("--wait", callback=span, default="10", show_default=True, help="How long to wait for it: 30s, 10m, 1h.")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@with_queue
def run(common: Common, name: str, ttl: float, wait: float, command: tuple[str, ...]) -> None:
    """Run COMMAND while holding the lock NAME, as flock(1) does; the lock is renewed, and given back at the end.

    COMMAND finds the lock's token in S3QUEUE_LOCK_TOKEN: what the lock guards should refuse one lower than it has seen.
    If the lock is lost (broken, or not renewed in time), COMMAND gets SIGTERM, and SIGKILL when others may have it.
    SIGTERM and SIGHUP are passed on.

    \b
    Exit codes:
      that of COMMAND, or 128 + N if signal N ended it
      4  the lock was not to be had within --wait: COMMAND did not run
      5  the lock was lost: COMMAND was stopped, or ended without it
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    if shutil.which(command[0]) is None:
        raise common.fail(f"There is no command {command[0]!r} that can be run.", BAD_INPUT)
    with common.open() as queue:
        try:
            with queue.lock(name, ttl, wait=wait) as held:
                code = _run_under(held, command, (1 - TRUST) * ttl + MARGIN_MS / 1000 - _LOOK_S)
                held.check()
        except LockHeld as error:
            raise common.fail(f"The command did not run: {_holder(error)}", HELD) from error
        except LockLost as error:
            raise common.fail(f"The command was stopped, or ended without its lock. {error}", PARTLY) from error
        except OSError as error:
            raise common.fail(f"{command[0]!r} cannot be run: {error.strerror}.", FAILED) from error
    click.get_current_context().exit(code if code >= 0 else 128 - code)


@lock.command(short_help="Take a lock away from its holder.")
@click.argument("name")
@click.option("--token", type=int, help="Only from the holder with this token.")
@click.option("--yes", is_flag=True, help="From whoever holds it.")
@with_queue
def release(common: Common, name: str, token: int | None, yes: bool) -> None:
    """Break the lock NAME: take it away from a holder that is dead, and print who that was.

    The lock is free at once, and its next token is above the holder's. A holder that still lives learns of it with its
    next renewal. Name the holder by --token (`s3queue lock list` shows it), or say --yes. Exit code 1 if nobody holds it.
    """
    check_lock_name(name)
    with common.open() as queue:
        if token is None and not yes:
            raise _unconfirmed(common, queue, name)
        broken, now = queue.break_lock(name, token=token), to_datetime(queue.connect().store.now_ms())
    if broken is None:
        raise _nobody(common, name, token)
    facts = {"broken": broken.name, "holder": broken.holder, "token": str(broken.token)}
    emit(common.output, _facts(broken, now), record(facts), done=f"the lock {name} is broken")


def _unconfirmed(common: Common, queue: Queue, name: str) -> Failed:
    for one in queue.locks():
        if one.name == name:
            what = f"Taking the lock {name!r} from {one.holder!r} was not confirmed."
            return common.fail(f"{what} Give --token {one.token}, or --yes.", REFUSED)
    return _nobody(common, name, None)


def _nobody(common: Common, name: str, token: int | None) -> Failed:
    whom = "Nobody holds" if token is None else f"Nobody holds with token {token}"
    return common.fail(f"{whom} the lock {name!r}. `s3queue lock list` shows who holds which.", FAILED)


def _run_under(held: Lock, command: Sequence[str], grace_s: float) -> int:
    """Run the command to its end, or until the lock cannot be relied on; return its code, negative for a signal."""
    environment = os.environ | {TOKEN_VARIABLE: str(held.token)}
    with _passing_on() as start, start(command, environment) as process:
        while held.held:
            try:
                return process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                continue
        process.terminate()
        try:
            return process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


@contextmanager
def _passing_on() -> Iterator[Callable[[Sequence[str], Mapping[str, str]], subprocess.Popen[bytes]]]:
    """Yield what starts the command; signals are passed on to it, so that it does not go on without us and the lock.

    Ctrl-C reaches it by itself, from the terminal.
    """
    running: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the face of a signal handler
        for process in running:
            process.send_signal(number)
        if not running:
            early.append(number)

    def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen(command, env=environment))  # noqa: S603 - it is what the user asked for
        for number in early:
            running[0].send_signal(number)
        return running[0]

    before: dict[int, Any] = {number: signal.signal(number, pass_on) for number in _FORWARDED}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield start
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _holder(error: LockHeld) -> str:
    if not error.holder:
        return str(error)
    until = iso(error.until)
    return clean(
        f"{error.holder!r} holds the lock {error.name!r} until {until} or longer. Give it more time (--wait); if it is "
        f"dead: s3queue lock release {error.name} --token {error.token}."
    )


def _left(one: LockInfo, now: datetime) -> str:
    return "expired" if one.expired else f"{max(0.0, (one.expires_at - now).total_seconds()):.1f} s"


def _facts(one: LockInfo, now: datetime) -> Mapping[str, Any]:
    times = {"acquired_at": iso(one.acquired_at), "expires_at": iso(one.expires_at)}
    return asdict(one) | times | {"expires_in_s": round((one.expires_at - now).total_seconds(), 3)}
