"""The dashboard in a real browser: it is painted, keys reach it, and nothing is asked of other hosts.

``TUI_PICTURE=docs/images/browser.png`` keeps the picture.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from PIL import Image, ImageChops

from s3queue import Queue
from s3queue.core.message import Failure
from tests.admin.tui import chromium
from tests.admin.tui.stage import TRACEBACK, fail
from tests.admin.tui.test_once import command, free_port, listens

SIZE = (1120, 720)
PATIENCE_S = 60.0
INK = 0.04
"""The share of bright points where three queues are; a line that says that there are none has half as many."""
STILL = 0.002

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.slow,
    pytest.mark.skipif(
        chromium.find() is None, reason="there is no Chromium; on Debian and Ubuntu: apt install chromium"
    ),
]


def fill(url: str) -> None:
    """Make queues to be looked at: some wait, some have died."""
    for name, waiting in (("billing", 12), ("emails", 40), ("thumbnails", 7)):
        with Queue(name, url=url, worker_id="w1") as queue:
            queue.enqueue_many({"to": f"user{number}@example.com"} for number in range(waiting))
            queue.process_once(lambda _: None, max_messages=waiting // 3)
            for message in queue.receive(3):
                fail(
                    message, Failure("NonRetriable", f"no mailbox {message.payload['to']}", TRACEBACK, retriable=False)
                )


def image(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("L")


def ink(png: bytes) -> float:
    """Return the share of bright points: letters on the dark ground."""
    seen = image(png)
    return sum(seen.histogram()[120:]) / (seen.width * seen.height)


def rows(png: bytes) -> float:
    """Return the share of bright points where the first queues are: below the first two lines."""
    seen = image(png).crop((0, 46, SIZE[0] // 3, 106))
    return sum(seen.histogram()[120:]) / (seen.width * seen.height)


def share_of_change(one: bytes, other: bytes) -> float:
    """Return the share of points that are not the same in two pictures."""
    changed = ImageChops.difference(image(one), image(other))
    return sum(changed.histogram()[40:]) / (changed.width * changed.height)


async def until(page: chromium.Page, done: Callable[[bytes], bool], what: str) -> bytes:
    """Return the first picture of which that is true, and which is about the same a moment later: its age is on it."""
    deadline, last = monotonic() + PATIENCE_S, b""
    while monotonic() < deadline:
        seen = await page.picture()
        if seen and last and share_of_change(last, seen) < STILL and done(seen):
            return seen
        last = seen
        await page.wait(0.2)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


def test_a_browser_paints_it_and_keys_reach_it(tmp_path: Path) -> None:
    bucket = (tmp_path / "bucket").as_uri()
    fill(bucket)
    port = free_port()

    async def visit() -> bytes:
        async with chromium.page(tmp_path / "profile", SIZE) as page:
            await page.open(f"http://127.0.0.1:{port}")
            queues = await until(page, lambda seen: rows(seen) > INK, "the queues are painted")
            await page.press("?")
            await until(page, lambda seen: share_of_change(seen, queues) > 0.05, "the help is painted")
            await page.press("?")
            await until(page, lambda seen: share_of_change(seen, queues) < 0.01, "the help is closed")
            await page.press("t")
            await until(page, lambda seen: ink(seen) > 0.5, "the theme is light")
            await page.press("t")
            last = await until(page, lambda seen: ink(seen) < 0.5, "the theme is dark again")
            assert all(
                url.startswith((f"http://127.0.0.1:{port}/", f"ws://127.0.0.1:{port}/", "data:")) for url in page.urls
            )
            assert len(page.urls) > 2
            return last

    with command("--url", bucket, "--serve", str(port), "--interval", "600") as server:
        listens(port)
        picture = asyncio.run(visit())
        assert server.poll() is None
    kept = os.environ.get("TUI_PICTURE")
    if kept:
        small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(32)
        small.save(kept, optimize=True)
