"""The worker: claims, runs handlers, records outcomes, keeps leases, sweeps, and stops in good order.

Threads: the caller's thread commits (it is the only one that settles and claims), ``concurrency`` handler threads or
processes work, a few reader threads fetch bodies, one maintenance thread deletes, journals and sweeps.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from s3queue.clock import Clock, SystemClock
from s3queue.errors import CorruptObject, QueueGone, S3QueueError, StoreRefused
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.outcomes import Recorded
from s3queue.queue import Queue
from s3queue.runtime.executor import Executor, ThreadExecutor
from s3queue.runtime.handler import Handler, Runner, check_sendable
from s3queue.runtime.handler import check as check_handler
from s3queue.runtime.health import HealthServer
from s3queue.runtime.heeding import Heeding
from s3queue.runtime.maintenance import Maintenance
from s3queue.runtime.membership import Membership
from s3queue.runtime.monitor import Monitor
from s3queue.runtime.pace import Polling, Prefetch
from s3queue.runtime.readers import Readers
from s3queue.runtime.tuning import Tuning

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
    ``shutdown_grace``: how long a stop waits for handlers. ``burst``: stop when nothing is visible. ``preset``: what
    :mod:`s3queue.presets` has for options that are not given. ``health_port`` (0: any free one): answer ``/healthz``,
    ``/readyz`` and ``/metrics`` there. ``coordinate=False``: never be the coordinator. The
    defaults are those of :class:`s3queue.runtime.tuning.Tuning`.
    """

    def __init__(
        self,
        queue: Queue,
        handler: Handler,
        *,
        preset: str | None = None,
        concurrency: int | None = None,
        executor: str | None = None,
        handler_timeout: float | None = None,
        poll_interval: float | None = None,
        max_poll_interval: float | None = None,
        prefetch: int | None = None,
        shutdown_grace: float | None = None,
        health_port: int | None = None,
        health_host: str | None = None,
        coordinate: bool | None = None,
        manual_ack: bool = False,
        burst: bool = False,
        report: Callable[[dict[str, Any]], None] | None = None,
        report_interval: float = 10.0,
    ) -> None:
        tuning = Tuning.of(
            preset,
            concurrency=concurrency,
            executor=executor,
            handler_timeout=handler_timeout,
            poll_interval=poll_interval,
            max_poll_interval=max_poll_interval,
            prefetch=prefetch,
            shutdown_grace=shutdown_grace,
            health_port=health_port,
            health_host=health_host,
            coordinate=coordinate,
        )
        if tuning.executor == "process":
            check_sendable(handler)
        self.queue = queue
        self.error: BaseException | None = None
        self.health: HealthServer | None = None
        self._tuning, self._burst = tuning, burst
        self._handler, self._manual = check_handler(handler), manual_ack
        self._polling = Polling(tuning.poll_interval, max(tuning.poll_interval, tuning.max_poll_interval))
        self._prefetch = Prefetch(tuning.concurrency, max(tuning.prefetch, tuning.concurrency))
        self._report, self._report_interval_s = report, report_interval
        self._clock: Clock = SystemClock()
        self._monitor = Monitor(queue, self._clock, coordinated=not burst)
        self._wake = threading.Event()
        self._signals = 0
        self._signalled_at = self._claimed_at = self._turn_at = float("-inf")
        self._saw_nothing = False
        self._failed_by: S3QueueError | None = None
        self._low_water = 0
        self._stop_requested = False
        self._pending_since: float | None = None
        self._finished = threading.Event()
        self._finished.set()
        self._consumer: Consumer
        self._executor: Executor
        self._leave: Callable[[], object] = lambda: None
        self._beat: Callable[[], object] = lambda: None

    # -- control --

    def run(self, *, signals: bool = True) -> int:
        """Work until stopped and return how many attempts were made.

        With ``signals`` (in the main thread only) the first SIGTERM or SIGINT stops taking messages, lets running
        handlers finish within ``shutdown_grace`` and releases the rest; a second one releases all and stops now.
        Raises what makes going on impossible: StoreRefused at the start or of the first commit, QueueGone, CorruptObject.
        """
        self._finished.clear()
        self._monitor.phase = "starting"
        restore = self._take_signals() if signals and threading.current_thread() is threading.main_thread() else {}
        try:
            self.health = self._serve_health()
            self._run()
        except BaseException as error:
            self.error = error
            raise
        finally:
            for number, old in restore.items():
                signal.signal(number, old)
            self._monitor.phase = "ended"
            if self.health is not None:
                self.health.stop()
            self._finished.set()
        return self.processed

    def start(self) -> None:
        """Run in a thread of its own; :meth:`stop` ends it. What ends it otherwise is logged, and kept in ``error``."""
        self._finished.clear()
        threading.Thread(target=self.run, name="s3queue-worker", daemon=True).start()

    def stop(self, *, wait: bool = True, timeout: float | None = None) -> bool:
        """Stop in good order: take nothing more, finish what runs, release the rest. Return whether it has ended."""
        self._stop_requested = True
        self._wake.set()
        return self._finished.wait(timeout) if wait else self._finished.is_set()

    def drain(self, timeout: float | None = None) -> bool:
        """Stop, and wait until every message in hand has its outcome or was released; the same as :meth:`stop`."""
        return self.stop(timeout=timeout)

    def hinted(self) -> None:
        """Look for messages nearly at once, if there is room for some; for any thread, while the worker runs."""
        self._polling.hint(self._clock.monotonic(), self._consumer.lane.ids.random())
        self._wake.set()

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
        if not self._burst:  # a burst takes what is there, whoever coordinates
            self._consumer.coordinate(candidate=self._tuning.coordinate, max_poll_s=self._tuning.max_poll_interval)
        runner = Runner(self._handler, queue=self.queue.name, manual=self._manual, consumer=self._consumer)
        self._executor = self._make_executor(runner)
        readers = Readers()
        before, connection.standing.spread = connection.standing.spread, readers
        heeding = Heeding(connection.hints, self._consumer, self._tuning.concurrency, self.hinted)
        steps: list[Callable[[], object]] = [heeding.step]
        if not self._burst:
            member = Membership(connection, self._monitor, self._executor, self._want, self.queue.meter)
            self._leave, self._beat = member.leave, member.registration.step
            steps += member.steps()
        maintenance = Maintenance(
            connection, self._monitor, self._report, self._report_interval_s, clock=self._clock, steps=steps
        )
        self._monitor.begin(
            lanes=lambda: [agents.lane for agents in connection.lanes.all()],
            held=self._consumer.held,
            running=lambda: len(self._executor.running()),
        )
        self.queue.events.emit("workers-started", worker=self.queue.worker_id, concurrency=self._tuning.concurrency)
        maintenance.start()
        try:
            with heeding:
                while not self._stopping and not self._idle_burst():
                    self._cycle()
        finally:
            try:
                self._shut_down()
            finally:
                maintenance.stop()
                self._executor.stop()
                connection.standing.spread = before
                readers.stop()
                self.queue.events.emit(
                    "workers-stopped", worker=self.queue.worker_id, processed=self.processed, failed=self.failed
                )

    def _make_executor(self, runner: Runner) -> Executor:
        kind: type[Executor] = ThreadExecutor
        if self._tuning.executor == "process":
            from s3queue.runtime.processes import ProcessExecutor

            kind = ProcessExecutor
        return kind(
            runner,
            self._done,
            concurrency=self._tuning.concurrency,
            timeout_s=self._tuning.handler_timeout,
            clock=self._clock,
        )

    def _done(self, recorded: Recorded | None, seconds: float) -> None:
        """Take an outcome from a handler; called in its thread."""
        if recorded is not None:
            self._consumer.record(recorded)
            self._monitor.took(recorded, seconds)
            self._prefetch.observe(seconds)
            if self._pending_since is None:
                self._pending_since = self._clock.monotonic()
        if self._executor.waiting() <= self._low_water:
            self._wake.set()

    def _want(self) -> int:
        """Return how many messages to hold; reckoned once a turn, as handlers ask after each message."""
        want = self._reckon()
        self._low_water = want // 2
        return want

    def _reckon(self) -> int:
        lane = self._consumer.lane
        if lane.settings().max_attempts == 1:
            return self._tuning.concurrency  # a crash would cost what is held in advance its only attempt
        lease_s, bytes_each = lane.settings().lease_ms / 1000, self._consumer.mean_bytes
        lane.standing.capacity = self._prefetch.capacity(lease_s, bytes_each, self._consumer.mean_read_s)
        return self._prefetch.want(lease_s, bytes_each)

    def _cycle(self) -> None:
        """Commit once if there is reason to, then wait for the next reason."""
        now = self._clock.monotonic()
        self._monitor.turned()
        self._executor.check()
        room = self._room()
        follows = self._pending_since is not None and self._consumer.others_wait  # an outcome lets them have their turn
        lingered = self._pending_since is not None and now - self._pending_since >= LINGER_S
        follows = follows or (lingered and self._consumer.coordinated)  # assignments come along
        looks = (room > 0 and follows) or now >= self._polling.next_at(room, leads=self._consumer.leads)
        looks = looks and now >= self._turn_at and self._is_present()
        if looks or (lingered and now >= self._turn_at) or self._consumer.needs_extension():
            self._exchange(room if looks else 0, now, looks=looks)
        else:
            self._wait(room, now)

    def _is_present(self) -> bool:
        """Whether this worker can rely on what it claims; its heartbeat is written first if that is why not."""
        lane = self._consumer.lane
        if not lane.is_present:
            self._try(self._beat, "writing a heartbeat")
        return lane.is_present

    def _room(self) -> int:
        waiting, want = self._executor.waiting(), self._want()
        if waiting > want // 2:
            return 0
        return max(0, want - waiting - len(self._executor.running()))

    def _exchange(self, room: int, now: float, *, looks: bool) -> None:
        # Handlers run dry, or claims follow each other so fast that larger ones would save requests.
        short = self._executor.waiting() == 0 or now - self._claimed_at < LINGER_S
        idle = self._consumer.held() == 0
        self._pending_since = None
        if looks:
            self._polling.look(now)
        try:
            got = self._consumer.exchange(room, look=looks, deliver=self._executor.submit)
        except (QueueGone, CorruptObject):
            raise
        except S3QueueError as error:
            self._monitor.last_error = error
            if self._may_not_work(error):
                raise
            self.queue.events.emit("error", error=error, doing="committing")
            self._polling.failed(now, self._consumer.lane.ids.random())
            self._pending_since = now if self._consumer.pending() else None
            self._wake.wait(_TICK_S)
            return
        if looks:
            self._note_look(len(got), room, now, idle=idle, short=short)
        if turn_s := self._consumer.turn_s:
            self._turn_at = self._clock.monotonic() + turn_s * (0.75 + 0.5 * self._consumer.lane.ids.random())
        if self._consumer.pending():
            self._pending_since = self._clock.monotonic()

    def _may_not_work(self, error: S3QueueError) -> bool:
        """Whether permission is denied to a worker that has never committed: it was not given what workers need."""
        denied = isinstance(error, StoreRefused) and error.reason == "access-denied"
        return denied and not any(agents.lane.committer.commits for agents in self.queue.connect().lanes.known)

    def _note_look(self, got: int, room: int, now: float, *, idle: bool, short: bool) -> None:
        """Decide when to look again, and for how much, after a look that got so many messages."""
        polling, random = self._polling, self._consumer.lane.ids.random()
        most_s = self._tuning.max_poll_interval
        polling.max_interval_s = max(self._consumer.most_idle_s(most_s), polling.interval_s)
        full = self._consumer.claimed_in_full
        if short and full:
            self._prefetch.grow()
        if got:
            self._claimed_at = now
        # While messages are held, others may be kept back from this worker: see Claim.suspects.
        self._saw_nothing = idle and not got and not self._consumer.may_be_more
        if room:
            polling.found(self._clock.monotonic(), room if full else got, room, random)
        if self._consumer.leads:
            polling.looked_for_others(now, self._consumer.others_poll_s(polling.interval_s), random)

    def _wait(self, room: int, now: float) -> None:
        """Sleep until something may be due."""
        self._wake.clear()
        # What handlers did between the look and the clear is seen within a tick; hints are in due_at, read after it.
        due_at = self._polling.next_at(room, leads=self._consumer.leads)
        if self._pending_since is not None:
            due_at = min(due_at, self._pending_since + LINGER_S)
        self._wake.wait(max(0.001, min(now + _TICK_S, max(due_at, self._turn_at)) - now))

    def _idle_burst(self) -> bool:
        """Whether a burst is over: the last look found nothing, and nothing is in hand."""
        return self._burst and self._saw_nothing and not self._consumer.held() and not self._consumer.pending()

    # -- the end --

    def _shut_down(self) -> None:
        """Release what has not begun, let handlers finish, record their outcomes, release what still runs."""
        consumer = self._consumer
        self._monitor.phase = "stopping"
        self._failed_by = None
        self._try(lambda: consumer.release(self._executor.take_back()), "releasing messages")
        deadline = self._clock.monotonic() + self._tuning.shutdown_grace
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
            self._try(self._leave, "leaving the fleet")

    def _try(self, act: Callable[[], object], doing: str) -> None:
        try:
            act()
        except S3QueueError as error:
            self._failed_by = self._monitor.last_error = error
            self.queue.events.emit("error", error=error, doing=doing)

    @property
    def processed(self) -> int:
        """How many attempts were made."""
        return self._monitor.processed

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return self._monitor.failed

    def metrics(self) -> dict[str, Any]:
        """Return this worker in numbers; see :class:`s3queue.metrics.Snapshot`."""
        return self._monitor.snapshot().as_dict()

    def _serve_health(self) -> HealthServer | None:
        if self._tuning.health_port is None:
            return None
        return HealthServer(self._tuning.health_host, self._tuning.health_port, self._monitor)
