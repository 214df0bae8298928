"""The demo for real, small, on a folder: one worker killed, nothing lost, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from s3queue.cli.commands import cli
from s3queue.clock import SystemClock
from s3queue.demo.crew import Greetings, WorkerProcess
from s3queue.demo.stage import stage
from s3queue.devserver import wait_until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 50.0


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder in which the demo makes its own."""
    return tmp_path


def demo(temporary: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "TMPDIR": str(temporary),
        "S3QUEUE_QUEUE": "not-this",
        "S3QUEUE_CONCURRENCY": "nonsense",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "s3queue", "demo", "--store", "file", *options],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(folder: Path) -> set[int]:
    """Return the pids of processes that work in this folder."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (entry / "cwd").readlink().parents or (entry / "cwd").readlink() == folder:
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def test_nothing_is_lost_and_nothing_is_left(temporary: Path) -> None:
    process = demo(temporary, "--messages", "120", "--workers", "2", "--output", "json")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    tally = json.loads(out)
    assert (tally["enqueued"], tally["singles"], tally["bulk"]) == (120, 60, 60)
    assert tally["completed"] + tally["dead"] == 120
    assert (tally["lost"], tally["unfinished"], tally["problems"]) == (0, 0, [])
    assert tally["dead"] > 0
    assert tally["retried"] > 0
    assert tally["rescued"] >= tally["killed_holding"] > 0
    assert tally["requests_per_message"]["PUT"] > 0
    assert "killed worker-2 (SIGKILL)" in err
    assert list(temporary.iterdir()) == []
    assert workers_of(temporary) == set()


def test_time_is_limited_and_what_is_unfinished_is_told(temporary: Path) -> None:
    process = demo(temporary, "--messages", "1000", "--workers", "2", "--timeout", "3", "--keep")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "not done after 3 seconds" in err
    assert "messages are unfinished" in err
    assert "unfinished" in out
    (kept,) = temporary.iterdir()
    assert (kept / "worker-1.log").exists()
    assert workers_of(temporary) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(temporary: Path, number: signal.Signals) -> None:
    process = demo(temporary, "--messages", "1000", "--workers", "2")
    assert wait_until(lambda: len(workers_of(temporary)) == 2, PATIENCE_S, SystemClock())
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert list(temporary.iterdir()) == []
    assert workers_of(temporary) == set()


def test_workers_do_not_outlive_a_demo_that_was_killed(temporary: Path) -> None:
    process = demo(temporary, "--messages", "1000", "--workers", "2")
    assert wait_until(lambda: len(workers_of(temporary)) == 2, PATIENCE_S, SystemClock())
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert wait_until(lambda: workers_of(temporary) == set(), PATIENCE_S, SystemClock())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    with stage("file", tmp_path) as place:
        process = WorkerProcess("w", [*place.options, "--queue", "../no"], tmp_path, verbose=False)
        process.start()
        yield process
        process.kill()
        process.wait()


def test_a_worker_that_cannot_start_tells_why(worker: WorkerProcess) -> None:
    assert worker.wait() == 2
    assert "'../no' cannot name a queue" in worker.last_words()


def test_without_the_server_it_tells_how_to_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    done = CliRunner().invoke(cli, ["demo"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("pip install 's3queue[demo]' Or do without a server: s3queue demo --store file.\n")


def test_greetings_are_counted_by_line_and_a_half_written_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "greetings-1.txt").write_text("a Hello, one!\nb Hello, two!\n")
    (tmp_path / "greetings-2.txt").write_text("a Hello, one!\nc Hello")
    assert sorted(Greetings(tmp_path).ids()) == ["a", "a", "b"]
