"""The queue itself, changed: paused, resumed, configured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from s3queue.core.settings import policy_from_wire, to_wire
from s3queue.queue import Queue
from s3queue_admin.actions.model import Tally


def change_queue(queue: Queue, verb: str, options: Mapping[str, Any], tally: Tally) -> None:
    """Pause, resume or configure a queue, and note how it was and is."""
    if verb == "configure":
        before = settings_of(queue)
        queue.configure(**options)
        after = settings_of(queue)
        changed = [name for name, value in after.items() if before.get(name) != value]
        if "lanes_auto" in changed and "lanes" not in changed:
            changed.append("lanes")  # how many there are has to be said to take auto back
        tally.before, tally.after = ({name: side.get(name) for name in changed} for side in (before, after))
        return
    committer = queue.connect().lane.committer
    committer.read()
    tally.before = {"paused": committer.ledger.paused}
    (queue.pause if verb == "pause" else queue.resume)()
    tally.after = {"paused": verb == "pause"}


def settings_of(queue: Queue) -> dict[str, Any]:
    """Return the queue's settings as the audit trail has them, read anew."""
    found: dict[str, Any] = json.loads(json.dumps(to_wire(queue.connect().register.connect())))
    return found


def keywords(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the audit trail as the keywords that ``configure`` takes."""
    found: dict[str, Any] = {}
    for name, value in wire.items():
        if name == "retry":
            found["retry"] = policy_from_wire(value)
        elif name.endswith("_ms"):
            found[name.removesuffix("_ms")] = value / 1000
        elif name == "lanes_auto":
            found |= {"lanes": "auto"} if value else {}
        elif name not in ("priorities", "lanes_ever") and not (name == "lanes" and wire.get("lanes_auto")):
            found[name] = value
    return found
