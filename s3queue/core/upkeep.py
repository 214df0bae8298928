"""What keeps a lane in order: late arrivals, finished moves, replays, discarding, forgetting, pausing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from s3queue.core.draft import Draft
from s3queue.core.keys import count_of, group_of, rank_in
from s3queue.core.ledger import Counter, Line, Part

SETTLED_KEPT_MS = 3_600_000
"""How long a settled name above the cursor is kept: S3 refuses a signature after 15 minutes, so no copy lands later."""
MOVING = "it is being replayed already"
GOING = "it is being discarded already"
_MOVED: Mapping[str, Counter] = {
    "retry": "retried",
    "dead": "dead",
    "replay": "replayed",
    "tick": "ticked",
    "move": "moved",
}
STAGED_MS = 3_600_000
"""How long what was staged may take to get its line; later it may be cleared away, see :mod:`s3queue.protocol.staging`."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Ticket late arrivals: names at or below the cursor that no ticket holds and the journal does not know.

    ``judged_at_revision`` is the ledger they were judged against, read *before* the journal. Replies with the names
    adopted, or None if names were forgotten since, so that they must be judged anew.
    """

    names: tuple[str, ...]
    judged_at_revision: int

    def apply(self, draft: Draft, now: int) -> list[str] | None:
        """Make an available ticket of those still unknown."""
        if draft.forgotten_at_revision > self.judged_at_revision:
            return None
        adopted = [name for name in self.names if not draft.known(name)]
        for name in adopted:
            draft.seen(name, now)
            draft.count("ticketed", count_of(name))
        draft.available([Part(name, ((0, count_of(name)),)) for name in adopted])
        return adopted


@dataclass(frozen=True, slots=True)
class Expect:
    """Let the cursor not pass an object that was long on its way. Replies with whether it has passed it already."""

    name: str

    def apply(self, draft: Draft, now: int) -> bool:
        """Note the name, unless it is known; drop those that never came."""
        if draft.known(self.name):
            return False
        if self.name <= draft.cursors.get(rank_in(self.name), ""):
            return True
        draft.expected = {name: at_ms for name, at_ms in draft.expected.items() if at_ms + SETTLED_KEPT_MS > now}
        draft.expected[self.name] = now
        draft.dirty = True
        return False


@dataclass(frozen=True, slots=True)
class Strike:
    """Strike lines whose move is done; ``missing``: those whose source was gone before it could be moved.

    Replies with the number of lines struck.
    """

    line_ids: tuple[str, ...]
    missing: frozenset[str] = frozenset()

    def apply(self, draft: Draft, now: int) -> int:
        """Take the lines out and settle their sources."""
        struck = [line for line_id in self.line_ids if (line := draft.strike(line_id, now)) is not None]
        if any(line.is_of_letter for line in struck):
            draft.forgotten_at_revision = draft.revision  # the letter stands in no line any more: see Replay
        for line in struck:
            if line.id in self.missing:
                draft.count(_MOVED[line.kind], -1)
                draft.count("missing", 1 if line.holds_source else 0)
                draft.pass_turn(line.target)
        return len(struck)


@dataclass(frozen=True, slots=True)
class Missing:
    """Let groups go on whose retry was written and is gone from the inbox, unclaimed. Replies with how many there were."""

    names: tuple[str, ...]

    def apply(self, draft: Draft, now: int) -> int:
        """Settle those that still hold back their groups and are in no ticket or line."""
        gone = [
            name
            for name in self.names
            if draft.held_back.get(group_of(name)) == name and not draft.known(name) and not draft.is_awaited(name)
        ]
        for name in gone:
            draft.count("ticketed")
            draft.count("missing")
            draft.close(name, now)
        return len(gone)


@dataclass(frozen=True, slots=True)
class Replay:
    """Decide what becomes of dead letters: moved back, or discarded.

    Replies with one entry a line: None if decided, else why not.

    ``judged_at_revision`` is the ledger after which the journal was found not to have the letters; replies with None if
    letters were replayed or discarded since, so that they must be judged anew.
    """

    lines: tuple[Line, ...]
    judged_at_revision: int

    def apply(self, draft: Draft, now: int) -> list[str | None] | None:
        """Put the lines into the outbox; a letter has one such line at most, as the line's id is the letter's name."""
        if draft.forgotten_at_revision > self.judged_at_revision:
            return None
        replies: list[str | None] = []
        for line in self.lines:
            standing = draft.outbox.get(line.id)
            if standing is not None:
                replies.append(MOVING if standing.kind == "replay" else GOING)
                continue
            if line.body and line.decided_at_ms + STAGED_MS < now:
                replies.append("it was made ready too long ago: try again")
                continue
            draft.seen(line.source, now)
            draft.add_line(line)
            draft.count("replayed" if line.kind == "replay" else "buried")
            replies.append(None)
        return replies


@dataclass(frozen=True, slots=True)
class Import:
    """Take in what the replays of another queue have staged for this lane. Replies with the lines as they stand."""

    lines: tuple[Line, ...]

    def apply(self, draft: Draft, now: int) -> list[Line]:  # noqa: ARG002 - the face of every request
        """Put those into the outbox that are not there; a target that is known has been written."""
        for line in self.lines:
            if line.id not in draft.outbox:
                draft.add_line(replace(line, written=draft.known(line.target)))
        return [draft.outbox[line.id] for line in self.lines]


@dataclass(frozen=True, slots=True)
class Discard:
    """Throw messages away: objects by name and, with ``in_flight``, all that tickets, retries and ticks hold.

    Replies with the number of messages discarded. Tokens of tickets thrown away are void from then on.
    """

    names: tuple[str, ...] = ()
    in_flight: bool = False

    def apply(self, draft: Draft, now: int) -> int:
        """Settle the objects; nothing is deleted before that is recorded."""
        gone = 0
        if self.in_flight:
            for ticket in list(draft.tickets.values()):
                draft.drop(ticket.id)
                gone += ticket.size
                for part in ticket.parts:
                    draft.close(part.name, now)
            for line in [line for line in draft.outbox.values() if line.kind in ("retry", "tick", "move")]:
                draft.strike(line.id, now)
                draft.close(line.target, now)
                draft.count("ticketed")
                gone += 1
        draft.count("discarded", gone)
        for name in self.names:
            if name > draft.cursors.get(rank_in(name), "") and not draft.known(name):
                draft.seen(name, now)
                draft.count("ticketed", count_of(name))
                draft.count("discarded", count_of(name))
                draft.close(name, now)
                gone += count_of(name)
        return gone


@dataclass(frozen=True, slots=True)
class Prune:
    """Forget settled names: they are deleted and stand in the journal. Replies with the number forgotten."""

    names: tuple[str, ...]

    def apply(self, draft: Draft, now: int) -> int:
        """Drop those the cursor has passed, or that are so old that no copy can land any more."""
        gone = [name for name in self.names if prunable(draft.settled, draft.cursors, name, now)]
        for name in gone:
            del draft.settled[name]
        if gone:
            draft.forgotten_at_revision = draft.revision
            draft.dirty = True
        if any(name > draft.cursors.get(rank_in(name), "") for name in gone):
            draft.forgotten_above_at_ms = now  # listings from before it may still show them: see Draft.is_current
        return len(gone)


def prunable(settled: Mapping[str, int], cursors: Mapping[int, str], name: str, now: int) -> bool:
    """Whether a settled name may be forgotten once the journal has it."""
    at_ms = settled.get(name)
    return at_ms is not None and (name <= cursors.get(rank_in(name), "") or at_ms + SETTLED_KEPT_MS < now)


@dataclass(frozen=True, slots=True)
class Pause:
    """Refuse claims from now on, or allow them again."""

    paused: bool

    def apply(self, draft: Draft, now: int) -> bool:  # noqa: ARG002 - the face of every request
        """Reply with whether that was a change."""
        changed = draft.paused != self.paused
        draft.paused = self.paused
        draft.dirty = draft.dirty or changed
        return changed
