"""Carrying out the outbox: *write the target, delete the source, strike the line*.

Whoever decided a move carries it out at once, with the message in hand. If that process dies, any sweeper does, and then
reads the source anew: a source that is gone was moved before. A target that is there already was written before; one
written again after it was processed is a ghost that ledger or journal tells from a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from s3queue.core.codec import decode_letter, decode_schedule, encode_letter
from s3queue.core.keys import MAX_PRIORITY, ObjectName, message_id_at, visible_at_ms_of
from s3queue.core.ledger import Line
from s3queue.core.message import DeadLetter, Message
from s3queue.core.transitions import Import, Strike
from s3queue.errors import CorruptObject, NotFound, PreconditionFailed, S3QueueError
from s3queue.protocol import journal
from s3queue.protocol.lane import Lane
from s3queue.store.port import CREATE, delete_all, fetch

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
    return _finish(lane, lines)[0]


def _finish(lane: Lane, lines: Sequence[Line]) -> tuple[int, set[str]]:
    """Do that, and return, too, the ids of the lines that are done, whoever struck them."""
    handed: dict[str, list[Line]] = {}
    for line in lines:
        if line.ledger:
            handed.setdefault(line.ledger, []).append(line)
    done = [line for ledger, own in handed.items() for line in _hand_over(lane, ledger, own)]
    missing: set[str] = set()
    struck_by_others: set[str] = set()
    for line in lines:
        if line.ledger:
            continue
        try:
            if line.kind != "discard" and not line.written:
                _write_anew(lane, line)
        except NotFound as error:
            lane.committer.read()
            if line.id not in lane.committer.ledger.outbox:
                struck_by_others.add(line.id)  # who have made the move meanwhile
                continue
            if line.kind not in ("replay", "import"):
                # The ledger still needs this object, and a schedule is never deleted: it was nobody of ours.
                missing.add(line.id)
                _tell(lane, line, error)
        except CorruptObject as error:
            _tell(lane, line, error)
            continue
        done.append(line)
    if not done:
        return 0, struck_by_others
    _announce(lane, done)
    delete_letters(lane, [line.source for line in done if line.is_of_letter])
    left = set(_delete_staged(lane, done))
    ids = [line.id for line in done if line.id not in left]
    (struck,) = lane.committer.commit(Strike(tuple(ids), frozenset(missing)), fresh=True)
    return int(struck), {*ids, *struck_by_others}


def _hand_over(lane: Lane, ledger: str, lines: Sequence[Line]) -> list[Line]:
    """Let another queue's books have what was staged for it, and return the lines of which that is done.

    *Enter it in those books, write the target, delete what was staged, strike it there*: the target is written only while
    a line of those books awaits it, so that it is known for written once it was claimed; and what was staged is there as
    long as that is not sure. Gone, it has been moved before. What fails is told and left to the next.
    """
    try:
        there = lane.abroad(ledger)
        waiting = [line for line in lines if _is_there(lane, line.body)]
        done = {line.body for line in lines} - {line.body for line in waiting}
        if waiting:
            (entered,) = there.committer.commit(Import(tuple(map(_import, waiting))), fresh=True)
            done |= _finish(there, entered)[1]
        return [line for line in lines if line.body in done]
    except S3QueueError as error:  # that queue may be denied to us, or its ledger unreadable: ours goes on
        for line in lines:
            _tell(lane, line, error)
        return []


def _import(line: Line) -> Line:
    """Return the line that another queue's books have of a replay."""
    name = ObjectName.parse(line.target)
    born = message_id_at(name.id, 0) if name is not None else line.message_id
    return Line(line.body, "import", line.body, 0, line.target, born, line.decided_at_ms)


def _is_there(lane: Lane, key: str) -> bool:
    try:
        fetch(lane.store, key)
    except NotFound:
        return False
    return True


def _delete_staged(lane: Lane, lines: Sequence[Line]) -> list[str]:
    """Delete what was staged for lines that are done; return the ids of those of which it is still there."""
    staged = {line.source if line.kind == "import" else line.body: line.id for line in lines if not line.ledger}
    staged.pop("", None)
    return [staged[key] for key in delete_all(lane.store, staged)]


def delete_letters(lane: Lane, names: Sequence[str]) -> int:
    """Delete dead letters that are replayed or discarded; return how many are gone.

    They are journaled first: a second copy of one that lands late is then known for a ghost.
    """
    if not names:
        return 0
    journal.write(lane, names, letters=True)
    return len(names) - len(delete_all(lane.store, map(lane.keys.letter, names)))


def _announce(lane: Lane, lines: Iterable[Line]) -> None:
    """Tell others if any of the moves, whose targets are durable, has made a message visible."""
    visible = [visible_at_ms_of(line.target) for line in lines if line.fills_inbox]
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


def _write_anew(lane: Lane, line: Line) -> None:
    """Write the target of a line with its source read anew; what was staged is copied as it is."""
    staged = line.source if line.kind == "import" else line.body
    if not staged:
        _write_target(lane, line, _read_source(lane, line))
        return
    body = fetch(lane.store, staged).body
    with suppress(PreconditionFailed):  # it was written before
        lane.store.put(lane.inbox.key(line.target), body, CREATE)


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
