"""Pictures of screens, to be looked at: ``python -m tests.admin.tui.look overview 80x24 dark [keys …]`` → /tmp/look-….png."""

from __future__ import annotations

import sys
from pathlib import Path

from textual.pilot import Pilot

from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.themes import DARK, LIGHT
from tests.admin.tui.stage import Site, play, press


def png(app: Dashboard, path: Path) -> None:
    """Write what is on the screen as a picture."""
    import cairosvg

    svg = app.export_screenshot().replace("Fira Code", "DejaVu Sans Mono")
    cairosvg.svg2png(bytestring=svg.encode(), write_to=str(path))


def main(name: str, size: str = "80x24", theme: str = "dark", *keys: str) -> None:
    """Show one screen of the site's first queue, press keys, and take its picture."""
    site = Site()
    app = site.dashboard(write="write" in theme)
    path = Path(f"/tmp/look-{name}-{size}-{theme}.png")

    async def story(pilot: Pilot[None]) -> None:
        app.theme = LIGHT if "light" in theme else DARK
        if "live" in theme:
            await site.look_on(pilot)
        app.say(name, "emails")
        await press(pilot, *keys)
        png(app, path)

    width, _, height = size.partition("x")
    play(app, story, (int(width), int(height)))
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
