"""The processes of a round: workers of the ordinary command line, producers, and the signals they get."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from s3queue.devserver import tail
from tests.chaos.handlers import FOLDER
from tests.chaos.proxy import ROOT

CONCURRENCY = 4
_FOREIGN = ("AWS_", "S3QUEUE_")  # a developer's own settings, which a round must neither use nor need


def environment(folder: Path, access_key_id: str, secret_access_key: str, region: str) -> dict[str, str]:
    """Return the environment of a round's processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    keys = {"AWS_ACCESS_KEY_ID": access_key_id, "AWS_SECRET_ACCESS_KEY": secret_access_key, "AWS_REGION": region}
    return kept | keys | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*", "no_proxy": "*", FOLDER: str(folder)}


class Member:
    """One process, which can be started again under its name."""

    def __init__(self, name: str, command: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._command, self._env = [sys.executable, *command], env
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.report: dict[str, Any] = {}
        self.paused = False
        self.killed = False

    def start(self) -> None:
        """Start it, for the first time or after it was killed."""
        self.report, self.killed = {}, False
        with self.log.open("ab") as log:
            # A worker's output is a pipe: when this process ends, however that ends, nobody reads it, and the worker stops.
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def busy(self) -> tuple[int, int]:
        """How many handlers ran and how many messages it held when it last reported."""
        return int(self.report.get("running", 0)), int(self.report.get("held", 0))

    def kill(self) -> None:
        """End it at once (SIGKILL), stopped or not."""
        if self._process is not None:
            self.killed = self.running
            self._process.kill()
            self._process.wait()
            self.paused = False

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP)."""
        self._send(signal.SIGSTOP)
        self.paused = True

    def wake(self) -> None:
        """Let it go on as if nothing had been (SIGCONT)."""
        self._send(signal.SIGCONT)
        self.paused = False

    def ask_to_stop(self) -> None:
        self._send(signal.SIGTERM)

    def exit_code(self, timeout_s: float) -> int | None:
        """Return its exit code, None if it still runs after that long."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        if self._reader is not None:
            self._reader.join(timeout_s)
        return code

    def last_words(self) -> str:
        return tail(self.log)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _read(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in stdout:
                if line.endswith(b"}\n"):  # the last one of a process that is killed may be torn
                    self.report = json.loads(line)


def worker(name: str, place: Mapping[str, str], folder: Path, env: Mapping[str, str]) -> Member:
    """Return a worker, to be started."""
    command = ["-m", "s3queue", "worker", "tests.chaos.handlers:handler", "--worker-id", name, "--report", "0.2"]
    command += ["--log-format", "json", "--verbose"]  # every event, one by one
    command += ["--concurrency", str(CONCURRENCY), "--prefetch", "16", "--shutdown-grace", "5"]
    command += ["--poll-interval", "0.1", "--max-poll-interval", "0.3", "--connect-timeout", "20"]
    command += [part for option, value in place.items() for part in (f"--{option.replace('_', '-')}", value)]
    return Member(name, command, folder, env)


def producer(name: str, options: Mapping[str, Any], folder: Path, env: Mapping[str, str]) -> Member:
    """Return a producer, to be started; it ends by itself."""
    options = dict(options) | {"name": name, "acked": str(folder / f"acked-{name}.txt")}
    return Member(name, ["-m", "tests.chaos.producer", json.dumps(options)], folder, env)
