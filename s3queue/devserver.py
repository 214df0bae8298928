"""A real S3 server on this machine for the demo, the benchmarks and the tests: MiniStack on 127.0.0.1.

It is no server to keep data on. It ends with :meth:`MiniStack.stop`, and by itself when the process that started it
ends, however that ends: the server's standard input is a pipe from its parent, and it leaves when the pipe closes.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from s3queue.clock import Clock, SystemClock
from s3queue.errors import InvalidSetting, StoreUnavailable

HOST: Final = "127.0.0.1"
REGION: Final = "us-east-1"
ACCESS_KEY_ID: Final = "s3queue-dev"
SECRET_ACCESS_KEY: Final = "s3queue-dev"  # noqa: S105 - MiniStack takes any
_START_ATTEMPTS = 3  # between finding a free port and binding it, another process may take it
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 3.0
_POLL_S = 0.02
_SERVE = """
import os, signal, sys, threading
from ministack.app import main

def leave_with_parent():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=leave_with_parent, daemon=True).start()
main()
"""


class MiniStack:
    """A MiniStack server in a process of its own; a context manager. ``services``: what of AWS it plays.

    ``data_dir``: keep objects there, so that they outlive a restart; without it they are gone at the end.
    ``folder``: where the log goes; a temporary folder by default.
    """

    region: Final = REGION
    access_key_id: Final = ACCESS_KEY_ID
    secret_access_key: Final = SECRET_ACCESS_KEY

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        folder: Path | None = None,
        port: int = 0,
        clock: Clock | None = None,
        services: str = "s3",
    ) -> None:
        if importlib.util.find_spec("ministack") is None:
            raise InvalidSetting(
                "The package 'ministack', an S3 server for trying things out, is not installed.",
                remedy="Install it with: pip install 's3queue[demo]'",
            )
        self._data_dir = data_dir
        self._scratch = None if folder else tempfile.TemporaryDirectory(prefix="s3queue-ministack-")
        self._folder = folder or Path(self._scratch.name if self._scratch else "")
        self._port, self._services = port, services
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint_url(self) -> str:
        """Return the address of the server, such as ``http://127.0.0.1:40123``."""
        return f"http://{HOST}:{self._port}"

    @property
    def log(self) -> Path:
        """Return the file that holds what the server wrote."""
        return self._folder / "ministack.log"

    def start(self) -> Self:
        """Start the server and return when it answers; StoreUnavailable with the end of its log if it does not."""
        if self._port and answers(self._port):
            raise StoreUnavailable(
                f"{HOST}:{self._port} is already in use.", remedy="End what listens there, or take another port."
            )
        for attempt in range(1, _START_ATTEMPTS + 1):
            port = self._port or free_ports(1)[0]
            self._process = self._spawn(port)
            if wait_until(partial(self._settled, port), _START_TIMEOUT_S, self._clock) and not self._ended():
                self._port = port
                return self
            self.stop()
            if self._port or attempt == _START_ATTEMPTS:
                break
        raise StoreUnavailable(f"MiniStack did not start on {HOST}:{port}.", remedy=f"Its log ends: {tail(self.log)}")

    def stop(self) -> None:
        """End the server; fine if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            end(process, _STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End the server at once, as a power cut would (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            end(process, 0)

    def create_bucket(self, name: str) -> str:
        """Create the bucket, or find it there, and return its name."""
        from s3queue.store.s3 import create_bucket

        create_bucket(
            name,
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
        )
        return name

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "SERVICES": self._services,
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(self._folder),  # its pid file
            "STATE_DIR": str(self._folder / "state"),
            "PERSIST_STATE": "0",
            "S3_PERSIST": "1" if self._data_dir else "0",
            "S3_DATA_DIR": str(self._data_dir or self._folder / "data"),
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter, with the text above
                [sys.executable, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C goes to the demo, which then stops its server
            )

    def _settled(self, port: int) -> bool:
        return self._ended() or answers(port)

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


def wait_until(condition: Callable[[], bool], timeout_s: float, clock: Clock) -> bool:
    """Return True as soon as ``condition`` holds, False if it does not within ``timeout_s`` seconds."""
    deadline = clock.monotonic() + timeout_s
    while not condition():
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(_POLL_S)
    return True


def answers(port: int) -> bool:
    """Say whether something on this machine takes connections at ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that nobody listens on now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """End a process: SIGTERM, and SIGKILL if it still runs after ``timeout_s`` seconds (0: at once)."""
    if timeout_s > 0:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    else:
        process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def tail(log: Path, size: int = 600) -> str:
    """Return the end of a log file."""
    return log.read_text("utf-8", "replace")[-size:].strip() if log.exists() else "(no log)"
