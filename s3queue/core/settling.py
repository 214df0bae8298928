"""What the holder of a claim may do with it: settle, extend, release. Each names its token and is refused without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from s3queue.core.draft import Draft
from s3queue.core.ledger import Counter, Line, Part, ranges_of


@dataclass(frozen=True, slots=True)
class Handle:
    """What proves a claim of one message: ticket, token, and where the message lies."""

    ticket_id: str
    token: int
    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claimed message. ``retry`` and ``dead`` bring the line of their move."""

    handle: Handle
    kind: Literal["completed", "retry", "dead", "missing", "discarded"]
    latency_ms: int = 0
    line: Line | None = None
    failed: bool = True


LEASE_OVER = "its lease was rescued, reset or superseded"
"""The reply to a token that does not hold its ticket, as against one that no longer holds this message of it."""

_COUNTER: Mapping[str, Counter] = {
    "completed": "completed",
    "retry": "retried",
    "dead": "dead",
    "missing": "missing",
    "discarded": "discarded",
}


class Removal:
    """Takes single messages out of claimed tickets, checking each one's token."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        # A ticket may have several parts of one object, each with rescues of its own.
        self.left: dict[str, dict[str, list[tuple[Part, set[int]]]]] = {}

    def remove(self, handle: Handle) -> Part | str:
        """Take the message out and return the part it was in; or what was found instead if the token does not hold it."""
        ticket = self.draft.tickets.get(handle.ticket_id)
        if ticket is None or ticket.token != handle.token:
            return LEASE_OVER
        left = self.left.get(ticket.id)
        if left is None:
            left = self.left[ticket.id] = {}
            for part in ticket.parts:
                left.setdefault(part.name, []).append((part, set(part.indices())))
        for part, indices in left.get(handle.name, ()):
            if handle.index in indices:
                indices.remove(handle.index)
                return part
        return "it was settled or released before"

    def finish(self) -> None:
        """Write the shrunken tickets back."""
        for ticket_id, left in self.left.items():
            shares = [share for shares in left.values() for share in shares]
            parts = [replace(part, ranges=ranges_of(indices)) for part, indices in shares if indices]
            self.draft.put(replace(self.draft.tickets[ticket_id], parts=tuple(parts)))


@dataclass(frozen=True, slots=True)
class Settle:
    """Record outcomes. Replies with one entry each: None if recorded, else what was found instead."""

    outcomes: tuple[Outcome, ...]

    def apply(self, draft: Draft, now: int) -> list[str | None]:
        """Take the messages out of their tickets, put their moves into the outbox, settle objects without messages."""
        removal = Removal(draft)
        removed = [removal.remove(outcome.handle) for outcome in self.outcomes]
        replies = [found if isinstance(found, str) else None for found in removed]
        recorded = [outcome for outcome, refused in zip(self.outcomes, replies, strict=True) if refused is None]
        for outcome in recorded:
            if outcome.line is not None:
                draft.add_line(outcome.line)
            draft.pass_turn(
                outcome.handle.name, outcome.line.target if outcome.kind == "retry" and outcome.line else ""
            )
            _book(draft, outcome)
        if recorded:
            removal.finish()
        for name in dict.fromkeys(outcome.handle.name for outcome in recorded):
            draft.close(name, now)
        return replies


def _book(draft: Draft, outcome: Outcome) -> None:
    draft.count(_COUNTER[outcome.kind])
    if outcome.kind in ("retry", "dead") and outcome.failed:
        draft.count("failed")
    if outcome.kind == "completed":
        bucket = 1 << max(0, outcome.latency_ms - 1).bit_length()
        draft.latency_ms[bucket] = draft.latency_ms.get(bucket, 0) + 1


@dataclass(frozen=True, slots=True)
class Release:
    """Give messages back untried. Replies as :class:`Settle` does."""

    handles: tuple[Handle, ...]

    def apply(self, draft: Draft, now: int) -> list[str | None]:  # noqa: ARG002 - the face of every request
        """Move them to an available ticket, with the claims they lost before."""
        removal = Removal(draft)
        given: dict[Part, set[int]] = {}
        replies: list[str | None] = []
        for handle in self.handles:
            found = removal.remove(handle)
            if isinstance(found, Part):
                given.setdefault(found, set()).add(handle.index)
            replies.append(found if isinstance(found, str) else None)
        if given:
            removal.finish()
            draft.available([replace(part, ranges=ranges_of(indices)) for part, indices in given.items()])
        return replies


@dataclass(frozen=True, slots=True)
class Extend:
    """Let leases end ``lease_ms`` from now. ``tickets``: (ticket id, token). Replies with whether each still held."""

    tickets: tuple[tuple[str, int], ...]
    lease_ms: int

    def apply(self, draft: Draft, now: int) -> list[bool]:
        """Move the ends of those that hold; never back."""
        replies = []
        for ticket_id, token in self.tickets:
            ticket = draft.tickets.get(ticket_id)
            holds = ticket is not None and ticket.token == token
            if ticket is not None and holds and ticket.expires_at_ms < now + self.lease_ms:
                draft.put(replace(ticket, expires_at_ms=now + self.lease_ms))
            replies.append(holds)
        return replies
