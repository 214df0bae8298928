"""The demo's workers: processes of the ordinary command line, their reports, and the greetings they wrote down."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import s3queue
from s3queue.devserver import tail

CONCURRENCY = 4
_STOP_S = 15.0


def handler_spec() -> str:
    """Return the handler to run: ``examples/hello.py`` of a checkout; an installed package carries a copy of it."""
    return "s3queue.demo.hello:handler" if importlib.util.find_spec("s3queue.demo.hello") else "examples.hello:handler"


class WorkerProcess:
    """One ``s3queue worker``, to be started; ``metrics`` is what it last reported. ``handler``: the demo's, if none is named."""

    def __init__(
        self, name: str, options: Sequence[str], folder: Path, *, verbose: bool, handler: str | None = None
    ) -> None:
        self.name = name
        self.metrics: dict[str, Any] = {}
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "s3queue", "worker", handler or handler_spec(), *options]
        command += ["--worker-id", name, "--report", "1", "--concurrency", str(CONCURRENCY), "--max-poll-interval", "1"]
        self._command = command + (["--verbose"] if verbose else [])
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it. Whoever cleans up must know it already: an interrupt may come at any moment."""
        package = str(Path(s3queue.__file__).parents[1])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with the arguments above
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # when the demo ends, however that ends, nobody reads it, and the worker stops
                stderr=log,
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": path, "HELLO_FOLDER": str(self._folder)},
                start_new_session=True,  # Ctrl-C goes to the demo, which then stops its workers
            )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once started."""
        if self._process is None:
            raise ProcessLookupError(f"{self.name} has not been started")
        return self._process

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power cut would."""
        self.process.kill()
        self.process.wait()

    def ask_to_stop(self) -> None:
        """Let it finish and give back what it holds (SIGTERM)."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Return its exit code once it has ended and its last report is read; kill it if that takes too long."""
        try:
            code = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self._reader is not None:
            self._reader.join(_STOP_S)
        return code

    def last_words(self) -> str:
        """Return the end of its log."""
        return tail(self.log)

    def _read(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in stdout:
                self.metrics = json.loads(line)


class Greetings:
    """The ids that the handlers wrote down, in the files of a folder: books that know nothing of the queue's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ids(self) -> list[str]:
        """Return the id of every greeting, repeated for a message that was greeted twice."""
        lines = [line for path in self._folder.glob("greetings-*.txt") for line in path.read_bytes().split(b"\n")[:-1]]
        return [line.split(b" ", 1)[0].decode() for line in lines]
