"""A bucket that is a directory of a local file system, shared by any number of processes and threads of one host.

::

    {root}/{key}            one object, one file: its body and nothing else
    {root}/.tmp/{id}        a file being written; it becomes an object by one link or rename, or is never seen
    {root}/.locks/{00..ff}  advisory locks (flock); a key's lock is chosen by a hash of the key

**Atomic.** A body is written whole to a temporary file first, so a reader, who takes no lock, sees the old object or
the new one, and a process that dies at any instruction leaves one or the other. What changes an existing key (replace,
overwrite, delete) does so under the key's lock, so nothing comes between the check of an ETag and the rename. The
kernel frees the lock of a process that dies. Create needs no lock: ``link`` fails if the name is taken, whoever took
it. Against the others it stands before or after their one rename or unlink; it cannot land between a replace's check
and its rename, as the name is taken all the while.

**ETag.** Inode, modification time and size, read by ``fstat`` of the open file whose bytes are returned; checking one
reads no body. The kernel's own times tick every few milliseconds, within which an inode number can be in use again, so
each write stamps its file: the millisecond, then six random digits. Two versions of a key share an ETag only if one
reuses the other's inode, has the same size, was written in the same millisecond, and drew the same digits (1 in
10**6); bodies with a revision inside rule out the harm even then. A file changed or restored by hand has a new ETag.

**Durable.** With ``fsync`` file and folder are flushed before a write returns. Without, a power cut (not the death of
a process) may undo or truncate recent writes.

Folders are never removed, so no create can lose its folder. A key cannot be both an object and a folder, and a file
system that ignores case cannot tell ``a`` from ``A``.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Final

from s3queue.clock import Clock, SystemClock
from s3queue.errors import (
    InvalidName,
    NotFound,
    PreconditionFailed,
    S3QueueError,
    StoreRefused,
    StoreUnavailable,
)
from s3queue.ids import Ids, SystemIds
from s3queue.store.filelock import KeyLocks
from s3queue.store.port import Create, Entry, Object, Page, PutMode, Replace

_PAGE: Final = 1000  # as S3: a longer limit is cut to this
_LEFTOVER_S: Final = 3600
_QUIET_NS: Final = 2_000_000_000  # far longer than the kernel's times stand still
_TMP: Final = ".tmp"
_OWN_FOLDERS: Final = frozenset({_TMP, ".locks"})
_NOT_LISTED: Final = frozenset(name + "/" for name in _OWN_FOLDERS)
_MAX_KEY: Final = 1024  # bytes, as on S3
_MAX_SEGMENT: Final = 255  # bytes, the limit of every common file system
_NO_OBJECT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class FileStore:
    """The directory ``root`` (made if it is missing) as a store; ``ids`` draws names and stamps, not secrets.

    ``read_only``: nothing is made or removed in it, so that a copy of a bucket can be read as it is.
    Raise InvalidSetting where the system has no ``flock``, StoreRefused if the directory cannot be used, InvalidName
    for a key that the file system cannot hold; each before anything is written. A write whose folder could not
    be flushed raises StoreUnavailable with ``maybe_applied``.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        fsync: bool = True,
        read_only: bool = False,
    ) -> None:
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._fsync = fsync
        self._root = os.path.abspath(root)
        self._scanned: tuple[str, int, Sequence[str]] = ("", 0, ())
        self._locks = KeyLocks(os.path.join(self._root, ".locks"), self._clock)
        self._sign = self._root if read_only else os.path.join(self._root, _TMP)  # without it, the store is gone
        with self._explained(""):
            if read_only:
                os.scandir(self._root).close()
                return
            for folder in _OWN_FOLDERS:
                os.makedirs(os.path.join(self._root, folder), exist_ok=True)
            self._clean()
            self._check_stamps()

    @property
    def location(self) -> str:
        return f"file://{self._root}"

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        path = self._path(key)
        with self._explained(key):
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in _NO_OBJECT:
                    raise NotFound(key) from None
                raise
            try:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise NotFound(key)
                etag = _etag(status)
                return None if etag == if_none_match else Object(FileIO(file, closefd=False).readall(), etag)
            finally:
                os.close(file)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        path = self._path(key)
        with self._explained(key), self._temporary(body) as (temporary, etag):
            self._with_folder(path, key)
            if isinstance(mode, Create):
                self._create(temporary, path, key)
            else:
                self._rename(temporary, path, key, mode)
        self._flush_folder(os.path.dirname(path), key)
        return etag

    def delete(self, key: str) -> None:
        if self._unlink(key):
            self._flush_folder(os.path.dirname(self._path(key)), key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        paths = [self._path(key) for key in keys]
        left: list[str] = []
        folders = set()
        for key, path in zip(keys, paths, strict=True):
            try:
                if self._unlink(key):
                    folders.add(os.path.dirname(path))
            except StoreUnavailable:
                left.append(key)
        for folder in folders:
            self._flush_folder(folder, keys[0])
        return tuple(left)

    def list(self, prefix: str, after: str = "", limit: int = _PAGE) -> Page:
        limit = min(limit, _PAGE)
        with self._explained(prefix):
            entries = tuple(islice(self._walk(prefix, after), limit + 1))
        return Page(entries[:limit], more=len(entries) > limit)

    def close(self) -> None:
        """Do nothing: no file is held open between calls."""

    # --- names

    def _path(self, key: str) -> str:
        problem = _unusable(key)
        if problem:
            raise InvalidName(
                f"{key!r} cannot be a key in {self.location}: {problem}.",
                remedy="Use shorter names of plain characters, or an S3 server.",
            )
        return os.path.join(self._root, key)

    def _with_folder(self, path: str, key: str) -> None:
        """Make the folders above ``path`` where they are missing, and make them last."""
        folder = os.path.dirname(path)
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for child in reversed(missing):
            try:
                os.mkdir(child)
            except FileExistsError:
                if not os.path.isdir(child):
                    raise _is_both(self.location, key) from None
            except NotADirectoryError:
                raise _is_both(self.location, key) from None
            if self._fsync:
                _flush(os.path.dirname(child))

    # --- writing

    @contextmanager
    def _temporary(self, body: bytes) -> Iterator[tuple[str, str]]:
        """Yield the path of a flushed file that holds ``body``, and its ETag; it is gone afterwards."""
        now_ms = self._clock.now_ms()
        path = os.path.join(self._root, _TMP, f"{os.getpid()}-{self._ids.new(now_ms)}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                _write_all(file, body)
                stamp_ns = now_ms * 1_000_000 + int(self._ids.random() * 1_000_000)
                os.utime(file, ns=(stamp_ns, stamp_ns))
                if self._fsync:
                    os.fsync(file)
                etag = _etag(os.fstat(file))
            finally:
                os.close(file)
            yield path, etag
        finally:
            with suppress(OSError):  # renamed already; or a leftover, which the next start removes
                os.unlink(path)

    def _create(self, temporary: str, path: str, key: str) -> None:
        try:
            os.link(temporary, path)
        except FileExistsError:
            if os.path.isdir(path):
                raise _is_both(self.location, key) from None
            raise PreconditionFailed(key, expected="absent", found="an object") from None

    def _rename(self, temporary: str, path: str, key: str, mode: PutMode) -> None:
        with self._locks.hold(key):
            if isinstance(mode, Replace):
                found = _etag_at(path)
                if found != mode.etag:
                    there = "nothing" if found is None else f"ETag {found}"
                    raise PreconditionFailed(key, expected=f"at ETag {mode.etag}", found=there)
            try:
                os.replace(temporary, path)
            except IsADirectoryError:
                raise _is_both(self.location, key) from None

    def _unlink(self, key: str) -> bool:
        """Remove the object and return True, or False if there is none."""
        path = self._path(key)
        with self._explained(key), self._locks.hold(key):
            if _etag_at(path) is None:
                return False
            os.unlink(path)
            return True

    def _flush_folder(self, folder: str, key: str) -> None:
        if self._fsync:
            with self._explained(key, maybe_applied=True):
                _flush(folder)

    # --- listing

    def _walk(self, prefix: str, after: str) -> Iterator[Entry]:
        """Yield the objects under ``prefix`` beyond ``after`` in the order of their keys, on demand."""
        folder = prefix[: prefix.rfind("/") + 1]
        if not folder or not _unusable(folder[:-1]):
            yield from self._walk_folder(folder, prefix, after)

    def _walk_folder(self, folder: str, prefix: str, after: str) -> Iterator[Entry]:
        """``folder`` ends with a slash. A subfolder sorts as its keys do, ``name/``: ``a-b``, ``a/b``, ``a0``."""
        try:
            names = self._children(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        low = max(prefix[len(folder) :], after[len(folder) :] if after.startswith(folder) else "")
        # One name before: a subfolder that ``after`` lies in sorts before it.
        for name in islice(names, max(0, bisect_right(names, low) - 1), None):
            key = folder + name
            if not key.startswith(prefix):
                if name > low:
                    return
            elif key.endswith("/"):
                if (folder or name not in _NOT_LISTED) and (key > after or after.startswith(key)):
                    yield from self._walk_folder(key, prefix, after)
            elif key > after:
                yield from self._entry(key)

    def _children(self, folder: str) -> Sequence[str]:
        """Return the names in a folder, sorted, subfolders with a slash; those of before if it has not been changed since.

        They are kept only if the last change was so long before that another one must show in the folder's ctime.
        """
        path = os.path.join(self._root, folder)
        changed_ns = os.stat(path).st_ctime_ns  # a name added, removed or replaced sets it, and nobody can set it back
        if self._scanned[:2] == (folder, changed_ns):
            return self._scanned[2]
        is_quiet = SystemClock().now_ms() * 1_000_000 - changed_ns > _QUIET_NS  # the kernel's clock, not a test's
        with os.scandir(path) as children:
            names = [child.name + "/" if child.is_dir(follow_symlinks=False) else child.name for child in children]
        names.sort()
        if is_quiet:
            self._scanned = (folder, changed_ns, names)
        return names

    def _entry(self, key: str) -> Iterator[Entry]:
        with suppress(FileNotFoundError):  # deleted meanwhile
            status = os.stat(os.path.join(self._root, key), follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and not _unusable(key):  # else a foreign file
                yield Entry(key, status.st_size)

    # --- starting

    def _clean(self) -> None:
        """Remove what dead processes left half written; a live one that is so slow just fails, and repeats."""
        before_s = self._clock.now_ms() / 1000 - _LEFTOVER_S
        with os.scandir(os.path.join(self._root, _TMP)) as leftovers:
            for leftover in leftovers:
                with suppress(FileNotFoundError):
                    if leftover.stat(follow_symlinks=False).st_mtime < before_s:
                        os.unlink(leftover.path)

    def _check_stamps(self) -> None:
        with self._temporary(b"") as (_, first), self._temporary(b"") as (_, second):
            stamps = [int(etag.split("-")[1], 16) % 1_000_000 for etag in (first, second)]
        if stamps == [0, 0]:
            raise StoreRefused(
                f"The file system of {self.location} does not keep times in nanoseconds, so versions look alike.",
                reason="rejected",
                remedy="Use a directory on a local POSIX file system (ext4, xfs, btrfs, tmpfs, APFS …).",
            )

    # --- failing

    @contextmanager
    def _explained(self, key: str, *, maybe_applied: bool = False) -> Iterator[None]:
        """Turn an OSError into the store's error, with its remedy."""
        try:
            yield
        except OSError as error:
            raise self._explain(error, key, maybe_applied=maybe_applied) from error

    def _explain(self, error: OSError, key: str, *, maybe_applied: bool) -> S3QueueError:
        what = f"{self.location} failed at {key!r}: {error.strerror or error}."
        if error.errno == errno.ENAMETOOLONG:
            return InvalidName(what, remedy="Use shorter names, or a directory nearer to the root.")
        if not maybe_applied and error.errno in _REFUSED:
            remedy = "Give the user of this process read and write permission on the directory and all below it."
            return StoreRefused(what, reason="access-denied", key=key, remedy=remedy)
        if not maybe_applied and not os.path.isdir(self._sign):
            remedy = "Make the directory again, or point the queue at the right one; then restart."
            return StoreRefused(what, reason="bucket-missing", key=key, remedy=remedy)
        full, other = "Free space on the device, or raise the quota.", "Look at the device and this process's limits."
        unclear = maybe_applied or error.errno == errno.EIO
        remedy = full if error.errno in _FULL else other
        return StoreUnavailable(what, key=key, maybe_applied=unclear, remedy=remedy)


def _unusable(key: str) -> str:
    """Return why the file system cannot hold the key, or ''."""
    segments = key.split("/")
    try:
        sizes = [len(segment.encode()) for segment in segments]
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if "\0" in key:
        return "it has a NUL"
    if any(segment in {"", ".", ".."} for segment in segments):
        return "a segment between slashes is empty, '.' or '..'"
    if segments[0] in _OWN_FOLDERS:
        return f"{segments[0]!r} is the store's own folder"
    if max(sizes) > _MAX_SEGMENT:
        return f"a segment is longer than {_MAX_SEGMENT} bytes"
    return f"it is longer than {_MAX_KEY} bytes" if sum(sizes) + len(sizes) - 1 > _MAX_KEY else ""


def _is_both(location: str, key: str) -> InvalidName:
    return InvalidName(
        f"{key!r} cannot be a key in {location}: a part of it names both an object and a folder.",
        remedy="A directory cannot hold both; choose another name, or use an S3 server.",
    )


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _etag_at(path: str) -> str | None:
    """Return the ETag of the object at ``path``, None if there is none."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in _NO_OBJECT:
            return None
        raise
    return _etag(status) if stat.S_ISREG(status.st_mode) else None


def _write_all(file: int, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(file, rest) :]


def _flush(folder: str) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
