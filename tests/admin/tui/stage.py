"""A bucket in memory with queues in every state, a dashboard on it, and how a test plays on that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic
from typing import Any
from unittest.mock import patch

from textual.app import App
from textual.pilot import Pilot

from s3queue import Queue
from s3queue.clock import to_ms
from s3queue.core.codec import encode_ledger
from s3queue.core.ledger import Leader
from s3queue.core.message import Failure
from s3queue.core.presence import Presence, encode_presence
from s3queue.ids import SeededIds
from s3queue.received import ReceivedMessage
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, Store
from s3queue_admin.bucket import Bucket
from s3queue_admin.tui.app import Dashboard
from tests.queue.clocks import ManualClock

SMALL, LARGE = (80, 24), (200, 60)
QUIET_ROUNDS = 5
"""In so many rounds of the loop in a row nothing happens: what a message leads to is one or two rounds away."""
SETTLED_S = 30.0
NEVER_S = 3600.0
"""Between looks: they are made at the start, and when a test asks for one."""
EVIL = "\x1b[31mred\x07\u202eevil\x00[bold]x[/bold] [@click=app.quit]bye[/] =1+1\n\tnext\u200b"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/handlers.py", line 41, in send
    smtp.connect(host)
  File "/srv/app/smtp.py", line 88, in connect
    raise self.error
"""
Story = Callable[[Pilot[None]], Awaitable[None]]


class Site:
    """Queues in a memory: *emails* has messages in every state, *billing* is paused, *reports* is idle."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.emails = self.queue("emails", worker_id="w1", visibility_timeout=30)
        self._fill_emails()
        self._fill_billing()
        self.queue("reports").connect()

    def queue(self, name: str, **options: Any) -> Queue:
        """Return a queue, open for writing, whose ids are the same each time."""
        return Queue(name, store=self.store, clock=self.clock, ids=SeededIds(name), **options)

    def bucket(self, store: Store | None = None) -> Bucket:
        return Bucket(url="memory://prod", store=store or self.store, clock=self.clock, ids=SeededIds("operator"))

    def dashboard(self, *, write: bool = False, queue: str | None = None, store: Store | None = None) -> Dashboard:
        return Dashboard(self.bucket(store), interval=NEVER_S, write=write, queue=queue)

    def _fill_emails(self) -> None:
        queue = self.emails
        queue.enqueue_many([{"to": f"user{number}@example.com", "user": {"id": number}} for number in range(6)])
        queue.process_once(lambda _: None, max_messages=3)
        for message in queue.receive(3):
            fail(message, Failure("NonRetriable", f"no mailbox {message.payload['to']}", TRACEBACK, retriable=False))
        queue.enqueue({"to": "later@example.com"}, delay=600)
        queue.enqueue_many([{"to": f"retry{number}@example.com", "password": "hunter2"} for number in range(2)])
        for message in queue.receive(2):
            fail(message, Failure("TimeoutError", "smtp timed out after 30 s", TRACEBACK, after_s=120.0))
        self.clock.advance(5)
        queue.enqueue({"to": "held@example.com", "note": EVIL})
        (self.held,) = self.queue("emails", worker_id="w3").receive(1)
        self.held.extend(600)
        queue.enqueue({"to": "slow@example.com"})
        self.queue("emails", worker_id="w2").receive(1)
        self.clock.advance(40)  # its lease has ended
        queue.enqueue_many([{"to": f"new{number}@example.com", "tags": ["a", "b"], "n": number} for number in range(4)])
        requests = {"PUT ledger": 40, "GET ledger": 120, "LIST inbox": 60, "PUT ledger lost": 2}
        self.beat("w1", commits=40, lost_races=2, processed=3, failed=5, requests=requests)
        self.beat("w2", ago_s=200)
        self.beat("w3", held=1)
        self.lead("w1")
        queue.schedule("nightly", cron="0 3 * * *", payload={"kind": "digest"})
        queue.lock("digest", ttl=60, renew=False).acquire()
        self.clock.advance(2)

    def _fill_billing(self) -> None:
        queue = self.queue("billing")
        queue.enqueue_many([{"invoice": number} for number in range(12)])
        queue.pause()
        self.clock.advance(3)

    def beat(self, worker: str, *, ago_s: float = 0, queue: Queue | None = None, **facts: Any) -> None:
        """Write a worker's heartbeat."""
        queue, at_ms = queue or self.emails, self.clock.now_ms() - int(ago_s * 1000)
        entry = Presence(
            worker, f"{worker}-1", at_ms, 20_000, 10, started_at_ms=at_ms - 600_000, host="host-a", pid=7, **facts
        )
        self.store.put(queue.connect().keys.worker(worker), encode_presence(entry), OVERWRITE)

    def lead(self, worker: str, queue: Queue | None = None, epoch: int = 3) -> None:
        """Make a worker the coordinator of lane 0."""
        lane = (queue or self.emails).connect().lane
        lane.committer.read()
        leader = Leader(worker, f"{worker}-1", epoch, self.clock.now_ms() + 3_600_000, fleet=2)
        body = encode_ledger(replace(lane.committer.ledger, leader=leader))
        self.store.put(lane.keys.ledger(0), body, OVERWRITE)

    @property
    def now_ms(self) -> int:
        return to_ms(self.bucket().snapshot().taken_at)

    async def look_on(self, pilot: Pilot[None], times: int = 40, seconds: float = 2) -> None:
        """Let a queue work, more and less, while the dashboard looks."""
        queue = self.queue("reports", worker_id="w9")
        for turn in range(times):
            queue.enqueue_many([{"report": number} for number in range(4 + turn % 7 * 3)])
            self.clock.advance(0.05 * (turn % 5))
            queue.process_once(lambda _: None, max_messages=10 + turn % 5)
            self.clock.advance(seconds)
            await press(pilot, "r")


