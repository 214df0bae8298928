"""Deduplication: enqueues of one key within its time to live make one message.

*Reserve the key (create-only), write the message under the name reserved, mark the reservation written.* A producer that
dies in between leaves a reservation that is not marked. The next enqueue of the key writes the message under the name and
id reserved, whether it was written before or not: an object that waits or is claimed refuses it, and one that comes back
after it was processed is a ghost that ledger or journal knows, as after any lost answer.

The journal goes back an hour. A reservation that is older and still not marked belongs to a producer that died within
two requests and whose key nobody asked for since: its message runs again rather than being swallowed.

Reservations that are over are written over by the next enqueue of the key, or deleted: see :mod:`.forgetting`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from s3queue.core.codec import decode_reservation, encode_reservation
from s3queue.core.keys import ObjectName
from s3queue.core.message import Message, Reservation
from s3queue.errors import CorruptObject, OutcomeUnknown, PreconditionFailed
from s3queue.protocol.arrivals import keep_place
from s3queue.protocol.forgetting import wait_until_kept
from s3queue.protocol.lane import Lane
from s3queue.store.record import Record, Version

_ROUNDS = 20


def enqueue_once(
    lane: Lane,
    dedup_id: str,
    name: ObjectName,
    message: Message,
    ttl_ms: int,
    *,
    lane_of: Callable[[int], Lane] | None = None,
) -> str:
    """Return the id of the key's message, which is durable: ``message``, or the one that was enqueued before.

    Three PUTs and two GETs for the first; a PUT and a GET for one that is refused, and two of each more if the first is
    not marked yet.
    """
    now = lane.now_ms()
    record = _record(lane, dedup_id)
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
    held = _record(lane, dedup_id).read().value
    return held if held is not None and held.expires_at_ms > lane.now_ms() else None


def _record(lane: Lane, dedup_id: str) -> Record[Reservation]:
    return Record(lane.store, lane.keys.reservation(dedup_id), decode_reservation, encode_reservation)


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
