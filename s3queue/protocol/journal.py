"""The journal of a lane: names settled lately, a few hundred an object, kept an hour.

It tells a message that arrives late from the ghost of one that was processed. It is written before the ledger forgets a
name, and must be read after the ledger that a name is judged against: what is forgotten in between is then in it.
Dead letters that were replayed or discarded have a journal of their own (``letters``).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from s3queue.core.codec import decode_journal, encode_journal
from s3queue.core.upkeep import SETTLED_KEPT_MS
from s3queue.errors import CorruptObject, NotFound
from s3queue.protocol.lane import Lane
from s3queue.store.port import CREATE, fetch, walk


def write(lane: Lane, names: Sequence[str], *, letters: bool = False) -> None:
    """Write names down as settled; one PUT."""
    now = lane.now_ms()
    key = f"{_prefix(lane, letters)}{now:013d}-{lane.ids.new(now)}.json"
    lane.store.put(key, encode_journal(names), CREATE)


def _prefix(lane: Lane, letters: bool) -> str:
    return lane.keys.letter_journal if letters else lane.keys.journal(lane.number)


Parts = dict[str, frozenset[str]]
"""What has been read of a journal, by key: its objects never change."""


def read(lane: Lane, *, letters: bool = False, parts: Parts | None = None) -> set[str]:
    """Return all names in the journal; a GET each few hundred. CorruptObject if a part cannot be read.

    ``parts`` is what was read before; only what is new is read again, and added to it.
    """
    parts = {} if parts is None else parts

    def add(key: str) -> None:
        # A part that is gone was expired by another sweep: it is older than any copy that could still land.
        with suppress(NotFound):
            parts[key] = decode_journal(fetch(lane.store, key).body, key)

    lane.spread(add, [key for key in _keys(lane, _prefix(lane, letters)) if key not in parts])
    return set().union(*parts.values())


def expire(lane: Lane, *, letters: bool = False) -> None:
    """Delete what is older than any ghost it could be needed for; the caller has just judged by it."""
    prefix = _prefix(lane, letters)
    cutoff = lane.now_ms() - SETTLED_KEPT_MS
    old = []
    for entry in lane.store.list(prefix).entries:
        written_at_ms = entry.key[len(prefix) :][:13]
        if not written_at_ms.isdigit():
            error = CorruptObject(entry.key, "it is not a journal object's name")
            lane.events.emit("error", error=error, doing="expiring the journal")
        elif int(written_at_ms) < cutoff:
            old.append(entry.key)
    if old:
        lane.store.delete_many(old)


def _keys(lane: Lane, prefix: str) -> list[str]:
    return [key for key in walk(lane.store, prefix) if key[len(prefix) :][:13].isdigit()]
