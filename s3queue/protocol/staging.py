"""Messages made ready: what the target of a replay is to hold in place of its letter's message.

A payload has no place in a ledger, and whoever finds the line of a replay later cannot know how it was edited. So the
very object that the target is to be is written first, below ``staged/{lane}/``; the line names it, and it is deleted when
the target is there. It is written under a name used once, by a request that is never repeated: no copy of it can land late
and be taken for one that was not moved yet. What got no line is cleared away by a later replay.
"""

from __future__ import annotations

from s3queue.core.codec import encode_messages
from s3queue.core.keys import ObjectName
from s3queue.core.ledger import Line
from s3queue.core.message import Message
from s3queue.errors import InvalidInput, NotFound, StoreUnavailable
from s3queue.protocol.lane import Lane
from s3queue.store.port import CREATE, delete_all, fetch, walk

LEFT_MS = 86_400_000
"""How old it is when it is cleared away; a line that names it is refused long before, see :class:`s3queue.core.upkeep.Replay`."""
_TRIES = 6
_BASE_S = 0.1


Placed = tuple[Lane, ObjectName, Message]
"""A message, the name of its object, and the lane in whose inbox that will be."""


def stage(lane: Lane, letter: str, id_: str, placed: Placed) -> Line:
    """Make a message ready for the replay of a letter (of message ``id_``) of ``lane``, and return the replay's line.

    It is placed in that very lane, or in one of another queue in the same bucket. A PUT.
    """
    there, name, message = placed
    now, key = _put(lane, encode_messages(name, [message], there.codec))
    ledger = there.keys.ledger(there.number) if there.keys.root != lane.keys.root else ""
    return Line(letter, "replay", letter, 0, str(name), id_, now, body=key, ledger=ledger)


def check_bucket(line: Line, lane: Lane, there: Lane) -> None:
    """Raise InvalidInput if another queue, for which the line is, has its objects in another bucket; a GET."""
    try:
        fetch(there.store, line.body)
    except NotFound:
        lane.store.delete(line.body)
        raise InvalidInput(
            f"The queue below {there.keys.root} is in another bucket.",
            remedy="Replay into a queue of the same bucket; copy what is to go elsewhere.",
        ) from None


def _put(lane: Lane, body: bytes) -> tuple[int, str]:
    for left in reversed(range(_TRIES)):
        now = lane.now_ms()
        key = f"{lane.keys.staged(lane.number)}{now:013d}-{lane.ids.new(now)}.json"
        try:
            lane.once.put(key, body, CREATE)
        except StoreUnavailable:
            if not left:
                raise
            lane.clock.sleep(lane.ids.random() * _BASE_S * 2 ** (_TRIES - left))
        else:
            return now, key
    raise AssertionError  # the last try returns or raises


def clear(lane: Lane) -> None:
    """Delete what was made ready more than a day ago and is in no line of the lane; a LIST, and a GET if there is some."""
    prefix, before_ms = lane.keys.staged(lane.number), lane.now_ms() - LEFT_MS
    made = ((key, key[len(prefix) :][:13]) for key in walk(lane.store, prefix))
    old = [key for key, at_ms in made if at_ms.isdigit() and int(at_ms) < before_ms]
    if old:
        lane.committer.read()
        needed = {line.body for line in lane.committer.ledger.outbox.values()}
        old = [key for key in old if key not in needed]
    delete_all(lane.store, old)
