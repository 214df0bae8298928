"""Several processes on one directory: races, locks, and death at any instruction."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from s3queue.errors import (
    NotFound,
    PreconditionFailed,
    StoreUnavailable,
)
from s3queue.ids import SeededIds
from s3queue.store import filelock
from s3queue.store.file import FileStore
from s3queue.store.port import CREATE, OVERWRITE, PutMode, Replace
from tests.store.conformance import count_up, read
from tests.store.faulty import FakeClock

SPAWN = multiprocessing.get_context("spawn")
BOUND_S = 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def store(root: Path) -> FileStore:
    return FileStore(root, fsync=False)


def lock_is_free(root: Path, key: str) -> bool:
    try:
        with filelock.KeyLocks(str(root / ".locks"), FakeClock()).hold(key):
            return True
    except StoreUnavailable:
        return False


@pytest.mark.parametrize("rival", ["delete", "delete_many", "overwrite", "replace"])
def test_nothing_comes_between_the_check_and_the_rename(
    store: FileStore, rival: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival that starts when the ETag has been checked gets its turn after the rename."""
    etag = store.put("a", b"old", CREATE)
    acts: dict[str, Callable[[], object]] = {
        "delete": lambda: store.delete("a"),
        "delete_many": lambda: store.delete_many(["a"]),
        "overwrite": lambda: store.put("a", b"rival", OVERWRITE),
        "replace": lambda: store.put("a", b"rival", Replace(etag)),
    }
    order: list[str] = []
    real = os.replace

    def rival_acts() -> None:
        with suppress(PreconditionFailed):
            acts[rival]()
        order.append("rival")

    thread = Thread(target=rival_acts)

    def replace(source: str, target: str) -> None:
        monkeypatch.setattr(os, "replace", real)
        thread.start()
        thread.join(0.1)
        order.append("rename")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    store.put("a", b"ours", Replace(etag))
    thread.join(BOUND_S)
    assert order == ["rename", "rival"]
    try:
        body: bytes | None = read(store, "a").body
    except NotFound:
        body = None
    assert body == {"overwrite": b"rival", "replace": b"ours"}.get(rival)


def test_a_lock_kept_by_a_stopped_process_is_reported(root: Path) -> None:
    clock = FakeClock()
    store = FileStore(root, clock=clock, ids=SeededIds(1), fsync=False)
    store.put("a", b"first", CREATE)
    with (
        filelock.KeyLocks(str(root / ".locks"), clock).hold("a"),
        pytest.raises(StoreUnavailable, match="stopped process") as caught,
    ):
        store.put("a", b"second", OVERWRITE)
    assert not caught.value.maybe_applied
    assert 10 <= clock.monotonic() < 11
    store.put("a", b"second", OVERWRITE)


def _count_in_process(root: str, name: str, times: int) -> None:
    store = FileStore(Path(root), fsync=False)
    count_up(store, "counter", name, times)
    for number in range(times):
        try:
            store.put(f"new/{number}", name.encode(), CREATE)
        except PreconditionFailed:
            continue
        store.put(f"won/{number}-{name}", b"", CREATE)


