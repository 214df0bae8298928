"""What processes share, taken away: a lock from its holder, a schedule from the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from s3queue.errors import InvalidInput
from s3queue.queue import Queue
from s3queue_admin.actions.model import Tally

SHARED: Final = ("unlock", "unschedule")
"""The verbs of this module; their option ``name`` says which lock or schedule."""


def take_away(queue: Queue, verb: str, options: Mapping[str, Any], tally: Tally) -> None:
    """Break a lock (with ``token``: of that holder alone) or remove a schedule, and note how it was.

    InvalidInput if there is none, or the lock has got another holder.
    """
    name = options["name"]
    if verb == "unlock":
        broken = queue.break_lock(name, token=options.get("token"))
        if broken is None:
            raise InvalidInput(f"The lock {name!r} is not held like that any more.", remedy="Look who holds it now.")
        tally.before = {name: {"holder": broken.holder, "token": broken.token}}
        tally.after = {name: "free"}
        return
    was = next((each for each in queue.schedules() if each.name == name), None)
    if not queue.unschedule(name) or was is None:
        raise InvalidInput(f"There is no schedule {name!r} any more.", remedy="Look at the schedules anew.")
    tally.before = {name: {"cron": was.cron, "timezone": was.timezone, "payload": was.payload}}
    tally.after = {name: "removed"}
