"""Workers in threads and processes of a test, ended with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from s3queue import Queue, Worker
from s3queue.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
_names = count(1)


def memory_url() -> str:
    """Return a store in memory that no other test uses."""
    return f"memory://worker-tests-{next(_names)}"


class FastClock(SystemClock):
    """Real time, but whoever sleeps is through with it at once: retries cost no time."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        self._lock = Lock()

    def now_ms(self) -> int:
        return super().now_ms() + int(self._skipped_s * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped_s

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._skipped_s += seconds


class Running:
    """A worker in a thread; ``error`` is what its ``run`` raised."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.error: BaseException | None = None
        self.ended = Event()
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error
        finally:
            self.ended.set()


@contextmanager
def running(queue: Queue, handler: Callable[..., Any], **options: Any) -> Iterator[Running]:
    """Run a worker for the time of the block; it must end within seconds, and without an error unless the test looks."""
    options = {"poll_interval": 0.02, "max_poll_interval": 0.1, "shutdown_grace": 20} | options
    run = Running(Worker(queue, handler, **options))
    try:
        yield run
    finally:
        run.worker.stop(wait=False)
        assert run.ended.wait(40), "the worker did not stop"


@contextmanager
def process(url: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a worker process for the time of the block."""
    command = [sys.executable, "-m", "tests.worker.main", url, json.dumps(options)]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


class Seen:
    """What handlers of any thread were given; a handler itself."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []

    def __call__(self, payload: Any) -> None:
        self.payloads.append(payload)
