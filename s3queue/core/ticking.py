"""How ticks of schedules enter the books: once each, whoever fires them, and however often."""

from __future__ import annotations

from dataclasses import dataclass

from s3queue.core.draft import Draft
from s3queue.core.ledger import Line


@dataclass(frozen=True, slots=True)
class Fire:
    """Decide to enqueue the messages of ticks: ``lines`` of kind ``tick``, those of a schedule in order of time.

    ``judged_at_revision`` is the ledger *after* which the schedules were read. Replies with one entry a line, whether it
    was decided (it is not if the tick was fired before); None if schedules were changed since they were read.
    """

    lines: tuple[Line, ...]
    judged_at_revision: int

    def apply(self, draft: Draft, now: int) -> list[bool] | None:  # noqa: ARG002 - the face of every request
        """Put the moves of new ticks into the outbox."""
        if draft.scheduled_at_revision > self.judged_at_revision:
            return None
        replies = []
        for line in self.lines:
            new = line.index > draft.ticks.get(line.source, 0)
            if new:
                draft.ticks[line.source] = line.index
                draft.add_line(line)
                draft.count("ticked")
            replies.append(new)
        return replies


@dataclass(frozen=True, slots=True)
class Reschedule:
    """Say that schedules were changed: whoever has read them before must read them again before it fires."""

    def apply(self, draft: Draft, now: int) -> None:  # noqa: ARG002 - the face of every request
        """Void all judgements made so far."""
        draft.scheduled_at_revision = draft.revision
        draft.dirty = True


@dataclass(frozen=True, slots=True)
class DropTicks:
    """Forget the last ticks of schedules that are gone. Replies with whether it was done, else schedules were changed."""

    names: tuple[str, ...]
    judged_at_revision: int

    def apply(self, draft: Draft, now: int) -> bool:
        """Drop them, and void the judgements of whoever may still take them for schedules."""
        if draft.scheduled_at_revision > self.judged_at_revision:
            return False
        for name in self.names:
            draft.ticks.pop(name, None)
        Reschedule().apply(draft, now)
        return True
