"""A terminal without a window: the dashboard's own process behind a real pty, what it shows, and the keys that are pressed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pexpect
import pyte

ROOT = Path(__file__).parents[3]
PATIENCE_S = 20.0


class Terminal:
    """A process behind a pty of that size."""

    def __init__(self, command: list[str], size: tuple[int, int]) -> None:
        width, height = size
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self.screen)
        environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        settings = (
            "COLUMNS",
            "LINES",
        )  # a size that is set there, as pytest's workers do, would go before the terminal's
        environment = {
            name: value
            for name, value in environment.items()
            if name not in settings and not name.startswith("S3QUEUE_")
        }
        self.process = pexpect.spawn(command[0], command[1:], dimensions=(height, width), env=environment, timeout=1)
        self.ended = False
        self.raw = b""

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def _read(self) -> None:
        try:
            some = self.process.read_nonblocking(65_536, 0.05)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            self.ended = True
            return
        self.raw += some
        self._stream.feed(some)

    def wait(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        until = monotonic() + patience_s
        while not done():
            assert monotonic() < until, f"not within {patience_s} s; the screen:\n{self.text}"
            self._read()

    def see(self, text: str) -> None:
        self.wait(lambda: text in self.text)

    def press(self, keys: str) -> None:
        self.process.send(keys)

    def resize(self, width: int, height: int) -> None:
        self.screen.resize(height, width)
        self.process.setwinsize(height, width)

    def end(self, patience_s: float = PATIENCE_S) -> int:
        """Return the exit code once the process has ended."""
        self.wait(lambda: self.ended, patience_s)
        self.process.close(force=False)
        return int(self.process.exitstatus if self.process.exitstatus is not None else -self.process.signalstatus)


@contextmanager
def dashboard(url: str, *options: str, size: tuple[int, int] = (100, 30)) -> Iterator[Terminal]:
    """Show a bucket in a terminal, which is gone at the end of the block."""
    terminal = Terminal([sys.executable, "-m", "s3queue_admin", "tui", "--url", url, *options], size)
    try:
        yield terminal
    finally:
        terminal.process.close(force=True)
