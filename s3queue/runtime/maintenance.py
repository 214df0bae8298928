"""The maintenance thread of a worker: what can wait and must not hold up claims."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from s3queue.clock import Clock
from s3queue.connection import Connection
from s3queue.errors import S3QueueError
from s3queue.protocol.lane import Lane
from s3queue.runtime.monitor import Monitor

_TICK_S = 0.25

log = logging.getLogger("s3queue")


class Maintenance:
    """Deletes, journals, sweeps, follows the settings, reports; each step may fail and is tried again."""

    def __init__(
        self,
        connection: Connection,
        monitor: Monitor,
        report: Callable[[dict[str, Any]], None] | None,
        report_interval_s: float,
        *,
        clock: Clock,
        steps: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._connection = connection
        self._monitor, self._report, self._report_interval_s = monitor, report, report_interval_s
        self._clock, self._steps = clock, steps
        self._report_at = clock.monotonic() + report_interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="s3queue-maintenance", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the last cleaning up is the connection's."""
        self._stop.set()
        self._thread.join(10)
        self._tell()

    def _loop(self) -> None:
        while not self._stop.wait(_TICK_S):
            self._try(self._follow_settings)
            for agents in self._connection.lanes.all():
                for upkeep in (agents.janitor.tick, agents.sweep, agents.flush_deferred):
                    if not agents.lane.is_aside:
                        self._try(upkeep, agents.lane)
            for step in (self._connection.history.step, *self._steps):
                self._try(step)
            self._monitor.sample()
            if self._clock.monotonic() >= self._report_at:
                self._report_at = self._clock.monotonic() + self._report_interval_s
                self._tell()

    def _try(self, step: Callable[[], object], lane: Lane | None = None) -> None:
        try:
            step()
        except S3QueueError as error:
            if lane is not None and lane.sets_aside(error):
                return
            self._connection.lane.events.emit("error", error=error, doing=f"maintenance ({step.__qualname__})")
        except Exception:  # a defect here must not end the thread that cleans up
            log.exception("maintenance failed")

    def _follow_settings(self) -> None:
        self._connection.register.refresh(self._connection.consumer.settings_age_s)

    def _tell(self) -> None:
        metrics = self._monitor.snapshot().as_dict()
        self._connection.lane.events.emit("metrics", **metrics)
        if self._report is not None:
            self._report(metrics)
