from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3queue.errors import (
    InvalidName,
    InvalidSetting,
    PreconditionFailed,
    StoreRefused,
    StoreUnavailable,
)
from s3queue.store import filelock
from s3queue.store.file import FileStore
from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE, OVERWRITE, Replace
from tests.queue.clocks import eventually
from tests.store.conformance import StoreConformance, absent, read


class TestFileStore(StoreConformance):
    PAGED_KEYS = 2500
    ROUNDS = 30
    INCREMENTS = 25

    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        return FileStore(tmp_path / "bucket", fsync=False)


class TestDurableFileStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        return FileStore(tmp_path / "bucket")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def store(root: Path) -> FileStore:
    return FileStore(root, fsync=False)


# --- keys


@pytest.mark.parametrize(
    "key",
    [
        *("", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b", "a/" + "x" * 256, "ü" * 128, "\ud800"),
        *(".tmp/a", ".locks/00", ".tmp", "/".join(["x" * 200] * 6)),
    ],
)
def test_a_key_that_is_no_path_is_refused_before_anything_is_written(root: Path, store: FileStore, key: str) -> None:
    before = sorted(root.rglob("*"))
    for use in (store.get, store.delete, lambda key: store.put(key, b"", CREATE), lambda key: store.delete_many([key])):
        with pytest.raises(InvalidName, match="Use shorter names"):
            use(key)
    assert sorted(root.rglob("*")) == before
    assert sorted(path.name for path in root.parent.iterdir()) == ["bucket"]


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c"), ("a/b/c", "a/b")])
def test_a_name_cannot_be_object_and_folder(store: FileStore, first: str, second: str) -> None:
    store.put(first, b"first", CREATE)
    for mode in (CREATE, OVERWRITE):
        with pytest.raises(InvalidName, match="both an object and a folder"):
            store.put(second, b"second", mode)
    assert absent(store, second)
    store.delete(second)
    assert read(store, first).body == b"first"


def test_an_object_is_a_plain_file(root: Path, store: FileStore) -> None:
    store.put("queue/inbox/1.json", b"body", CREATE)
    assert (root / "queue/inbox/1.json").read_bytes() == b"body"
    assert list((root / ".tmp").iterdir()) == []


# --- listing


def test_folders_sort_as_their_keys_do(store: FileStore) -> None:
    names = ["a-b", "a.b", "a/b", "a/c/d", "a0", "aa", "a-b-c/x", "a-/x", "A/x", "é/x", "z/\U0001f600", "z/\uffff"]
    for name in names:
        store.put(name, b"", CREATE)
    assert [entry.key for entry in store.list("").entries] == sorted(names)


SEGMENTS = st.sampled_from(["a", "b", "a-", "a.b", "a0", "-", "ab"])
KEYS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)


@settings(max_examples=150, deadline=None)
@given(
    keys=st.sets(KEYS, max_size=12),
    prefix=st.one_of(st.just(""), KEYS, KEYS.map(lambda key: key + "/"), st.sampled_from(["/", "a//", "../", ".tmp/"])),
    after=st.one_of(st.just(""), KEYS, KEYS.map(lambda key: key + "/"), KEYS.map(lambda key: key + "~")),
    limit=st.integers(1, 5),
)
def test_a_listing_is_that_of_the_reference_model(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str, after: str, limit: int
) -> None:
    files, model = FileStore(tmp_path_factory.mktemp("bucket"), fsync=False), MemoryStore()
    for key in sorted(keys):
        try:
            files.put(key, key.encode(), CREATE)
        except InvalidName:  # object and folder at once
            continue
        model.put(key, key.encode(), CREATE)
    assert files.list(prefix, after, limit) == model.list(prefix, after, limit)


