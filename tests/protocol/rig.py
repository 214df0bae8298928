"""Processes of one queue on one bucket in memory, their clock, and the ways they die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from s3queue.connection import Connection
from s3queue.core.codec import decode_ledger, encode_ledger
from s3queue.core.invariants import violations
from s3queue.core.keys import Keys, ObjectName, message_id_at
from s3queue.core.ledger import Ledger
from s3queue.core.message import Failure, Message
from s3queue.core.payload import PLAIN
from s3queue.core.retry import RetryPolicy
from s3queue.core.settings import Settings
from s3queue.errors import NotFound
from s3queue.events import Events
from s3queue.ids import SeededIds
from s3queue.protocol.committer import Committer
from s3queue.protocol.dead_letters import DeadLetters
from s3queue.protocol.outcomes import Delivery
from s3queue.store.memory import MemoryStore
from s3queue.store.metered import Meter
from s3queue.store.port import OVERWRITE, Object, Page, PutMode, Store
from s3queue.store.record import Record
from s3queue.store.retrying import Retrying
from tests.queue.clocks import ManualClock
from tests.store.faulty import Faulty, Wrapper

ROOT = "q/"
KEYS = Keys(ROOT)
LEDGER = KEYS.ledger(0)


class Killed(BaseException):
    """The process ended here, as by kill -9: nothing catches it."""


class Mortal(Wrapper):
    """A store whose user dies at its ``dies_at``-th request (from 1): before it is carried out, or right after."""

    def __init__(self, store: Store, *, dies_at: int = 0, after: bool = False) -> None:
        super().__init__(store)
        self.calls = 0
        self.dies_at, self.after = dies_at, after

    def _step(self, act: Callable[[], Any]) -> Any:
        self.calls += 1
        fatal = self.calls == self.dies_at
        if fatal and not self.after:
            raise Killed
        try:
            return act()
        finally:
            if fatal:
                raise Killed

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        found: Object | None = self._step(lambda: self.inner.get(key, if_none_match))
        return found

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return str(self._step(lambda: self.inner.put(key, body, mode)))

    def delete(self, key: str) -> None:
        self._step(lambda: self.inner.delete(key))

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        left: tuple[str, ...] = self._step(lambda: self.inner.delete_many(keys))
        return left

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        page: Page = self._step(lambda: self.inner.list(prefix, after, limit))
        return page


class Dead(Mortal):
    """The same, for code that tidies up after itself whatever happens: who is dead asks for nothing more."""

    def _step(self, act: Callable[[], Any]) -> Any:
        if 0 < self.dies_at <= self.calls:
            raise Killed
        return super()._step(act)


class Deaths:
    """One death after the other: at the first request, at the second, and so on until somebody survives them all.

    ``for where in deaths:`` make a bucket, and let somebody live in ``with deaths.of(bucket) as store:``; then look.
    """

    def __init__(self, *, after: bool) -> None:
        self.after = after
        self.at = 0
        self._survived = False

    def __iter__(self) -> Iterator[str]:
        while not self._survived:
            self.at += 1
            yield f"died {'after' if self.after else 'before'} request {self.at}"

    @contextmanager
    def of(self, bucket: Bucket) -> Iterator[Mortal]:
        """Give the block a store to die of; its death ends the block and nothing else."""
        self._survived = False
        with suppress(Killed):
            yield Mortal(bucket.memory, dies_at=self.at, after=self.after)
            self._survived = True


@dataclass
class Bucket:
    """A bucket, its clock, and what lies in it."""

    clock: ManualClock
    memory: MemoryStore
    processes: int = 0

    @classmethod
    def new(cls) -> Bucket:
        clock = ManualClock()
        return cls(clock, MemoryStore(clock))

    def process(self, store: Store | None = None, **settings: Any) -> Process:
        """Return another process of the queue; ``store`` stands between it and the bucket."""
        self.processes += 1
        return Process(self, store or self.memory, self.processes, settings)

    def listed(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.memory.list(ROOT + prefix).entries]

    def inbox(self) -> list[str]:
        return [KEYS.name_in(KEYS.inbox(0), key) for key in self.listed("inbox/")]

    def letters(self) -> list[str]:
        return [KEYS.name_in(KEYS.dlq, key) for key in self.listed("dlq/")]

    def ledger(self) -> Ledger:
        try:
            found = self.memory.get(LEDGER)
        except NotFound:
            return Ledger()
        assert found is not None
        ledger = decode_ledger(found.body, LEDGER)
        assert violations(ledger) == []
        return ledger

    def copy_of(self, key: str) -> bytes:
        found = self.memory.get(key)
        assert found is not None
        return found.body

    def plant(self, key: str, body: bytes) -> None:
        """Let a write land behind everybody's back."""
        self.memory.put(key, body, OVERWRITE)


