"""The pictures of the guide, made anew of the demo: ``python -m benchmarks.pictures`` → docs/images/*.svg, in two minutes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from s3queue_admin.bucket import Bucket
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.demo import stage
from s3queue_admin.tui.themes import DARK, LIGHT
from tests.admin.tui.stage import settle

ROOT = Path(__file__).resolve().parents[1]
SIZE = (120, 40)
WARM_S = 90
"""Until the demo has letters, a worker that is late, and charts."""
PICTURES = {
    "dashboard": ("overview", ""),
    "dashboard-light": ("overview", ""),
    "dead-letters": ("dead", "emails"),
    "messages": ("messages", "emails"),
    "workers": ("workers", "emails"),
    "cost": ("cost", "emails"),
    "doctor": ("doctor", ""),
}


def main() -> None:
    """Play the demo, and write what the screens show; where the checkout lies is not told."""
    with stage() as url, Bucket(url=url) as bucket:
        app = Dashboard(bucket, interval=2, write=True)

        async def run() -> None:
            async with app.run_test(size=SIZE) as pilot:
                await asyncio.sleep(WARM_S)
                for name, (screen, queue) in PICTURES.items():
                    app.theme = LIGHT if name.endswith("light") else DARK
                    app.say(screen, queue)
                    await asyncio.sleep(6)
                    await settle(pilot)
                    svg = app.export_screenshot().replace(str(ROOT), "/srv/s3")
                    (ROOT / "docs/images" / f"{name}.svg").write_text(svg, "utf-8")

        asyncio.run(run())


if __name__ == "__main__":
    main()
