"""A worker among others: its entry in the registry, and the queue-wide duties that fall to a coordinator."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import s3queue
from s3queue.connection import Connection
from s3queue.core.presence import Presence
from s3queue.protocol.registry import Registration
from s3queue.runtime.executor import Executor
from s3queue.runtime.monitor import Monitor
from s3queue.store.metered import Meter, to_lines

_RUNNING_TOLD = 20


class Membership:
    """Writes heartbeats and does duties, a :meth:`step` at a time, until it :meth:`leave` s."""

    def __init__(
        self, connection: Connection, monitor: Monitor, executor: Executor, capacity: Callable[[], int], meter: Meter
    ) -> None:
        self._connection, self._monitor, self._executor = connection, monitor, executor
        self._capacity, self._meter = capacity, meter
        self._started_at_ms = connection.store.now_ms()
        self._host, self._pid = socket.gethostname(), os.getpid()
        self.registration = Registration(connection.lane, self._describe)

    def _describe(self) -> Presence:
        consumer, committers = self._connection.consumer, [a.lane.committer for a in self._connection.lanes.known]
        return Presence(
            worker=consumer.lane.worker,
            instance=consumer.lane.committer.writer,
            beat_at_ms=0,
            interval_ms=0,
            capacity=self._capacity(),
            started_at_ms=self._started_at_ms,
            lanes=consumer.lanes_worked_in,
            version=s3queue.__version__,
            host=self._host,
            pid=self._pid,
            held=consumer.held(),
            commits=sum(committer.commits for committer in committers),
            lost_races=sum(committer.lost_races for committer in committers),
            processed=self._monitor.processed,
            failed=self._monitor.failed,
            running=tuple(delivery.id for delivery in self._executor.running()[:_RUNNING_TOLD]),
            requests=to_lines(self._meter.snapshot()),
        )

    def steps(self) -> list[Callable[[], object]]:
        """Return what is to be called again and again; each may fail."""
        return [self.registration.step, self._connection.duties.step]

    def leave(self) -> None:
        """Take no more part: this worker holds nothing any more."""
        try:
            self._connection.consumer.leave()
        finally:
            self.registration.leave()
