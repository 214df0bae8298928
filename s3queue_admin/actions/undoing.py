"""Undoing what was done by mistake, as far as that can be.

========================  =============================================================================================
action                    undone by
========================  =============================================================================================
discard, purge            the letters, from the versions that the bucket keeps; refused for each whose versions do not
                          say that this action, and nothing later, took it away
pause, resume             the opposite, unless somebody has changed it since
configure                 the settings before, unless somebody has changed them since
replay                    cannot be undone: a worker may have it by now (cancel what still waits)
cancel                    cannot be undone: its objects are deleted with others' messages; enqueue them anew
reset, release            cannot be undone: the claim is void
reprioritise, delay       doing it again with what was before
========================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from s3queue.clock import to_datetime
from s3queue.errors import InvalidInput
from s3queue.queue import Queue
from s3queue.store.metered import S3_STANDARD, Prices
from s3queue.store.versions import versioned
from s3queue_admin.actions.auditing import entry_of, parts_of
from s3queue_admin.actions.costs import estimate
from s3queue_admin.actions.model import AuditEntry
from s3queue_admin.actions.planning import LIMIT, Plan
from s3queue_admin.actions.restoring import back
from s3queue_admin.text import Redactor

WHY_NOT: Final[Mapping[str, str]] = {
    "replay": "workers may have the messages by now; cancel what still waits",
    "cancel": "the messages are gone with their objects; enqueue them anew",
    "reset": "the claims are void, and the messages may be claimed again",
    "release": "the claims are void, and the messages may be claimed again",
    "reprioritise": "it does not say what each was before; reprioritise them again",
    "delay": "it does not say what each was before; delay them again",
    "unlock": "its holder has lost it; whoever wants the lock takes it anew",
    "unschedule": "schedule it again: the entry says how it was",
    "undo": "do the action again instead",
}


def undo(
    queue: Queue, entry: AuditEntry | str, *, prices: Prices = S3_STANDARD, redactor: Redactor | None = None
) -> Plan:
    """Return the plan that undoes an action, named by its audit entry or the id of that.

    Raises InvalidInput for what cannot be undone, or is undone by now; StoreRefused if letters are wanted back from a store
    that keeps no versions; NotFound if there is no such entry.
    """
    found = entry_of(queue, entry if isinstance(entry, str) else entry.id)
    if found.verb in WHY_NOT:
        raise InvalidInput(f"A {found.verb} cannot be undone.", remedy=f"{WHY_NOT[found.verb].capitalize()}.")
    hides, now_ms = redactor or Redactor(), queue.connect().lane.now_ms()
    made = Plan(queue, "undo", f"{found.verb} {found.id}", {"entry": found.id}, to_datetime(now_ms), redactor=hides)
    if found.verb in ("discard", "purge"):
        versioned(queue.connect().store).versions(queue.connect().keys.dlq, limit=1)
        parts = parts_of(queue, found.id)
        letters = tuple(islice((name for _, names in parts for name in names), LIMIT + 1))
        made = replace(made, letters=letters[:LIMIT], more=len(letters) > LIMIT)
    else:
        back(queue, found)
    cost = estimate(made)
    return replace(made, cost=cost, usd=cost.usd(prices))
