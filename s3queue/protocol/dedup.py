"""Deduplication: enqueues of one key within its time to live make one message.

*Reserve the key (create-only), write the message under the name reserved, mark the reservation written.* A producer that
dies in between leaves a reservation that is not marked. The next enqueue of the key writes the message under the name and
id reserved, whether it was written before or not: an object that waits or is claimed refuses it, and one that comes back
after it was processed is a ghost that the ledger knows, as after any lost answer.

*The ledger forgets no name whose reservation is not marked*: the name says which reservation it was made for, and whoever
cleans up after the message marks it first (:func:`note_written`). So there is no end to the time in which a key whose
producer died can be enqueued again.

Reservations that are over are written over by the next enqueue of the key, or deleted: see :mod:`.forgetting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from s3queue.core.codec import decode_reservation, encode_reservation
from s3queue.core.keys import ObjectName, dedup_mark, dedup_of
from s3queue.core.message import Message, Reservation
from s3queue.errors import CorruptObject, OutcomeUnknown, PreconditionFailed, S3QueueError
from s3queue.protocol.arrivals import keep_place
from s3queue.protocol.forgetting import wait_until_kept
from s3queue.protocol.lane import Lane
from s3queue.store.record import Record, Version

_ROUNDS = 20


def enqueue_once(
    lane: Lane,
    name: ObjectName,
    message: Message,
    ttl_ms: int,
    *,
    lane_of: Callable[[int], Lane] | None = None,
) -> str:
    """Return the id of the message that is durable for the key ``name.dedup``: ``message``, or one enqueued before.

    Three PUTs and two GETs for the first; a PUT and a GET for one that is refused, and two of each more if the first is
    not marked yet.
    """
    now = lane.now_ms()
    record = _record(lane, name.dedup)
    mine = Reservation(message.id, str(name), now, now + ttl_ms, lane=lane.number)
    there: Version[Reservation] = Version(None, None)
    for _ in range(_ROUNDS):
        held = there.value
        if held is None or (held.message_id != mine.message_id and held.expires_at_ms <= now):
            try:
                there = record.write(mine, there)
            except (PreconditionFailed, OutcomeUnknown):
                there = record.read()
                continue
            held = mine
        if held.written:
            return held.message_id
        wait_until_kept(lane, record.key)
        before, there = there, record.read()
        if there == before:
            return _complete(lane_of(held.lane) if lane_of else lane, record, there, held, message)
    raise OutcomeUnknown(record.key)


def look_up(lane: Lane, dedup_id: str) -> Reservation | None:
    """Return the reservation that holds the key now, None if it is free; a GET."""
    held = _record(lane, dedup_mark(dedup_id)).read().value
    return held if held is not None and held.expires_at_ms > lane.now_ms() else None


def note_written(lane: Lane, names: Iterable[str]) -> set[str]:
    """Mark the reservations that objects of these names were made for; return the names of which that is not sure.

    A GET for each object with a key, and a PUT if its producer did not come to it. What fails is told; it is for later.
    """
    ours = [name for name in names if dedup_of(name)]
    return {
        name for name, marked in zip(ours, lane.spread(lambda name: _mark(lane, name), ours), strict=True) if not marked
    }


def _mark(lane: Lane, name: str) -> bool:
    """Return whether nobody will write the object of this name any more because of its reservation."""
    record = _record(lane, dedup_of(name))
    try:
        for _ in range(_ROUNDS):
            there = record.read()
            held = there.value
            if held is None or held.name != name or held.written:
                return True
            with suppress(PreconditionFailed, OutcomeUnknown):
                record.write(replace(held, written=True), there)
                return True
    except S3QueueError as error:
        lane.events.emit("error", error=error, doing=f"marking the deduplication key of {name}")
        return isinstance(error, CorruptObject)  # no enqueue can read it either
    return False


def _record(lane: Lane, mark: str) -> Record[Reservation]:
    return Record(lane.store, lane.keys.reservation(mark), decode_reservation, encode_reservation)


def _complete(
    lane: Lane, record: Record[Reservation], there: Version[Reservation], held: Reservation, message: Message
) -> str:
    """Write the reserved message, whoever reserved it, mark the reservation, and return the message's id."""
    name = ObjectName.parse(held.name)
    if name is None:
        raise CorruptObject(record.key, f"it reserves {held.name!r}, which names no message object")
    lane.inbox.write(name, [replace(message, id=held.message_id)])
    keep_place(lane, name, lane.now_ms() - held.reserved_at_ms)
    with suppress(PreconditionFailed, OutcomeUnknown):  # marked by another, or for the next to find out
        record.write(replace(held, written=True), there)
    return held.message_id
