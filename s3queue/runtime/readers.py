"""The threads that read bodies for a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

from s3queue.protocol.lane import R, T

READERS = 16


class Readers:
    """Spreads work over threads of its own, as :class:`s3queue.protocol.lane.Spread` says."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="s3queue-reader")

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> list[R]:
        todo = list(items)
        if len(todo) <= 1:
            return [function(item) for item in todo]
        futures = [self._pool.submit(function, item) for item in todo]
        wait(futures)
        return [future.result() for future in futures]

    def stop(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
