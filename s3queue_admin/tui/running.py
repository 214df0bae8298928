"""How the dashboard is run in a terminal, and how it ends: at once, with the terminal as it was, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3queue_admin.tui.app import Dashboard

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Besides Ctrl-C, which is a key here."""


def run_app(app: Dashboard) -> int:
    """Show the application until it ends, and return the exit code; 128 and the signal's number if one ended it.

    Threads that still wait for the bucket are left behind: whoever calls must not join them.
    """
    if "TEXTUAL_DRIVER" not in os.environ:  # in a browser they are how the size is told
        for name in ("COLUMNS", "LINES"):  # a shell that exports them would hold the screen at the size it had then
            os.environ.pop(name, None)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    for number in ENDING:
        loop.add_signal_handler(number, partial(app.exit, return_code=128 + number))
    try:
        with suppress(OSError):  # a terminal that was closed takes no farewell
            loop.run_until_complete(app.run_async())
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)
    return app.return_code or 0
