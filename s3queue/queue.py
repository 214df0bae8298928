"""The queue as applications see it: enqueue, receive, count, pause, dead letters."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from s3queue.changing import Changing
from s3queue.clock import Clock
from s3queue.connection import Connection
from s3queue.coordination import TICKETS, Ear, Hint, open_hints, parse
from s3queue.core.checking import check_truth
from s3queue.core.keys import (
    MAX_MESSAGES_PER_OBJECT,
    check_label,
    check_prefix,
    check_queue_name,
)
from s3queue.core.payload import PLAIN, PayloadCodec, check_codec, check_payload
from s3queue.core.retry import RetryPolicy
from s3queue.core.settings import Settings
from s3queue.errors import InvalidSetting
from s3queue.events import Event, Events
from s3queue.ids import Ids
from s3queue.operating import Operating
from s3queue.options import access, check_tools, differing, locate, make_settings
from s3queue.presets import queue_options
from s3queue.producer import BufferingProducer
from s3queue.producing import produce
from s3queue.protocol.dead_letters import DeadLetters
from s3queue.received import ReceivedMessage
from s3queue.runtime.handler import Handler, Runner
from s3queue.sharing import Sharing
from s3queue.store.metered import Meter
from s3queue.store.opening import raw_store, split_queue
from s3queue.store.port import Store
from s3queue.telemetry import Providers, Telemetry


class Queue(Operating, Changing, Sharing):
    """A job queue in a bucket (or a folder, or memory), shared by everybody who opens it under the same name.

    ``Queue("emails", bucket="prod")`` is on S3, with ``endpoint_url``, ``region`` and ``profile`` as in the AWS CLI;
    ``url`` may be ``s3://bucket/prefix``, ``file:///folder`` or ``memory://name`` instead; with neither, the folder
    ``.s3queue`` below the current one is used. Nothing is asked of the store before the first call that needs it.

    Settings of the queue (``visibility_timeout`` in seconds, ``max_attempts``, ``retry``, ``failure``, ``lanes`` (a
    number, or "auto"), ``order`` (fifo, lifo, strict, strict-group), ``results`` and ``history`` with ``result_ttl`` and
    ``history_ttl`` in seconds, ``dedup_ttl`` in seconds, ``max_payload_bytes``) are written when the queue is made;
    later, what the bucket says counts (the event ``settings-differ`` tells): :meth:`configure` changes it. ``codec``
    packs payloads. ``probe=False`` skips the test of the store's conditions.
    ``coordination``: a backend that wakes idle workers: "redis", "redis://host:port/0", "sqs", "sqs://name"; see
    docs/coordination.md. ``preset``: what :mod:`s3queue.presets` has for settings that are not given. ``telemetry``:
    False, or the providers of OpenTelemetry to use instead of the process' own; see docs/observability.md.

    Raises InvalidName or InvalidSetting at once; StoreRefused, UnsafeStore or StoreUnavailable from the first call on.
    """

    def __init__(
        self,
        name: str,
        bucket: str | None = None,
        *,
        url: str | None = None,
        prefix: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        visibility_timeout: float | None = None,
        max_attempts: int | None = None,
        retry: RetryPolicy | None = None,
        failure: str | None = None,
        lanes: int | str | None = None,
        order: str | None = None,
        results: bool | None = None,
        result_ttl: float | None = None,
        history: bool | None = None,
        history_ttl: float | None = None,
        dedup_ttl: float | None = None,
        max_payload_bytes: int | None = None,
        codec: PayloadCodec = PLAIN,
        probe: bool = True,
        worker_id: str | None = None,
        max_connections: int = 32,
        coordination: str | None = None,
        preset: str | None = None,
        telemetry: Providers | bool = True,
        store: Store | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self.name = check_queue_name(name)
        self._clock, self._ids = check_tools(clock, ids, store)
        self._location = locate(bucket, url, prefix)
        self.root = f"{check_prefix(self._location.prefix)}{self.name}/"
        self.worker_id = check_label("worker id", worker_id) or self._ids.new(self._clock.now_ms())[10:]
        self.meter = Meter()
        self._telemetry = Telemetry(self.name, self.worker_id, providers=telemetry, clock=self._clock)
        asked = {
            "visibility_timeout": visibility_timeout,
            "max_attempts": max_attempts,
            "retry": retry,
            "failure": failure,
            "lanes": lanes,
            "order": order,
            "results": results,
            "result_ttl": result_ttl,
            "history": history,
            "history_ttl": history_ttl,
            "dedup_ttl": dedup_ttl,
            "max_payload_bytes": max_payload_bytes,
        }
        self._wanted = make_settings(make_settings(**queue_options(preset)), **asked)
        self._asked = queue_options(preset) | {key: value for key, value in asked.items() if value is not None}
        check_truth("probe", probe)
        self._codec, self._probe = check_codec(codec), probe
        self._coordination = parse(coordination)
        self._access = access(endpoint_url, region, profile, max_connections)
        self._given_store = store
        self._connection: Connection | None = None
        self._lock = threading.RLock()
        self.events = Events(self.name, self._now_ms)
        if self._coordination.kind != "s3":
            self.events.on("tickets-published", self._announce_tickets)
        self.dlq = DeadLetters(lambda number: self.connect().lanes.of(number).lane)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Queue:
        """Return the queue that a whole URL names: ``s3://prod/s3queue/emails``, ``file:///data/emails``, ``memory://x/emails``."""
        base, name = split_queue(url)
        return cls(name, url=base, **options)

    def __repr__(self) -> str:
        return f"<Queue {self.name!r} in {self._location.kind}://{self._location.place}/{self.root}>"

    # -- opening --

    def _now_ms(self) -> int:
        return self._connection.store.now_ms() if self._connection else self._clock.now_ms()

    def _open(self) -> Connection:
        with self._lock:
            if self._connection is None:
                raw = self._given_store or raw_store(self._location, self._access, self._clock, self._ids)
                self._connection = Connection(
                    raw,
                    self.root,
                    worker=self.worker_id,
                    wanted=self._wanted,
                    tell_settings=self._compare_settings,
                    codec=self._codec,
                    probe=self._probe,
                    clock=self._clock,
                    ids=self._ids,
                    meter=self.meter,
                    events=self.events,
                    telemetry=self._telemetry,
                    hints=open_hints(
                        self._coordination,
                        scope=f"{self._location.kind}://{self._location.place}/{self.root}",
                        tell=self._tell_coordination,
                        random=self._ids.random,
                        region=self._access.region,
                        profile=self._access.profile,
                    ),
                )
            return self._connection

    def _compare_settings(self, found: Settings) -> None:
        """Tell, once, which settings asked for the queue has otherwise."""
        asked, has = differing(self._asked, found)
        self._asked = {}
        if asked:
            self.events.emit("settings-differ", asked=asked, found=has)

    def _announce_tickets(self, event: Event) -> None:
        connection = self._connection
        if connection is not None and connection.hints.reaches_all:
            for worker in event.workers:
                connection.hints.announce(Hint(TICKETS, event.lane, worker))

    def _tell_coordination(self, backend: str, error: str) -> None:
        if error:
            self.events.emit("coordination-lost", backend=backend, error=error)
        else:
            self.events.emit("coordination-restored", backend=backend)

    def connect(self) -> Connection:
        """Reach the store: read the queue's settings, or make the queue if it is new, probing its store first.

        Returns the connection, for tools that go deeper than this class.
        """
        connection = self._open()
        connection.register.refresh()
        return connection

    @property
    def settings(self) -> Settings:
        """The settings that all processes of the queue share."""
        return self.connect().register.current()

    def exists(self) -> bool:
        """Whether somebody has made the queue; never makes it."""
        return self._open().register.exists()

    # -- producing --

    def enqueue(
        self,
        payload: Any,
        *,
        delay: float = 0,
        visible_at: datetime | None = None,
        priority: int = 0,
        max_attempts: int | None = None,
        retry: RetryPolicy | None = None,
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
        dedup_id: str | None = None,
    ) -> str:
        """Return the id of the message once it is durable: one PUT (three with ``dedup_id``).

        ``payload`` is any JSON value. ``delay`` (seconds) or ``visible_at`` (aware datetime) hide it for a while.
        ``priority`` 0 to 9, higher first. In a
        queue whose ``order`` is strict-group, messages of a ``group`` are processed one by one as enqueued; ordered messages
        take no delay and no priority. ``max_attempts`` and ``retry`` default to the queue's. A ``dedup_id`` that was
        enqueued within the queue's ``dedup_ttl`` makes no new message: the id of the first is returned. Raises
        InvalidPayload, InvalidName or InvalidSetting before anything is written, OutcomeUnknown or StoreUnavailable if
        the store did not confirm it in time.
        """
        return produce(
            self.connect(),
            [payload],
            delay=delay,
            visible_at=visible_at,
            priority=priority,
            max_attempts=max_attempts,
            retry=retry,
            group=group,
            headers=headers,
            dedup_id=dedup_id,
        )[0]

    def enqueue_many(
        self,
        payloads: Iterable[Any],
        *,
        delay: float = 0,
        visible_at: datetime | None = None,
        priority: int = 0,
        max_attempts: int | None = None,
        retry: RetryPolicy | None = None,
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the ids of the messages, in order, once all are durable: one PUT per thousand (or 4 MiB).

        All payloads are checked before any is written. If a PUT fails in the middle, the error has a note that says how
        many messages are durable (they are the first ones).
        """
        return produce(
            self.connect(),
            payloads,
            delay=delay,
            visible_at=visible_at,
            priority=priority,
            max_attempts=max_attempts,
            retry=retry,
            group=group,
            headers=headers,
        )

    def producer(self, *, linger_ms: float = 20, max_batch: int = MAX_MESSAGES_PER_OBJECT) -> BufferingProducer:
        """Return a producer that gathers the calls of many threads into one PUT; use it in a ``with`` statement."""
        limit = self.settings.max_payload_bytes
        return BufferingProducer(
            self.enqueue_many,
            lambda payload: check_payload(payload, limit),
            linger_ms=linger_ms,
            max_batch=max_batch,
        )

    # -- consuming --

    def receive(self, max_messages: int = 10, *, wait: float = 0) -> list[ReceivedMessage]:
        """Claim up to ``max_messages`` visible messages for the visibility timeout and return them.

        ``wait``: seconds to look again if there are none, at once if a coordination backend tells of some. Each message must
        be acked, nacked, extended or released.
        """
        if not isinstance(max_messages, int) or not 1 <= max_messages <= 10_000:
            raise InvalidSetting(f"max_messages is {max_messages!r}.", remedy="Use 1 to 10000.")
        connection = self.connect()
        connection.tidy()
        consumer = connection.receiver
        deadline, pause = self._clock.monotonic() + wait, 0.1
        with self._telemetry.receiving() as receiving, Ear(connection.hints, self._clock) as ear:
            while True:
                deliveries = receiving.deliveries = consumer.exchange(max_messages, keep_leases=False)
                if not deliveries and consumer.may_be_more:
                    continue  # what was claimed cannot be read, and is left alone now: look behind it
                left = deadline - self._clock.monotonic()
                if deliveries or left <= 0:
                    if consumer.pending():  # worn out, and found so when it was read
                        connection.attempt("recording outcomes", partial(consumer.exchange, 0, keep_leases=False))
                    return [ReceivedMessage(consumer, delivery) for delivery in deliveries]
                ear.wait(min(pause, left))
                pause = min(pause * 2, 5.0)

    def process_once(self, handler: Handler, *, max_messages: int | None = None, manual_ack: bool = False) -> int:
        """Process what is visible now in this thread, sweep, and return how many attempts were made.

        For cron jobs, AWS Lambda and tests. ``max_messages`` limits the attempts.
        """
        connection = self.connect()
        consumer = connection.processor
        connection.tidy()
        runner = Runner(handler, consumer, queue=self.name, manual=manual_ack)
        processed = 0
        while True:
            room = 10 if max_messages is None else min(10, max_messages - processed)
            deliveries = consumer.exchange(room) if room > 0 else []
            for position, delivery in enumerate(deliveries):
                if not consumer.is_trusted(delivery):
                    consumer.release(deliveries[position:])
                    break
                consumer.record(runner.run(delivery))
                processed += 1
                if consumer.needs_extension():
                    consumer.exchange(0)
            if not deliveries and (room <= 0 or not consumer.may_be_more):
                break  # nothing there; if all that was claimed cannot be read, there may be more behind it
        while consumer.pending():
            consumer.exchange(0)
        connection.tidy(flush=True)
        connection.flush()
        return processed

    # -- closing --

    def _forget(self) -> None:
        with self._lock:
            self._connection = None

    def close(self) -> None:
        """Clean up after this process and give back connections; the queue can be used again afterwards."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
