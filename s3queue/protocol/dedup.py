"""Deduplication: enqueues of one key within its time to live make one message.

*Reserve the key (create-only), write the message under the name reserved, mark the reservation written.* A producer that
dies in between leaves a reservation that is not marked. The next enqueue of the key writes the message under the name and
id reserved, whether it was written before or not: an object that waits or is claimed refuses it, and one that comes back
after it was processed is a ghost that ledger or journal knows, as after any lost answer.

The journal goes back an hour. A reservation that is older and still not marked belongs to a producer that died within
two requests and whose key nobody asked for since: its message runs again rather than being swallowed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from s3queue.core.codec import decode_reservation, encode_reservation
from s3queue.core.keys import ObjectName
from s3queue.core.message import Message, Reservation
from s3queue.errors import CorruptObject, OutcomeUnknown, PreconditionFailed
from s3queue.protocol.lane import Lane
from s3queue.store.record import Record, Version

_ROUNDS = 20


def enqueue_once(lane: Lane, dedup_id: str, name: ObjectName, message: Message, ttl_ms: int) -> str:
    """Return the id of the key's message, which is durable: ``message``, or the one that was enqueued before.

    Three PUTs for the first; a PUT and a GET for one that is refused, and two PUTs more if the first is not marked yet.
    """
    now = lane.now_ms()
    record = Record(lane.store, lane.keys.reservation(dedup_id), decode_reservation, encode_reservation)
    mine = Reservation(message.id, str(name), now, now + ttl_ms)
    version: Version[Reservation] = Version(None, None)
    for _ in range(_ROUNDS):
        try:
            version = record.write(mine, version)
        except (PreconditionFailed, OutcomeUnknown):
            version = record.read()
        held = version.value
        if held is not None and (held.message_id == mine.message_id or held.expires_at_ms > now):
            return _make_sure(lane, record, version, held, message)
    raise OutcomeUnknown(record.key)


def _make_sure(
    lane: Lane, record: Record[Reservation], version: Version[Reservation], held: Reservation, message: Message
) -> str:
    """Return the id of the reserved message once it has been written, by whomever."""
    if held.written:
        return held.message_id
    name = ObjectName.parse(held.name)
    if name is None:
        raise CorruptObject(record.key, f"it reserves {held.name!r}, which names no message object")
    lane.inbox.write(name, [replace(message, id=held.message_id)])
    with suppress(PreconditionFailed, OutcomeUnknown):  # marked by another, or for the next to find out
        record.write(replace(held, written=True), version)
    return held.message_id
