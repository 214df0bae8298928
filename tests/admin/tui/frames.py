"""A screen in both themes at one size, compared with pictures that somebody has looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.themes import DARK, LIGHT
from tests.admin.tui.pictures import check_picture, screen_text
from tests.admin.tui.stage import LARGE, SMALL, play, press, settle

EACH_SIZE = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x60"])


def check_frames(
    app: Dashboard, name: str, size: tuple[int, int], *keys: str, ready: Callable[[], None] | None = None
) -> None:
    """Go to the screen of *emails*, press keys, compare it in the dark and in the light.

    ``ready``: called before a second look.
    """

    async def story(pilot: Pilot[None]) -> None:
        if ready is not None:
            ready()
            await press(pilot, "r")
        app.say(name, "emails")
        await settle(pilot)
        await press(pilot, *keys)
        for theme, word in ((DARK, "dark"), (LIGHT, "light")):
            app.theme = theme
            await settle(pilot)
            check_picture(app, f"{name}-{size[0]}-{word}")

    play(app, story, size)


def on_screen(
    app: Dashboard, name: str, story: Callable[[Pilot[None]], Awaitable[None]], queue: str = "emails"
) -> None:
    """Play a story on the screen of that name."""

    async def begin(pilot: Pilot[None]) -> None:
        app.say(name, queue)
        await settle(pilot)
        await story(pilot)

    play(app, begin)


def is_harmless(app: Dashboard) -> bool:
    """Whether nothing of what is on the screen can act on a terminal, though the hostile text is there to be read."""
    text = screen_text(app)
    return not any(letter in text for letter in "\x1b\x07\u202e\x00\u200b\t") and "[31mred" in text