def test_a_page_asks_only_for_the_files_it_returns(
    root: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "inbox").mkdir()
    for number in range(3000):
        (root / "inbox" / f"{number:06}").touch()
    stats: list[str] = []
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        stats.append(str(path))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    page = store.list("inbox/", after="inbox/000999", limit=100)
    assert [entry.key for entry in page.entries] == [f"inbox/{number:06}" for number in range(1000, 1100)]
    assert len([path for path in stats if not path.endswith("/")]) == 101


def test_a_folder_is_read_once_while_nothing_changes_and_anew_at_any_change(
    root: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        store.put(f"inbox/{name}", b"", CREATE)
    scanned: list[str] = []
    real = os.scandir

    def scandir(path: str) -> Any:
        scanned.append(os.path.relpath(path, root))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)

    def keys() -> list[str]:
        scanned.clear()
        return [entry.key.removeprefix("inbox/") for entry in store.list("inbox/").entries]

    assert keys() == keys() == ["a", "b", "c"]
    assert scanned == ["inbox"]  # just changed: what else happens in this tick of the kernel would not show
    monkeypatch.setattr("s3queue.store.file._QUIET_NS", 50_000_000)
    for change, left in (
        (lambda: store.put("inbox/e", b"", CREATE), "abce"),
        (lambda: store.delete("inbox/a"), "bce"),
        (lambda: store.delete_many(["inbox/b", "inbox/c"]), "e"),
        ((root / "inbox/f").touch, "ef"),
    ):
        assert eventually(lambda: bool(keys() and keys()) and not scanned)
        change()
        assert keys() == list(left)
        assert scanned[0] == "inbox"


