"""Bytes to values and back, for every kind of object in the bucket.

Every object is one JSON document with ``format: "s3queue.<kind>/<version>"``. What cannot be read raises CorruptObject
with the key, what a newer s3queue wrote raises NewerFormat; neither is ever written over.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, get_args

from s3queue.core.document import Wire, dump, is_a, read
from s3queue.core.keys import ObjectName, message_id_at
from s3queue.core.ledger import Leader, Ledger, Line, LineKind, Part, Rescue, Ticket
from s3queue.core.message import AttemptError, DeadLetter, Message, Reservation
from s3queue.core.payload import PLAIN, PayloadCodec, Seal
from s3queue.core.schedule import CATCH_UP, Definition
from s3queue.core.settings import Settings, from_wire, policy_from_wire, policy_to_wire, to_wire
from s3queue.errors import CorruptObject

_NAMES_KEPT = 8192
"""How many names are remembered to be valid: a ledger is read again and again, and most of its names were there before."""


@lru_cache(_NAMES_KEPT)
def _name(value: Any) -> str:
    if ObjectName.parse(is_a(value, str)) is None:
        raise ValueError(f"{value!r:.80} names no message object")
    return str(value)


# -- ledger -----------------------------------------------------------------------------------------------------------


def encode_ledger(ledger: Ledger) -> bytes:
    """Return a ledger's bytes."""
    return dump(
        "ledger",
        {
            "revision": ledger.revision,
            "write_id": ledger.write_id,
            "paused": ledger.paused,
            "swept_at_ms": ledger.swept_at_ms,
            "forgotten_at_revision": ledger.forgotten_at_revision,
            "forgotten_above_at_ms": ledger.forgotten_above_at_ms,
            "writers": ledger.writers,
            "cursors": ledger.cursors,
            "tickets": {ticket.id: _ticket_wire(ticket) for ticket in ledger.tickets.values()},
            "settled": ledger.settled,
            "outbox": {line.id: _line_wire(line) for line in ledger.outbox.values()},
            "counters": ledger.counters,
            "latency_ms": ledger.latency_ms,
            "leader": asdict(ledger.leader) if ledger.leader else None,
            "rooms": ledger.rooms,
            "ticks": ledger.ticks,
            "scheduled_at_revision": ledger.scheduled_at_revision,
            "held_back": ledger.held_back,
            "expected": ledger.expected,
        },
    )


def decode_ledger(body: bytes, key: str) -> Ledger:
    """Return the ledger in ``body``."""
    return read("ledger", body, key, _ledger)


def _ledger(wire: Wire) -> Ledger:
    return Ledger(
        revision=int(wire["revision"]),
        write_id=is_a(wire["write_id"], str),
        paused=bool(wire["paused"]),
        swept_at_ms=int(wire["swept_at_ms"]),
        forgotten_at_revision=int(wire["forgotten_at_revision"]),
        forgotten_above_at_ms=int(wire.get("forgotten_above_at_ms", 0)),
        writers={writer: (int(number), int(at)) for writer, (number, at) in wire["writers"].items()},
        cursors={int(rank): _name(name) for rank, name in wire["cursors"].items()},
        tickets={id_: _ticket(id_, ticket) for id_, ticket in wire["tickets"].items()},
        settled={_name(name): int(at) for name, at in wire["settled"].items()},
        outbox={id_: _line(id_, line) for id_, line in wire["outbox"].items()},
        counters={str(name): int(value) for name, value in wire["counters"].items()},
        latency_ms={int(bound): int(value) for bound, value in wire["latency_ms"].items()},
        leader=_leader(wire["leader"]) if wire.get("leader") else None,
        rooms={str(worker): int(room) for worker, room in wire.get("rooms", {}).items()},
        ticks={str(schedule): int(at) for schedule, at in wire.get("ticks", {}).items()},
        scheduled_at_revision=int(wire.get("scheduled_at_revision", 0)),
        expected={_name(name): int(at) for name, at in wire.get("expected", {}).items()},
        held_back={str(group): _name(name) for group, name in wire.get("held_back", {}).items()},
    )


def _leader(wire: Wire) -> Leader:
    worker, instance = is_a(wire["worker"], str), is_a(wire["instance"], str)
    return Leader(worker, instance, int(wire["epoch"]), int(wire["until_ms"]), int(wire["fleet"]))


