"""What actions cost, before they are carried out: so many requests for each batch and each message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from s3queue.protocol.changing import PER_COMMIT
from s3queue_admin.actions.auditing import PART
from s3queue_admin.actions.model import VERBS, Cost
from s3queue_admin.actions.shared import SHARED

if TYPE_CHECKING:
    from s3queue_admin.actions.planning import Plan

_AUDIT = Cost(put=2)
_PER_BATCH: Final[Mapping[str, Cost]] = {
    "replay": Cost(put=3, list=1, post=1, get=3),
    "discard": Cost(put=3, list=1, post=1, get=3),
    "purge": Cost(put=3, list=1, post=1, get=3),
    "cancel": Cost(put=1, get=1, post=1),
    "reprioritise": Cost(put=2, get=2),
    "delay": Cost(put=2, get=2),
    "reset": Cost(put=1, get=1),
    "release": Cost(put=1, get=1),
}
_EACH: Final[Mapping[str, Cost]] = {
    "replay": Cost(put=1, get=2),
    "discard": Cost(get=1),
    "reprioritise": Cost(put=1),
    "delay": Cost(put=1),
}
EDITED_AT_ONCE: Final = 50
_EDITED = Cost(put=2, get=2)
"""What a letter costs that becomes a new message: that is staged, then written to its place."""
_EDITED_BATCH = Cost(put=3, get=3, list=1, post=2)
_MOVED = Cost(get=1)
"""What a letter costs more that goes to another queue, whose books must have it, too."""
_MOVED_BATCH = Cost(put=2, get=3)


def is_edited(options: Mapping[str, Any]) -> bool:
    """Whether a replay makes new messages: edited, or in another queue."""
    return any(options.get(name) is not None for name in ("edit", "to")) or bool({"payload", "patch"} & options.keys())


def estimate(plan: Plan) -> Cost:
    """Return what the action will cost, about, the audit trail included."""
    lanes = plan.queue.connect().register.current().lanes_served
    if plan.verb in ("pause", "resume"):
        return Cost(put=1, get=1).times(lanes) + _AUDIT
    if plan.verb in SHARED:
        return Cost(put=1, get=2, list=int(plan.verb == "unschedule")) + _AUDIT
    if plan.verb in ("configure", "undo"):
        return Cost(put=1, get=1, list=1).times(max(plan.count, 1)) + _AUDIT
    count = plan.count
    if plan.verb == "replay" and is_edited(plan.options):
        batches, moved = -(-count // batch_size(plan)), plan.options.get("to") is not None
        each, batch = (_EDITED + _MOVED, _EDITED_BATCH + _MOVED_BATCH) if moved else (_EDITED, _EDITED_BATCH)
        return each.times(count) + batch.times(batches) + _AUDIT + Cost(put=2, get=1, list=1)
    batches = -(-count // batch_size(plan))
    parts = Cost(put=-(-count // PART)) if plan.verb in ("discard", "purge") else Cost()
    locked = Cost(put=2, get=1) if VERBS[plan.verb] == ("dead",) else Cost()
    commits = -(-count // PER_COMMIT) if plan.verb == "purge" else batches
    cost = _EACH.get(plan.verb, Cost()).times(count) + _PER_BATCH[plan.verb].times(commits)
    read = len({(view.lane, view.name) for view in plan.views}) if plan.verb in ("reprioritise", "delay") else 0
    return cost + parts + locked + _AUDIT + Cost(get=read)


def batch_size(plan: Plan) -> int:
    """Return how many messages go at a time: those of a second, if they are paced."""
    if plan.verb == "purge":
        return PART
    per_s, most = plan.options.get("per_s"), PER_COMMIT
    if plan.verb == "replay" and is_edited(plan.options):
        most = EDITED_AT_ONCE  # staged one after the other: the lock is to last
    return min(most, max(1, int(per_s))) if per_s else most
