"""The command line as a process: streams, signals, exit codes. Handlers wait for files, so nothing depends on time."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3queue import Queue
from s3queue.clock import SystemClock
from s3queue.devserver import wait_until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0

HANDLERS = """
import ctypes
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

print("at import")
libc = ctypes.CDLL(None)
HERE = Path(__file__).parent

def quick(payload):
    (HERE / f"done-{payload}").touch()

def noisy(payload):
    print(f"python {payload}")
    sys.__stdout__.write("kept\\n")
    libc.printf(b"from C %d\\n", payload)
    if multiprocessing.parent_process():
        libc.fflush(None)  # a child may be killed at the end, and C keeps lines back
    subprocess.run(["echo", "from a child"], check=True)

def slow(payload):
    (HERE / f"started-{payload}").touch()
    while not (HERE / "go").exists():
        threading.Event().wait(0.01)
    (HERE / f"done-{payload}").touch()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


@pytest.fixture
def queue(place: Path) -> Iterator[Queue]:
    with Queue.from_url((place / "bucket/jobs").as_uri()) as queue:
        queue.connect()
        yield queue


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Start a command on the queue of :func:`queue`; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    drop = ("S3QUEUE_", "PYTHONUNBUFFERED")  # the second: what a buffer holds at the end has to be minded, too
    clean = {name: value for name, value in os.environ.items() if not name.startswith(drop)}

    def begin(*arguments: str, **options: int) -> subprocess.Popen[str]:
        url = (place / "bucket/jobs").as_uri()
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "s3queue", *arguments, "--url", url],
            cwd=place,
            env=clean | {"PYTHONPATH": str(ROOT)},
            text=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,  # type: ignore[call-overload]
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(path: Path) -> None:
    assert wait_until(path.exists, PATIENCE_S, SystemClock()), f"{path.name} did not come"


def test_stdout_is_data_alone(start: Start, queue: Queue) -> None:
    queue.enqueue_many(range(20))
    out, err = start("worker", "handlers:quick", "--burst", "--report", "0.5").communicate(timeout=PATIENCE_S)
    reports = [json.loads(line) for line in out.splitlines()]
    assert reports[-1]["processed"] == 20
    assert reports[-1]["requests"]["PUT"] > 0
    assert "workers-started" in err
    assert "workers-stopped" in err
    assert queue.stats().completed == 20


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_handlers_print_is_no_data(start: Start, queue: Queue, executor: str) -> None:
    queue.enqueue_many(range(20))
    worker = start("worker", "handlers:noisy", "--burst", "--report", "0.1", "--executor", executor)
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert [json.loads(line)["failed"] for line in out.splitlines()][-1] == 0
    assert queue.stats().completed == 20
    for text in ("at import", "python 7", "kept", "from C 7", "from a child"):
        assert text in err


def test_the_data_stream_gives_stdout_back() -> None:
    code = (
        "import ctypes, os, sys; from s3queue.cli.streams import data_stream\n"
        "print('before')\n"
        "with data_stream() as data:\n"
        "    print('print'); ctypes.CDLL(None).printf(b'from C'); os.write(1, b'raw'); data.write('data\\n')\n"
        "print('after')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"
        },  # C code has a buffer, too
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout == "before\ndata\nafter\n"
    assert all(text in done.stderr for text in ("print", "from C", "raw"))


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_id_that_cannot_be_written_is_told_all_the_same(start: Start, queue: Queue, output: str) -> None:
    with FULL.open("w") as full:
        process = start("enqueue", "1", "--output", output, stdout=full.fileno())
        _, err = process.communicate(timeout=PATIENCE_S)
    (message,) = queue.peek()
    assert process.returncode == 1
    assert (
        err == f"Error: 1 message is enqueued, {message.id}; but stdout cannot be written: No space left on device.\n"
    )


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line(start: Start, queue: Queue) -> None:
    queue.enqueue(1)
    with FULL.open("w") as full:
        process = start("stats", stdout=full.fileno())
        _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (1, "Error: stdout cannot be written: No space left on device.\n")


