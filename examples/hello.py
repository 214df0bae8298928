"""A handler and a producer: what `make demo` runs in its workers, and what to copy from.

By hand, in the folder that has examples/ in it:

    python examples/hello.py                                      # puts three messages into the folder .s3queue
    s3queue worker examples.hello:handler --queue hello --burst   # processes those that are due
    s3queue stats --queue hello
"""

import os
import time
from pathlib import Path
from typing import Any

from s3queue import Context, NonRetriable, Queue

GREETINGS = Path(os.environ.get("HELLO_FOLDER", ".")) / f"greetings-{os.getpid()}.txt"


def handler(payload: dict[str, Any], ctx: Context) -> None:
    """Greet a guest. Returning completes the message; what is raised decides whether it is tried again."""
    if not payload["name"]:
        raise NonRetriable("there is nobody to greet")  # a dead letter at once
    if ctx.attempt <= payload.get("shy", 0):
        raise ConnectionError(f"{payload['name']} does not answer")  # tried again later; dead after max_attempts
    time.sleep(payload.get("seconds", 0))  # the work
    with GREETINGS.open("a", encoding="utf-8") as file:
        file.write(f"{ctx.id} Hello, {payload['name']}!\n")  # a killed worker's message runs again: two lines, one id


if __name__ == "__main__":
    with Queue("hello") as queue:
        print(queue.enqueue({"name": "Ada"}))
        print(*queue.enqueue_many([{"name": "Grace", "shy": 1}, {"name": ""}]), sep="\n")
