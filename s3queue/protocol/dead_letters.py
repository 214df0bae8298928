"""The dead letter queue: look at letters, move them back, throw them away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from s3queue.core.codec import decode_letter
from s3queue.core.keys import lane_of_letter, parse_letter, rank_of
from s3queue.core.ledger import Line
from s3queue.core.message import DeadLetter
from s3queue.core.transitions import Forget, Replay
from s3queue.errors import CorruptObject, InvalidInput, NotFound, S3QueueError
from s3queue.protocol import frames, journal
from s3queue.protocol.changing import Changed
from s3queue.protocol.lane import Lane
from s3queue.protocol.moves import delete_letters, finish_orphans
from s3queue.protocol.viewing import batched
from s3queue.store.port import fetch, walk

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 200
_READ_AT_ONCE = 64
_PARTS_KEPT = 20_000
_CLOCKS_DIFFER_MS = 5_000
COLUMNS: frames.Schema = {
    "id": "str",
    "dead_at": frames.UTC_TIME,
    "enqueued_at": frames.UTC_TIME,
    "reason": "str",
    "attempts": "Int64",
    "error_type": "str",
    "error_message": "str",
    "traceback": "str",
    "worker": "str",
    "payload": "object",
    "priority": "Int64",
    "group": "str",
    "headers": "object",
    "source": "str",
}
"""The columns of :meth:`DeadLetters.to_dataframe` and their dtypes."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: ids of the messages moved back, and what could not be, with the reason."""

    replayed: tuple[str, ...]
    refused: dict[str, str]


NO_LETTER = "there is no letter of it, or none that can be read"
GHOST = "it was replayed or discarded before"
MOVING = "it is being replayed"


def _missing(names: Iterable[str], found: AbstractSet[str]) -> dict[str, str]:
    """Return, by the id of its message, each of these letters that was not found, with the reason."""
    ids = [parsed[1] for name in names if (parsed := parse_letter(name)) is not None]
    return {id_: NO_LETTER for id_ in ids if id_ not in found}


