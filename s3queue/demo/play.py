"""The course of the demo: set up, enqueue, kill a worker in the middle, wait for the end, count."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3queue.clock import Clock, SystemClock
from s3queue.core.retry import RetryPolicy
from s3queue.demo.crew import CONCURRENCY, Greetings, WorkerProcess
from s3queue.demo.stage import QUEUE, Stage, scratch, stage
from s3queue.demo.tally import Requests, Tally, lost
from s3queue.ids import SeededIds
from s3queue.protocol.census import Stats
from s3queue.queue import Queue
from s3queue.text import counted

VISIBILITY_S = 3.0
"""Short, so that what the killed worker held comes back soon."""
WORK_S = 5.0
"""How long the work of all handlers takes, at least: there has to be a middle to kill a worker in."""
_PRODUCER_THREADS = 8
_PER_CALL = 100
_TICK_S = 0.05
_PROGRESS_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo is asked to do; ``timeout`` in seconds."""

    store: str
    messages: int
    workers: int
    seed: int
    timeout: float
    keep: bool
    verbose: bool = False


def play(plan: Plan, say: Say, clock: Clock | None = None) -> Tally:
    """Run the demo and return its numbers; ``say`` is given lines of progress.

    Servers, processes and folders are gone when it returns or raises (with ``keep``, the folder stays). Raise
    InvalidSetting or StoreUnavailable if the stage cannot be set.
    """
    clock = clock or SystemClock()
    with ExitStack() as stack:
        stack.enter_context(_sigterm_as_interrupt())
        folder = stack.enter_context(scratch(plan.keep))
        if plan.keep:
            say(f"everything is kept in {folder}")
        place = stack.enter_context(stage(plan.store, folder))
        say(f"{plan.messages:,} messages, {plan.workers} worker processes, on {place.title}")
        return _Play(plan, place, folder, say=say, clock=clock, stack=stack).run()


