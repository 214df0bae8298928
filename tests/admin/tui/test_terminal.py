"""The dashboard's own process in real terminals: a pty with a terminal behind it, and tmux, with real keys and signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from s3queue import Queue
from tests.admin.tui.terminal import ROOT, Terminal, dashboard

CTRL_C, ESC, ENTER = "\x03", "\x1b", "\r"
LEFT = b"\x1b[?1049l"
"""The alternate screen is left: the terminal is as it was."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    with Queue("emails", url=tmp_path.as_uri()) as queue:
        queue.enqueue_many({"to": f"user{number}@example.com"} for number in range(3))
        queue.receive(1)  # so that there is a ledger
    with Queue("billing", url=tmp_path.as_uri()) as queue:
        queue.connect()
    return tmp_path.as_uri()


def test_it_starts_goes_about_is_resized_and_quits(url: str) -> None:
    with dashboard(url, "--interval", "1") as terminal:
        terminal.see("● live")
        terminal.see("emails")
        terminal.press(":messages emails" + ENTER)  # all in one go: none of the letters is a key of the table
        terminal.see("user1@")
        for width, height in ((30, 8), (200, 60), (80, 24)):
            terminal.resize(width, height)
            terminal.wait(lambda width=width: max(map(len, terminal.text.split("\n"))) > width - 4)  # type: ignore[misc]
            terminal.see("READ-ONLY")
        terminal.press("?")
        terminal.see("On this screen")
        terminal.press(ESC)
        terminal.wait(lambda: "On this screen" not in terminal.text)
        terminal.press(ESC)
        terminal.see("2 queues")
        terminal.press("q")
        assert terminal.end() == 0
        assert LEFT in terminal.raw


def _ctrl_c(terminal: Terminal) -> None:
    terminal.press(CTRL_C)


def _terminate(terminal: Terminal) -> None:
    terminal.process.kill(signal.SIGTERM)


@pytest.mark.parametrize(("how", "code"), [(_ctrl_c, 0), (_terminate, 128 + signal.SIGTERM)])
def test_it_ends_at_once_though_the_bucket_does_not_answer(
    url: str, tmp_path: Path, how: Callable[[Terminal], None], code: int
) -> None:
    ledgers = list(tmp_path.rglob("emails/ledger/*.json"))
    assert ledgers, [str(path) for path in tmp_path.rglob("*")]
    with dashboard(url, "--interval", "0.2") as terminal:
        terminal.see("● live")
        for ledger in ledgers:
            ledger.unlink()
            os.mkfifo(ledger)  # whoever opens it waits for a writer, and there is none
        terminal.see("slow")
        began = monotonic()
        how(terminal)
        assert terminal.end() == code
        assert monotonic() - began < 5
        assert LEFT in terminal.raw


def test_without_a_terminal_it_says_what_to_do_instead(url: str) -> None:
    command = [sys.executable, "-m", "s3queue_admin", "tui", "--url", url]
    run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "--once" in run.stderr
    assert run.stdout == ""


# -- tmux -------------------------------------------------------------------------------------------------------------


class Tmux:
    """A tmux server of the test's own."""

    def __init__(self, socket: Path) -> None:
        self._socket, self._never = socket, Event()

    def __call__(self, *arguments: str) -> str:
        run = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return run.stdout

    def see(self, done: Callable[[str], bool]) -> str:
        until = monotonic() + 20
        while not done(shown := self("capture-pane", "-p", "-t", "0")):
            assert monotonic() < until, shown
            self._never.wait(0.05)
        return shown


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed; the pty tests of this file show the same")
    made = Tmux(tmp_path / "tmux")
    made("new-session", "-d", "-x", "100", "-y", "30", "sh")
    yield made
    made("kill-server")


def test_in_tmux_real_keys_resize_and_ctrl_c_leave_the_shell_as_it_was(tmux: Tmux, url: str) -> None:
    stale = "COLUMNS=100 LINES=30"  # exported by some shells, and wrong once the window has another size
    tmux(
        "send-keys",
        f"{stale} PYTHONPATH={ROOT} {sys.executable} -m s3queue_admin tui --url {url}; echo code=$?.",
        "Enter",
    )
    tmux.see(lambda shown: "● live" in shown and "billing" in shown)
    tmux("send-keys", ":")
    tmux("send-keys", "-l", "messages emails")
    tmux("send-keys", "Enter")
    tmux.see(lambda shown: "user1@" in shown)
    tmux("resize-window", "-x", "60", "-y", "15")
    tmux.see(lambda shown: "READ-ONLY" in shown and len(shown.rstrip("\n").split("\n")) == 15)
    tmux("send-keys", "C-c")
    assert "READ-ONLY" not in tmux.see(lambda shown: "code=0." in shown)