class Process:
    """What one process has of the queue, and the moves of the stories."""

    def __init__(self, bucket: Bucket, store: Store, number: int, settings: dict[str, Any]) -> None:
        self.bucket, self.clock = bucket, bucket.clock
        self.events = Events("q", bucket.memory.now_ms)
        self.told: list[Any] = []
        self.events.on("*", self.told.append)
        self.connection = Connection(
            store,
            ROOT,
            worker=f"w{number}",
            wanted=Settings(**{"retry": RetryPolicy(base_s=0, cap_s=0), **settings}),
            codec=PLAIN,
            probe=False,
            clock=self.clock,
            ids=SeededIds(number),
            meter=Meter(),
            events=self.events,
        )
        self.lane = self.connection.lane
        self.consumer = self.connection.consumer
        self.janitor = self.connection.lanes.first.janitor
        self.sweeper = self.connection.lanes.first.sweeper
        self.dead_letters = DeadLetters(lambda number: self.connection.lanes.of(number).lane)

    def put(self, *payloads: Any, age_ms: int = 0) -> str:
        """Enqueue the payloads as one object and return its name."""
        now = self.lane.now_ms() - age_ms
        name = ObjectName(9, now, self.lane.ids.new(now), len(payloads))
        messages = [Message(message_id_at(name.id, i), payload, now) for i, payload in enumerate(payloads)]
        self.lane.inbox.write(name, messages)
        return str(name)

    def claim(self, room: int = 100) -> list[Delivery]:
        return self.consumer.exchange(room)

    def complete(self, *deliveries: Delivery) -> None:
        for delivery in deliveries:
            self.consumer.settle(self.consumer.completed(delivery))

    def fail(self, delivery: Delivery, error: str = "no", *, retriable: bool = True) -> None:
        self.consumer.settle(self.consumer.failed(delivery, Failure("ValueError", error, retriable=retriable)))

    def flush(self) -> None:
        self.connection.close()

    def errors(self) -> list[str]:
        return [str(event.error) for event in self.told if event.name == "error"]


def drain(bucket: Bucket, *, rounds: int = 60) -> Counter[Any]:
    """Let a healthy process bring everything to its end; return how often each payload was completed."""
    process = bucket.process()
    done: Counter[Any] = Counter()
    for _ in range(rounds):
        bucket.clock.advance(40)
        process.sweeper.sweep()
        deliveries = process.claim()
        done.update(delivery.message.payload for delivery in deliveries)
        process.complete(*deliveries)
        process.janitor.tick(flush=True)
        process.lane.committer.commit()
        ledger = bucket.ledger()
        if not (ledger.tickets or ledger.outbox or set(bucket.inbox()) - ledger.settled.keys()):
            break
    return done


def committer(store: Store, clock: ManualClock, writer: str = "a", **more: Any) -> Committer:
    """Return a committer of a ledger on ``store``, which is retried as always."""
    retrying = Retrying(store, clock=clock, ids=SeededIds(f"{writer}-r"), deadline_s=2)
    record = Record(retrying, LEDGER, decode_ledger, encode_ledger)
    return Committer(record, writer=writer, clock=clock, ids=SeededIds(writer), now_ms=clock.now_ms, **more)


def faulty_committer(writer: str = "a", **more: Any) -> tuple[Committer, Faulty, ManualClock]:
    clock = ManualClock()
    faulty = Faulty(MemoryStore(clock))
    return committer(faulty, clock, writer, **more), faulty, clock
