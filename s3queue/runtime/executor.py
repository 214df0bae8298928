"""Where handlers run: threads of this process, or processes of their own."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from s3queue.clock import Clock
from s3queue.core.message import Failure
from s3queue.errors import HandlerTimeout
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.runtime.handler import Runner


@dataclass(slots=True, eq=False)
class Run:
    """A handler at work; one message may be in two, if its claim was lost and it was claimed again meanwhile."""

    delivery: Delivery
    started_at: float
    abandoned: bool = False


class Executor(ABC):
    """Runs deliveries, ``concurrency`` at a time, and tells the outcome of each. Safe to share between threads.

    ``done`` is called with each outcome, or None for a message that was given back, and the seconds that its handler took.
    """

    def __init__(
        self,
        runner: Runner,
        done: Callable[[Recorded | None, float], None],
        *,
        concurrency: int,
        timeout_s: float | None,
        clock: Clock,
    ) -> None:
        self._runner, self._consumer, self._done = runner, runner.consumer, done
        self._concurrency, self._timeout_s, self._clock = concurrency, timeout_s, clock
        self._lock = threading.Condition()
        self._queue: deque[Delivery] = deque()
        self._runs: set[Run] = set()
        self._ending = 0
        self._stopped = False
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Make what handlers run in."""

    @abstractmethod
    def submit(self, delivery: Delivery) -> None:
        """Run it when there is room."""

    def waiting(self) -> int:
        """Return how many have not begun."""
        return len(self._queue)

    def running(self) -> list[Delivery]:
        """Return those whose handler runs."""
        with self._lock:
            return [run.delivery for run in self._runs]

    def busy(self) -> bool:
        """Whether a handler runs, or has ended and its outcome has not been told yet."""
        with self._lock:
            return bool(self._runs or self._ending)

    def take_back(self) -> list[Delivery]:
        """Return those that have not begun; they will not."""
        with self._lock:
            back = list(self._queue)
            self._queue.clear()
            return back

    @abstractmethod
    def check(self) -> None:
        """See to handlers that run too long."""

    @abstractmethod
    def stop(self) -> None:
        """Start nothing more; what runs is left to itself."""


class ThreadExecutor(Executor):
    """Handlers in threads. A handler over its time cannot be stopped: its attempt is failed, its thread is replaced."""

    def _begin(self) -> None:
        self._process_id = os.getpid()
        for number in range(self._concurrency):
            self._start(number)

    def _start(self, number: int) -> None:
        threading.Thread(target=self._loop, name=f"s3queue-handler-{number}", daemon=True).start()

    def submit(self, delivery: Delivery) -> None:
        with self._lock:
            self._queue.append(delivery)
            self._lock.notify()

    def check(self) -> None:
        if self._timeout_s is None:
            return
        now = self._clock.monotonic()
        with self._lock:
            late = [run for run in self._runs if now - run.started_at > self._timeout_s]
            for run in late:
                run.abandoned = True
            self._runs.difference_update(late)
        for number, run in enumerate(late):
            failure = Failure.of(
                HandlerTimeout(f"The handler ran longer than {self._timeout_s} s; its thread was left.")
            )
            self._start(1000 + number)
            self._done(self._consumer.failed(run.delivery, failure), now - run.started_at)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._lock.notify_all()

    def _next(self) -> Run | None:
        with self._lock:
            while not self._queue and not self._stopped:
                self._lock.wait()
            if self._stopped:
                return None
            run = Run(self._queue.popleft(), self._clock.monotonic())
            self._runs.add(run)
            return run

    def _loop(self) -> None:
        while (run := self._next()) is not None:
            delivery = run.delivery
            recorded: Recorded | None = None
            if self._consumer.is_trusted(delivery):
                try:
                    recorded = self._runner.run(delivery)
                except BaseException as error:  # noqa: BLE001 - SystemExit of a handler, a result refused: all failed
                    recorded = self._consumer.failed(delivery, Failure.of(error))
            if os.getpid() != self._process_id:
                # The handler forked and this is the child: a second worker with the same claims must not come of it.
                os._exit(0)
            with self._lock:
                self._runs.discard(run)
                if run.abandoned:
                    return
                self._ending += 1
            if recorded is None:
                self._consumer.drop(delivery)
            self._done(recorded, self._clock.monotonic() - run.started_at)
            with self._lock:
                self._ending -= 1