def _ticket_wire(ticket: Ticket) -> Wire:
    wire: Wire = {"state": "claimed" if ticket.claimed else "available", "messages": []}
    for part in ticket.parts:
        entry: list[Any] = [part.name, part.ranges]
        if part.rescues:
            entry.append([[lost.worker, lost.claimed_at_ms, lost.rescued_at_ms] for lost in part.rescues])
        wire["messages"].append(entry)
    if ticket.claimed:
        wire |= {
            "worker": ticket.worker,
            "token": ticket.token,
            "claimed_at_ms": ticket.claimed_at_ms,
            "expires_at_ms": ticket.expires_at_ms,
        }
    elif ticket.assigned_to:
        wire |= {
            "assigned_to": ticket.assigned_to,
            "assigned_until_ms": ticket.assigned_until_ms,
            "epoch": ticket.epoch,
        }
    return wire


def _ticket(id_: str, wire: Wire) -> Ticket:
    parts = tuple(
        Part(
            _name(name),
            tuple((int(start), int(stop)) for start, stop in ranges),
            tuple(Rescue(worker, int(claimed), int(rescued)) for worker, claimed, rescued in (more[0] if more else ())),
        )
        for name, ranges, *more in wire["messages"]
    )
    if wire["state"] == "available":
        return Ticket(
            id_,
            parts,
            assigned_to=is_a(wire.get("assigned_to", ""), str),
            assigned_until_ms=int(wire.get("assigned_until_ms", 0)),
            epoch=int(wire.get("epoch", 0)),
        )
    return Ticket(
        id_,
        parts,
        is_a(wire["worker"], str),
        int(wire["token"]),
        int(wire["claimed_at_ms"]),
        int(wire["expires_at_ms"]),
    )


def _line_wire(line: Line) -> Wire:
    wire = {name: value for name, value in asdict(line).items() if value or name in ("index", "source", "target")}
    del wire["id"]
    return wire


def _line(id_: str, wire: Wire) -> Line:
    if wire["kind"] not in get_args(LineKind):
        raise ValueError(f"there is no move {wire['kind']!r:.80}")
    for field in ("source", "target", "message_id"):
        is_a(wire[field], str)
    for field in ("body", "ledger"):
        is_a(wire.get(field, ""), str)
    for field in ("index", "decided_at_ms", "attempts"):
        is_a(wire.get(field, 0), int)
    return Line(id=id_, **{**wire, "errors": _errors(wire)})


def _errors(wire: Wire) -> tuple[AttemptError, ...]:
    return tuple(AttemptError(**error) for error in wire.get("errors", ()))


# -- messages ---------------------------------------------------------------------------------------------------------


def _message_wire(message: Message, derived_id: str) -> Wire:
    wire: Wire = {} if message.id == derived_id else {"id": message.id}
    for name in ("priority", "attempts", "max_attempts", "group", "headers"):
        value = getattr(message, name)
        if value:
            wire[name] = value
    if message.retry is not None:
        wire["retry"] = policy_to_wire(message.retry)
    if message.errors:
        wire["errors"] = [asdict(error) for error in message.errors]
    return wire


def _message(wire: Wire, derived_id: str, payload: Any, enqueued_at_ms: int) -> Message:
    return Message(
        id=is_a(wire.get("id", derived_id), str),
        payload=payload,
        enqueued_at_ms=int(wire.get("enqueued_at_ms", enqueued_at_ms)),
        priority=is_a(wire.get("priority", 0), int),
        attempts=int(wire.get("attempts", 0)),
        max_attempts=is_a(wire.get("max_attempts"), int, type(None)),
        retry=policy_from_wire(wire["retry"]) if "retry" in wire else None,
        group=is_a(wire.get("group"), str, type(None)),
        headers=is_a(wire.get("headers", {}), dict),
        errors=_errors(wire),
    )


