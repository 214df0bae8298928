"""The servers that tests, demo and benchmarks run on: they start, keep what they acknowledged, and leave nothing behind."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from s3queue.clock import SystemClock
from s3queue.devserver import HOST, MiniStack, answers, wait_until
from s3queue.errors import InvalidSetting, StoreUnavailable
from s3queue.ids import SystemIds
from s3queue.store.port import CREATE, Object, Replace, Store
from s3queue.store.retrying import Retrying
from tests.servers import SeaweedFS, Server, fresh_bucket, open_store


def write_some(server: Server, bucket: str, name: str) -> dict[str, Object]:
    """Create and replace objects; return what the server acknowledged."""
    store = open_store(server, bucket)
    kept: dict[str, Object] = {}
    for number in range(20):
        key = f"{name}/{number:02}"
        etag = store.put(key, f"first {key}".encode(), CREATE)
        body = f"second {key}".encode() * number
        kept[key] = Object(body, store.put(key, body, Replace(etag)))
    store.close()
    return kept


def patient(server: Server, bucket: str) -> Store:
    """Return a store that repeats what a server that has just started answers with 500."""
    return Retrying(open_store(server, bucket), clock=SystemClock(), ids=SystemIds())


def all_there(store: Store, kept: dict[str, Object]) -> bool:
    return {key: store.get(key) for key in kept} == kept


def test_seaweedfs_keeps_what_it_acknowledged_through_sigkill(seaweedfs: SeaweedFS) -> None:
    bucket = fresh_bucket(seaweedfs)
    kept = write_some(seaweedfs, bucket, "before")
    seaweedfs.kill()
    seaweedfs.start()
    store = patient(seaweedfs, bucket)
    assert all_there(store, kept)
    assert [entry.key for entry in store.list("before/").entries] == sorted(kept)
    key, found = next(iter(kept.items()))
    store.put(key, b"third", Replace(found.etag))  # conditions hold across the restart
    store.close()


@pytest.mark.slow
def test_seaweedfs_keeps_what_it_acknowledged_through_a_restart(seaweedfs: SeaweedFS) -> None:
    bucket = fresh_bucket(seaweedfs)
    kept = write_some(seaweedfs, bucket, "before")
    seaweedfs.stop()
    seaweedfs.start()
    store = patient(seaweedfs, bucket)
    assert all_there(store, kept)
    store.close()


def test_ministack_keeps_its_data_folder_through_a_restart(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with MiniStack(folder=tmp_path, data_dir=tmp_path / "data") as server:
        kept = write_some(server, server.create_bucket("durable"), "before")
        server.stop()
        server.start()
        store = open_store(server, "durable")
        assert all_there(store, kept)
        store.close()


def test_a_store_whose_server_comes_back_needs_no_new_connection_by_hand(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with MiniStack(folder=tmp_path, data_dir=tmp_path / "data") as server:
        store = open_store(server, server.create_bucket("durable"))
        etag = store.put("key", b"body", CREATE)
        server.kill()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.get("key")
        server.start()
        assert store.get("key") == Object(b"body", etag)
        store.close()


def test_ministack_leaves_nothing_behind() -> None:
    server = MiniStack()
    with server:
        assert answers(int(server.endpoint_url.rpartition(":")[2]))
        folder = server.log.parent
    assert not folder.exists()
    assert not answers(int(server.endpoint_url.rpartition(":")[2]))


def test_ministack_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from s3queue.devserver import MiniStack;"
        " server = MiniStack(folder=pathlib.Path(sys.argv[1])).start();"
        " print(server.endpoint_url, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().strip().rpartition(":")[2])
        assert answers(port)
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not answers(port), 10, SystemClock())


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        server = MiniStack(folder=tmp_path, port=port)
        with pytest.raises(StoreUnavailable, match=f"{port} is already in use.*take another port"):
            server.start()


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidSetting, match=r"pip install 's3queue\[demo\]'"):
        MiniStack()
