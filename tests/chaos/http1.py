"""As much of HTTP/1.1 as stands between an S3 client and its server: whole requests and answers, kept byte by byte."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

LIMIT = 8 << 20
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Message:
    """A request or an answer: ``head`` and ``raw`` as they came, ``body`` without the framing of chunks."""

    head: bytes
    raw: bytes
    body: bytes

    @property
    def first(self) -> list[str]:
        """The words of the first line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    def header(self, name: str) -> str:
        """Return the value of a header, '' if there is none."""
        return _header(self.head, name)

    @property
    def verb(self) -> str:
        return self.first[0]

    @property
    def key(self) -> str:
        """The object's key: the path without its bucket."""
        return unquote(urlsplit(self.first[1]).path).lstrip("/").partition("/")[2]

    @property
    def deletes_many(self) -> bool:
        return self.verb == "POST" and "delete" in urlsplit(self.first[1]).query.split("&")

    @property
    def writes(self) -> bool:
        return self.verb in ("PUT", "DELETE") or self.deletes_many

    @property
    def status(self) -> int:
        return int(self.first[1])


async def read_request(reader: asyncio.StreamReader) -> Message | None:
    """Return the next request; None if the client has gone, in the middle of one or between two."""
    try:
        head = await reader.readuntil(_END_OF_HEAD)
        body = await reader.readexactly(int(_header(head, "content-length") or 0))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Message(head, body, body)


async def read_answer(reader: asyncio.StreamReader, verb: str) -> Message:
    """Return the answer to a request; raise IncompleteReadError or ConnectionError if it does not come whole."""
    while True:
        head = await reader.readuntil(_END_OF_HEAD)
        status = int(head.split(b" ", 2)[1])
        if status >= 200:
            break
    if verb == "HEAD" or status in (204, 304):
        return Message(head, b"", b"")
    if _header(head, "transfer-encoding").lower() == "chunked":
        return await _chunked(reader, head)
    body = await reader.readexactly(int(_header(head, "content-length") or 0))
    return Message(head, body, body)


async def _chunked(reader: asyncio.StreamReader, head: bytes) -> Message:
    raw, body = bytearray(), bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        data = await reader.readexactly(size + 2)  # and its line end; after the last chunk, that of the whole
        raw += line + data
        body += data[:-2]
        if not size:
            return Message(head, bytes(raw), bytes(body))


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        found, _, value = line.partition(":")
        if found.strip().lower() == name:
            return value.strip()
    return ""


def refusal(status: int, code: str) -> bytes:
    """Return a whole answer in the words of S3."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>chaos</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def deleted_keys(request: Message, answer: Message) -> list[str]:
    """Return the keys that a DeleteObjects removed."""
    asked = [key.text or "" for key in ET.fromstring(request.body).iterfind("{*}Object/{*}Key")]  # noqa: S314 - of our own client
    failed = {key.text for key in ET.fromstring(answer.body).iterfind("{*}Error/{*}Key")}  # noqa: S314 - of our own server
    return [key for key in asked if key not in failed]
