"""One frame of the dashboard as text: what a terminal of that size would show, for a pipe, a log or a cron job."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console

from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.feed import Condition

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from s3queue_admin.bucket import Bucket

NEVER_S: Final = 86_400.0
"""Until a second look, which a single frame does not need."""
ROUNDS: Final = 4
"""How often what threads found out is waited for: a look, what a screen asks after it, and what that brings about."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``text``: the lines, each ended; ``condition``: how it stands with the bucket; ``partly``: queues that cannot be read."""

    text: str
    condition: Condition
    trouble: str
    partly: tuple[str, ...]


def frame(
    bucket: Bucket, *, size: tuple[int, int], queue: str | None = None, screen: str = "", colours: bool = False
) -> Frame:
    """Look once, and return the screen of that name (the first one without) as ``size`` (columns, lines) shows it.

    ``colours``: with the terminal's escapes; without, plain text whose lines end at their last letter.
    """
    app = Dashboard(bucket, interval=NEVER_S, queue=queue, screen=screen)

    async def run() -> Frame:
        async with app.run_test(size=size) as pilot:
            await _settle(pilot)
            standing = app.feed.standing
            return Frame(paint(app, colours=colours), standing.condition, standing.trouble, standing.partly)

    return asyncio.run(run())


async def _settle(pilot: Pilot[None]) -> None:
    """Wait until threads have ended and what they posted is dealt with."""
    for _ in range(ROUNDS):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def paint(app: Dashboard, *, colours: bool) -> str:
    """Return what is on the application's screen, dialogs included."""
    width, height = app.size
    file = io.StringIO()
    console = Console(
        width=width,
        height=height,
        file=file,
        force_terminal=colours,
        color_system="truecolor" if colours else None,
        legacy_windows=False,
    )
    strips = app.screen._compositor.render_strips()  # noqa: SLF001 - as App.export_screenshot does, for want of a public way
    for strip in strips:
        for text, style, control in strip:
            if not control:
                console.print(
                    text, style=style if colours else None, end="", markup=False, highlight=False, soft_wrap=True
                )
        console.print()
    text = file.getvalue()
    return text if colours else "".join(f"{line.rstrip()}\n" for line in text.split("\n")[:-1])
