"""The admin command line as a process: a question on a terminal, Ctrl-C, a reader that leaves."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s3queue import Queue
from tests.admin.conftest import fill

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-c", "from s3queue_admin.cli import main; main()"]


@pytest.fixture
def place(tmp_path: Path) -> str:
    fill(f"file://{tmp_path}/b")
    return f"file://{tmp_path}/b"


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "COLUMNS": "80"}


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 6, 3)])
def test_it_asks_on_a_terminal(place: str, answer: str, code: int, left: int) -> None:
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "replay", "orders", "--all", "--url", place, "--output", "json"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        out, errors = process.communicate(timeout=40)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, errors
    assert "Replay 3 messages of 'orders'? [y/N]" in errors
    assert [json.loads(out)["count"]] == [3] if code == 0 else out == ""
    assert Queue.from_url(f"{place}/orders").stats().dead == left


def test_ctrl_c_ends_watching_in_peace(place: str) -> None:
    command = [*PROGRAM, "watch", "--interval", "0.05", "--for", "40", "--url", place, "--output", "jsonl"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=40)
    assert (process.returncode, errors) == (0, "")
    assert [json.loads(line)["queue"] for line in lines] == ["mails", "orders"] * 2
    assert all(json.loads(line) for line in rest.splitlines())


def test_a_reader_that_leaves_ends_it_in_silence(place: str) -> None:
    command = [*PROGRAM, "watch", "--interval", "0.01", "--for", "40", "--url", place]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(40)
    assert (process.returncode, errors) == (1, "")
