"""A worker in a process of its own: ``python -m tests.worker.main URL OPTIONS`` (JSON)."""

from __future__ import annotations

import json
import sys

from s3queue import Queue, Worker
from tests.worker.handlers import told

if __name__ == "__main__":
    with Queue("jobs", url=sys.argv[1]) as queue:
        Worker(queue, told, poll_interval=0.02, max_poll_interval=0.1, **json.loads(sys.argv[2])).run()