def test_lines_that_trickle_in_are_sent_and_told_before_the_end(start: Start, queue: Queue) -> None:
    process = start("enqueue", "-", "--lines", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("1\n2\n")
    process.stdin.flush()
    first = [process.stdout.readline().strip() for _ in range(2)]
    assert queue.stats().pending == 2
    process.stdin.write("3")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert [message.id for message in queue.peek()] == [*first, out.strip()]


def test_ctrl_c_while_lines_come(start: Start, queue: Queue) -> None:
    process = start("enqueue", "-", "--lines", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("1\n")
    process.stdin.flush()
    told = process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert err == f"Error: 1 message is enqueued, {told}, then: interrupted.\n"
    assert queue.stats().pending == 1


def test_ctrl_c_during_the_imports_is_one_line() -> None:
    code = (
        "import sys; from s3queue.cli import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 's3queue.cli.looking': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Aborted!\n")


def test_without_report_a_worker_prints_nothing(start: Start, queue: Queue) -> None:
    queue.enqueue(1)
    assert start("worker", "handlers:quick", "--burst").communicate(timeout=PATIENCE_S)[0] == ""


def test_handlers_in_processes(start: Start, queue: Queue, place: Path) -> None:
    queue.enqueue_many(["a", "b"])
    worker = start("worker", "handlers:quick", "--burst", "--executor", "process", "--concurrency", "2")
    worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0
    assert (place / "done-a").exists()
    assert queue.stats().completed == 2


def test_sigterm_drains_and_releases(start: Start, queue: Queue, place: Path) -> None:
    queue.enqueue_many(range(5))
    worker = start("worker", "handlers:slow", "--concurrency", "1")
    wait_for(place / "started-0")
    worker.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.3)  # it lets the handler finish
    (place / "go").touch()
    assert worker.wait(PATIENCE_S) == 0
    stats = queue.stats()
    assert (stats.completed, stats.pending, stats.processing, stats.failed) == (1, 4, 0, 0)
    assert not (place / "started-1").exists()


def test_ctrl_c_is_the_same(start: Start, queue: Queue, place: Path) -> None:
    queue.enqueue(0)
    (place / "go").touch()
    worker = start("worker", "handlers:slow")
    wait_for(place / "done-0")
    worker.send_signal(signal.SIGINT)
    assert worker.wait(PATIENCE_S) == 0
    assert queue.stats().completed == 1


def test_a_second_sigterm_waits_for_no_handler(start: Start, queue: Queue, place: Path) -> None:
    queue.enqueue(0)
    worker = start("worker", "handlers:slow")
    wait_for(place / "started-0")
    for _ in range(10):  # two would do, but signals that come too close together are one
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(1)
            break
        except subprocess.TimeoutExpired:
            continue
    _, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 1
    assert "A second signal stopped the worker" in err
    stats = queue.stats()
    assert (stats.completed, stats.pending, stats.processing, stats.failed) == (0, 1, 0, 0)


def test_a_worker_whose_reports_nobody_reads_any_more_stops(start: Start) -> None:
    worker = start("worker", "handlers:quick", "--report", "0.2")
    assert worker.stdout is not None
    assert json.loads(worker.stdout.readline())["processed"] == 0
    worker.stdout.close()
    assert worker.wait(PATIENCE_S) == 0
    assert worker.stderr is not None
    assert "Traceback" not in worker.stderr.read()


def test_errors_as_json(start: Start) -> None:
    out, err = start("peek", "--log-format", "json").communicate(timeout=PATIENCE_S)
    assert out == ""
    line = json.loads(err)
    assert line["level"] == "error"
    assert "There is no queue 'jobs'" in line["message"]


def on_a_terminal(start: Start, answer: bytes, *arguments: str) -> tuple[int, str, str]:
    ours, theirs = pty.openpty()
    try:
        process = start(*arguments, stdin=theirs)
        os.write(ours, answer)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err
    finally:
        os.close(ours)
        os.close(theirs)


def test_purge_asks_on_a_terminal(start: Start, queue: Queue) -> None:
    queue.enqueue_many([1, 2])
    code, out, err = on_a_terminal(start, b"n\n", "purge")
    assert (code, out) == (6, "")
    assert "Throw away 2 messages of 'jobs' for good?" in err
    assert queue.stats().pending == 2
    code, out, _ = on_a_terminal(start, b"y\n", "purge")
    assert (code, out.split()) == (0, ["discarded", "2"])
    assert queue.stats().pending == 0


def test_the_reader_of_a_long_answer_may_leave(start: Start, queue: Queue) -> None:
    queue.enqueue_many(["x" * 1000] * 500)
    process = start("peek", "-n", "500", "--output", "json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(PATIENCE_S)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from s3queue.cli.commands import cli; import sys; cli.main(['--help'], standalone_mode=False); "
        "print(*{name.partition('.')[0] for name in sys.modules} & {'boto3', 'botocore', 'pebble', 'ministack'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout.splitlines()[-1] == ""
