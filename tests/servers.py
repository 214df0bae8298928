"""Real S3 servers for tests: MiniStack (quick) and SeaweedFS (independent, keeps what it acknowledged, checks signatures)."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from s3queue.clock import SystemClock
from s3queue.devserver import HOST, REGION, end, free_ports, tail, wait_until
from s3queue.errors import StoreRefused, StoreUnavailable
from s3queue.store.port import OVERWRITE
from s3queue.store.s3 import S3Store, create_bucket

_START_TIMEOUT_S = 30.0
_bucket_numbers = count(1)


class Server(Protocol):
    """What tests want of an S3 server."""

    @property
    def endpoint_url(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def access_key_id(self) -> str: ...

    @property
    def secret_access_key(self) -> str: ...

    def create_bucket(self, name: str) -> str: ...


def fresh_bucket(server: Server) -> str:
    """Create a bucket that no other test uses and return its name."""
    return server.create_bucket(f"bucket-{os.getpid()}-{next(_bucket_numbers)}")


def open_store(server: Server, bucket: str, **options: float) -> S3Store:
    """Return a store over a bucket of this server."""
    return S3Store(
        bucket,
        endpoint_url=server.endpoint_url,
        region=server.region,
        access_key_id=server.access_key_id,
        secret_access_key=server.secret_access_key,
        **options,  # type: ignore[arg-type]
    )


class SeaweedFS:
    """One SeaweedFS process with all its parts, on ports of its own; data and log lie in ``folder``."""

    region = REGION
    access_key_id = "s3queue-tests"
    secret_access_key = "s3queue-tests-secret"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self._ports['s3.port']}"

    def create_bucket(self, name: str) -> str:
        create_bucket(
            name,
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
        )
        return name

    def start(self) -> None:
        """Start the server and return when it has written an object."""
        log = self._folder / "weed.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command(),
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                # One volume for a new bucket instead of seven: they are files to create, and there is a limit to them.
                env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            )
        if not wait_until(self._writes, _START_TIMEOUT_S, SystemClock()):
            self.kill()
            raise AssertionError(f"SeaweedFS did not start; its log ends: {tail(log)}")

    def stop(self, patience_s: float = 30) -> None:
        """End the server as an operator would; it takes 15 seconds of its own accord."""
        process, self._process = self._process, None
        if process is not None:
            end(process, patience_s)
        # It keeps sockets here whatever it is told, and leaves them behind when it is killed.
        for port in self._ports.values():
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the server at once (SIGKILL)."""
        self.stop(patience_s=0)

    def _writes(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"SeaweedFS ended; its log ends: {tail(self._folder / 'weed.log')}"
        try:
            self.create_bucket("ready")
            store = open_store(self, "ready", read_timeout_s=10)
            store.put("ready", b"", OVERWRITE)
            store.close()
        except (StoreUnavailable, StoreRefused):
            return False
        return True

    def _command(self) -> list[str]:
        options = {
            "dir": self._folder / "data",
            "ip": HOST,
            "ip.bind": HOST,
            "s3.config": self._folder / "s3.json",
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": self._folder / "filer.sock",
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            "master.electionTimeout": "1s",  # of which a restart with old data waits one
            "volume.max": 100,
            "volume.preStopSeconds": 0,
        } | self._ports
        weed = str(Path(sys.executable).with_name("weed"))
        return [*ends_with_parent(), weed, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]


_PORTS = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]


def ends_with_parent() -> list[str]:
    """Return the prefix of a command that lets the kernel end the server if the tests are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Run a SeaweedFS for the time of the block."""
    server = SeaweedFS(folder)
    atexit.register(server.kill)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        atexit.unregister(server.kill)