def _seal(payloads: list[Any], codec: PayloadCodec) -> Wire:
    if codec is PLAIN:
        return {"payloads": payloads}
    raw = json.dumps(payloads, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return {"codec": codec.name, "sealed": base64.b64encode(codec.encode(raw)).decode()}


def _open(wire: Wire, key: str, seal: Seal) -> list[Any]:
    if "payloads" in wire:
        return list(is_a(wire["payloads"], list))
    codec = seal.find(wire["codec"], key)
    try:
        payloads = json.loads(codec.decode(base64.b64decode(wire["sealed"], validate=True)))
    except Exception as error:  # the codec is the user's: whatever it raises, this object is what it cannot read
        raise CorruptObject(key, f"codec {codec.name!r} cannot open it ({type(error).__name__}: {error})") from error
    return list(is_a(payloads, list))


def encode_messages(name: ObjectName, messages: Sequence[Message], codec: PayloadCodec = PLAIN) -> bytes:
    """Return the bytes of a message object."""
    first = messages[0].enqueued_at_ms
    entries = []
    for index, message in enumerate(messages):
        entry = _message_wire(message, message_id_at(name.id, index))
        if message.enqueued_at_ms != first:
            entry["enqueued_at_ms"] = message.enqueued_at_ms
        entries.append(entry)
    fields: Wire = {"id": name.id, "count": len(messages), "enqueued_at_ms": first}
    if any(entries):
        fields["messages"] = entries
    return dump("messages", fields | _seal([message.payload for message in messages], codec))


def decode_messages(body: bytes, key: str, name: ObjectName, seal: Seal) -> list[Message]:
    """Return the messages of the object ``name``; CorruptObject if it is not the object its key says."""

    def build(wire: Wire) -> list[Message]:
        payloads = _open(wire, key, seal)
        if wire["id"] != name.id or len(payloads) != name.count:
            raise CorruptObject(key, f"it holds {len(payloads)} messages of {wire['id']!r}: not what its key says")
        entries = wire.get("messages") or [{}] * name.count
        return [
            _message(entry, message_id_at(name.id, index), payload, int(wire["enqueued_at_ms"]))
            for index, (entry, payload) in enumerate(zip(entries, payloads, strict=True))
        ]

    return read("messages", body, key, build)


def encode_letter(letter: DeadLetter, codec: PayloadCodec = PLAIN) -> bytes:
    """Return the bytes of a dead letter."""
    message = letter.message
    fields = {
        "id": message.id,
        "dead_at_ms": letter.dead_at_ms,
        "reason": letter.reason,
        "source": letter.source,
        "enqueued_at_ms": message.enqueued_at_ms,
        "message": _message_wire(message, message.id),
    }
    return dump("letter", fields | _seal([message.payload], codec))


def decode_letter(body: bytes, key: str, seal: Seal) -> DeadLetter:
    """Return the dead letter in ``body``."""

    def build(wire: Wire) -> DeadLetter:
        (payload,) = _open(wire, key, seal)
        message = _message(wire["message"], wire["id"], payload, int(wire["enqueued_at_ms"]))
        return DeadLetter(message, int(wire["dead_at_ms"]), wire["reason"], wire["source"])

    return read("letter", body, key, build)


_SCHEDULE_TEXTS = ("id", "name", "cron", "timezone", "catch_up", "write_id")


def encode_schedule(definition: Definition, codec: PayloadCodec = PLAIN) -> bytes:
    """Return the bytes of a schedule."""
    message = definition.message
    fields: Wire = {name: getattr(definition, name) for name in _SCHEDULE_TEXTS}
    fields |= {"since_ms": definition.since_ms, "removed_at_ms": definition.removed_at_ms}
    fields |= {"enqueued_at_ms": message.enqueued_at_ms, "message": _message_wire(message, definition.id)}
    return dump("schedule", fields | _seal([message.payload], codec))


def decode_schedule(body: bytes, key: str, seal: Seal) -> Definition:
    """Return the schedule in ``body``."""

    def build(wire: Wire) -> Definition:
        (payload,) = _open(wire, key, seal)
        if wire["catch_up"] not in CATCH_UP:
            raise ValueError(f"there is no catch-up {wire['catch_up']!r:.80}")
        return Definition(
            message=_message(wire["message"], wire["id"], payload, int(wire["enqueued_at_ms"])),
            **{name: is_a(wire[name], str) for name in _SCHEDULE_TEXTS},
            since_ms=int(wire["since_ms"]),
            removed_at_ms=int(wire["removed_at_ms"]),
        )

    return read("schedule", body, key, build)


# -- the small ones ---------------------------------------------------------------------------------------------------


def encode_settings(settings: Settings) -> bytes:
    """Return the bytes of ``queue.json``."""
    return dump("queue", to_wire(settings))


def decode_settings(body: bytes, key: str) -> Settings:
    """Return the settings in ``queue.json``."""
    return read("queue", body, key, from_wire)


def encode_journal(names: Sequence[str]) -> bytes:
    """Return the bytes of a journal object: names settled lately."""
    return dump("settled", {"names": list(names)})


def decode_journal(body: bytes, key: str) -> frozenset[str]:
    """Return the names in a journal object."""
    return read("settled", body, key, lambda wire: frozenset(map(str, wire["names"])))


def encode_reservation(reservation: Reservation) -> bytes:
    """Return the bytes of a reserved deduplication key."""
    return dump("reservation", asdict(reservation))


def decode_reservation(body: bytes, key: str) -> Reservation:
    """Return the reservation in ``body``."""

    def build(wire: Wire) -> Reservation:
        times = int(wire["reserved_at_ms"]), int(wire["expires_at_ms"])
        lane = is_a(wire.get("lane", 0), int)
        return Reservation(str(wire["message_id"]), str(wire["name"]), *times, bool(wire["written"]), lane)

    return read("reservation", body, key, build)