class DeadLetters:
    """The dead letters of a queue. Letters that cannot be read are told as error events and left as they are."""

    def __init__(self, lane: Callable[[int], Lane]) -> None:
        self._lane_of = lane
        self._journal: journal.Parts = {}

    def _lane(self) -> Lane:
        return self._lane_of(0)

    def names(self) -> Iterator[str]:
        """Yield the names of all letters, oldest first: a LIST a thousand, no GET."""
        lane = self._lane()
        for key in walk(lane.store, lane.keys.dlq):
            name = lane.keys.name_in(lane.keys.dlq, key)
            if parse_letter(name) is not None:
                yield name
            else:
                lane.events.emit("error", error=CorruptObject(key, "it is foreign"), doing="listing dead letters")

    def count(self) -> int:
        """Return how many letters there are."""
        return sum(1 for _ in self.names())

    def list(self, limit: int | None = 100, *, filter: Callable[[DeadLetter], bool] | None = None) -> list[DeadLetter]:  # noqa: A002
        """Return the oldest letters, up to ``limit`` (None: all) for which ``filter`` is true; a GET each."""
        at_once = _READ_AT_ONCE if limit is None else min(limit, _READ_AT_ONCE)
        return [letter for _, letter in islice(self._letters(self.names(), filter, at_once), limit)]

    def each(
        self,
        *,
        filter: Callable[[DeadLetter], bool] | None = None,  # noqa: A002 - the name users look for
    ) -> Iterator[DeadLetter]:
        """Yield all letters for which ``filter`` is true, oldest first, each read (a GET) as it is wanted, or a little before."""
        return (letter for _, letter in self._letters(self.names(), filter))

    def get(self, message_id: str) -> DeadLetter:
        """Return the letter of a message; raise NotFound."""
        lane = self._lane()
        for name in self._named([message_id]):
            return self._read(lane, name)
        raise NotFound(f"{lane.keys.dlq}…-{message_id}.json")

    def replay(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        filter: Callable[[DeadLetter], bool] | None = None,  # noqa: A002 - the name users look for
    ) -> Replayed:
        """Move letters back into the inbox with their attempts reset; their errors stay with them.

        Give ``ids`` of messages, or a ``filter`` (``lambda letter: True`` for all). Each is moved exactly once even if
        two do it, or one dies in the middle: the moves stand in the ledger before they are made.
        """
        ids = ids if ids is None or isinstance(ids, str) else list(ids)
        done = self._replay(list(self._choose(ids, filter)))
        refused = done.refused
        for id_ in [ids] if isinstance(ids, str) else dict.fromkeys(ids or ()):
            if id_ not in done.replayed:
                refused.setdefault(id_, NO_LETTER)
        return done

    def replay_letters(self, names: Sequence[str]) -> Replayed:
        """Do what :meth:`replay` does with the letters of these names, which are not listed again: two GETs each."""
        done = self._replay(list(self._letters(names, None)))
        return Replayed(done.replayed, _missing(names, {*done.replayed, *done.refused}) | done.refused)

    def letters(self, names: Iterable[str]) -> Iterator[tuple[str, DeadLetter]]:
        """Yield the letters of these names that are there, each with its name; a GET each."""
        return self._letters(names, None)

    def moving(self, names: Iterable[str]) -> dict[str, str]:
        """Return, by name, why letters are not to be touched: they are being replayed, or are ghosts of ones that were.

        Two GETs a lane, and one for each part of the journal that was not read before.
        """
        found: dict[str, str] = {}
        gone: set[str] | None = None
        for number, own in groupby(sorted(names, key=lane_of_letter), lane_of_letter):
            lane, some = self._lane_of(number), list(own)
            lane.committer.read()
            gone = self._gone(lane) if gone is None else gone
            found |= {name: GHOST for name in some if name in gone}
            found |= {name: MOVING for name in some if name in lane.committer.ledger.outbox}
        return found

    def discard_letters(self, names: Sequence[str], *, unread: bool = False) -> Changed:
        """Delete the letters of these names (up to 1000) for good; ``done`` has their names.

        A GET each tells of those that are not there any more; ``unread``: they are not looked at. Those that are being
        replayed are left alone, and so are those that were, by the journal. Refused ones are by name, too.
        """
        there = list(names) if unread else [name for name, _ in self._letters(names, None)]
        gone: list[str] = []
        refused = dict.fromkeys(names, NO_LETTER)
        for number in sorted({lane_of_letter(name) for name in there}):
            lane, own = self._lane_of(number), [name for name in there if lane_of_letter(name) == number]
            taken = self._forget(lane, own)
            delete_letters(lane, [name for name in own if name not in taken])
            lane.committer.read()  # a replay decided before the journal had them may have read them
            taken |= {name: MOVING for name in own if name in lane.committer.ledger.outbox}
            gone += [name for name in own if name not in taken]
            refused |= taken
        return Changed(tuple(gone), {name: why for name, why in refused.items() if name not in gone})

    def _forget(self, lane: Lane, names: Sequence[str]) -> dict[str, str]:
        """Write down that these letters will be deleted; return those that will not, as they are or were replayed."""
        while True:
            lane.committer.read()
            judged, ghosts = lane.committer.ledger.revision, self._gone(lane)
            real = tuple(name for name in names if name not in ghosts)
            (moving,) = lane.committer.commit(Forget(real, spares=True, judged_at_revision=judged))
            if moving is not None:
                found = dict.fromkeys((name for name in names if name in ghosts), GHOST)
                return found | {name: MOVING for name in names if name in moving}

    def _gone(self, lane: Lane) -> set[str]:
        """Return the letters that were replayed or discarded lately; a LIST, and a GET for each part not read before."""
        if len(self._journal) > _PARTS_KEPT:
            self._journal = {}
        return journal.read(lane, letters=True, parts=self._journal)

    def _replay(self, chosen: Sequence[tuple[str, DeadLetter]]) -> Replayed:
        """Move the letters, commit by commit."""
        lane = self._lane()
        replayed: list[str] = []
        refused: dict[str, str] = {}
        for start in range(0, len(chosen), _BATCH):
            batch = chosen[start : start + _BATCH]
            for number in sorted({lane_of_letter(name) for name, _ in batch}):
                own, decided = self._lane_of(number), []
                for line, reply in self._decide(own, [pair for pair in batch if lane_of_letter(pair[0]) == number]):
                    if reply is None:
                        decided.append(line)
                        replayed.append(line.message_id)
                        lane.events.emit("message-replayed", id=line.message_id, letter=line.source)
                    else:
                        refused[line.message_id] = reply
                finish_orphans(own, decided)
        return Replayed(tuple(replayed), refused)

    def _decide(self, lane: Lane, chosen: Sequence[tuple[str, DeadLetter]]) -> Sequence[tuple[Line, str | None]]:
        """Put the moves into the ledger, unless they are of ghosts; return each with the reason if it was refused.

        The journal is read after the ledger, and the judgement is void if letters were replayed or discarded since.
        """
        lines = [self._line(lane, name, letter) for name, letter in chosen]
        while True:
            lane.committer.read()
            judged = lane.committer.ledger.revision
            gone = self._gone(lane)
            real = [line for line in lines if line.source not in gone]
            (replies,) = lane.committer.commit(Replay(tuple(real), judged))
            if replies is not None:
                refused = [(line, GHOST) for line in lines if line.source in gone]
                return [*zip(real, replies, strict=True), *refused]

    def discard(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        filter: Callable[[DeadLetter], bool] | None = None,  # noqa: A002 - the name users look for
    ) -> int:
        """Delete letters for good and return how many; choose as for :meth:`replay`."""
        return self._delete([name for name, _ in self._choose(ids, filter)])

    def purge(self) -> int:
        """Delete all letters for good, unread, and return how many."""
        return self._delete(list(self.names()))

    def to_dataframe(
        self,
        *,
        filter: Callable[[DeadLetter], bool] | None = None,  # noqa: A002 - the name users look for
    ) -> pd.DataFrame:
        """Return the letters as a pandas DataFrame, a row each, oldest first; the same columns when there are none.

        Times are UTC; ``error_*``, ``traceback`` and ``worker`` are of the last attempt. Needs pandas; a GET a letter.
        """
        return frames.to_dataframe(COLUMNS, map(_row, self.each(filter=filter)))

    def _delete(self, names: Sequence[str]) -> int:
        gone = 0
        for number in sorted({lane_of_letter(name) for name in names}):
            lane, own = self._lane_of(number), [name for name in names if lane_of_letter(name) == number]
            for start in range(0, len(own), 1000):
                some = own[start : start + 1000]
                lane.committer.commit(Forget(tuple(some)), fresh=True)
                gone += delete_letters(lane, some)
        return gone

    def _choose(
        self, ids: str | Iterable[str] | None, chosen: Callable[[DeadLetter], bool] | None
    ) -> Iterator[tuple[str, DeadLetter]]:
        if (ids is None) == (chosen is None):
            raise InvalidInput("Say which letters.", remedy="Give ids, or filter=… (lambda letter: True for all).")
        names = self.names() if ids is None else self._named([ids] if isinstance(ids, str) else list(ids))
        yield from self._letters(names, chosen)

    def _named(self, ids: Sequence[str]) -> Iterator[str]:
        wanted = set(ids)
        for name in self.names():
            parsed = parse_letter(name)
            if parsed is not None and parsed[1] in wanted:
                yield name

    def _letters(
        self, names: Iterable[str], chosen: Callable[[DeadLetter], bool] | None, at_once: int = _READ_AT_ONCE
    ) -> Iterator[tuple[str, DeadLetter]]:
        lane = self._lane()
        for some in batched(iter(names), max(at_once, 1)):
            for name, letter in zip(some, lane.spread(self._read_if_there, some), strict=True):
                if letter is not None and (chosen is None or chosen(letter)):
                    yield name, letter

    def _read_if_there(self, name: str) -> DeadLetter | None:
        """Return the letter; None if it was replayed or discarded meanwhile, or cannot be read, which is told."""
        lane = self._lane()
        try:
            return self._read(lane, name)
        except NotFound:
            return None
        except S3QueueError as error:
            lane.events.emit("error", error=error, doing=f"reading dead letter {name}")
            return None

    def _read(self, lane: Lane, name: str) -> DeadLetter:
        key = lane.keys.letter(name)
        found = fetch(lane.store, key)
        return decode_letter(found.body, key, lane.seal)

    def _line(self, lane: Lane, name: str, letter: DeadLetter) -> Line:
        now = lane.now_ms()
        mark = lane.settings().group_mark(letter.message.group)
        # Not visible before it died, lest it die again at the same time, and so under the same name.
        parsed = parse_letter(name)
        at_ms = max(now, min(parsed[0], now + _CLOCKS_DIFFER_MS)) if parsed is not None else now
        target = lane.naming.name(rank_of(letter.message.priority), at_ms, 1, mark)
        return Line(
            id=name, kind="replay", source=name, index=0, target=str(target), message_id=letter.id, decided_at_ms=now
        )


def _row(letter: DeadLetter) -> dict[str, Any]:
    message, last = letter.message, letter.errors[-1] if letter.errors else None
    return {
        "id": letter.id,
        "dead_at": letter.dead_at_ms,
        "enqueued_at": message.enqueued_at_ms,
        "reason": letter.reason,
        "attempts": message.attempts,
        "error_type": last.type if last else "",
        "error_message": last.message if last else "",
        "traceback": last.traceback if last else "",
        "worker": last.worker if last else "",
        "payload": letter.payload,
        "priority": message.priority,
        "group": message.group or "",
        "headers": dict(message.headers),
        "source": letter.source,
    }
