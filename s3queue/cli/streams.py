"""stdin and stdout as the operating system has them: lines that may be long in coming, data that nobody prints into."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import BinaryIO, Final, TextIO

_CHUNK: Final = 1 << 16


@contextmanager
def data_stream() -> Iterator[TextIO]:
    """Yield what writes to stdout; until the end, all else that is printed, by Python or C code, goes to stderr.

    Where ``sys.stdout`` is no file (in tests), only what Python code prints is turned away.
    """
    out, number = sys.stdout, _fileno(sys.stdout)
    if sys.stderr is None or number is None:
        with redirect_stdout(sys.stderr):
            yield out
        return
    out.flush()
    kept = os.dup(number)
    try:
        os.dup2(2, number)
        data = os.fdopen(os.dup(kept), "w", encoding=out.encoding, errors=out.errors)
        with redirect_stdout(sys.stderr):
            try:
                yield data
            finally:
                with suppress(OSError):  # its reader has left, or the disk is full: whoever wrote knows
                    data.close()
    finally:
        with suppress(OSError, ValueError):
            out.flush()  # what was printed by those who had hold of it before
        import ctypes  # for workers alone

        ctypes.CDLL(None).fflush(None)  # and what C code printed
        os.dup2(kept, number)
        os.close(kept)


def read_lines(source: BinaryIO, wait_s: float) -> Iterator[bytes | None]:
    """Yield line after line, and None whenever ``wait_s`` seconds passed with nothing to read."""
    number = _fileno(source)
    if number is None:
        yield from source
        return
    rest: list[bytes] = []
    while True:
        if not select.select([number], [], [], wait_s)[0]:
            yield None
            continue
        data = os.read(number, _CHUNK)
        if not data:
            break
        whole, newline, tail = data.rpartition(b"\n")
        if newline:
            yield from b"".join([*rest, whole]).split(b"\n")
            rest = []
        rest.append(tail)
    if last := b"".join(rest):
        yield last


def _fileno(stream: TextIO | BinaryIO | None) -> int | None:
    try:
        return stream.fileno() if stream is not None else None
    except (OSError, ValueError):
        return None
