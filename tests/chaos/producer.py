"""A producer process: ``python -m tests.chaos.producer OPTIONS`` (JSON). Writes down what was acknowledged, and nothing else.

Options: ``name``, ``queue``, ``bucket``, ``endpoint_url``, ``acked`` (a file), ``seed``, ``messages``, ``seconds`` (how
long producing takes, about).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from s3queue import Queue
from s3queue.errors import S3QueueError

PLANS = ["ok"] * 14 + ["fail-once"] * 3 + ["fail", "never"]


def payload(random: Random) -> dict[str, Any]:
    """Return what a message says: how its handler ends, and after how many seconds; some outlast their lease."""
    seconds = random.choice((0.0, 0.01, 0.03, 0.05, 0.1, 0.2))
    if random.random() < 0.08:
        seconds = 2.2  # a worker that is stopped meanwhile comes back while another runs it
    return {"plan": random.choice(PLANS), "seconds": seconds}


def produce(options: dict[str, Any]) -> None:
    """Enqueue in ones and in many, some delayed, some urgent, some twice under one key; an id is on disk before the next call."""
    random, left = Random(options["seed"]), options["messages"]
    pause_s = options["seconds"] / (options["messages"] / 3)
    place = {"bucket": options["bucket"], "endpoint_url": options["endpoint_url"]}
    with Path(options["acked"]).open("a") as acked, Queue(options["queue"], **place) as queue:
        while left > 0:
            count = min(left, random.choice((1, 1, 1, 1, 3, 10)))
            left -= count
            payloads = [payload(random) for _ in range(count)]
            when: dict[str, Any] = {
                "delay": random.choice((0, 0, 0, 0.5, 1.5)),
                "priority": random.choice((0, 0, 0, 0, 5)),
            }
            again = count == 1 and random.random() < 0.25
            if again:
                payloads[0]["once"] = when["dedup_id"] = f"{options['name']}-{left}"
            for _ in range(1 + again):
                try:
                    ids = [queue.enqueue(payloads[0], **when)] if count == 1 else queue.enqueue_many(payloads, **when)
                except S3QueueError as error:
                    sys.stderr.write(f"not told: {type(error).__name__}: {error}\n")
                    continue
                acked.writelines(f"{id_}\n" for id_ in ids)
                acked.flush()
                os.fsync(acked.fileno())
            Event().wait(pause_s * random.uniform(0.5, 1.5))


if __name__ == "__main__":
    produce(json.loads(sys.argv[1]))
