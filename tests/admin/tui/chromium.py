"""A headless Chromium that shows one page: keys are typed into it, and pictures taken of it, over its DevTools protocol."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
)  # fmt: skip
ANSWER_S = 30.0


def find() -> str | None:
    """Return where a Chromium is, None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """The page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._asked = socket, 0
        self.urls: list[str] = []
        """What the page has asked for."""

    async def ask(self, method: str, **options: Any) -> dict[str, Any]:
        self._asked += 1
        number = self._asked
        await self._socket.send_json({"id": number, "method": method, "params": options})
        while True:
            told = await self._socket.receive_json(timeout=ANSWER_S)
            if told.get("method") == "Network.requestWillBeSent":
                self.urls.append(told["params"]["request"]["url"])
            if told.get("id") == number:
                return dict(told.get("result", {}))

    async def open(self, url: str) -> None:
        await self.ask("Network.enable")
        await self.ask("Page.enable")
        await self.ask("Emulation.setFocusEmulationEnabled", enabled=True)  # as a window in front
        await self.ask("Page.navigate", url=url)

    async def press(self, letter: str) -> None:
        await self.ask("Input.dispatchKeyEvent", type="char", text=letter)

    async def wait(self, seconds: float) -> None:
        """Let the page go on for so long."""
        script = f"new Promise(go => setTimeout(go, {seconds * 1000}))"
        await self.ask("Runtime.evaluate", expression=script, awaitPromise=True)

    async def picture(self) -> bytes:
        """Return the page as it looks now, as a PNG; nothing while it is being opened."""
        return base64.b64decode((await self.ask("Page.captureScreenshot")).get("data", ""))


def _start(command: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    address = next(line.decode().split()[-1] for line in process.stderr if b"DevTools listening on" in line)
    return process, int(address.split(":")[2].split("/")[0])


@asynccontextmanager
async def page(folder: Path, size: tuple[int, int]) -> AsyncIterator[Page]:
    """Start a Chromium with an empty page of that many pixels; it is gone at the end. Its profile lies in the folder."""
    program = find()
    assert program is not None, "There is no Chromium."
    command = [program, *OPTIONS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={folder}", "about:blank"]
    process, port = _start(command)
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(each for each in await answer.json() if each["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.terminate()
        process.communicate(timeout=20)
