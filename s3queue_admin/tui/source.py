"""The bucket as the screens use it: queues opened once, and every request counted."""

from __future__ import annotations

from datetime import datetime
from threading import Lock

from s3queue.clock import to_datetime
from s3queue.queue import Queue
from s3queue.store.metered import Counts, usd
from s3queue_admin.bucket import Bucket
from s3queue_admin.tui.gentle import Gentle


class Source:
    """Queues of a bucket, and what looking at them has cost since the start. Usable from any thread.

    ``write``: whether queues may be opened to be changed.
    """

    def __init__(self, bucket: Bucket, *, write: bool) -> None:
        self.bucket, self.write = bucket, write
        self._queues: dict[tuple[str, bool], Queue] = {}
        self._extra: dict[tuple[str, str, str], int] = {}
        self._lock = Lock()
        self._gentle = Gentle(bucket.clock)

    def queue(self, name: str) -> Queue:
        """Return the queue to be read; asks the bucket, so call it in a thread.

        See :meth:`s3queue_admin.bucket.Bucket.queue` for errors.
        """
        return self._opened(name, write=False)

    def writable(self, name: str) -> Queue:
        """Return the queue to be changed; PermissionError if the dashboard may only read."""
        if not self.write:
            raise PermissionError("The dashboard was started to read: start it with --write.")
        return self._opened(name, write=True)

    def _opened(self, name: str, *, write: bool) -> Queue:
        key = (name, write)
        with self._lock:
            found = self._queues.get(key)
        if found is None:
            made = self.bucket.queue(name, write=write)
            made.connect().standing.spread = self._gentle.spread
            with self._lock:
                found = self._queues.setdefault(key, made)
        return found

    def forget(self, name: str) -> None:
        """Open the queue anew the next time: it was deleted, or made again."""
        with self._lock:
            for write in (False, True):
                self._queues.pop((name, write), None)

    def spend(self, requests: Counts) -> None:
        """Count requests that were made past these queues, such as those of a check."""
        with self._lock:
            for line, count in requests.items():
                self._extra[line] = self._extra.get(line, 0) + count

    def requests(self) -> dict[tuple[str, str, str], int]:
        """Return all requests since the start by (verb, area, outcome)."""
        sums = self.bucket.requests()
        with self._lock:
            meters = [queue.meter.snapshot() for queue in self._queues.values()]
            meters.append(dict(self._extra))
        for meter in meters:
            for line, count in meter.items():
                sums[line] = sums.get(line, 0) + count
        return sums

    def usd(self) -> float:
        """Return what those cost, in US dollars, at the list prices of S3."""
        return usd(self.requests())

    def now(self) -> datetime:
        """Return this machine's time."""
        return to_datetime(self.bucket.clock.now_ms())

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self.bucket.clock.monotonic()
