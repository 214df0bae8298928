"""Results: what handlers returned, a message an object.

A result is written before the completion is recorded, so a completed message has one. It names the claim it is of, and is
written over only by that of a later claim: whatever a worker writes that lost its claim, the attempt that was recorded,
the last of all that had a claim, has the last word.
"""

from __future__ import annotations

from typing import Any

from s3queue.core.checking import check_number
from s3queue.core.kept import Result, decode_result, encode_result
from s3queue.core.keys import is_message_id, letter_name, parse_letter
from s3queue.errors import (
    CorruptObject,
    InvalidName,
    NoResult,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
)
from s3queue.ids import made_at_ms
from s3queue.protocol.lane import Lane
from s3queue.protocol.outcomes import Delivery
from s3queue.store.port import fetch, walk
from s3queue.store.record import Record, Version

MAX_WAIT_S = 86_400
_FIRST_PAUSE_S = 0.1
_PAUSE_S = 5.0
_GROWTH = 1.5
_SKEW_MS = 600_000
_ROUNDS = 20


def keep(lane: Lane, delivery: Delivery, value: Any) -> None:
    """Write the value of an attempt, unless a later claim of the message has written one: one PUT, seldom a GET and another.

    Raise CorruptObject if what is there cannot be read: it is left as it is.
    """
    record = Record(lane.store, lane.keys.result(delivery.id), decode_result, encode_result)
    claim = (lane.number, delivery.handle.token, delivery.claimed_at_ms)
    mine = Result(delivery.id, value, lane.now_ms(), *claim)
    there: Version[Result] = Version(None, None)
    for _ in range(_ROUNDS):
        try:
            record.write(mine, there)
        except (PreconditionFailed, OutcomeUnknown):
            there = record.read()
        else:
            return
        if there.value is not None and not there.value.gives_way_to(mine):
            return
    raise OutcomeUnknown(record.key)


def read(lane: Lane, message_id: str, wait_s: float) -> Any:
    """Return what the handler returned, waiting up to ``wait_s`` seconds for it; raise NoResult, which says why.

    A GET for each look, 0.1 to 5 seconds apart, and a LIST of the dead letters in the end and at every late look.
    """
    if not is_message_id(message_id):
        raise InvalidName(f"{message_id!r} is no message's id.", remedy="Use what enqueue returned.")
    check_number("wait", wait_s, 0, MAX_WAIT_S)
    key, clock = lane.keys.result(message_id), lane.clock
    deadline, pause = clock.monotonic() + wait_s, _FIRST_PAUSE_S
    while True:
        try:
            return _value(fetch(lane.store, key).body, key, message_id)
        except NotFound:
            left = deadline - clock.monotonic()
        last = left <= 0 or not lane.settings().results
        if last or pause >= _PAUSE_S:
            _check_alive(lane, message_id, key)
        if last:
            raise NoResult(message_id, key, _why(lane, message_id))
        clock.sleep(min(pause, left))
        pause = min(pause * _GROWTH, _PAUSE_S)


def _value(body: bytes, key: str, message_id: str) -> Any:
    found = decode_result(body, key)
    if found.id != message_id:
        raise CorruptObject(key, f"it is the result of {found.id!r}: not what its key says")
    return found.value


def _check_alive(lane: Lane, message_id: str, key: str) -> None:
    """Raise NoResult if there is a dead letter of the message: a LIST for each thousand that died since it was made."""
    born = max(0, (made_at_ms(message_id) or 0) - _SKEW_MS)
    keys = walk(lane.store, lane.keys.dlq, lane.keys.dlq + letter_name(born, ""))
    letters = (parse_letter(lane.keys.name_in(lane.keys.dlq, letter)) for letter in keys)
    if any(letter is not None and letter[1] == message_id for letter in letters):
        raise NoResult(message_id, key, "dead")


def _why(lane: Lane, message_id: str) -> str:
    if not lane.settings().results:
        return "off"
    made = made_at_ms(message_id)
    kept_ms = lane.settings().result_ttl_s * 1000
    return "gone" if made is not None and made + kept_ms < lane.now_ms() else "unfinished"
