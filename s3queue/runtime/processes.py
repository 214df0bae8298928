"""Handlers in processes of their own: for CPU-bound work, for time-outs that really stop it, for code that may crash."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from typing import Any

from pebble import ProcessExpired, ProcessPool

from s3queue.core.kept import Result, encode_result
from s3queue.core.message import Failure
from s3queue.errors import HandlerCrashed, HandlerTimeout
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.runtime.context import COMPLETED, Context, Decision, Failed
from s3queue.runtime.executor import Executor, Run
from s3queue.runtime.handler import Handler, arity, call, unkept
from s3queue.telemetry import Processing, resumed

_JOIN_S = 5.0
"""How long a stop waits for the processes to be gone."""


def run_in_child(
    handler: Handler,
    delivery: Delivery,
    worker: str,
    queue: str,
    *,
    manual: bool,
    results: bool,
    carrier: Mapping[str, str],
) -> tuple[Decision, Any]:
    """Run the handler and return its decision and, if results are kept, its value: both go back through a pipe."""
    context = Context(None, delivery, worker, queue)
    with resumed(carrier):
        decision, value = call(handler, arity(handler), delivery.message.payload, context, manual=manual)
    if not results or decision != COMPLETED:
        return decision, None
    try:
        return decision, json.loads(encode_result(Result(delivery.id, value, 0)))["value"]
    except (TypeError, ValueError, RecursionError) as error:
        return Failed(unkept(delivery.id, value, error)), None


def _begin_child() -> None:
    """Leave Ctrl-C to the worker, which lets handlers finish; and do not outlive it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # it may be killed: what was printed should have been seen
    threading.Thread(target=_leave_with_parent, name="s3queue-parent", daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


class ProcessExecutor(Executor):
    """Handlers in a pool of processes. One that runs too long is killed; one that dies costs its own message an attempt."""

    def _begin(self) -> None:
        self._pool = ProcessPool(
            max_workers=self._concurrency, initializer=_begin_child, context=multiprocessing.get_context("spawn")
        )

    def submit(self, delivery: Delivery) -> None:
        with self._lock:
            self._queue.append(delivery)
        self._fill()

    def check(self) -> None:
        """Nothing to do: the pool watches the time."""

    def stop(self) -> None:
        self._stopped = True
        self._pool.stop()  # type: ignore[no-untyped-call]
        with suppress(TimeoutError):
            self._pool.join(_JOIN_S)

    def _fill(self) -> None:
        """Hand over as many as there are processes, so that the rest can still be taken back."""
        while True:
            with self._lock:
                if not self._queue or len(self._runs) >= self._concurrency or self._stopped:
                    return
                delivery = self._queue.popleft()
                run = Run(delivery, self._clock.monotonic()) if self._consumer.is_trusted(delivery) else None
                if run is not None:
                    self._runs.add(run)
            if run is not None:
                self._schedule(run)
            else:
                self._consumer.drop(delivery)
                self._done(None, 0.0)

    def _schedule(self, run: Run) -> None:
        delivery, runner, lane = run.delivery, self._runner, self._consumer.lane
        runner.announce(delivery)
        arguments = (runner.handler, delivery, lane.worker, runner.queue)
        processing = lane.standing.telemetry.begin(delivery)
        options = {"manual": runner.manual, "results": lane.settings().results, "carrier": processing.carrier}
        future: Future[tuple[Decision, Any]] = self._pool.schedule(
            run_in_child, args=arguments, kwargs=options, timeout=self._timeout_s
        )
        future.add_done_callback(partial(self._finish, run, processing))

    def _finish(self, run: Run, processing: Processing, future: Future[tuple[Decision, Any]]) -> None:
        with self._lock:
            self._runs.discard(run)
            if self._stopped:
                processing.end(None)
                return
            self._ending += 1
        try:
            recorded = self._outcome(run.delivery, future)
            processing.end(recorded)
            if recorded is not None:
                self._done(recorded, self._clock.monotonic() - run.started_at)
        finally:
            with self._lock:
                self._ending -= 1
        self._fill()

    def _outcome(self, delivery: Delivery, future: Future[tuple[Decision, Any]]) -> Recorded | None:
        """Return what to record of a handler that has ended; None for one that was called off."""
        try:
            return self._runner.conclude(delivery, *future.result())
        except CancelledError:
            return None
        except FutureTimeout:
            error: BaseException = HandlerTimeout(
                f"The handler ran longer than {self._timeout_s} s; its process was killed."
            )
            return self._consumer.failed(delivery, Failure.of(error))
        except ProcessExpired as expired:
            error = HandlerCrashed(f"The handler's process ended with exit code {expired.exitcode}.")
            return self._consumer.failed(delivery, Failure.of(error))
        except BaseException as failure:  # noqa: BLE001 - SystemExit of a handler; what the handler returned could not be sent, or the result not be stored
            return self._consumer.failed(delivery, Failure.of(failure))
