"""The latency proxy changes when bytes arrive, and nothing else."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.proxy import HOST, LatencyProxy
from s3queue.devserver import free_ports

LATENCY_MS = 40
TIMEOUT_S = 10


class Echo(BaseHTTPRequestHandler):
    """Answers with the body it got."""

    protocol_version = "HTTP/1.1"
    server: EchoServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class EchoServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    connections = 0


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer((HOST, 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(TIMEOUT_S)


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[LatencyProxy]:
    with LatencyProxy(echo.server_address[1], LATENCY_MS) as proxy:
        yield proxy


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def put(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    connection.request("PUT", "/", body)
    return connection.getresponse().read()


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Take one connection, let ``answer`` deal with it, and close it."""

    def accept() -> None:
        taken, _ = listener.accept()
        with taken:
            answer(taken)

    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(TIMEOUT_S)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_every_request_on_a_connection_is_late_by_the_latency(echo: EchoServer, proxy: LatencyProxy) -> None:
    took_ms = []
    with connected(proxy.port) as connection:
        for number in range(10):
            started = time.perf_counter()
            assert put(connection, b"%d" % number) == b"%d" % number
            took_ms.append((time.perf_counter() - started) * 1000)
    assert min(took_ms) >= LATENCY_MS - 1
    assert sorted(took_ms)[5] < LATENCY_MS + 25, "the machine is very busy, or the delay is paid more than once"
    assert echo.connections == 1, "the connection was not kept"


def test_a_megabyte_passes_untouched_both_ways(proxy: LatencyProxy) -> None:
    body = os.urandom(1 << 20)
    with connected(proxy.port) as connection:
        assert put(connection, body) == body
        assert put(connection, body[::-1]) == body[::-1]


def test_many_connections_wait_at_the_same_time(echo: EchoServer, proxy: LatencyProxy) -> None:
    clients = 64

    def one(number: int) -> bool:
        body = b"%d;" % number * 1000
        with connected(proxy.port) as connection:
            return put(connection, body) == body

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        assert all(pool.map(one, range(clients)))
    assert time.perf_counter() - started < clients * LATENCY_MS / 1000 / 2
    assert echo.connections == clients


def test_pieces_arrive_in_the_order_they_were_sent() -> None:
    pieces = [b"%06d" % number for number in range(3000)]
    with (
        serving(lambda taken: taken.sendall(read_all(taken))) as port,
        LatencyProxy(port, 2) as proxy,
        socket.create_connection((HOST, proxy.port), TIMEOUT_S) as client,
    ):
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)  # and what is sent back still comes through
        assert read_all(client) == b"".join(pieces)


def test_a_server_that_closes_is_seen_to_after_its_whole_answer() -> None:
    answer = os.urandom(300_000)

    def reply(taken: socket.socket) -> None:
        taken.recv(100)
        taken.sendall(answer)

    with (
        serving(reply) as port,
        LatencyProxy(port, LATENCY_MS) as proxy,
        socket.create_connection((HOST, proxy.port), TIMEOUT_S) as client,
    ):
        client.sendall(b"hello")
        assert read_all(client) == answer


def test_a_client_that_leaves_is_missed_by_the_server_after_its_last_byte() -> None:
    got: list[bytes] = []
    ended = threading.Event()

    def note(taken: socket.socket) -> None:
        got.append(read_all(taken))
        ended.set()

    with serving(note) as port, LatencyProxy(port, LATENCY_MS) as proxy:
        client = socket.create_connection((HOST, proxy.port), TIMEOUT_S)
        client.sendall(b"x" * 100_000)
        client.close()
        assert ended.wait(TIMEOUT_S)
    assert got == [b"x" * 100_000]


def test_a_server_that_is_down_closes_the_connection() -> None:
    with (
        LatencyProxy(free_ports(1)[0], 0) as proxy,
        socket.create_connection((HOST, proxy.port), TIMEOUT_S) as client,
    ):
        assert client.recv(1) == b""


def test_it_ends_when_its_parent_is_gone(proxy: LatencyProxy) -> None:
    process = proxy._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as the system does for a parent that was killed
    assert process.wait(TIMEOUT_S) == 0


def test_it_ends_when_told(echo: EchoServer) -> None:
    proxy = LatencyProxy(echo.server_address[1], 0).start()
    process = proxy._process
    assert process is not None
    proxy.stop()
    assert process.returncode in (0, -signal.SIGTERM)
    proxy.stop()
