"""What an operator does to single messages: cancel them, move them, take them from their holders.

Each request names messages as they were seen (:class:`Seen`), and each message is judged on the ledger as it is: one that
was claimed, settled or moved meanwhile is refused with the reason, and the others are done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from s3queue.core.claiming import CURSOR_MARGIN_MS
from s3queue.core.dispatch import MAX_PARTS
from s3queue.core.draft import Draft
from s3queue.core.keys import count_of, group_of, rank_in, visible_at_ms_of
from s3queue.core.ledger import Line, Part, Rescue, Ticket, lost_errors, ranges_of
from s3queue.core.settling import Handle, Removal

ENDED = "it has come to an end meanwhile"
CLAIMED = "it was claimed meanwhile"
CHANGED_HANDS = "its claim ended meanwhile"
GONE_BY = "it was processed meanwhile, or is below the cursor and not in the books"
STALE = "it was seen too long ago: look again"
DEAD = "it has died meanwhile"
TOO_YOUNG = "it was enqueued within the last seconds, and its group keeps its order: try again"
FULL = "the books hold too many parts of objects: let workers take some first"
ORDERED = "its group keeps its order, so it keeps its place"
ALIVE = "its lease has not ended: its holder lives"


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it was seen: in which object, at which index, under which claim (``token`` 0: under none)."""

    name: str
    index: int
    token: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """Discard single messages wherever they are: not ticketed yet, available, claimed, or in a retry that is not written.

    ``seen_at_ms``: when the listing began that showed them. ``ahead``: what the same listing showed of ordered groups,
    in order; of these, what comes before a message goes into the books with it, so that the group keeps its order.
    Replies with one entry each: None if discarded, else why not. Who held one is refused its outcome.
    """

    messages: tuple[Seen, ...]
    seen_at_ms: int
    ahead: tuple[str, ...] = ()

    def apply(self, draft: Draft, now: int) -> list[str | None]:
        """Take them out of tickets and lines, settle objects without messages."""
        taking = _TakingOut(draft, self.messages, self.seen_at_ms, now, self.ahead)
        replies: list[str | None] = []
        for seen in self.messages:
            found = taking.take(seen)
            replies.append(found if isinstance(found, str) else None)
            if isinstance(found, Line):
                draft.strike(found.id, now)
                draft.close(found.target, now)
                draft.count("ticketed")
            if not isinstance(found, str):
                draft.count("discarded")
        taking.finish()
        return replies


@dataclass(frozen=True, slots=True)
class Move:
    """Decide to move messages that nobody holds to other names in the inbox: another rank, another time.

    The lines' ``attempts`` are those in the message; claims that ran out are added to them. ``seen_at_ms`` as in
    :class:`Cancel`. Replies with one entry each: the line as it stands in the ledger, or why there is none. Messages
    that keep the order of a group are refused.
    """

    lines: tuple[Line, ...]
    seen_at_ms: int

    def apply(self, draft: Draft, now: int) -> list[Line | str]:
        """Put the moves into the outbox; a move that was decided before and not made gives way."""
        wanted = [Seen(line.source, line.index) for line in self.lines if not group_of(line.source)]
        taking = _TakingOut(draft, wanted, self.seen_at_ms, now)
        replies: list[Line | str] = []
        for line in self.lines:
            found = ORDERED if group_of(line.source) else taking.take(Seen(line.source, line.index))
            if isinstance(found, str):
                replies.append(found)
                continue
            if isinstance(found, Line):
                made = replace(line, kind=found.kind, attempts=found.attempts, errors=found.errors)
                draft.add_line(made)
                draft.strike(found.id, now)
                draft.close(found.target, now)  # whoever is writing it writes a ghost
            else:
                lost = lost_errors(line.attempts, found.rescues)
                made = replace(line, attempts=line.attempts + len(lost), errors=lost)
                draft.add_line(made)
                draft.count("moved")
            replies.append(made)
        taking.finish()
        return replies


