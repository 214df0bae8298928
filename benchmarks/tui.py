"""``python -m benchmarks.tui``: how soon the dashboard paints, how it scrolls, what it costs while it is open all day.

On a folder or a memory; names of parts as arguments measure only those. A goal that is missed makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter, process_time
from typing import Any

from s3queue import Queue
from s3queue.store.memory import MemoryStore
from s3queue_admin.bucket import Bucket
from tests.queue.clocks import ManualClock

QUEUES, MESSAGES, LOOKS = 50, 100_000, 3_600
READS = 5
SETTLED = 900
"""Looks after which the charts, which remember 600, are full."""
SIZE = (120, 40)
NEVER_S = 86_400.0
WARM_S, WATCHED_S = 6.0, 30.0


@dataclass(frozen=True, slots=True)
class Line:
    """A measure; ``goal``: what it must be below, None if it is only told."""

    title: str
    value: float
    unit: str
    goal: float | None = None

    def __str__(self) -> str:
        told = "" if self.goal is None else f"  (goal < {self.goal:g}: {'MISSED' if self.missed else 'met'})"
        return f"{self.title:<70} {self.value:>8.2f} {self.unit}{told}"

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and it is not met."""
        return self.goal is not None and self.value >= self.goal


def fill(folder: Path, queues: int = QUEUES, messages: int = 20) -> None:
    """Make queues with some messages each, half of them done."""
    for number in range(queues):
        with Queue(f"queue-{number:02}", url=folder.as_uri()) as queue:
            queue.enqueue_many({"n": each, "to": f"user{each}@example.com"} for each in range(messages))
            queue.process_once(lambda _: None, max_messages=messages // 2)


def _play(app: Any, story: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with app.run_test(size=SIZE) as pilot:
            return await story(pilot)

    return asyncio.run(run())


def _paint(app: Any) -> None:
    """Paint the whole screen: what a terminal would be sent."""
    app.screen._compositor.render_strips()  # noqa: SLF001 - there is no public way


# -- first paint ------------------------------------------------------------------------------------------------------


def first_paint() -> list[Line]:
    """Measure in fresh processes: the import apart, from then until the screen is painted, and until the queues are there."""
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name))
        runs = [_painted(name) for _ in range(3)]
    imported, painted, seen = (min(column) for column in zip(*runs, strict=True))
    return [
        Line("import of the dashboard", imported, "s"),
        Line("first paint after that, nothing cached", painted, "s", 1.0),
        Line(f"{QUEUES} queues on the screen after import", seen, "s"),
    ]


def _painted(folder: str) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.tui", "--child", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def child(folder: str) -> None:
    """Print the three times of one run."""
    began = perf_counter()
    from textual.pilot import Pilot  # noqa: F401 - what only a test needs is no part of the paint

    from s3queue_admin.tui.app import Dashboard
    from s3queue_admin.tui.screens import overview  # noqa: F401 - the first screen is part of the import

    imported = perf_counter()
    app = Dashboard(Bucket(url=Path(folder).as_uri()), interval=NEVER_S)

    async def story(pilot: Any) -> tuple[float, float]:
        _paint(app)
        painted = perf_counter()
        await app.workers.wait_for_complete()
        await pilot.pause()
        if app.feed.snapshot is None:
            raise RuntimeError("Nothing was seen.")
        _paint(app)
        return painted, perf_counter()

    painted, seen = _play(app, story)
    print(imported - began, painted - imported, seen - imported)
    sys.stdout.flush()
    os._exit(0)


# -- scrolling --------------------------------------------------------------------------------------------------------


def scrolling() -> list[Line]:
    """Measure the messages screen with a hundred thousand messages of a real queue: reading, frames, sorting."""
    from s3queue_admin.tui.app import Dashboard
    from s3queue_admin.tui.widgets.table import Table

    clock = ManualClock()
    store = MemoryStore(clock)
    queue = Queue("bulk", store=store, clock=clock)
    for start in range(0, MESSAGES, 1000):
        queue.enqueue_many({"n": start + each, "to": f"user{each}@example.com"} for each in range(1000))
    app = Dashboard(Bucket(url="memory://bench", store=store, clock=clock), interval=NEVER_S, queue="bulk")

    async def story(pilot: Any) -> list[Line]:
        table: Any = app.screen.query_one(Table)
        looks = []
        for turn in range(READS):
            if turn:
                app.screen.read()  # type: ignore[attr-defined]
            looks.append(await _read(table))
            await app.workers.wait_for_complete()
            await pilot.pause()
        read, held_up = (median(column) for column in zip(*looks, strict=True))
        pages = sorted([await _frame(pilot, app, lambda: table.action_page(1)) for _ in range(150)])
        rows = [await _frame(pilot, app, lambda: table.action_move(1)) for _ in range(150)]
        ends = [await _frame(pilot, app, lambda to=to: table.action_go(to)) for to in (-1, 0) * 20]  # type: ignore[misc]
        at = perf_counter()
        table.sort_by(next(number for number, column in enumerate(table.columns) if column.order))
        ordered = perf_counter() - at
        return [
            Line(f"reading {table.total:,} messages, all in memory", read, "s"),
            Line(f"  keys held up meanwhile, at most; median of {READS} readings", held_up * 1000, "ms", 100.0),
            Line("a page down, median frame", median(pages) * 1000, "ms", 16.7),
            Line("  slowest of 150, with whatever garbage is collected in it", pages[-1] * 1000, "ms", 33.3),
            Line("a row down, median frame", median(rows) * 1000, "ms", 16.7),
            Line("to the end and back, median frame", median(ends) * 1000, "ms", 16.7),
            Line("sorting them", ordered * 1000, "ms"),
        ]

    return list(_play(app, story))


