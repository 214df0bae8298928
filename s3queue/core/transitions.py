"""Every change a ledger can undergo, as pure requests: ``(ledger, requests, now) → (ledger, replies)``.

No I/O, no clock, no randomness: ``now`` is store time in ms, ids and delays come with the request. A request either does
all it says or is refused with a reason, and a refused request changes nothing. Re-applying requests to a newer ledger is
how a lost race is resolved, so each is written to be right on *any* ledger.

============  ==============================================================  ===========================================
request       moves                                                           refused when
============  ==============================================================  ===========================================
Claim         inbox → processing; available → processing; stalled → rescued   paused, nothing there
Settle        processing → completed / scheduled again / dead                 the token no longer holds the message
Extend        a lease's end                                                   the token no longer holds the ticket
Release       processing → available                                          the token no longer holds the message
Reset         processing → available, by an operator                          the ticket is not claimed
Recall        the same for single messages                                    the token no longer holds the message
Cancel        inbox, available, processing, a retry not written → discarded   it changed since it was seen
Move          inbox, available, a retry not written → outbox                  it changed since it was seen; it is ordered
Lead          nobody leads → this worker coordinates                          somebody else's term runs
Publish       inbox, available → assigned to workers with room                the term is over
Leave         a worker's lead and assignments end                             –
Adopt         late arrival → available                                        names were forgotten since it was judged
Expect        inbox → inbox, where the cursor waits for it                    the cursor has passed it
Strike        outbox line → done                                              the line is gone already
Replay        dead → outbox                                                   the letter has a line already
Import        staged by another queue → outbox                                –
Missing       a retry that vanished → missing                                 a ticket or line has it
Fire          a tick of a schedule → outbox                                   fired before; schedules changed
Reschedule    ticks judged by schedules as they were → refused                –
DropTicks     the last ticks of schedules that are gone → forgotten           schedules changed
Discard       inbox, available, processing → discarded                        –
Prune         settled → forgotten                                             the cursor has not passed it
Pause         claims are refused from now on, or again possible               –
============  ==============================================================  ===========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from s3queue.core.changing import Cancel, Move, Recall, Seen
from s3queue.core.claiming import Claim, Claimed, Listing, Reset, Swept
from s3queue.core.dispatch import Lead, Leave, Publish, Published
from s3queue.core.draft import Draft
from s3queue.core.ledger import Ledger
from s3queue.core.settling import Extend, Handle, Outcome, Release, Settle
from s3queue.core.ticking import DropTicks, Fire, Reschedule
from s3queue.core.upkeep import Adopt, Discard, Expect, Import, Missing, Pause, Prune, Replay, Strike

__all__ = [
    "Adopt",
    "Cancel",
    "Claim",
    "Claimed",
    "Discard",
    "DropTicks",
    "Expect",
    "Extend",
    "Fire",
    "Handle",
    "Import",
    "Lead",
    "Leave",
    "Listing",
    "Missing",
    "Move",
    "Outcome",
    "Pause",
    "Prune",
    "Publish",
    "Published",
    "Recall",
    "Release",
    "Replay",
    "Request",
    "Reschedule",
    "Reset",
    "Seen",
    "Settle",
    "Strike",
    "Swept",
    "apply",
]


class Request(Protocol):
    """A change asked of a ledger."""

    def apply(self, draft: Draft, now: int) -> Any:
        """Change ``draft`` and return the reply."""
        ...


def apply(ledger: Ledger, requests: Sequence[Request], now: int) -> tuple[Ledger, list[Any]]:
    """Return the ledger after all ``requests`` in turn, and the reply to each; the same ledger if nothing changed."""
    draft = Draft(ledger)
    replies = [request.apply(draft, now) for request in requests]
    return draft.finish(), replies
