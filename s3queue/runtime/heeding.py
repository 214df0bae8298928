"""A worker's side of hints: it shows itself, and looks for messages when it is told that there are some for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from s3queue.coordination import MESSAGES, Hint, Hints
from s3queue.coordination.port import Stop
from s3queue.protocol.lanes import Consumer

PRESENCE_TTL_S: Final = 15.0


class Heeding:
    """Shows the worker and calls ``hinted`` at hints that concern it, for the time of a ``with`` block.

    New messages concern whoever lists their lane: its coordinator, or everybody if there is none. Tickets concern the
    worker that they are assigned to.
    """

    def __init__(self, hints: Hints, consumer: Consumer, concurrency: int, hinted: Callable[[], None]) -> None:
        self._hints, self._consumer, self._hinted = hints, consumer, hinted
        self._worker = consumer.lane.worker
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._open = False
        self._hide: Stop | None = None
        self._silence: Stop | None = None

    def step(self) -> None:
        """Listen, or leave that to others: where a hint reaches one worker, it must be one that lists."""
        with self._lock:
            wanted = self._open and (self._hints.reaches_all or not self._consumer.led)
            if wanted and self._silence is None:
                self._silence = self._hints.listen(self._heed)
            elif not wanted and self._silence is not None:
                self._silence()
                self._silence = None

    def _heed(self, hint: Hint) -> None:
        mine = hint.worker == self._worker
        if hint.kind == MESSAGES and not hint.worker:
            mine = hint.lane in self._consumer.lanes_worked_in and not self._consumer.led
        if mine:
            self._hinted()

    def __enter__(self) -> Self:
        info = {"concurrency": self._concurrency, "host": socket.gethostname()}
        self._hide = self._hints.present(self._worker, info, PRESENCE_TTL_S)
        self._open = True
        self.step()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self.step()
        if self._hide is not None:
            self._hide()