async def _read(table: Any) -> tuple[float, float]:
    """Wait until all messages are there; return how long that took, and the longest that the loop was late."""
    began, longest = perf_counter(), 0.0
    while table.total < MESSAGES and perf_counter() - began < 60:
        at = perf_counter()
        await asyncio.sleep(0.005)
        longest = max(longest, perf_counter() - at - 0.005)
    return perf_counter() - began, longest


async def _frame(pilot: Any, app: Any, move: Callable[[], None]) -> float:
    """Move, lay out and paint; return the CPU seconds of it."""
    began = process_time()
    move()
    await asyncio.sleep(0)
    _paint(app)
    took = process_time() - began
    await pilot.pause()
    return took


# -- open all day -----------------------------------------------------------------------------------------------------


def refreshing() -> list[Line]:
    """Measure a dashboard in a real pty that looks at 50 queues each second, while they rest and while they work."""
    lines = []
    for title, busy in (("rest", False), ("each do a message a second", True)):
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name))
            with _working(Path(name), busy=busy):
                share, kb = _watched(name)
        lines.append(Line(f"looking each second at {QUEUES} queues that {title}, of a core", share * 100, "%", 10.0))
        lines.append(Line("  memory of the process", kb / 1024, "MB"))
    return lines


@contextmanager
def _working(folder: Path, *, busy: bool) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        queues = [Queue(f"queue-{number:02}", url=folder.as_uri()) for number in range(QUEUES)]
        while not over.wait(1):
            for queue in queues:
                queue.enqueue({"n": 1})
                queue.process_once(lambda _: None, max_messages=1)

    thread = threading.Thread(target=work)
    if busy:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if busy:
            thread.join()


def _watched(folder: str) -> tuple[float, int]:
    """Return the share of a core that a dashboard takes on that folder, and its memory in KB."""
    import pexpect

    command = ["-m", "s3queue_admin", "tui", "--url", Path(folder).as_uri(), "--interval", "1"]
    process = pexpect.spawn(sys.executable, command, dimensions=(SIZE[1], SIZE[0]), timeout=1)
    try:
        _drain(process, WARM_S)
        cpu, began = _cpu_s(process.pid), monotonic()
        _drain(process, WATCHED_S)
        return (_cpu_s(process.pid) - cpu) / (monotonic() - began), _rss_kb(process.pid)
    finally:
        process.close(force=True)


def _drain(process: Any, seconds: float) -> None:
    import pexpect

    until = monotonic() + seconds
    while monotonic() < until:
        try:
            process.read_nonblocking(65_536, 0.2)
        except pexpect.TIMEOUT:
            continue


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_kb(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


# -- memory -----------------------------------------------------------------------------------------------------------


def memory() -> list[Line]:
    """Measure memory over a simulated hour: 3,600 looks at queues that change, the clock moved a second between each."""
    from s3queue_admin.tui.app import Dashboard

    clock = ManualClock()
    store = MemoryStore(clock)
    queues = [Queue(f"queue-{number:02}", store=store, clock=clock) for number in range(10)]
    for queue in queues:
        queue.enqueue_many({"n": number} for number in range(20))
    app = Dashboard(Bucket(url="memory://bench", store=store, clock=clock), interval=NEVER_S)

    async def story(pilot: Any) -> list[Line]:
        marks: dict[int, int] = {}
        for look in range(1, LOOKS + 1):
            queue = queues[look % len(queues)]
            queue.enqueue({"n": look})
            queue.process_once(lambda _: None, max_messages=1)
            clock.advance(1)
            app.feed.look()
            await app.workers.wait_for_complete()
            await pilot.pause()
            if look in {SETTLED, LOOKS}:
                gc.collect()
                marks[look] = _rss_kb("self")
        if app.feed.standing.looks < LOOKS:
            raise RuntimeError(f"Only {app.feed.standing.looks} looks were made.")
        return [
            Line(f"memory after {LOOKS:,} looks", marks[LOOKS] / 1024, "MB"),
            Line(f"  more than after {SETTLED}", (marks[LOOKS] - marks[SETTLED]) / 1024, "MB", 5.0),
        ]

    return list(_play(app, story))


PARTS: dict[str, Callable[[], list[Line]]] = {
    "paint": first_paint,
    "scroll": scrolling,
    "refresh": refreshing,
    "memory": memory,
}


def main() -> int:
    """Measure the parts that are asked for; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child)
    if wrong := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(wrong))}")
    missed = False
    for name, measure in PARTS.items():
        if not chosen.parts or name in chosen.parts:
            for line in measure():
                print(line, flush=True)
                missed |= line.missed
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
