"""The dashboard: a bucket's queues in a terminal. It shows and does what the rest of ``s3queue_admin`` shows and does.

The bucket is asked in threads alone, which post messages; widgets are changed in handlers alone, on the one thread of the
screen. :mod:`.actions` is the one list of what can be done: keys, palette, commands and help are made from it. Needs the extra
``s3queue[admin]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3queue_admin.bucket import Bucket


def run(
    bucket: Bucket, *, interval: float = 2.0, write: bool = False, queue: str | None = None, screen: str = ""
) -> int:
    """Show the bucket until the operator leaves; return the exit code: 128 and more if a signal ended it.

    ``interval``: seconds between looks. ``write``: actions that change queues are allowed. ``screen`` and ``queue``: what to
    begin with. Threads that wait for the bucket may still be there afterwards: do not join them.
    """
    from s3queue_admin.tui.app import Dashboard
    from s3queue_admin.tui.running import run_app

    return run_app(Dashboard(bucket, interval=interval, write=write, queue=queue, screen=screen))