def test_folders_out_of_reach_are_not_read(root: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("q/a/1", "q/b/1", "q/c/1", "q/d/1", "r/1"):
        store.put(name, b"", CREATE)
    scanned: list[str] = []
    real = os.scandir

    def scandir(path: str) -> Any:
        scanned.append(os.path.relpath(path, root))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [entry.key for entry in store.list("q/", after="q/b/0", limit=1).entries] == ["q/b/1"]
    assert scanned == ["q", "q/b", "q/c"]  # q/c to know whether there is more


def test_foreign_files_are_left_out(root: Path, store: FileStore) -> None:
    store.put("a/1", b"", CREATE)
    (root / "a" / "2").symlink_to(root / "a" / "1")
    os.mkfifo(root / "a" / "3")
    (root / "a" / os.fsdecode(b"\xff")).touch()
    assert [entry.key for entry in store.list("").entries] == ["a/1"]


# --- ETags


def test_an_old_body_written_again_has_a_new_etag(store: FileStore) -> None:
    etags = [store.put("a", body, OVERWRITE) for body in [b"one", b"two"] * 200]
    assert len(set(etags)) == len(etags)


def test_a_file_changed_by_hand_has_a_new_etag(root: Path, store: FileStore) -> None:
    etag = store.put("a", b"one", CREATE)
    (root / "a").write_bytes(b"two")
    assert read(store, "a").body == b"two"
    with pytest.raises(PreconditionFailed):
        store.put("a", b"three", Replace(etag))


def test_an_unchanged_object_is_not_read(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = store.put("a", b"one", CREATE)
    monkeypatch.setattr("s3queue.store.file.FileIO", None)
    assert store.get("a", etag) is None


def test_a_file_system_without_fine_times_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.utime

    def coarse(file: int, *, ns: tuple[int, int]) -> None:
        real(file, ns=(ns[0] // 10**9 * 10**9, ns[1] // 10**9 * 10**9))

    monkeypatch.setattr(os, "utime", coarse)
    with pytest.raises(StoreRefused, match="local POSIX file system"):
        FileStore(root)


# --- starting


def test_leftovers_older_than_an_hour_are_removed(root: Path, store: FileStore) -> None:
    now_s = store.now_ms() / 1000
    for name, age_s in {"old": 3700, "young": 3500}.items():
        (root / ".tmp" / name).write_bytes(b"half")
        os.utime(root / ".tmp" / name, (now_s - age_s, now_s - age_s))
    FileStore(root)
    assert [path.name for path in (root / ".tmp").iterdir()] == ["young"]


def test_a_writer_whose_temporary_file_was_removed_fails_cleanly(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def replace(source: str, target: str) -> None:
        Path(source).unlink()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(StoreUnavailable) as caught:
        store.put("a", b"", OVERWRITE)
    assert not caught.value.maybe_applied
    assert absent(store, "a")


def test_a_system_without_file_locks_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filelock, "fcntl", None)
    with pytest.raises(InvalidSetting, match=r"POSIX file locks.*S3 server"):
        FileStore(root)
    assert not root.exists()


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="point the queue at the right one"):
        FileStore(tmp_path / "file")


# --- failures of the system


def failing(call: str, code: int, monkeypatch: pytest.MonkeyPatch, nth: int = 1) -> None:
    """Let the nth call of ``os.{call}`` and all after it fail."""
    real, calls = getattr(os, call), iter(range(1, 1_000_000))

    def fail(*args: Any, **options: Any) -> Any:
        if next(calls) >= nth:
            raise OSError(code, os.strerror(code))
        return real(*args, **options)

    monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize(
    ("call", "code", "error", "remedy"),
    [
        ("write", errno.ENOSPC, StoreUnavailable, "Free space"),
        ("link", errno.EDQUOT, StoreUnavailable, "Free space"),
        ("fsync", errno.EIO, StoreUnavailable, "Look at the device"),
        ("open", errno.EMFILE, StoreUnavailable, "limits"),
        ("open", errno.EACCES, StoreRefused, "read and write permission"),
        ("mkdir", errno.EROFS, StoreRefused, "read and write permission"),
        ("link", errno.ENAMETOOLONG, InvalidName, "shorter names"),
    ],
)
def test_a_write_that_the_system_refuses_leaves_nothing(  # noqa: PLR0917 - fixtures and parameters come by name
    root: Path, call: str, code: int, error: type[Exception], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(root)
    with monkeypatch.context() as patch:
        failing(call, code, patch)
        with pytest.raises(error, match=remedy) as caught:
            store.put("folder/a", b"body", CREATE)
    assert absent(store, "folder/a")
    assert list((root / ".tmp").iterdir()) == []
    if isinstance(caught.value, StoreUnavailable):
        assert caught.value.maybe_applied == (code == errno.EIO)


def test_a_write_whose_folder_cannot_be_flushed_may_have_been_applied(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(root)
    with monkeypatch.context() as patch:
        failing("fsync", errno.ENOSPC, patch, nth=2)
        with pytest.raises(StoreUnavailable) as caught:
            store.put("a", b"body", CREATE)
    assert caught.value.maybe_applied
    assert read(store, "a").body == b"body"


def test_a_key_that_cannot_be_deleted_is_returned(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a", "b"):
        store.put(key, b"", CREATE)
    failing("unlink", errno.EIO, monkeypatch, nth=2)
    assert store.delete_many(["a", "b"]) == ("b",)


def test_a_root_that_vanished_is_told(root: Path, store: FileStore) -> None:
    root.rename(root.parent / "moved")
    with pytest.raises(StoreRefused, match="Make the directory again") as caught:
        store.put("a", b"", CREATE)
    assert caught.value.reason == "bucket-missing"
    assert not root.exists()


def test_every_write_is_flushed_with_its_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(root)
    flushed: list[tuple[str, ...]] = []
    real = os.fsync

    def fsync(file: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{file}").readlink().relative_to(root).parts[:1])
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    etag = store.put("q/a", b"", CREATE)
    assert flushed == [(".tmp",), (), ("q",)]  # the file, the folder that is new, the name
    store.put("q/a", b"", Replace(etag))
    store.delete("q/a")
    assert flushed[3:] == [(".tmp",), ("q",), ("q",)]
