"""A proxy before an S3 server that injects faults and writes down what the server did: ``python -m tests.chaos.proxy PORT``.

Each request meets one fault at most, by probabilities that can be changed at any time. Whatever becomes of its client, a
request that was forwarded is followed to its answer, and every successful write goes on the tape: a JSON line with its
key, condition, ETag and, for what the checkers read, its body. ``start_ns`` is taken before the request goes to the
server, ``end_ns`` after the answer has come: the write took effect between the two.

It is told what to do by JSON lines on standard input (see :class:`Proxy.obey`), answers each with one, and ends when its
input does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import IO, Any, Self, cast
from urllib.parse import urlsplit

from tests.chaos.http1 import LIMIT, Message, deleted_keys, read_answer, read_request, refusal

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
_IDLE_S = 1.0  # a server closes what is idle for long, and might do so just when a request is sent
_ANSWER_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 10.0
_KEPT = ("/ledger/", "/inbox/", "/dlq/")


@dataclass(frozen=True)
class Faults:
    """How likely each fault is at a request; ``latency_ms`` is the median, one request in fifty waits ten times as long."""

    slow_down: float = 0.0  # 503 SlowDown, not forwarded
    conflict: float = 0.0  # 409 to a conditional PUT, not forwarded
    cut: float = 0.0  # connection closed, not forwarded
    lost_answer: float = 0.0  # forwarded, connection closed in place of an answer
    torn_answer: float = 0.0  # forwarded, connection closed in the middle of the answer
    error_after: float = 0.0  # forwarded, 500 in place of the answer
    late: float = 0.0  # a PUT: connection closed at once, forwarded up to ``late_s`` later
    late_s: float = 2.0
    latency_ms: float = 0.0


KINDS = ("slow_down", "conflict", "cut", "lost_answer", "torn_answer", "error_after", "late")
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """The proxy's own side; runs in an event loop of its own."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._faults = Faults()
        self._random = Random(0)
        self._idle: list[tuple[float, _Connection]] = []
        self._tape: IO[str] | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._torn: list[str] = []
        self.counts: Counter[str] = Counter()

    # -- control --

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order: ``faults`` (set these, all others to 0), ``seed``, ``tape`` (a file to write from now on).

        The answer: how often each fault was ``injected`` so far, the PUTs ``held`` back at the moment, and ``torn``:
        writes of which the server's answer is not known, which no tape should have.
        """
        if "seed" in order:
            self._random.seed(order["seed"])
        if "faults" in order:
            self._faults = Faults(**order["faults"])
        if "tape" in order:
            if self._tape is not None:
                self._tape.close()
            self._tape = Path(order["tape"]).open("a", encoding="utf-8")  # noqa: SIM115 - closed with the next, or the end
            self._torn.clear()
        if self._tape is not None:
            self._tape.flush()
        return {"injected": dict(self.counts), "held": len(self._late), "torn": list(self._torn)}

    # -- requests --

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client's connection."""
        with suppress(ConnectionError, asyncio.CancelledError):  # cancelled: the proxy ends
            while (request := await read_request(reader)) is not None:
                if not await self._answer(request, writer):
                    break
        writer.transport.abort()

    async def _answer(self, request: Message, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection lives on."""
        self.counts["requests"] += 1
        fault = self._fault(request)
        if fault:
            self.counts[fault] += 1
        await self._pause(self._latency_s())
        if fault == "cut":
            return False
        if fault == "late":
            task = asyncio.create_task(self._deliver_late(request, self._random.uniform(0.1, 1) * self._faults.late_s))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            return False
        if fault in ("slow_down", "conflict"):
            status, code = (503, "SlowDown") if fault == "slow_down" else (409, "ConditionalRequestConflict")
            return await _write(writer, refusal(status, code))
        answer = await self._forward(request)
        if answer is None or fault == "lost_answer":
            return False
        if fault == "torn_answer":
            whole = answer.head + answer.raw
            await _write(writer, whole[: self._random.randrange(len(whole))])
            writer.close()  # what was written arrives
            return False
        if fault == "error_after":
            return await _write(writer, refusal(500, "InternalError"))
        return await _write(writer, answer.head + answer.raw)

    def _fault(self, request: Message) -> str:
        roll = self._random.random()
        for kind in KINDS:
            if kind == "late" and request.verb != "PUT":
                continue
            if kind == "conflict" and not (request.header("if-match") or request.header("if-none-match") == "*"):
                continue
            roll -= getattr(self._faults, kind)
            if roll < 0:
                return kind
        return ""

    def _latency_s(self) -> float:
        median_s = self._faults.latency_ms / 1000
        tail = 10 if self._random.random() < 0.02 else 1
        return median_s * tail * self._random.lognormvariate(0, 0.4) if median_s else 0.0

    @staticmethod
    async def _pause(seconds: float) -> None:
        if seconds > 0:
            loop = asyncio.get_running_loop()
            over = loop.create_future()
            loop.call_later(seconds, over.set_result, None)
            await over

    async def _deliver_late(self, request: Message, after_s: float) -> None:
        await self._pause(after_s)
        answer = await self._forward(request)
        if answer is not None and answer.status < 300:
            self.counts["late_landed"] += 1

    # -- the server --

    async def _forward(self, request: Message) -> Message | None:
        """Return the server's answer; None if there is none."""
        start_ns = time.time_ns()
        connection = None
        try:
            connection = self._take_idle() or await asyncio.open_connection(HOST, self._upstream_port, limit=LIMIT)
            reader, writer = connection
            writer.write(request.head + request.raw)
            answer = await asyncio.wait_for(read_answer(reader, request.verb), _ANSWER_TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            if connection is not None:
                connection[1].transport.abort()
            if request.writes:
                self._torn.append(f"{request.verb} {request.key}: {type(error).__name__} {error}")
            return None
        self._idle.append((time.monotonic(), connection))
        if request.writes and answer.status < 300:
            self._record(request, answer, start_ns)
        return answer

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_S and not connection[0].at_eof():
                return connection
            connection[1].transport.abort()
        return None

    def _record(self, request: Message, answer: Message, start_ns: int) -> None:
        if self._tape is None:
            return
        line: dict[str, Any] = {"start_ns": start_ns, "end_ns": time.time_ns()}
        if request.deletes_many:
            for key in deleted_keys(request, answer):
                self._tape.write(json.dumps(line | {"verb": "DELETE", "key": key}) + "\n")
            return
        line |= {"verb": request.verb, "key": request.key}
        if request.verb == "PUT":
            line |= {"etag": answer.header("etag").strip('"'), "if_match": request.header("if-match").strip('"')}
            line["create"] = request.header("if-none-match") == "*"
            if any(part in request.key for part in _KEPT):
                line["body"] = request.body.decode("utf-8", "surrogateescape")
        self._tape.write(json.dumps(line) + "\n")


async def _write(writer: asyncio.StreamWriter, data: bytes) -> bool:
    writer.write(data)
    await writer.drain()
    return True


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(upstream_port: int) -> None:
    """Serve until standard input ends; the first line printed is the port."""
    proxy, loop = Proxy(upstream_port), asyncio.get_running_loop()
    server = await asyncio.start_server(proxy.serve, HOST, 0, limit=LIMIT, backlog=256)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _say(str(server.sockets[0].getsockname()[1]))
    while line := await orders.readline():
        _say(json.dumps(proxy.obey(json.loads(line))))
    server.close()


class FaultProxy:
    """The proxy in a process of its own, as the tests see it; a context manager."""

    def __init__(self, endpoint_url: str) -> None:
        upstream_port = urlsplit(endpoint_url).port
        self._command = [sys.executable, "-m", "tests.chaos.proxy", str(upstream_port)]
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def order(self, **order: Any) -> dict[str, Any]:
        """Give an order and return the answer to it."""
        assert self._process is not None
        pipe_in, pipe_out = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        pipe_in.write(json.dumps(order) + "\n")
        pipe_in.flush()
        answer = pipe_out.readline()  # ends with the process
        assert answer, "the fault proxy has ended"
        return cast(dict[str, Any], json.loads(answer))

    def set(self, faults: Faults) -> dict[str, Any]:
        """Inject these faults from now on."""
        return self.order(faults=asdict(faults))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = cast(IO[str], self._process.stdout).readline()
        if not line.strip():
            self.__exit__(None, None, None)
            raise AssertionError("the fault proxy did not start; its error stands above")
        self.port = int(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        cast(IO[str], process.stdin).close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        cast(IO[str], process.stdout).close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
