"""A live bucket to try the dashboard on: a folder with producers, worker processes and failures, gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import s3queue
from s3queue.errors import S3QueueError

_END_S: Final = 20.0
_FOREIGN: Final = ("AWS_", "S3QUEUE_")
"""A user's own settings, which the demo must neither use nor need."""


@contextmanager
def stage() -> Iterator[str]:
    """Play the demo for the time of the block; yield the URL of its bucket, in which the queues are already there.

    It is another process's work, which ends with this one, however this one ends, and takes its folder along. Raises
    S3QueueError if it cannot be started.
    """
    path = os.pathsep.join(filter(None, (str(Path(s3queue.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    process = subprocess.Popen(
        [sys.executable, "-m", "s3queue_admin.tui.demo.stagehand"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment | {"PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C and the end of the terminal are told by stdin, so that it can tidy up
    )
    folder = ""
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise S3QueueError("The demo could not be started; `python -m s3queue_admin.tui.demo.stagehand` says why.")
        place = json.loads(line)
        folder = place["folder"]
        yield place["url"]
    finally:
        _end(process)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
