"""An answer that breaks off, wherever it does, is no answer: never another one, and never a store that is no S3."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3queue.errors import NotFound, PreconditionFailed, StoreUnavailable
from s3queue.store.port import CREATE, Object, Page
from s3queue.store.s3 import S3Store

DATE = b"Date: Tue, 24 Nov 2026 04:58:44 GMT\r\n"
ETAG = b'ETag: "99914b932bd37a50b983c5e7c90ae93b"\r\n'
LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>2</Size></Contents></ListBucketResult>"
NO_KEY = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
REFUSED = b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>"


def length(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}\r\n".encode()


class Breaking:
    """A server that gives one answer to every request, up to some byte of it, and closes the connection."""

    def __init__(self) -> None:
        self.answer = b""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                request = b""
                while b"\r\n\r\n" not in request or (request.startswith(b"PUT") and not request.endswith(b"{}")):
                    request += connection.recv(65536)
                connection.sendall(self.answer)

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Breaking]:
    running = Breaking()
    yield running
    running.stop()


def get(store: S3Store) -> Object | None:
    return store.get("k")


def put(store: S3Store) -> str:
    return store.put("k", b"{}", CREATE)


def listing(store: S3Store) -> Page:
    return store.list("")


def delete(store: S3Store) -> None:
    store.delete("k")


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        pytest.param(get, b"HTTP/1.1 200 OK\r\n" + DATE + ETAG + length(b"{}") + b"\r\n{}", id="get"),
        pytest.param(get, b"HTTP/1.1 200 OK\r\n" + length(b"{}") + ETAG + DATE + b"\r\n{}", id="get, length first"),
        pytest.param(get, b"HTTP/1.1 404 Not Found\r\n" + DATE + length(NO_KEY) + b"\r\n" + NO_KEY, id="no object"),
        pytest.param(put, b"HTTP/1.1 200 OK\r\n" + DATE + ETAG + length(b"") + b"\r\n", id="put"),
        pytest.param(put, b"HTTP/1.1 200 OK\r\n" + length(b"") + DATE + ETAG + b"\r\n", id="put, length first"),
        pytest.param(put, b"HTTP/1.1 412 No\r\n" + DATE + length(REFUSED) + b"\r\n" + REFUSED, id="refused"),
        pytest.param(listing, b"HTTP/1.1 200 OK\r\n" + DATE + length(LISTING) + b"\r\n" + LISTING, id="list"),
        pytest.param(delete, b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n", id="delete"),
    ],
)
def test_an_answer_breaks_off_at_every_byte(server: Breaking, call: Callable[[S3Store], Any], answer: bytes) -> None:
    store = S3Store(
        "bucket", endpoint_url=f"http://127.0.0.1:{server.port}", access_key_id="k", secret_access_key="s", region="r"
    )
    server.answer = answer
    whole = outcome(call, store)
    assert "StoreUnavailable" not in str(whole)
    writes = call in (put, delete)
    wrong = []
    for end in range(len(answer)):
        server.answer = answer[:end]
        found = outcome(call, store)
        if found not in (whole, f"StoreUnavailable, maybe applied: {writes}"):
            wrong.append((answer[:end][-30:], found))
    store.close()
    assert not wrong, f"{len(wrong)} of {len(answer)}: {wrong[:3]}, {wrong[-1]}"


def outcome(call: Callable[[S3Store], Any], store: S3Store) -> Any:
    """Return what came of a call: its value, or its error in words."""
    try:
        return call(store)
    except StoreUnavailable as error:
        return f"StoreUnavailable, maybe applied: {error.maybe_applied}"
    except (NotFound, PreconditionFailed) as error:
        return type(error).__name__
    except Exception as error:  # noqa: BLE001 - any other is what the test is about
        return f"{type(error).__name__}: {error}"[:160]