def fail(message: ReceivedMessage, failure: Failure) -> None:
    """Record a failure as a worker would, with a traceback that is the same everywhere."""
    message._consumer.settle(message._consumer.failed(message._delivery, failure))


def play(app: Dashboard, story: Story, size: tuple[int, int] = SMALL) -> None:
    """Run the application without a terminal, and the story on it once the first look is through."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await story(pilot)

    asyncio.run(run())


async def settle(pilot: Pilot[None]) -> None:
    """Wait until threads have ended, and what they posted is dealt with, however slow the machine is."""
    await _until_quiet(pilot)
    if isinstance(pilot.app, Dashboard) and pilot.app.is_running:
        pilot.app._tick()  # so that no second of the wall clock decides whether it was painted anew
        await _until_quiet(pilot)  # it may have been time for a look


async def _until_quiet(pilot: Pilot[None]) -> None:
    quiet, deadline = 0, monotonic() + SETTLED_S
    while quiet < QUIET_ROUNDS:
        await pilot.pause(0.001)
        await pilot.app.animator.wait_until_complete()
        quiet = quiet + 1 if is_quiet(pilot.app) else 0
        assert monotonic() < deadline, f"Not settled: {[each for each in pilot.app.workers if not each.is_finished]}"


def is_quiet(app: App[None]) -> bool:
    """Whether no thread is at work, no message waits, and the dashboard has looked once."""
    if isinstance(app, Dashboard) and not (app.feed.standing.looks or app.feed.standing.failures):
        return False
    nodes = [app, *(node for screen in app.screen_stack for node in screen.walk_children(with_self=True))]
    waits = any(node.message_queue_size for node in nodes) or any(screen._callbacks for screen in app.screen_stack)
    return not waits and all(worker.is_finished for worker in app.workers)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after the other, and wait for what comes of them."""
    with patch(
        "textual.app.wait_for_idle", _go_on
    ):  # which goes by the processor's time, a fiftieth of a second at least
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
    if not keys:
        await settle(pilot)


async def _go_on(*_: float) -> None:
    """Wait for nothing: that is what :func:`settle` does."""


async def type_in(pilot: Pilot[None], text: str) -> None:
    """Type a text, letter by letter."""
    names = {
        " ": "space",
        "/": "slash",
        ":": "colon",
        "~": "tilde",
        ">": "greater_than_sign",
        ".": "full_stop",
        "-": "minus",
    }
    await press(pilot, *(names.get(letter, letter) for letter in text))
