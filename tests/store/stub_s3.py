"""A server on loopback that answers what a test tells it to, whole or broken off."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from s3queue.store.s3 import S3Store

BUCKET = "bucket"


@dataclass(frozen=True)
class Reply:
    """One answer. ``declared``: a Content-Length that is not the body's; ``raw``: bytes instead of an HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    declared: int | None = None
    raw: bytes | None = None
    silent: bool = False


@dataclass(frozen=True)
class Seen:
    """One request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def error(
    status: int, code: str, message: str = "as told", headers: Mapping[str, str] | None = None, **details: str
) -> Reply:
    """Return an error as S3 writes it."""
    extra = "".join(f"<{name}>{value}</{name}>" for name, value in details.items())
    xml = (
        f"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
    )
    return Reply(status, xml.encode(), headers or {})


class StubS3:
    """Gives the replies in turn, the last one for ever; keeps what it saw."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.seen: list[Seen] = []
        self.connections = 0
        self.released = Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True

    @property
    def port(self) -> int:
        return self.server.server_port

    def says(self, *replies: Reply) -> None:
        self.replies = deque(replies)

    def store(self, **options: float) -> S3Store:
        """Return a store that speaks to this server."""
        return S3Store(
            BUCKET,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            access_key_id="key",
            secret_access_key="secret",
            **options,  # type: ignore[arg-type]
        )


@contextmanager
def running() -> Iterator[StubS3]:
    stub = StubS3()
    thread = Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.released.set()
        stub.server.shutdown()
        stub.server.server_close()
        thread.join(10)


def _handler(stub: StubS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes
        timeout = 30

        def setup(self) -> None:
            super().setup()
            stub.connections += 1

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.seen.append(Seen(self.command, self.path, headers, body))
            reply = stub.replies.popleft() if len(stub.replies) > 1 else stub.replies[0]
            self.close_connection = reply.raw is not None or reply.declared is not None or reply.silent
            if reply.silent:
                stub.released.wait(30)
            elif reply.raw is not None:
                self.wfile.write(reply.raw)
            else:
                self.send(reply)

        def send(self, reply: Reply) -> None:
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status not in (204, 304):
                self.send_header("Content-Length", str(len(reply.body) if reply.declared is None else reply.declared))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Handler
