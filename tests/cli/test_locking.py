"""Locks from the shell: held while a command runs, shown, broken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from s3queue import LockLost, Queue
from tests.cli.conftest import Run
from tests.queue.clocks import eventually

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20
_numbers = count()

TELL = "import os, sys; print(os.environ['S3QUEUE_LOCK_TOKEN'], file=open('token', 'w')); sys.exit(7)"
STAY = """
import os, signal, sys, threading
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set() or (sys.argv[1:] and open("heard", "w").close()))
open("began.new", "w").write(os.environ["S3QUEUE_LOCK_TOKEN"])
os.rename("began.new", "began")
while not told.wait(0.01) or sys.argv[1:]:
    pass
sys.exit(9)
"""
"""Stays until SIGTERM; with an argument, in spite of it."""


@pytest.fixture
def url() -> str:
    return f"memory://locking-{next(_numbers)}/jobs"


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    with Queue.from_url(url, worker_id="w1") as queue:
        queue.connect()
        yield queue


def test_held_locks_are_shown(run: Run, url: str, queue: Queue) -> None:
    assert json.loads(run("lock", "list", "--url", url, "--output", "json").stdout) == []
    with queue.lock("report", 60) as held:
        head, line = run("lock", "list", "--url", url).stdout.splitlines()
        assert head.split() == ["name", "holder", "token", "acquired", "at", "expires", "in"]
        assert line.split()[:3] == ["report", "w1", str(held.token)]
        (shown,) = json.loads(run("lock", "list", "--url", url, "--output", "json").stdout)
    assert (shown["name"], shown["holder"], shown["token"], shown["expired"]) == ("report", "w1", held.token, False)
    assert shown["acquired_at"].endswith("Z")
    assert 50 < shown["expires_in_s"] <= 60


def test_a_command_runs_under_the_lock_and_its_code_is_ours(run: Run, url: str, queue: Queue, folder: Path) -> None:
    with queue.lock("report") as before:
        pass
    done = run("lock", "run", "report", "--url", url, "--", sys.executable, "-c", TELL)
    assert done.exit_code == 7, done.output
    assert int((folder / "token").read_text()) > before.token
    assert queue.locks() == []
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run("lock", "run", "report", "--url", url, "--", sys.executable, "-c", suicide).exit_code == 128 + 9


def test_a_lock_that_is_not_to_be_had_is_told_and_the_command_does_not_run(
    run: Run, url: str, queue: Queue, folder: Path
) -> None:
    with queue.lock("report") as held:
        done = run("lock", "run", "report", "--wait", "0", "--url", url, "--", sys.executable, "-c", TELL)
    assert (done.exit_code, done.stdout) == (4, "")
    assert "'w1' holds the lock 'report' until" in done.stderr
    assert f"s3queue lock release report --token {held.token}" in done.stderr
    assert not (folder / "token").exists()


def test_a_lock_is_broken_only_if_that_was_said_and_the_next_token_is_higher(run: Run, url: str, queue: Queue) -> None:
    held = queue.lock("report", renew=False).acquire()
    refused = run("lock", "release", "report", "--url", url)
    assert (refused.exit_code, refused.stdout) == (6, "")
    assert f"from 'w1' was not confirmed. Give --token {held.token}, or --yes" in refused.stderr
    other = run("lock", "release", "report", "--token", str(held.token - 1), "--url", url)
    assert (other.exit_code, "Nobody holds with token" in other.stderr) == (1, True)
    held.renew()  # it is still the holder's
    done = run("lock", "release", "report", "--token", str(held.token), "--url", url, "--output", "json")
    assert done.exit_code == 0
    assert (json.loads(done.stdout)["holder"], json.loads(done.stdout)["token"]) == ("w1", held.token)
    with pytest.raises(LockLost):
        held.renew()
    heir = queue.lock("report", renew=False).acquire()
    assert heir.token > held.token
    done = run("lock", "release", "report", "--yes", "--url", url)
    assert done.stdout.split() == ["broken", "report", "holder", "w1", "token", str(heir.token)]
    for options in (["--yes"], []):
        nobody = run("lock", "release", "report", *options, "--url", url)
        assert (nobody.exit_code, "Nobody holds the lock 'report'" in nobody.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "a/b", "--", "true"), "cannot name a lock"),
        (("run", "a", "--ttl", "0.5", "--", "true"), "ttl is 0.5"),
        (("run", "a", "--ttl", "soon", "--", "true"), "is no span of time"),
        (("run", "a", "--wait", "-1", "--", "true"), "wait is -1.0"),
        (("run", "a", "--", "no-such-command"), "There is no command 'no-such-command'"),
        (("run", "a"), "Missing argument"),
        (("release", "a/b", "--yes"), "cannot name a lock"),
    ],
)
def test_bad_input_is_told(run: Run, url: str, queue: Queue, arguments: tuple[str, ...], told: str) -> None:
    head, *rest = arguments
    result = run("lock", head, "--url", url, *rest)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert queue.locks() == []


# -- as a process --

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Run STAY under the lock ``report`` of a queue in a folder, and return when it runs."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, ttl: str = "30") -> subprocess.Popen[str]:
        lock = ["lock", "run", "report", "--ttl", ttl, "--url", (folder / "bucket/jobs").as_uri()]
        process = subprocess.Popen(
            [sys.executable, "-m", "s3queue", *lock, "--", sys.executable, "-c", STAY, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert eventually((folder / "began").exists, PATIENCE_S)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def shared(folder: Path) -> Iterator[Queue]:
    with Queue.from_url((folder / "bucket/jobs").as_uri()) as queue:
        queue.connect()
        yield queue


def test_a_signal_ends_the_command_and_the_lock_is_given_back(start: Start, shared: Queue, folder: Path) -> None:
    process = start()
    (info,) = shared.locks()
    assert info.token == int((folder / "began").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 9
    assert shared.locks() == []


def test_a_command_whose_lock_is_lost_is_stopped_even_if_it_will_not_hear(
    start: Start, shared: Queue, folder: Path
) -> None:
    process = start("stubborn", ttl="1")
    assert shared.break_lock("report") is not None
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "The command was stopped, or ended without its lock." in told
    assert "it was broken" in told
    assert (folder / "heard").exists(), "SIGTERM came first"
