"""The maintenance thread of a worker: what can wait and must not hold up claims."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from s3queue.clock import Clock
from s3queue.connection import Connection
from s3queue.errors import S3QueueError

_TICK_S = 0.25
_DEFERRED_S = 2.0

log = logging.getLogger("s3queue")


class Maintenance:
    """Deletes, journals, sweeps, follows the settings, reports; each step may fail and is tried again."""

    def __init__(
        self,
        connection: Connection,
        metrics: Callable[[], dict[str, Any]],
        report: Callable[[dict[str, Any]], None] | None,
        report_interval_s: float,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._metrics, self._report, self._report_interval_s = metrics, report, report_interval_s
        self._clock = clock
        self._report_at = clock.monotonic() + report_interval_s
        self._commits, self._commits_seen_at = 0, clock.monotonic()
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
            for step in (
                self._connection.janitor.tick,
                self._connection.sweeper.step,
                self._connection.register.refresh,
                self._flush_deferred,
            ):
                self._try(step)
            if self._clock.monotonic() >= self._report_at:
                self._report_at = self._clock.monotonic() + self._report_interval_s
                self._tell()

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except S3QueueError as error:
            self._connection.lane.events.emit("error", error=error, doing=f"maintenance ({step.__qualname__})")
        except Exception:  # a defect here must not end the thread that cleans up
            log.exception("maintenance failed")

    def _flush_deferred(self) -> None:
        """Write deferred requests if no commit has taken them along for a while."""
        committer, now = self._connection.lane.committer, self._clock.monotonic()
        if committer.commits != self._commits or not committer.has_deferred:
            self._commits, self._commits_seen_at = committer.commits, now
        elif now - self._commits_seen_at > _DEFERRED_S:
            committer.commit()

    def _tell(self) -> None:
        metrics = self._metrics()
        self._connection.lane.events.emit("metrics", **metrics)
        if self._report is not None:
            self._report(metrics)
