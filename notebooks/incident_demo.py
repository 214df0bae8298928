"""An incident to practise on: half an hour of a queue of orders, played into a folder by the real engine within seconds.

Three workers process orders. At a known time a carrier stops answering, a release goes out to one worker that reads a field
which orders from the app do not have, and a promotion makes totals negative. Before and after, a few addresses are wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from s3queue import NonRetriable, Queue, Worker
from s3queue.clock import SystemClock, to_datetime
from s3queue.core.presence import Presence
from s3queue.ids import SeededIds
from s3queue.protocol.registry import Registration
from s3queue.store.file import FileStore
from s3queue.store.metered import to_lines

QUEUE: Final = "orders"
WORKERS: Final = ("w1", "w2", "w3")
"""The last is the one with the release."""
MINUTES: Final = 30
BEGAN_AFTER_MINUTES: Final = 12
A_MINUTE: Final = 100
"""Orders enqueued in a minute."""

Words = Callable[[str], str]
"""What becomes of the texts in payloads and errors."""


class UnknownAddress(NonRetriable):
    """It will not be known the next time either."""


class NegativeTotal(NonRetriable):
    """Nor will this be a price."""


@dataclass(frozen=True)
class Incident:
    """What was made: where, when it began (the truth that the notebook has to find), and which letters a repair mends."""

    url: str
    queue: str
    began_at: datetime
    mended: str

    def work(self) -> int:
        """Process what waits, with the carrier back and the release taken back; return how many attempts were made."""
        with Queue(self.queue, url=self.url) as queue:
            return Worker(queue, _check, burst=True).run(signals=False)


def make(folder: Path, *, seed: int = 7, workers: Sequence[str] = WORKERS, words: Words = str) -> Incident:
    """Play the incident into an empty folder, so that its last minute is now."""
    shop = _Shop(folder, seed, workers, words)
    shop.play()
    mended = "error~'no answer from' OR error~currency"
    return Incident(f"file://{folder}", QUEUE, to_datetime(shop.began_ms), mended)


class _Past:
    """A clock that begins in the past and is moved by hand."""

    def __init__(self, start_ms: int) -> None:
        self.passed_ms, self._start_ms = 0, start_ms

    def now_ms(self) -> int:
        return self._start_ms + self.passed_ms

    def monotonic(self) -> float:
        return self.passed_ms / 1000

    def sleep(self, seconds: float) -> None:
        self.passed_ms += max(1, round(seconds * 1000))

    def catch_up(self) -> None:
        """Let all the time pass until now."""
        self.passed_ms = max(self.passed_ms, SystemClock().now_ms() - self._start_ms)


class _Shop:
    def __init__(self, folder: Path, seed: int, workers: Sequence[str], words: Words) -> None:
        start_ms = SystemClock().now_ms() // 60_000 * 60_000 - MINUTES * 60_000
        self.began_ms = start_ms + BEGAN_AFTER_MINUTES * 60_000
        self.clock, self.random, self.words = _Past(start_ms), random.Random(seed), words
        store = FileStore(folder, clock=self.clock, ids=SeededIds(seed), fsync=False)
        self.queues = [
            Queue(
                QUEUE,
                store=store,
                clock=self.clock,
                ids=SeededIds(f"{seed}-{name}"),
                worker_id=name,
                max_attempts=2,
                history=True,
                probe=False,
            )
            for name in workers
        ]
        self.counts = {name: Counter[str]() for name in workers}

    def play(self) -> None:
        """Let the half hour pass, and what was left to be tried again be tried."""
        entries = [self._register(queue) for queue in self.queues]
        for minute in range(MINUTES):
            self.clock.passed_ms = max(self.clock.passed_ms, minute * 60_000)
            for entry in entries:
                entry.step()
            self.queues[0].enqueue_many(self._order(minute * A_MINUTE + number) for number in range(A_MINUTE))
            self._round(A_MINUTE)
            self.clock.sleep(2)
            self._round(A_MINUTE)
        while self.queues[0].stats().unfinished:
            self.clock.sleep(1)
            self._round(A_MINUTE)
        self.clock.catch_up()
        for entry in entries:
            entry.step()
        for queue in self.queues:
            queue.close()

    def _round(self, most: int) -> None:
        """Let each worker take its share of what is visible."""
        for queue in self.random.sample(self.queues, len(self.queues)):
            queue.process_once(
                lambda order, name=queue.worker_id: self._handle(order, name), max_messages=most // len(self.queues) + 1
            )

    def _register(self, queue: Queue) -> Registration:
        """Enter a worker into the registry, whose meter tells what it asks of the store."""
        lane, started_at_ms, counts = queue.connect().lane, self.clock.now_ms(), self.counts[queue.worker_id]

        def describe() -> Presence:
            return Presence(
                worker=lane.worker,
                instance=lane.committer.writer,
                beat_at_ms=0,
                interval_ms=0,
                capacity=A_MINUTE,
                started_at_ms=started_at_ms,
                processed=counts["processed"],
                failed=counts["failed"],
                requests=to_lines(queue.meter.snapshot()),
            )

        return Registration(lane, describe)

    def _order(self, number: int) -> dict[str, Any]:
        channel = self.random.choice(("app", "shop", "phone"))
        promotion = "SPRING" if self.random.random() < 0.05 else None
        total = round(self.random.uniform(5, 90), 2)
        wrong = self.clock.now_ms() >= self.began_ms and promotion
        return {
            "order": number,
            "carrier": self.words(self.random.choice(("acme", "bolt", "crow"))),
            "channel": self.words(channel),
            "promotion": promotion,
            "total": -total if wrong else total,
            "customer": {"name": self.words("Ada"), "postcode": f"{self.random.randrange(10_000):04}"},
            self.words("gift"): False,
            "api_key": "not-to-be-shown",
            **({} if channel == "app" else {"currency": "EUR"}),
        }

    def _handle(self, order: dict[str, Any], worker: str) -> None:
        counts = self.counts[worker]
        counts["processed"] += 1
        try:
            self.clock.sleep(0.1)
            self._ship(order, worker, wrong=self.clock.now_ms() >= self.began_ms)
        except Exception:
            counts["failed"] += 1
            raise

    def _ship(self, order: dict[str, Any], worker: str, *, wrong: bool) -> None:
        say, chance = self.words, self.random.random()
        if chance < 0.003:
            raise UnknownAddress(
                say(f"postcode {order['customer']['postcode']} of order {order['order']} is not known")
            )
        if chance < 0.02:
            raise ConnectionResetError(say("connection reset by the store room"))  # the next attempt mostly succeeds
        if wrong and order["carrier"] == say("acme") and chance < 0.8:
            self.clock.sleep(0.4)
            request = f"{self.random.getrandbits(64):016x}"
            raise TimeoutError(say(f"no answer from https://api.acme.example/v1/labels, request {request}"))
        if wrong and worker == self.queues[-1].worker_id and "currency" not in order:
            raise KeyError(say("currency"))
        if order["total"] < 0:
            raise NegativeTotal(say(f"order {order['order']}: a total of {order['total']} EUR"))


def _check(order: dict[str, Any]) -> None:
    """Do what the mended handler does: ship all orders that can be."""
    if order["total"] < 0:
        raise NegativeTotal(f"order {order['order']}: a total of {order['total']} EUR")
