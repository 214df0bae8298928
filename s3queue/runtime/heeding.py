"""A worker's side of hints: it shows itself, and looks for messages when it is told that there are some."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from s3queue.coordination import MESSAGES, Hint, Hints

PRESENCE_TTL_S: Final = 15.0


@contextmanager
def heeding(hints: Hints, worker: str, concurrency: int, hinted: Callable[[], None]) -> Iterator[None]:
    """Show ``worker`` to others, and call ``hinted`` for each hint of new messages, for the time of the block."""

    def heed(hint: Hint) -> None:
        if hint.kind == MESSAGES and hint.worker in ("", worker):
            hinted()

    stops = [
        hints.present(worker, {"concurrency": concurrency, "host": socket.gethostname()}, PRESENCE_TTL_S),
        hints.listen(heed),
    ]
    try:
        yield
    finally:
        for stop in stops:
            stop()
