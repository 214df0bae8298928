"""The parts of a benchmark that are measured: a worker, a producer. Each opens its queue, waits for a word, and reports.

``python -m benchmarks.part`` is such a part in a process of its own. It takes commands as lines of JSON on standard input:
``{"do": "ready", …}`` (open), ``{"do": "go"}`` (begin), ``{"do": "stop"}`` (end, and report), and answers each with a line.
It ends with its input, so with its parent.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from benchmarks.handlers import HANDLERS, now_ms
from benchmarks.site import Address
from s3queue import Queue, Worker

_STOP_TIMEOUT_S = 30.0
_PRODUCER_THREADS = 16

Report = dict[str, Any]


class Part(Protocol):
    """What can be told to begin and to end."""

    def go(self) -> None:
        """Begin."""
        ...

    def stop(self) -> Report:
        """End and return what was measured."""
        ...


def requests_of(queue: Queue) -> list[Any]:
    """Return every request of a queue object as [verb, area, outcome, count]."""
    return [[*line, count] for line, count in sorted(queue.meter.snapshot().items())]


class WorkerPart:
    """A worker; made ready, it is connected and has not begun to look for messages."""

    def __init__(self, address: Address, queue: str, *, handler: str = "noop", **options: Any) -> None:
        self._queue = address.queue(queue)
        self._handler = HANDLERS[handler]()
        self._worker = Worker(self._queue, self._handler, **options)
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._error = ""
        self._queue.connect()

    def _run(self) -> None:
        try:
            self._worker.run(signals=False)
        except Exception as error:  # noqa: BLE001 - told in the report: the harness says what went wrong
            self._error = f"{type(error).__name__}: {error}"

    def go(self) -> None:
        self._handler.ready_at_ms = now_ms()
        self._thread.start()

    def stop(self) -> Report:
        if self._thread.ident is not None:
            self._worker.stop(wait=False)
            self._thread.join(_STOP_TIMEOUT_S)
        metrics = self._worker.metrics() if self._thread.ident is not None and not self._error else {}
        self._queue.close()
        return {
            "kind": "worker",
            "error": self._error or ("it did not stop" if self._thread.is_alive() else ""),
            "processed": self._worker.processed,
            "commits": metrics.get("commits", 0),
            "requests": requests_of(self._queue),
            "waits_ms": self._handler.waits_ms.tolist(),
            "first_start_ms": self._handler.first_start_ms,
            "last_end_ms": self._handler.last_end_ms,
        }


class ProducerPart:
    """Enqueues ``count`` messages one by one, ``rate`` a second at even pace, whatever each call takes."""

    def __init__(self, address: Address, queue: str, *, rate: float, count: int) -> None:
        self._queue = address.queue(queue)
        self._rate, self._count = rate, count
        self._took_s: list[float] = []
        self._late_s = 0.0
        self._errors: list[str] = []
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self._queue.connect()

    def _run(self) -> None:
        with ThreadPoolExecutor(_PRODUCER_THREADS) as pool:
            begun = time.monotonic()
            for number in range(self._count):
                due = begun + number / self._rate
                time.sleep(max(0.0, due - time.monotonic()))
                pool.submit(self._enqueue, number, due)

    def _enqueue(self, number: int, due: float) -> None:
        started = time.monotonic()
        self._late_s = max(self._late_s, started - due)
        try:
            self._queue.enqueue({"number": number})
        except Exception as error:  # noqa: BLE001 - told in the report
            self._errors.append(f"{type(error).__name__}: {error}")
        self._took_s.append(time.monotonic() - started)

    def go(self) -> None:
        self._thread.start()

    def stop(self) -> Report:
        self._thread.join(_STOP_TIMEOUT_S)
        self._queue.close()
        return {
            "kind": "producer",
            "error": self._errors[0] if self._errors else "",
            "requests": requests_of(self._queue),
            "enqueue_ms": [round(took * 1000, 1) for took in self._took_s],
            "late_ms": round(self._late_s * 1000, 1),
        }


PARTS: dict[str, Callable[..., Part]] = {"worker": WorkerPart, "producer": ProducerPart}


def make(kind: str, address: Address, queue: str, options: dict[str, Any]) -> Part:
    """Return a part, ready to go."""
    return PARTS[kind](address, queue, **options)


def main() -> None:
    """Obey the lines on standard input until it ends."""
    part: Part | None = None
    used_s = 0.0
    for line in sys.stdin:
        command = json.loads(line)
        answer: Report = {}
        if command["do"] == "ready":
            part = make(command["kind"], Address(**command["address"]), command["queue"], command["options"])
        elif part is not None and command["do"] == "go":
            used_s = sum(os.times()[:2])
            part.go()
        elif part is not None and command["do"] == "stop":
            answer = part.stop()
            answer["cpu_s"] = round(sum(os.times()[:2]) - used_s, 2)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
