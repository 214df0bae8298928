"""Locks between the processes of one host, by name: the kernel frees those of a process that ends, however it ends."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from s3queue.clock import Clock
from s3queue.errors import InvalidSetting, StoreUnavailable

try:
    import fcntl
except ImportError:  # not POSIX; the constructor says so
    fcntl = None  # type: ignore[assignment]

_FILES: Final = 256
_PATIENCE_S: Final = 10.0  # a lock is held for microseconds, unless its holder is stopped (SIGSTOP, debugger)
_POLL_S: Final = 0.001


class KeyLocks:
    """Exclusive locks for keys, in 256 files below ``folder``: two keys may share one, so hold one at a time.

    They exclude threads as well as processes. Raise InvalidSetting where the system has no ``flock``.
    """

    def __init__(self, folder: str, clock: Clock) -> None:
        if fcntl is None:
            raise InvalidSetting(
                "A file:// store needs POSIX file locks, which this system has not.",
                remedy="Use Linux, macOS or WSL, or an S3 server.",
            )
        self._folder = folder
        self._clock = clock

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold the key's lock; StoreUnavailable if another keeps it for ten seconds."""
        path = os.path.join(self._folder, f"{zlib.crc32(key.encode()) % _FILES:02x}")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _open.add(file)
        try:
            self._acquire(file, key)
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing alone would leave it to the copy of a forked child
            _open.discard(file)
            os.close(file)

    def _acquire(self, file: int, key: str) -> None:
        until_s = self._clock.monotonic() + _PATIENCE_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if self._clock.monotonic() >= until_s:
                raise StoreUnavailable(
                    f"The lock of {key!r} in {self._folder} was held for {_PATIENCE_S:.0f} s.",
                    key=key,
                    remedy="Look for a stopped process that uses this directory (`fuser`), resume or end it.",
                )
            self._clock.sleep(_POLL_S)


_open: Final[set[int]] = set()
"""Lock files open in this process."""


def _close_in_child() -> None:
    """Close the copies that a fork made: they would hold a lock on after the death of the parent that took it."""
    for file in _open:
        with suppress(OSError):
            os.close(file)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