class _Play:
    """One run, on a stage that is set."""

    def __init__(self, plan: Plan, place: Stage, folder: Path, *, say: Say, clock: Clock, stack: ExitStack) -> None:
        self._plan, self._place, self._folder = plan, place, folder
        self._say, self._clock = say, clock
        self._started_at = clock.monotonic()
        self._queue = stack.enter_context(self._open())
        self._watch = stack.enter_context(self._open())  # its requests are a spectator's, counted apart
        self._greetings = Greetings(folder)
        self._crew: list[WorkerProcess] = []
        stack.callback(self._kill_all)
        self._victim: WorkerProcess | None = None
        self._held = 0
        self._ids: list[str] = []
        self._problems: list[str] = []

    def _open(self) -> Queue:
        retry = RetryPolicy(base_s=0.5, cap_s=2)
        return Queue(QUEUE, **self._place.place, visibility_timeout=VISIBILITY_S, max_attempts=3, retry=retry)  # type: ignore[arg-type]

    def run(self) -> Tally:
        """Go through the whole demo."""
        self._queue.connect()
        options = [*self._place.options, "--queue", QUEUE]
        # In a thread: an interrupt, which comes in this one, must not leave a process that nobody knows.
        with ThreadPoolExecutor(1) as starting:
            for number in range(1, self._plan.workers + 1):
                one = WorkerProcess(f"worker-{number}", options, self._folder, verbose=self._plan.verbose)
                self._crew.append(one)
                starting.submit(one.start).result()
        with ThreadPoolExecutor(1) as pool:
            producing = pool.submit(self._produce)
            self._until(producing.done)
            singles, bulk = producing.result()
        self._until(self._all_done)
        self._stop()
        return self._count(singles, bulk)

    # -- producing --

    def _payloads(self) -> Iterator[dict[str, Any]]:
        """Yield guests: one in a hundred has no name, one never answers, two answer the second time."""
        chance = SeededIds(self._plan.seed)
        seconds = round(WORK_S * self._plan.workers * CONCURRENCY / self._plan.messages, 4)
        for number in range(self._plan.messages):
            roll = chance.random()
            shy = 0 if roll >= 0.04 else 99 if roll < 0.01 else 1
            nameless = 0.03 <= roll < 0.04
            yield {"name": "" if nameless else f"guest {number}", "shy": shy, "seconds": seconds}

    def _produce(self) -> tuple[int, int]:
        """Enqueue a tenth one by one, four tenths from several threads, half in bulk; return singles and bulk."""
        queue, payloads = self._queue, list(self._payloads())
        tenth, half = len(payloads) // 10, len(payloads) // 2
        self._ids += [queue.enqueue(payload) for payload in payloads[:tenth]]
        with queue.producer(linger_ms=10) as producer, ThreadPoolExecutor(_PRODUCER_THREADS) as pool:
            self._ids += pool.map(producer.enqueue, payloads[tenth:half])
        for start in range(half, len(payloads), _PER_CALL):
            self._ids += queue.enqueue_many(payloads[start : start + _PER_CALL])
        return half, len(payloads) - half

    # -- watching --

    def _until(self, done: Callable[[], bool]) -> None:
        """Return when it is done or time is up, having killed the victim when its time came, with a line a second."""
        next_line_at = self._clock.monotonic() + _PROGRESS_S
        while not done():
            if self._clock.monotonic() > self._started_at + self._plan.timeout:
                self._problems.append(f"not done after {self._plan.timeout:g} seconds")
                return
            if self._watch_crew():
                return
            self._strike()
            if self._clock.monotonic() >= next_line_at:
                self._tell(self._watch.stats())
                next_line_at = self._clock.monotonic() + _PROGRESS_S
            self._clock.sleep(_TICK_S)

    def _all_done(self) -> bool:
        """Whether the handlers' notes and the dead letters cover all messages, and the queue says so too."""
        if len(set(self._greetings.ids())) < 0.9 * len(self._ids):
            return False
        stats = self._watch.stats()
        return stats.unfinished == 0 and stats.completed + stats.dead >= len(self._ids)

    def _watch_crew(self) -> bool:
        """Say whether a worker ended of its own accord, which none should."""
        gone = [one for one in self._crew if not one.running and one is not self._victim]
        self._problems += [f"{one.name} ended: {one.last_words()}" for one in gone]
        return bool(gone)

    def _strike(self) -> None:
        """Kill a worker once a third is done, at a moment when it holds messages."""
        if self._victim is not None or len(self._greetings.ids()) < self._plan.messages / 3:
            return
        committer = self._watch.connect().lane.committer
        victim = self._crew[len(self._crew) // 2]
        committer.read()
        if self._holds(victim.name):
            victim.kill()
            self._victim = victim
            committer.read()
            self._held = self._holds(victim.name)
            self._say(f"killed {victim.name} (SIGKILL); it held {counted(self._held, 'message')}")

    def _holds(self, worker: str) -> int:
        tickets = self._watch.connect().lane.committer.ledger.tickets.values()
        return sum(ticket.size for ticket in tickets if ticket.claimed and ticket.worker == worker)

    def _tell(self, stats: Stats) -> None:
        seconds = self._clock.monotonic() - self._started_at
        self._say(
            f"{seconds:5.1f} s   completed {stats.completed:6,}   waiting {stats.pending + stats.scheduled:6,}   "
            f"in work {stats.processing:4,}   retried {stats.retried:3,}   rescued {stats.rescued:3,}   dead {stats.dead:3,}"
        )

    # -- the end --

    def _stop(self) -> None:
        """Stop the workers in good order."""
        rest = [one for one in self._crew if one is not self._victim]
        for one in rest:
            one.ask_to_stop()
        for one in rest:
            code = one.wait()
            if code != 0:
                self._problems.append(f"{one.name} ended with exit code {code}: {one.last_words()}")

    def _kill_all(self) -> None:
        for one in self._crew:
            with suppress(ProcessLookupError):
                one.kill()
                one.wait()

    def _count(self, singles: int, bulk: int) -> Tally:
        seconds = self._clock.monotonic() - self._started_at
        stats = self._watch.stats()
        self._tell(stats)
        dead = [letter.id for letter in self._watch.dlq.list(None)]
        greeted = self._greetings.ids()
        missing = lost(self._ids, greeted, dead, stats.unfinished, stats.completed + stats.dead)
        if missing:
            self._problems.append(f"{counted(missing, 'message is', 'messages are')} lost")
        if stats.unfinished:
            self._problems.append(f"{counted(stats.unfinished, 'message is', 'messages are')} unfinished")
        if self._victim is None:
            self._problems.append("no worker was killed: everything was done too soon")
        if self._watch.meter.total():
            self._say(f"(watching took {self._watch.meter.total():,} requests of its own, which are not counted below)")
        self._queue.close()
        return Tally(
            title=f"on {self._place.title}",
            singles=singles,
            bulk=bulk,
            completed=stats.completed,
            retried=stats.retried,
            rescued=stats.rescued,
            dead=stats.dead,
            unfinished=stats.unfinished,
            lost=missing,
            duplicates=len(greeted) - len(set(greeted)),
            killed=self._victim.name if self._victim else "",
            killed_holding=self._held,
            requests=Requests.of(self._queue.meter.snapshot(), [one.metrics for one in self._crew]),
            seconds=seconds,
            problems=tuple(self._problems),
        )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM clean up as Ctrl-C does, for the time of the block, where signals can be had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
