"""A producer that gathers what many threads enqueue into few PUTs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from s3queue.core.keys import MAX_MESSAGES_PER_OBJECT
from s3queue.errors import InvalidSetting


@dataclass(slots=True)
class _Batch:
    """Calls with the same options that go into one object."""

    options: dict[str, Any]
    payloads: list[Any]
    full: threading.Event
    done: threading.Event
    ids: list[str]
    error: BaseException | None = None


class BufferingProducer:
    """Enqueues for many threads at once: each call waits up to ``linger_ms`` for company and returns when durable.

    The first caller of a batch writes it for all: no thread of its own, nothing to lose at exit.
    """

    def __init__(
        self,
        enqueue_many: Callable[..., list[str]],
        check: Callable[[Any], object],
        *,
        linger_ms: float = 20,
        max_batch: int = MAX_MESSAGES_PER_OBJECT,
    ) -> None:
        if not 0 <= linger_ms <= 60_000 or not 1 <= max_batch <= MAX_MESSAGES_PER_OBJECT:
            raise InvalidSetting(
                f"linger_ms is {linger_ms!r}, max_batch {max_batch!r}.",
                remedy=f"Use 0 to 60000 ms and 1 to {MAX_MESSAGES_PER_OBJECT} messages.",
            )
        self._enqueue_many, self._check = enqueue_many, check
        self._linger_s, self._max_batch = linger_ms / 1000, max_batch
        self._lock = threading.Lock()
        self._open: dict[str, _Batch] = {}

    def enqueue(self, payload: Any, **options: Any) -> str:
        """Return the id of the message once it is durable; options as for ``Queue.enqueue``."""
        self._check(payload)
        key = repr(sorted(options.items()))
        with self._lock:
            batch = self._open.get(key)
            leads = batch is None
            if batch is None:
                batch = self._open[key] = _Batch(options, [], threading.Event(), threading.Event(), [])
            index = len(batch.payloads)
            batch.payloads.append(payload)
            if len(batch.payloads) >= self._max_batch:
                self._open.pop(key, None)
                batch.full.set()
        if leads:
            self._write(key, batch)
        else:
            batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return batch.ids[index]

    def _write(self, key: str, batch: _Batch) -> None:
        batch.full.wait(self._linger_s)
        with self._lock:
            if self._open.get(key) is batch:
                del self._open[key]
        try:
            batch.ids = self._enqueue_many(batch.payloads, **batch.options)
        except BaseException as error:
            batch.error = error
            raise
        finally:
            batch.done.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to write: every call returned when its message was durable."""
