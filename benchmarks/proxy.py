"""A proxy that lets a local S3 server be as far away as a real one: each request arrives ``latency_ms`` late.

TCP level: bytes pass untouched, in order, on connections that live as long as their two ends. The whole delay is on the way
to the server; answers pass at once. A connection that the server closes is closed to the client, what was sent before arrives.

It runs in a process of its own (:class:`LatencyProxy`), as it would share the interpreter lock with what it measures
otherwise, and ends with its parent: its standard input is a pipe from there.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
from collections import deque
from types import TracebackType
from typing import IO, Final, Self, cast

HOST: Final = "127.0.0.1"
_END: Final = b""
_MAX_LATE_BYTES = 8 << 20  # a client that sends faster than the server reads is held up, as by any network
_TOGETHER_S = 0.001  # head and body of a request come as two pieces: sent on together, by one timer
_ROUNDING_S = 0.0005  # epoll counts in milliseconds, rounded up: half of one too many, on average
_STOP_TIMEOUT_S = 10.0


class Client(asyncio.Protocol):
    """The client's end of a connection: what it sends is written to the server ``delay_s`` later."""

    transport: asyncio.Transport

    def __init__(self, upstream_port: int, delay_s: float) -> None:
        self._upstream_port, self._delay_s = upstream_port, max(0.0, delay_s - _ROUNDING_S)
        self._loop = asyncio.get_running_loop()
        self._late: deque[tuple[float, bytes]] = deque()
        self._late_bytes = 0
        self._server: asyncio.Transport | None = None
        self._waiting = False  # for a timer
        self._gone = False
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            self._server, _ = await self._loop.create_connection(lambda: Server(self), HOST, self._upstream_port)
        except OSError:
            self.transport.abort()
        else:
            self._forward(self._server)

    def data_received(self, data: bytes) -> None:
        self._late_bytes += len(data)
        if self._late_bytes > _MAX_LATE_BYTES:
            self.transport.pause_reading()
        self._send_late(data)

    def eof_received(self) -> bool:
        self._send_late(_END)
        return True  # it may still read

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._gone = True
        self._send_late(_END)

    def pause_writing(self) -> None:
        if self._server is not None:
            self._server.pause_reading()

    def resume_writing(self) -> None:
        if self._server is not None:
            self._server.resume_reading()

    def _send_late(self, data: bytes) -> None:
        self._late.append((self._loop.time() + self._delay_s, data))
        if self._server is not None and not self._waiting:
            self._waiting = True
            self._loop.call_later(self._delay_s, self._forward, self._server)

    def _forward(self, server: asyncio.Transport) -> None:
        """Write what is due, and set the timer for what is not."""
        now, before = self._loop.time() + _TOGETHER_S, self._late_bytes
        while self._late and self._late[0][0] <= now:
            data = self._late.popleft()[1]
            self._late_bytes -= len(data)
            if data:
                server.write(data)
            elif not self._gone:
                server.write_eof()
            elif not self._late:
                server.close()
        if self._late_bytes <= _MAX_LATE_BYTES < before:
            self.transport.resume_reading()
        self._waiting = bool(self._late)
        if self._late:
            self._loop.call_at(self._late[0][0], self._forward, server)


class Server(asyncio.Protocol):
    """The server's end of a connection: what it answers is written to the client at once."""

    transport: asyncio.Transport

    def __init__(self, client: Client) -> None:
        self._client = client.transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._client.close()  # after what is still to be written

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()


async def serve(upstream_port: int, latency_ms: float) -> None:
    """Forward to ``upstream_port`` until SIGTERM or the end of standard input; print the port that was chosen."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Client(upstream_port, latency_ms / 1000), HOST, 0, backlog=1024)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


class LatencyProxy:
    """A proxy in front of a server on this machine, in a process of its own; a context manager."""

    def __init__(self, upstream_port: int, latency_ms: float) -> None:
        self._command = [sys.executable, "-m", "benchmarks.proxy", str(upstream_port), str(latency_ms)]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def endpoint_url(self) -> str:
        """Return its address, such as ``http://127.0.0.1:40123``."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Return the id of its process, 0 if it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> Self:
        """Start and return when it takes connections."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = cast(IO[bytes], self._process.stdout).readline()  # ends with the process, if that does not come up
        if not line.strip():
            self.stop()
            raise RuntimeError("The latency proxy did not start; its error stands above.")
        self.port = int(line)
        return self

    def stop(self) -> None:
        """End it; fine if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=__doc__.partition("\n")[0])
    parser.add_argument("upstream_port", type=int)
    parser.add_argument("latency_ms", type=float)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.upstream_port, chosen.latency_ms))
