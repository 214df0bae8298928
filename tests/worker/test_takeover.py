"""A coordinator killed by a real signal, with real processes on a folder."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from s3queue import Queue
from s3queue.core.ledger import Leader
from s3queue.protocol.coordinator import LEASE_MS
from tests.queue.clocks import eventually
from tests.worker.running import process


def leader(queue: Queue) -> Leader | None:
    lane = queue.connect().lane
    lane.committer.read()
    return lane.committer.ledger.led_at(lane.now_ms())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_other_worker_leads_within_two_terms_of_a_sigkill(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    queue = Queue("jobs", url=url)
    with process(url) as first:
        assert eventually(lambda: leader(queue) is not None, 30)
        before = leader(queue)
        assert before is not None
        with process(url):
            assert eventually(lambda: len(queue.connect().lane.committer.read().value.rooms) == 2, 30)  # type: ignore[union-attr]
            first.send_signal(signal.SIGKILL)
            assert eventually(lambda: (leader(queue) or before).epoch > before.epoch, 2 * LEASE_MS / 1000)
            queue.enqueue({})
            assert eventually(lambda: queue.stats().completed == 1, 20)
