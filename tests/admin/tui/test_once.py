"""One frame for a pipe, the options of the command, the page in a browser, and the demo that is gone when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from click.testing import CliRunner

from s3queue import Queue
from s3queue.text import cells
from s3queue_admin.cli.commands import cli
from s3queue_admin.tui.once import frame
from tests.admin.tui.stage import EVIL, Site
from tests.admin.tui.terminal import ROOT


@pytest.fixture
def url(tmp_path: Path) -> str:
    with Queue("emails", url=tmp_path.as_uri()) as queue:
        queue.enqueue({"to": "ada@example.com", "note": EVIL})
    return tmp_path.as_uri()


def once(*options: str) -> tuple[int, str, str]:
    run = CliRunner().invoke(cli, ["tui", "--once", *options])
    return run.exit_code, run.stdout, run.stderr


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (20, 6)])
def test_a_frame_is_as_large_as_it_is_told_and_has_no_escapes(url: str, width: int, height: int) -> None:
    code, out, err = once("--url", url, "emails", "--size", f"{width}x{height}")
    assert (code, err) == (0, "")
    lines = out.split("\n")[:-1]
    assert len(lines) == height
    assert max(map(cells, lines)) <= width
    assert all(letter.isprintable() for line in lines for letter in line)
    assert "READ-ONLY" in lines[-1]


def test_a_frame_shows_the_queue_or_the_screen_that_is_asked_for(url: str) -> None:
    assert "ada@example.com" in once("--url", url, "emails", "--size", "120x30")[1]
    assert "1 queue" in once("--url", url)[1]
    assert "locks" in once("--url", url, "--screen", "locks")[1]


def test_a_frame_for_a_terminal_has_its_colours() -> None:
    seen = frame(Site().bucket(), size=(80, 24), colours=True)
    assert seen.condition == "live"
    assert "\x1b[" in seen.text
    assert "\x1b[" not in frame(Site().bucket(), size=(80, 24)).text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--once", "--size", "120"], "120x40"),
        (["--once", "--size", "5x5"], "columns (20-1000)"),
        (["--once", "--serve", "8000"], "choose one"),
        (["--size", "80x24"], "--size is for --once"),
        (["--once", "--screen", "nowhere"], "none of overview"),
        (["--once", "--interval", "0"], "more than 0"),
        (["--once", "--write", "--at", "1h"], "leave out --write"),
        (["--once", "--demo", "--bucket", "prod"], "--demo has a bucket of its own"),
        (["--serve", "99999"], "65535"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_asked(options: list[str], told: str) -> None:
    run = CliRunner().invoke(cli, ["tui", *options])
    assert run.exit_code == 2
    assert told in run.stderr


# -- in a browser -----------------------------------------------------------------------------------------------------


@contextmanager
def command(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "s3queue_admin", "tui", *options], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def listens(port: int) -> None:
    """Wait until somebody listens there."""
    until = monotonic() + 20
    while True:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert monotonic() < until


async def visit(port: int) -> None:
    """Do as a browser does: read the page and what it needs, start a dashboard, see the queue, quit; and as strangers do."""
    here = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        async with session.get(here) as answer:
            page = await answer.text()
        assert "http" not in page.replace('"https:"', "")  # nothing is loaded from elsewhere
        async with session.get(f"{here}/static/js/textual.js") as answer:
            assert answer.status == 200
        async with session.ws_connect(f"{here}/ws?width=90&height=20", origin=here) as connection:
            seen = b""
            while b"emails" not in seen:
                message = await connection.receive(timeout=20)
                assert message.type is aiohttp.WSMsgType.BINARY, message
                seen += message.data
            await connection.send_json(["stdin", "q"])
            while (await connection.receive(timeout=20)).type is aiohttp.WSMsgType.BINARY:
                pass
        for headers in ({"Origin": "http://evil.example"}, {"Host": f"evil.example:{port}"}, {}):
            async with session.get(f"{here}/ws", headers=headers) as answer:
                assert answer.status == 403, headers


def test_a_browser_gets_a_page_and_behind_it_the_dashboard(url: str) -> None:
    port = free_port()
    with command("--url", url, "--serve", str(port)) as server:
        assert server.stderr is not None
        assert f"http://127.0.0.1:{port}" in server.stderr.readline()
        listens(port)
        asyncio.run(visit(port))
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def test_a_port_that_is_taken_is_told(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with command("--url", url, "--serve", str(taken.getsockname()[1])) as server:
            _, err = server.communicate(timeout=20)
    assert server.returncode == 2
    assert "cannot be had" in err


# -- the demo ---------------------------------------------------------------------------------------------------------

_STARTER = """
import sys
from s3queue_admin.tui.demo import stage
with stage() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_the_demo_ends_with_whoever_started_it_and_leaves_nothing(how: signal.Signals | None) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    bucket = starter.stdout.readline().strip()
    folder = Path(bucket.removeprefix("file://")).parent
    until = monotonic() + 40
    with Queue("emails", url=bucket) as queue:
        while queue.stats().completed == 0:
            assert monotonic() < until, "the demo's workers do nothing"
    if how is None:
        starter.stdin.close()
    else:
        starter.send_signal(how)
    starter.wait(20)
    while folder.exists() or _processes(folder):
        assert monotonic() < until, (folder, _processes(folder))


def _processes(folder: Path) -> list[bytes]:
    """Return the command lines of processes that were started for that folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(folder.name) in line:
            found.append(line)
    return found