def test_processes_count_without_losing_one_and_share_creates_without_two_winners(root: Path) -> None:
    store = FileStore(root, fsync=False)
    store.put("counter", json.dumps({"count": 0, "writers": {}}).encode(), CREATE)
    processes = [SPAWN.Process(target=_count_in_process, args=(str(root), f"p{n}", 100)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(BOUND_S)
    assert [process.exitcode for process in processes] == [0] * 4
    assert json.loads(read(store, "counter").body)["count"] == 400
    winners = [entry.key.removeprefix("won/").split("-") for entry in store.list("won/").entries]
    assert sorted(int(number) for number, _ in winners) == list(range(100))
    assert all(read(store, f"new/{number}").body == name.encode() for number, name in winners)


def _sealed(number: int) -> bytes:
    rest = str(number).encode() * 20_000
    return sha256(rest).hexdigest().encode() + rest


def _write_for_ever(root: str, tell: Connection) -> None:
    store = FileStore(Path(root), fsync=False)
    etags = {key: store.put(key, _sealed(0), OVERWRITE) for key in ("replaced", "overwritten")}
    number = 0
    while True:
        number += 1
        etags["replaced"] = store.put("replaced", _sealed(number), Replace(etags["replaced"]))
        store.put("overwritten", _sealed(number), OVERWRITE)
        store.put(f"created/{number % 5}", _sealed(number), CREATE)
        store.delete(f"created/{(number + 1) % 5}")
        tell.send(number)


def test_a_writer_killed_at_work_leaves_whole_objects_and_free_locks(root: Path) -> None:
    store = FileStore(root, fsync=False)
    for kills in range(4):
        listen, tell = SPAWN.Pipe(duplex=False)
        writer = SPAWN.Process(target=_write_for_ever, args=(str(root), tell), daemon=True)
        writer.start()
        tell.close()
        for _ in range(10 + 7 * kills):
            assert listen.poll(BOUND_S)
            listen.recv()
        writer.kill()
        writer.join(BOUND_S)
        assert writer.exitcode == -signal.SIGKILL
        keys = [entry.key for entry in store.list("").entries]
        assert {"replaced", "overwritten"} <= set(keys)
        for key in keys:
            found = read(store, key)
            assert found.body[:64] == sha256(found.body[64:]).hexdigest().encode()
            assert lock_is_free(root, key)
            store.put(key, found.body, Replace(found.etag))
        assert store.delete_many([key for key in keys if key.startswith("created")]) == ()


CALLS = ("open", "write", "utime", "fsync", "close", "mkdir", "link", "replace", "unlink")


def _act(store: FileStore, act: str, etag: str) -> None:
    if act == "delete":
        store.delete("q/key")
    else:
        modes: dict[str, PutMode] = {"create": CREATE, "replace": Replace(etag), "overwrite": OVERWRITE}
        store.put("q/key", b"new", modes[act])


def _die_at_call(root: Path, nth: int, act: str, etag: str) -> None:
    """In a forked child: carry out ``act`` and be killed right before its nth system call; exit 0 if there are fewer."""
    store = FileStore(root)
    calls = 0

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))
    _act(store, act, etag)
    os._exit(0)


def _kill_at_every_call(folder: str, tell: Connection) -> None:
    for act in ("create", "replace", "overwrite", "delete"):
        status, nth = 1, 0
        while status:
            nth += 1
            root = Path(folder) / f"{act}-{nth}"
            store = FileStore(root, fsync=False)
            etag = "" if act == "create" else store.put("q/key", b"old", CREATE)
            child = os.fork()
            if not child:
                _die_at_call(root, nth, act, etag)
            _, status = os.waitpid(child, 0)
            try:
                found: bytes | None = read(FileStore(root, fsync=False), "q/key").body
            except NotFound:
                found = None
            tell.send((act, nth, os.WIFSIGNALED(status), found, lock_is_free(root, "q/key")))
    tell.send(None)


def test_a_process_killed_before_any_system_call_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    listen, tell = SPAWN.Pipe(duplex=False)
    killer = SPAWN.Process(target=_kill_at_every_call, args=(str(tmp_path), tell))
    killer.start()
    tell.close()
    seen: dict[str, list[bytes | None]] = {}
    while listen.poll(BOUND_S) and (line := listen.recv()):
        act, nth, killed, found, free = line
        assert free, f"{act} killed at call {nth} left its lock"
        seen.setdefault(act, []).append(found)
        old, new = (None if act == "create" else b"old"), (None if act == "delete" else b"new")
        assert found in {old, new}
        assert killed or found == new
    killer.join(BOUND_S)
    assert killer.exitcode == 0
    assert all(len(bodies) > 5 for bodies in seen.values())  # each act has its calls, and was killed at each
    assert set(seen) == {"create", "replace", "overwrite", "delete"}
    for bodies in seen.values():  # once it is the new one, it stays so
        changes = [before != after for before, after in pairwise(bodies)]
        assert sum(changes) == 1


def _fork_while_locked(root: str, tell: Connection) -> None:
    """Fork a child (a pool's, say) while another thread's write holds the lock, and be killed."""
    locks = filelock.KeyLocks(str(Path(root) / ".locks"), FakeClock())
    with locks.hold("a"):
        child = os.fork()
        if not child:
            tell.send(os.getpid())
            signal.pause()
        signal.pause()


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(root: Path, store: FileStore) -> None:
    store.put("a", b"", CREATE)
    listen, tell = SPAWN.Pipe(duplex=False)
    parent = SPAWN.Process(target=_fork_while_locked, args=(str(root), tell))
    parent.start()
    assert listen.poll(BOUND_S)
    child = listen.recv()
    try:
        assert not lock_is_free(root, "a")
        parent.kill()
        os.waitpid(parent.pid or 0, 0)  # join() would wait for the child as well
        assert lock_is_free(root, "a")
    finally:
        os.kill(child, signal.SIGKILL)
