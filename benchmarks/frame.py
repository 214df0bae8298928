"""``python -m benchmarks.frame``: dead letters of a folder into a frame and into files; how long it takes, how much memory."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic, process_time

from s3queue import Queue
from s3queue.clock import SystemClock
from s3queue.core.codec import encode_letter
from s3queue.core.keys import letter_name, message_id_at
from s3queue.core.message import AttemptError, DeadLetter, Message
from s3queue_admin.bucket import Bucket
from s3queue_admin.exporting import export
from s3queue_admin.frames import letters

TRACEBACK = "Traceback (most recent call last):\n" + '  File "orders.py", line 42, in charge\n    pay(order)\n' * 12
GOAL_S = 30
"""CPU seconds for a hundred thousand: a folder is read as fast as one core goes, whatever else the machine does."""


def fill(folder: Path, count: int) -> None:
    """Write so many dead letters into the queue ``jobs`` of the folder: a payload of 200 bytes, an error, a traceback of 1 KB."""
    with Queue("jobs", url=folder.as_uri()) as queue:
        connection = queue.connect()
        now = SystemClock().now_ms()
        place = folder / connection.keys.dlq
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            at_ms = now - count + number
            id_ = message_id_at(connection.lane.ids.new(at_ms), 0)
            error = AttemptError(1, at_ms, "PaymentError", f"order {number} was refused", TRACEBACK, f"w{number % 9}")
            payload = {"order": number, "user": {"id": number % 997, "name": "x" * 40}, "lines": list(range(30))}
            letter = DeadLetter(Message(id_, payload, at_ms, attempts=1, errors=(error,)), at_ms, "non-retriable", "s")
            (folder / connection.keys.letter(letter_name(at_ms, id_))).write_bytes(encode_letter(letter))


def into_frame(folder: Path, out: Path) -> int:  # noqa: ARG001 - the face of a task
    """Read all into a frame."""
    with Bucket(url=folder.as_uri()) as bucket:
        return len(letters(bucket, "jobs").to_dataframe(on_progress=None))


def into_file(kind: str) -> Callable[[Path, Path], int]:
    """Return the task that exports all to a file."""

    def task(folder: Path, out: Path) -> int:
        with Bucket(url=folder.as_uri()) as bucket:
            return export(letters(bucket, "jobs"), kind, out / f"letters.{kind}", on_progress=None)

    return task


TASKS: dict[str, Callable[[Path, Path], int]] = {
    "frame": into_frame,
    **{kind: into_file(kind) for kind in ("csv", "jsonl", "parquet")},
}


def measure(name: str, folder: Path, out: Path, answer: multiprocessing.Queue[dict[str, object]]) -> None:
    """Do a task in this process, and tell how long it took and by how much memory grew."""
    import pandas as pd  # what the libraries take is no matter of how many letters there are

    assert pd.__version__  # noqa: S101 - it is there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, began_cpu = monotonic(), process_time()
    rows = TASKS[name](folder, out)
    took_s, cpu_s = monotonic() - began, process_time() - began_cpu
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    answer.put(
        {"task": name, "rows": rows, "seconds": round(took_s, 1), "cpu_s": round(cpu_s, 1), "grown_mb": round(grown_mb)}
    )


def main(argv: list[str] | None = None) -> int:
    """Measure each task in a process of its own; 1 if the frame took longer than the goal or rows are missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frame", description=__doc__)
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"some of {','.join(TASKS)}")
    arguments = parser.parse_args(argv)
    context, good = multiprocessing.get_context("spawn"), True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "bucket", arguments.letters)
        for task in arguments.tasks.split(","):
            answer: multiprocessing.Queue[dict[str, object]] = context.Queue()
            process = context.Process(target=measure, args=(task, folder / "bucket", folder, answer))
            process.start()
            found = answer.get(timeout=600)
            process.join()
            print(json.dumps(found), flush=True)
            is_late = task == "frame" and float(str(found["cpu_s"])) > GOAL_S * arguments.letters / 100_000
            good = good and found["rows"] == arguments.letters and not is_late
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
