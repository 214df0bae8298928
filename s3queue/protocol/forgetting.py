"""Forgetting deduplication keys: deleting reservations though DELETE knows no conditions.

A reservation lies under a key that may be reserved again at any time, and a DELETE may hit the new one. So whoever
deletes first puts up a *notice* (one object, ``forgetting.json``, changed by compare-and-swap, so one at a time):

* *put up the notice, read each reservation again, delete those that are what they were, take the notice down.*
* Whoever has reserved a key, and before it writes the message: *read the notice; is the key on it, wait until it is off;
  read the reservation again; is it not what it was, begin anew.*

A deletion that could hit a reservation has read its predecessor before that was replaced, so its notice was up before.
The notice is either still up, and is waited for, or was taken down after the deletion, which then shows. A notice that
was left standing is over after a minute, as whoever put it up sends its one DELETE within twenty seconds.

What remains: a DELETE that lands more than forty seconds after it was sent, a process that is stopped for as long right
before it sends it, clocks that differ by as much. Then a key may be enqueued
twice within its time. Nothing can lose a message, since the message is written whatever becomes of the reservation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from s3queue.core.codec import decode_reservation
from s3queue.core.kept import Forgetting, decode_forgetting, encode_forgetting, is_reservation
from s3queue.core.message import Reservation
from s3queue.errors import CorruptObject, NewerFormat, NotFound, OutcomeUnknown, PreconditionFailed, StoreUnavailable
from s3queue.protocol.lane import Lane
from s3queue.store.port import fetch
from s3queue.store.record import Record

NOTICE_MS = 60_000
SEND_WITHIN_S = 20.0
"""How long after it put up its notice a process may still send its DELETE, which is never repeated."""
MARGIN_MS = 2_000
_PAUSE_S = (0.05, 2.0)
_TRIES = 200

Tell = Callable[[CorruptObject], object]


def forget(lane: Lane, keys: Sequence[str], chosen: Callable[[Reservation], bool], tell: Tell) -> int | None:
    """Delete the reservations at ``keys`` (up to 1000) that are ``chosen``; return how many, None if others are at it.

    A GET each; for those chosen another, and together two PUTs and a DELETE. What cannot be read is told and left.
    """
    seen = _read(lane, keys, chosen, tell)
    if not seen:
        return 0
    notice = _notice(lane)
    standing = notice.read()
    if standing.value is not None and standing.value.names and standing.value.until_ms + MARGIN_MS > lane.now_ms():
        return None
    started, now = lane.clock.monotonic(), lane.now_ms()
    mine = Forgetting(lane.ids.new(now), frozenset(_name(lane, key) for key in seen), now + NOTICE_MS)
    try:
        up = notice.write(mine, standing)
    except (PreconditionFailed, OutcomeUnknown):
        return None  # somebody else's, or perhaps ours: then it ends by itself
    unchanged = lane.spread(lambda key: _unchanged(lane, key, seen[key]), seen)
    same = [key for key, is_same in zip(seen, unchanged, strict=True) if is_same]
    late = lane.clock.monotonic() - started > SEND_WITHIN_S
    left = lane.once.delete_many(same) if same and not late else tuple(same)
    with suppress(PreconditionFailed, OutcomeUnknown):  # over by itself, then
        notice.write(Forgetting(mine.id), up)
    return None if late else len(same) - len(left)


def forget_all(lane: Lane, keys: Sequence[str], chosen: Callable[[Reservation], bool], tell: Tell) -> int:
    """Do :func:`forget`, waiting for others that are at it; StoreUnavailable if they do not come to an end."""
    pause = _PAUSE_S[0]
    for _ in range(_TRIES):
        gone = forget(lane, keys, chosen, tell)
        if gone is not None:
            return gone
        lane.clock.sleep(pause)
        pause = min(pause * 2, _PAUSE_S[1])
    raise StoreUnavailable(
        f"Other processes keep forgetting keys ({lane.keys.forgetting}).",
        key=lane.keys.forgetting,
        remedy="Try again; set the clocks if they are wrong.",
    )


def wait_until_kept(lane: Lane, key: str) -> None:
    """Return once no notice names the reservation at ``key``; a GET if none does."""
    notice, name, pause = _notice(lane), _name(lane, key), _PAUSE_S[0]
    while True:
        try:
            standing = notice.read().value
        except NewerFormat:
            raise
        except CorruptObject:
            return  # as long as nobody can read it, nobody deletes
        if standing is None or name not in standing.names or standing.until_ms + MARGIN_MS <= lane.now_ms():
            return
        lane.clock.sleep(pause)
        pause = min(pause * 2, _PAUSE_S[1])


def _notice(lane: Lane) -> Record[Forgetting]:
    return Record(lane.store, lane.keys.forgetting, decode_forgetting, encode_forgetting)


def _name(lane: Lane, key: str) -> str:
    return lane.keys.name_in(lane.keys.dedup, key)


def _read(lane: Lane, keys: Sequence[str], chosen: Callable[[Reservation], bool], tell: Tell) -> dict[str, str]:
    """Return the ETags of the reservations that are chosen, by key."""

    def look(key: str) -> str | None:
        if not is_reservation(_name(lane, key)):
            tell(CorruptObject(key, "it is not a reservation's name: it is foreign"))
            return None
        try:
            found = fetch(lane.store, key)
            return found.etag if chosen(decode_reservation(found.body, key)) else None
        except NotFound:
            return None
        except CorruptObject as error:
            tell(error)
            return None

    etags = zip(keys, lane.spread(look, keys), strict=True)
    return {key: etag for key, etag in etags if etag is not None}


def _unchanged(lane: Lane, key: str, etag: str) -> bool:
    try:
        return lane.store.get(key, etag) is None
    except NotFound:
        return False