@dataclass(frozen=True, slots=True)
class Recall:
    """Take single messages from their holders, as a rescue does. Replies with one entry each: None if taken, else why not.

    ``lapsed``: only those whose lease has ended, so that no live worker loses one.
    """

    handles: tuple[Handle, ...]
    lapsed: bool = False

    def apply(self, draft: Draft, now: int) -> list[str | None]:
        """Move them to available tickets, each with the claim it lost."""
        removal = Removal(draft)
        given: dict[Part, set[int]] = {}
        replies: list[str | None] = []
        for handle in self.handles:
            ticket = draft.tickets.get(handle.ticket_id)
            if self.lapsed and ticket is not None and ticket.token == handle.token and ticket.expires_at_ms > now:
                replies.append(ALIVE)
                continue
            found = removal.remove(handle)
            if isinstance(found, Part) and ticket is not None:
                lost = Rescue(ticket.worker, ticket.claimed_at_ms, now)
                given.setdefault(replace(found, rescues=(*found.rescues, lost)), set()).add(handle.index)
            replies.append(found if isinstance(found, str) else None)
        if given:
            removal.finish()
            draft.available([replace(part, ranges=ranges_of(indices)) for part, indices in given.items()])
            draft.count("rescued", sum(map(len, given.values())))
        return replies


class _TakingOut:
    """Takes single messages out of the books, whoever has them; objects that no ticket has are ticketed for it."""

    def __init__(
        self, draft: Draft, wanted: Iterable[Seen], seen_at_ms: int, now: int, ahead: tuple[str, ...] = ()
    ) -> None:
        self._draft, self._seen_at_ms, self._now, self._ahead = draft, seen_at_ms, now, ahead
        self._room = MAX_PARTS - sum(len(ticket.parts) for ticket in draft.tickets.values())
        self._whole: dict[str, set[int]] = {}
        for seen in wanted:
            self._whole.setdefault(seen.name, set()).add(seen.index)
        self._left: dict[str, list[tuple[Part, set[int]]]] = {}
        self._where: dict[str, list[tuple[Ticket, Part, set[int]]]] = {}
        for ticket in list(draft.tickets.values()):
            self._learn(ticket)
        lines = (line for line in draft.outbox.values() if line.holds_source and line.source in self._whole)
        self._lines = {(line.source, line.index): line for line in lines}

    def _learn(self, ticket: Ticket) -> None:
        if not any(part.name in self._whole for part in ticket.parts):
            return
        shares = [(part, set(part.indices())) for part in ticket.parts]
        self._left[ticket.id] = shares
        for part, indices in shares:
            self._where.setdefault(part.name, []).append((ticket, part, indices))

    def take(self, seen: Seen) -> Part | Line | str:
        """Take the message out and return the part it was in, or the line it is in, which stays; or why it cannot be."""
        line = self._lines.pop((seen.name, seen.index), None)
        if line is not None and line.id in self._draft.outbox:  # else its target was seen to be there just now
            return DEAD if line.kind == "dead" else CHANGED_HANDS if seen.token else line
        refused = self._enter(seen.name) if not self._draft.known(seen.name) else ""
        if refused:
            return refused
        for ticket, part, indices in self._where.get(seen.name, ()):
            if seen.index in indices:
                if ticket.token != seen.token:
                    return CHANGED_HANDS if seen.token else CLAIMED
                indices.remove(seen.index)
                return part
        return ENDED

    def _enter(self, name: str) -> str:
        """Ticket an object that is not in the books yet; return why it cannot be, or ''."""
        draft = self._draft
        if name <= draft.cursors.get(rank_in(name), ""):
            return GONE_BY
        if not draft.is_current(self._seen_at_ms):
            return STALE
        whole = len(self._whole[name]) == count_of(name)  # then nothing of it is left in the books
        if not whole and group_of(name) and visible_at_ms_of(name) > self._seen_at_ms - CURSOR_MARGIN_MS:
            return TOO_YOUNG
        entering = [name] if whole else [*self._before(name), name]
        if not whole and len(entering) > self._room:
            return FULL
        self._room -= 0 if whole else len(entering)
        for each in entering:
            draft.seen(each, self._now)
            draft.count("ticketed", count_of(each))
            ticket = Ticket(draft.new_ticket_id(), (Part(each, ((0, count_of(each)),)),))
            draft.put(ticket)
            self._learn(ticket)
        return ""

    def _before(self, name: str) -> list[str]:
        """Return what goes before the object in its group and is not in the books yet."""
        group, cursor = group_of(name), self._draft.cursors.get(rank_in(name), "")
        if not group:
            return []
        return [
            each
            for each in self._ahead
            if cursor < each < name and group_of(each) == group and not self._draft.known(each)
        ]

    def finish(self) -> None:
        """Write the shrunken tickets back, and settle what is left empty."""
        for ticket_id, shares in self._left.items():
            parts = [replace(part, ranges=ranges_of(indices)) for part, indices in shares if indices]
            ticket = self._draft.tickets[ticket_id]
            if sum(part.size for part in parts) < ticket.size:
                self._draft.put(replace(ticket, parts=tuple(parts)))
        for name in self._whole:
            if name in self._where:
                self._draft.close(name, self._now)
