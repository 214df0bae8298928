"""Carrying out the outbox: *write the target, delete the source, strike the line*.

Whoever decided a move carries it out at once, with the message in hand. If that process dies, any sweeper does, and then
reads the source anew: a source that is gone was moved before. A target that is there already was written before; one
written again after it was processed is a ghost that ledger or journal tells from a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from s3queue.core.codec import decode_letter, decode_schedule, encode_letter
from s3queue.core.keys import MAX_PRIORITY, ObjectName, visible_at_ms_of
from s3queue.core.ledger import Line
from s3queue.core.message import DeadLetter, Message
from s3queue.core.transitions import Strike
from s3queue.errors import CorruptObject, NotFound, PreconditionFailed, S3QueueError
from s3queue.protocol import journal
from s3queue.protocol.lane import Lane
from s3queue.store.port import CREATE, fetch

FRESH_S = 5.0
"""How long the process that decided a move may carry it out from memory; later the source must be read anew."""
ORPHANED_MS = 7_500
"""How old a line is, at least, before another process takes it for left behind."""


def carry_out(lane: Lane, decided: Iterable[tuple[Line, Message]], since: float) -> None:
    """Carry out moves decided by this process at monotonic time ``since``; their lines are struck with a later commit.

    A move that fails is told as an error event and left to the sweeper.
    """

    def move(pair: tuple[Line, Message]) -> Line | None:
        line, message = pair
        if lane.clock.monotonic() - since > FRESH_S:
            return None
        try:
            _write_target(lane, line, message)
        except S3QueueError as error:
            _tell(lane, line, error)
            return None
        return line

    done = [line for line in lane.spread(move, list(decided)) if line is not None]
    if done:
        lane.committer.defer(Strike(tuple(line.id for line in done)))
        _announce(lane, done)


def finish_orphans(lane: Lane, lines: Sequence[Line]) -> int:
    """Carry out lines with their sources read anew; return how many were struck."""
    done: list[Line] = []
    missing: set[str] = set()
    for line in lines:
        try:
            if not line.written:
                _write_target(lane, line, _read_source(lane, line))
        except NotFound as error:
            lane.committer.read()
            if line.id not in lane.committer.ledger.outbox:
                continue  # somebody else has made the move meanwhile
            if line.kind != "replay":
                # The ledger still needs this object, and a schedule is never deleted: it was nobody of ours.
                missing.add(line.id)
                _tell(lane, line, error)
        except CorruptObject as error:
            _tell(lane, line, error)
            continue
        done.append(line)
    if not done:
        return 0
    _announce(lane, done)
    delete_letters(lane, [line.source for line in done if line.kind == "replay"])
    strike = Strike(tuple(line.id for line in done), frozenset(missing))
    (struck,) = lane.committer.commit(strike, fresh=True)
    return int(struck)


def delete_letters(lane: Lane, names: Sequence[str]) -> int:
    """Delete dead letters that are replayed or discarded; return how many are gone.

    They are journaled first: a second copy of one that lands late is then known for a ghost.
    """
    if not names:
        return 0
    journal.write(lane, names, letters=True)
    left = 0
    for start in range(0, len(names), 1000):
        left += len(lane.store.delete_many([lane.keys.letter(name) for name in names[start : start + 1000]]))
    return len(names) - left


def _announce(lane: Lane, lines: Iterable[Line]) -> None:
    """Tell others if any of the moves, whose targets are durable, has made a message visible."""
    visible = [visible_at_ms_of(line.target) for line in lines if line.kind != "dead"]
    if visible:
        lane.announce(min(visible))


def _tell(lane: Lane, line: Line, error: S3QueueError) -> None:
    lane.events.emit("error", error=error, doing=f"moving message {line.message_id} ({line.kind})")


def _read_source(lane: Lane, line: Line) -> Message:
    if line.kind == "tick":
        key = lane.keys.schedule(line.source)
        return decode_schedule(fetch(lane.store, key).body, key, lane.seal).message_of(line)
    if line.kind != "replay":
        return lane.inbox.read(line.source)[line.index]
    key = lane.keys.letter(line.source)
    return decode_letter(fetch(lane.store, key).body, key, lane.seal).message


def _write_target(lane: Lane, line: Line, message: Message) -> None:
    moved = message.failed(line.errors, line.attempts)
    if line.kind == "dead":
        letter = DeadLetter(moved, line.decided_at_ms, line.reason, lane.inbox.key(line.source))
        try:
            lane.store.put(lane.keys.letter(line.target), encode_letter(letter, lane.codec), CREATE)
        except PreconditionFailed:
            return
    else:
        name = ObjectName.parse(line.target)
        if name is None:
            raise CorruptObject(lane.committer.record.key, f"outbox line {line.id} has target {line.target!r}")
        lane.inbox.write(name, [replace(moved, priority=MAX_PRIORITY - name.rank)])
