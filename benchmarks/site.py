"""Where a benchmark runs: a server behind the proxy, a folder or memory; and how queues there are opened."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.proxy import LatencyProxy
from s3queue import Queue
from s3queue.devserver import MiniStack
from s3queue.store.s3 import S3Store

BUCKET = "benchmarks"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Address:
    """How to open queues: over S3 at ``endpoint_url``, or at ``url``. It can be sent to another process as JSON."""

    url: str = ""
    endpoint_url: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""

    def queue(self, name: str, **options: Any) -> Queue:
        """Return a queue with a connection and a meter of its own."""
        if self.url:
            return Queue(name, url=self.url, **options)
        keys = {name: value for name, value in asdict(self).items() if name != "url"}
        return Queue(name, bucket=BUCKET, store=S3Store(BUCKET, max_connections=32, **keys), **options)


@dataclass(frozen=True)
class Site:
    """``far`` is behind the proxy, for those who are measured; ``near`` is not, for those who watch.

    ``pids``: the processes that serve, by part; this one alone where it does everything.
    """

    store: str
    latency_ms: float
    far: Address
    near: Address
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def in_processes(self) -> bool:
        """Whether workers run in processes of their own."""
        return bool(self.far.endpoint_url)


@contextmanager
def open_site(store: str, latency_ms: float) -> Iterator[Site]:
    """Start what the store needs, and stop it at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3queue-benchmarks-")))
        if store in ("memory", "file"):
            address = Address(f"file://{folder}" if store == "file" else f"memory://{folder.name}")
            yield Site(store, 0, address, address, {"all": os.getpid()})
            return
        server = stack.enter_context(_server(store, folder))
        server.create_bucket(BUCKET)
        near = Address("", server.endpoint_url, server.region, server.access_key_id, server.secret_access_key)
        proxy = stack.enter_context(LatencyProxy(int(near.endpoint_url.rpartition(":")[2]), latency_ms))
        far = Address("", proxy.endpoint_url, *list(asdict(near).values())[2:])
        yield Site(store, latency_ms, far, near, {"server": _pid(server), "proxy": proxy.pid})


def _server(store: str, folder: Path) -> Any:
    if store == "ministack":
        return MiniStack(folder=folder)
    from tests.servers import seaweedfs

    return seaweedfs(folder)


def _pid(server: Any) -> int:
    return int(server._process.pid)  # noqa: SLF001 - neither server tells, and only its CPU seconds are wanted


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, 0 if /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MiB, 0 if /proc does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * _PAGE_BYTES / (1 << 20)
