"""The worker: claims, runs handlers, records outcomes, keeps leases, sweeps, and stops in good order.

Threads: the caller's thread commits (it is the only one that settles and claims), ``concurrency`` handler threads or
processes work, a few reader threads fetch bodies, one maintenance thread deletes, journals and sweeps.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import Any

from s3queue.clock import Clock, SystemClock
from s3queue.errors import CorruptObject, InvalidSetting, QueueGone, S3QueueError
from s3queue.protocol.consumer import Consumer
from s3queue.protocol.lane import R, T
from s3queue.protocol.outcomes import Recorded
from s3queue.queue import Queue
from s3queue.runtime.executor import Executor, ThreadExecutor
from s3queue.runtime.handler import Handler, Runner, check_sendable
from s3queue.runtime.handler import check as check_handler
from s3queue.runtime.maintenance import Maintenance
from s3queue.runtime.pace import Polling, Prefetch

READERS = 16
LINGER_S = 0.2
"""How long outcomes wait for a claim to ride with; a claim carries them earlier."""
_TICK_S = 0.2
_SAME_SIGNAL_S = 0.1
_FLUSH_TRIES = 3


class Worker:
    """Processes the messages of a queue with ``handler(payload)`` or ``handler(payload, ctx)``.

    ``concurrency`` handlers run at once, in threads or (``executor="process"``) in processes; ``handler_timeout`` in
    seconds fails those that run longer. ``poll_interval`` to ``max_poll_interval`` (seconds): how often to look for new
    messages when there were some, and when there were none for long. ``prefetch``: how many messages to hold at most.
    ``shutdown_grace``: how long a stop waits for handlers. ``burst``: stop when nothing is visible.
    """

    def __init__(
        self,
        queue: Queue,
        handler: Handler,
        *,
        concurrency: int = 8,
        executor: str = "thread",
        handler_timeout: float | None = None,
        poll_interval: float = 0.25,
        max_poll_interval: float = 5.0,
        prefetch: int = 1000,
        shutdown_grace: float = 30.0,
        manual_ack: bool = False,
        burst: bool = False,
        report: Callable[[dict[str, Any]], None] | None = None,
        report_interval: float = 10.0,
    ) -> None:
        _check(
            concurrency=concurrency,
            prefetch=prefetch,
            poll_interval=poll_interval,
            max_poll_interval=max_poll_interval,
            shutdown_grace=shutdown_grace,
        )
        if handler_timeout is not None:
            _check(handler_timeout=handler_timeout)
        if executor not in ("thread", "process"):
            raise InvalidSetting(f"executor is {executor!r}.", remedy="Use 'thread' or 'process'.")
        if executor == "process":
            check_sendable(handler)
        self.queue = queue
        self.processed = 0
        self.failed = 0
        self.error: BaseException | None = None
        self._concurrency, self._executor_kind = concurrency, executor
        self._handler, self._manual, self._timeout_s = check_handler(handler), manual_ack, handler_timeout
        self._grace_s, self._burst = shutdown_grace, burst
        self._polling = Polling(poll_interval, max(poll_interval, max_poll_interval))
        self._prefetch = Prefetch(concurrency, max(prefetch, concurrency))
        self._report, self._report_interval_s = report, report_interval
        self._clock: Clock = SystemClock()
        self._wake = threading.Event()
        self._signals = 0
        self._signalled_at = float("-inf")
        self._claimed_at = float("-inf")
        self._saw_nothing = False
        self._failed_by: S3QueueError | None = None
        self._stop_requested = False
        self._pending_since: float | None = None
        self._thread: threading.Thread | None = None
        self._finished = threading.Event()
        self._finished.set()
        self._consumer: Consumer
        self._executor: Executor

    # -- control --

    def run(self, *, signals: bool = True) -> int:
        """Work until stopped and return how many attempts were made.

        With ``signals`` (in the main thread only) the first SIGTERM or SIGINT stops taking messages, lets running
        handlers finish within ``shutdown_grace`` and releases the rest; a second one releases all and stops now.
        Raises what makes going on impossible: StoreRefused at the start, QueueGone, CorruptObject of the ledger.
        """
        self._finished.clear()
        restore = self._take_signals() if signals and threading.current_thread() is threading.main_thread() else {}
        try:
            self._run()
        except BaseException as error:
            self.error = error
            raise
        finally:
            for number, old in restore.items():
                signal.signal(number, old)
            self._finished.set()
        return self.processed

    def start(self) -> None:
        """Run in a thread of its own; :meth:`stop` ends it. What ends it otherwise is logged, and kept in ``error``."""
        self._finished.clear()
        self._thread = threading.Thread(target=self.run, name="s3queue-worker", daemon=True)
        self._thread.start()

    def stop(self, *, wait: bool = True, timeout: float | None = None) -> bool:
        """Stop in good order: take nothing more, finish what runs, release the rest. Return whether it has ended."""
        self._stop_requested = True
        self._wake.set()
        return self._finished.wait(timeout) if wait else self._finished.is_set()

    def drain(self, timeout: float | None = None) -> bool:
        """Stop, and wait until every message in hand has its outcome or was released; the same as :meth:`stop`."""
        return self.stop(timeout=timeout)

    def _take_signals(self) -> dict[int, Any]:
        def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the face of a signal handler
            # Only a count: the loop looks at it within a fifth of a second. Locks taken here could be held already.
            # Wrappers (timeout, process managers) often deliver one signal twice: that is no second one.
            now = self._clock.monotonic()
            self._signals += now - self._signalled_at > _SAME_SIGNAL_S
            self._signalled_at = now
            if self._signals > 1:  # should a store that does not answer hold up even that, a third one ends it
                signal.signal(number, signal.SIG_DFL)

        return {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}

    @property
    def _stopping(self) -> bool:
        return self._stop_requested or self._signals > 0

    @property
    def cut_short(self) -> bool:
        """Whether a second signal came, so that the stop did not wait for handlers."""
        return self._signals > 1

    # -- the loop --

    def _run(self) -> None:
        connection = self.queue.connect()
        self._consumer = connection.consumer
        runner = Runner(self._handler, queue=self.queue.name, manual=self._manual, consumer=self._consumer)
        self._executor = self._make_executor(runner)
        pool = ThreadPoolExecutor(READERS, thread_name_prefix="s3queue-reader")
        before, connection.lane.spread = connection.lane.spread, _Pooled(pool)
        maintenance = Maintenance(connection, self.metrics, self._report, self._report_interval_s, self._clock)
        self.queue.events.emit("workers-started", worker=self.queue.worker_id, concurrency=self._concurrency)
        maintenance.start()
        try:
            while not self._stopping and not self._idle_burst():
                self._cycle()
        finally:
            try:
                self._shut_down()
            finally:
                maintenance.stop()
                self._executor.stop()
                connection.lane.spread = before
                pool.shutdown(wait=False, cancel_futures=True)
                self.queue.events.emit(
                    "workers-stopped", worker=self.queue.worker_id, processed=self.processed, failed=self.failed
                )

    def _make_executor(self, runner: Runner) -> Executor:
        if self._executor_kind == "thread":
            return ThreadExecutor(
                runner,
                self._consumer,
                self._done,
                concurrency=self._concurrency,
                timeout_s=self._timeout_s,
                clock=self._clock,
            )
        from s3queue.runtime.processes import ProcessExecutor

        return ProcessExecutor(
            runner,
            self._consumer,
            self._done,
            concurrency=self._concurrency,
            timeout_s=self._timeout_s,
            clock=self._clock,
            queue=self.queue.name,
            manual=self._manual,
        )

    def _done(self, recorded: Recorded | None, seconds: float) -> None:
        """Take an outcome from a handler; called in its thread."""
        if recorded is not None:
            self._consumer.record(recorded)
            self.processed += 1
            self.failed += recorded.outcome.kind != "completed"
            self._prefetch.observe(seconds)
            if self._pending_since is None:
                self._pending_since = self._clock.monotonic()
        if self._executor.waiting() <= self._low_water():
            self._wake.set()

    def _low_water(self) -> int:
        return self._want() // 2

    def _want(self) -> int:
        lane = self._consumer.lane
        if lane.settings().max_attempts == 1:
            return self._concurrency  # a crash would cost what is held in advance its only attempt
        return self._prefetch.want(lane.settings().lease_ms / 1000, lane.inbox.mean_bytes)

    def _cycle(self) -> None:
        """Commit once if there is reason to, then wait for the next reason."""
        now = self._clock.monotonic()
        self._executor.check()
        room = self._room()
        claims = room > 0 and now >= self._polling.due_at
        lingered = self._pending_since is not None and now - self._pending_since >= LINGER_S
        if claims or lingered or self._consumer.needs_extension():
            self._exchange(room if claims else 0, now)
        else:
            self._wait(room, now)

    def _room(self) -> int:
        waiting, want = self._executor.waiting(), self._want()
        if waiting > want // 2:
            return 0
        return max(0, want - waiting - len(self._executor.running()))

    def _exchange(self, room: int, now: float) -> None:
        # Handlers run dry, or claims follow each other so fast that larger ones would save requests.
        short = self._executor.waiting() == 0 or now - self._claimed_at < LINGER_S
        idle = self._consumer.held() == 0
        self._pending_since = None
        try:
            got = self._consumer.exchange(room, deliver=self._executor.submit)
        except (QueueGone, CorruptObject):
            raise
        except S3QueueError as error:
            self.queue.events.emit("error", error=error, doing="committing")
            self._polling.failed(now, self._consumer.lane.ids.random())
            self._pending_since = now if self._consumer.pending() else None
            self._wake.wait(_TICK_S)
            return
        if room:
            full = self._consumer.claimed_in_full
            if short and full:
                self._prefetch.grow()
            if got:
                self._claimed_at = now
            # While messages are held, others may be kept back from this worker: see Claim.suspects.
            self._saw_nothing = idle and not got
            self._polling.found(
                self._clock.monotonic(), room if full else len(got), room, self._consumer.lane.ids.random()
            )
        if self._consumer.pending():
            self._pending_since = self._clock.monotonic()

    def _wait(self, room: int, now: float) -> None:
        """Sleep until something may be due."""
        times = [now + _TICK_S]
        if room:
            times.append(self._polling.due_at)
        if self._pending_since is not None:
            times.append(self._pending_since + LINGER_S)
        self._wake.clear()
        # What happened between the look and the clear is seen within a tick.
        self._wake.wait(max(0.001, min(times) - now))

    def _idle_burst(self) -> bool:
        """Whether a burst is over: the last look found nothing, and nothing is in hand."""
        return self._burst and self._saw_nothing and not self._consumer.held() and not self._consumer.pending()

    # -- the end --

    def _shut_down(self) -> None:
        """Release what has not begun, let handlers finish, record their outcomes, release what still runs."""
        consumer = self._consumer
        self._failed_by = None
        self._try(lambda: consumer.release(self._executor.take_back()), "releasing messages")
        deadline = self._clock.monotonic() + self._grace_s
        while self._executor.busy() and self._clock.monotonic() < deadline and self._signals < 2:
            self._executor.check()
            if consumer.pending() or consumer.needs_extension():
                self._try(lambda: consumer.exchange(0), "recording outcomes")
            self._wake.clear()
            self._wake.wait(0.05)
        for _ in range(_FLUSH_TRIES):
            if not consumer.pending() or self._failed_by is not None:
                break
            self._try(lambda: consumer.exchange(0), "recording outcomes")
        if self._failed_by is None:  # else the leases run out by themselves, sooner than a store that is down is back
            self._try(lambda: consumer.release(self._executor.running()), "releasing messages")

    def _try(self, act: Callable[[], object], doing: str) -> None:
        try:
            act()
        except S3QueueError as error:
            self._failed_by = error
            self.queue.events.emit("error", error=error, doing=doing)

    def metrics(self) -> dict[str, Any]:
        """Return what this worker counts: attempts, messages in hand, lost races, requests by verb."""
        requests: dict[str, int] = {}
        for (verb, _, _), count in self.queue.meter.snapshot().items():
            requests[verb] = requests.get(verb, 0) + count
        return {
            "worker": self.queue.worker_id,
            "processed": self.processed,
            "failed": self.failed,
            **self._counts(),
            "requests": requests,
            "billed": self.queue.meter.billed(),
        }

    def _counts(self) -> dict[str, int]:
        if not hasattr(self, "_executor"):  # it has not run yet
            return {"held": 0, "running": 0, "commits": 0, "lost_races": 0}
        committer = self._consumer.lane.committer
        return {
            "held": self._consumer.held(),
            "running": len(self._executor.running()),
            "commits": committer.commits,
            "lost_races": committer.lost_races,
        }


class _Pooled:
    """Spreads work over the reader threads."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> list[R]:
        todo = list(items)
        if len(todo) <= 1:
            return [function(item) for item in todo]
        futures = [self._pool.submit(function, item) for item in todo]
        wait(futures)
        return [future.result() for future in futures]


_RANGES: dict[str, tuple[float, float]] = {
    "concurrency": (1, 1000),
    "prefetch": (1, 10_000),
    "poll_interval": (0.01, 3600),
    "max_poll_interval": (0.01, 3600),
    "handler_timeout": (0.001, 86_400),
    "shutdown_grace": (0, 86_400),
}


def _check(**settings: float) -> None:
    for name, value in settings.items():
        low, high = _RANGES[name]
        kinds = int if name in ("concurrency", "prefetch") else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise InvalidSetting(f"{name} is {value!r}.", remedy=f"Use {low} to {high}.")
