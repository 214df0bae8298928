"""The demo's own process: it owns the folder, enqueues, keeps worker processes, kills one now and then, and tidies up.

It ends when its stdin does, that is with whoever started it, however that ended; its workers end with it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from s3queue.clock import SystemClock
from s3queue.core.retry import RetryPolicy
from s3queue.demo.crew import WorkerProcess
from s3queue.demo.stage import scratch
from s3queue.errors import S3QueueError
from s3queue.queue import Queue
from s3queue_admin.tui.demo.work import QUEUES, Payloads

LIFE_S: Final = 4 * 3600.0
"""How long there is new work, at most; then the queues run empty."""
CREW: Final = {"emails-1": "emails", "emails-2": "emails", "billing-1": "billing", "thumbnails-1": "thumbnails"}
VICTIM: Final = "emails-2"
KILL_EVERY_S: Final = 60
FULL: Final = 2000
"""No more is enqueued while so many wait."""
_HANDLER: Final = "s3queue_admin.tui.demo.work:handler"


def main() -> None:
    """Play until stdin ends."""
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with ExitStack() as stack:
        folder = stack.enter_context(scratch(keep=False))
        bucket = folder / "bucket"
        bucket.mkdir()
        show = _Show(folder, bucket.as_uri(), stack)
        sys.stdout.write(json.dumps({"url": bucket.as_uri(), "folder": str(folder)}) + "\n")
        sys.stdout.flush()
        show.run(over)


def _wait_for_the_end(over: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    over.set()


class _Show:
    """One run, in a folder."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self._folder, self._url, self._clock = folder, url, SystemClock()
        self._payloads = Payloads(seed=7)
        self._queues = {name: stack.enter_context(self._open(name)) for name in QUEUES}
        self._crew: dict[str, WorkerProcess] = {}
        stack.callback(self._dismiss)
        self._begin()

    def _open(self, name: str) -> Queue:
        retry = RetryPolicy(base_s=1, cap_s=5)
        queue = Queue(name, url=self._url, visibility_timeout=15, max_attempts=3, retry=retry)
        queue.connect()
        return queue

    def _begin(self) -> None:
        emails, reports = self._queues["emails"], self._queues["reports"]
        emails.enqueue_many(self._payloads.email() for _ in range(300))
        self._queues["billing"].enqueue_many(self._payloads.invoice() for _ in range(30))
        self._queues["thumbnails"].enqueue_many(self._payloads.picture() for _ in range(120))
        reports.enqueue_many(self._payloads.report() for _ in range(40))
        reports.schedule("nightly", cron="0 3 * * *", payload={"report": "daily", "day": 0})
        emails.schedule("digest", cron="*/5 * * * *", payload={"to": "all@example.com", "template": "digest"})
        reports.pause()

    def run(self, over: threading.Event) -> None:
        """Enqueue each second, and look after the workers."""
        began = self._clock.monotonic()
        for name in CREW:
            if over.is_set():
                return
            self._hire(name)
        second = 0
        while not over.wait(1) and self._clock.monotonic() - began < LIFE_S:
            second += 1
            try:
                self._produce(second)
            except S3QueueError as error:  # an operator has purged or deleted what is being filled
                sys.stderr.write(f"{error}\n")
            self._look_after(second)
        over.wait()

    def _produce(self, second: int) -> None:
        emails, thumbnails = self._queues["emails"], self._queues["thumbnails"]
        if second % 5 == 1 and emails.stats().pending > FULL:
            return
        emails.enqueue_many(self._payloads.email() for _ in range(6 + 4 * (second // 20 % 3)))
        self._queues["billing"].enqueue(self._payloads.invoice())
        if second % 20 == 0 and thumbnails.stats().pending < FULL:
            thumbnails.enqueue_many(self._payloads.picture() for _ in range(150))
        if second % 10 == 0:
            emails.enqueue(self._payloads.email(), delay=30)

    # -- workers --

    def _hire(self, name: str) -> None:
        options = ["--url", self._url, "--queue", CREW[name]]
        one = WorkerProcess(name, options, self._folder, verbose=False, handler=_HANDLER)
        self._crew[name] = one
        one.start()

    def _look_after(self, second: int) -> None:
        """Kill the victim once in a while, and hire anew, some seconds later, whoever has ended."""
        if second % KILL_EVERY_S == 0:
            self._crew[VICTIM].kill()
        if second % KILL_EVERY_S == KILL_EVERY_S // 2:
            for name, one in list(self._crew.items()):
                if not one.running:
                    self._hire(name)

    def _dismiss(self) -> None:
        for one in self._crew.values():
            one.kill()


if __name__ == "__main__":
    main()
