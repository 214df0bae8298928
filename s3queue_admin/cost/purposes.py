"""What a request is for, as far as its verb, the area of its key and its outcome tell."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """What a request is for.

    A commit carries claims, outcomes, assignments and the coordinator's term alike, so these are one purpose. The look at
    a ledger that precedes a commit, or follows a lost race, is polling: it is the same request.
    """

    ENQUEUE = "enqueue"
    """Writing messages into the inbox, retries and replays among them, and what deduplication needs."""
    COMMITS = "commits"
    """Writing a ledger: claims, outcomes, assignments, the coordinator's term, the note of a sweep."""
    LOST_RACES = "lost races"
    """Writing what somebody else had written just before: billed, and done again."""
    POLLING = "polling"
    """Looking for something to do: ledgers, listings of the inbox, settings."""
    READING = "reading messages"
    """Reading message objects that were claimed."""
    HEARTBEATS = "heartbeats"
    """Writing and reading the registry of workers."""
    DEAD_LETTERS = "dead letters"
    """Writing letters, and reading those that are replayed."""
    DELETES = "deletes"
    """Deleting what is settled or over."""
    SWEEPING = "sweeping"
    """The journal, and listing what may be over: results, history, reservations."""
    RESULTS = "results and history"
    """Writing and reading what handlers returned, and the history."""
    LOCKS = "locks"
    """Taking, renewing and giving back locks."""
    SCHEDULES = "schedules"
    """Making and reading schedules."""
    WATCHING = "watching"
    """What an operator's own looks cost, whatever they read."""
    HINTS = "hints"
    """What a coordination backend charges for hints (SQS)."""
    THROTTLED = "throttled"
    """Refused by a busy store (503, 429): not billed."""
    OTHER = "other"
    """The probe of the store, settings that are changed, and areas that this version does not know."""
    UNTOLD = "untold"
    """Told by a worker of an older version, by verb alone."""


_CAS_AREAS: Final = frozenset({"ledger", "queue.json", "workers", "locks", "schedules", "forgetting.json"})
"""What is changed by compare-and-swap. Elsewhere a refused PUT has met what it was to write: no race is lost."""

_BY_LINE: Final = {
    ("GET", "inbox"): Purpose.READING,
    ("LIST", "inbox"): Purpose.POLLING,
    ("PUT", "ledger"): Purpose.COMMITS,
    ("PUT", "queue.json"): Purpose.OTHER,
    ("LIST", "dedup"): Purpose.SWEEPING,
    ("LIST", "results"): Purpose.SWEEPING,
    ("LIST", "history"): Purpose.SWEEPING,
}
_BY_AREA: Final = {
    "inbox": Purpose.ENQUEUE,
    "dedup": Purpose.ENQUEUE,
    "forgetting.json": Purpose.ENQUEUE,
    "ledger": Purpose.POLLING,
    "queue.json": Purpose.POLLING,
    "workers": Purpose.HEARTBEATS,
    "dlq": Purpose.DEAD_LETTERS,
    "staged": Purpose.DEAD_LETTERS,
    "settled": Purpose.SWEEPING,
    "results": Purpose.RESULTS,
    "history": Purpose.RESULTS,
    "locks": Purpose.LOCKS,
    "schedules": Purpose.SCHEDULES,
}


def purpose(verb: str, area: str, outcome: str) -> Purpose:
    """Return what a request is for; verb, area and outcome are those of :class:`s3queue.store.metered.Meter`."""
    if outcome == "throttled":
        return Purpose.THROTTLED
    if not area:
        return Purpose.UNTOLD
    if verb in ("DELETE", "POST"):
        return Purpose.DELETES
    if outcome == "lost" and area in _CAS_AREAS:
        return Purpose.LOST_RACES
    return _BY_LINE.get((verb, area)) or _BY_AREA.get(area, Purpose.OTHER)
