"""The dead letter queue: look at letters, move them back, throw them away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from s3queue.batches import batched
from s3queue.core.codec import decode_letter
from s3queue.core.keys import lane_of_letter, parse_letter, rank_of
from s3queue.core.ledger import Line
from s3queue.core.message import DeadLetter
from s3queue.core.transitions import Replay
from s3queue.core.upkeep import GOING
from s3queue.errors import CorruptObject, InvalidInput, NotFound, S3QueueError
from s3queue.protocol import frames, journal
from s3queue.protocol.changing import Changed
from s3queue.protocol.lane import Lane
from s3queue.protocol.moves import ORPHANED_MS, finish_orphans
from s3queue.protocol.staging import Placed, check_bucket, clear, stage
from s3queue.store.port import fetch, walk

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 200
_READ_AT_ONCE = 64
_PARTS_KEPT = 20_000
_CLOCKS_DIFFER_MS = 5_000
_CLEAR_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: ids of the messages moved back, and what could not be, with the reason."""

    replayed: tuple[str, ...]
    refused: dict[str, str]


NO_LETTER = "there is no letter of it, or none that can be read"
GHOST = "it was replayed or discarded before"
Remake = Callable[[Lane, DeadLetter], Placed]
"""Takes the lane of a letter and the letter; returns which message to write in its place, and where."""


class PartlyChanged(S3QueueError):
    """What broke off in the middle; ``changed`` is what was done, or refused, before."""

    def __init__(self, changed: Changed, error: BaseException) -> None:
        super().__init__(str(error))
        self.changed = changed


@dataclass(slots=True)
class Settled:
    """Lines that got into their ledgers, and those that did not, with the reason."""

    lines: list[Line] = field(default_factory=list)
    refused: list[tuple[Line, str]] = field(default_factory=list)


def _missing(names: Iterable[str], found: AbstractSet[str]) -> dict[str, str]:
    """Return, by the id of its message, each of these letters that was not found, with the reason."""
    ids = [parsed[1] for name in names if (parsed := parse_letter(name)) is not None]
    return {id_: NO_LETTER for id_ in ids if id_ not in found}


class DeadLetters:
    """The dead letters of a queue. Letters that cannot be read are told as error events and left as they are."""

    def __init__(self, lane: Callable[[int], Lane]) -> None:
        self._lane_of = lane
        self._journal: journal.Parts = {}
        self._clear_at = float("-inf")

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
        done = self._replay(self._choose(ids, filter))
        refused = done.refused
        for id_ in [ids] if isinstance(ids, str) else dict.fromkeys(ids or ()):
            if id_ not in done.replayed:
                refused.setdefault(id_, NO_LETTER)
        return done

    def replay_letters(self, names: Sequence[str], remake: Remake | None = None) -> Replayed:
        """Do what :meth:`replay` does with the letters of these names, which are not listed again: two GETs each.

        ``remake`` makes another message of a letter, which is written in its place; InvalidInput that it raises is why that
        letter is refused. PartlyChanged, of what failed, tells what was decided before: that is moved whatever comes.
        """
        lines: list[Line] = []
        refused: dict[str, str] = {}
        broken: S3QueueError | None = None
        for name, letter in self._letters(names, None):
            lane = self._lane_of(lane_of_letter(name))
            try:
                if remake is None:
                    lines.append(self._line(lane, name, letter))
                else:
                    placed = remake(lane, letter)
                    line = stage(lane, name, letter.id, placed)
                    if line.ledger and not lines:
                        check_bucket(line, lane, placed[0])
                    lines.append(line)
            except InvalidInput as error:
                refused[letter.id] = str(error)
            except S3QueueError as error:
                broken = error
                break
        done = Settled()
        try:
            self._settle(lines, done)
            if remake is not None:
                self._clear_staged({lane_of_letter(name) for name in names})
        except S3QueueError as error:
            broken = broken or error
        refused |= {line.message_id: why for line, why in done.refused}
        moved = tuple(line.message_id for line in done.lines)
        if broken is not None:
            raise PartlyChanged(Changed(moved, refused), broken) from broken
        return Replayed(moved, _missing(names, {*moved, *refused}) | refused)

    def _clear_staged(self, numbers: AbstractSet[int]) -> None:
        """Clear away what killed replays have staged in vain, now and then."""
        lane = self._lane()
        if lane.clock.monotonic() >= self._clear_at:
            self._clear_at = lane.clock.monotonic() + _CLEAR_EVERY_S
            for number in sorted(numbers):
                clear(self._lane_of(number))

    def letters(self, names: Iterable[str]) -> Iterator[tuple[str, DeadLetter]]:
        """Yield the letters of these names that are there, each with its name; a GET each."""
        return self._letters(names, None)

    def discard_letters(self, names: Sequence[str], *, unread: bool = False) -> Changed:
        """Delete the letters of these names for good; ``done`` has their names.

        A GET each tells of those that are not there any more; ``unread``: they are not looked at. Those that are being
        replayed are left alone, and so are those that were, by the journal. Refused ones are by name, too. PartlyChanged
        as for :meth:`replay_letters`.
        """
        there = list(names) if unread else [name for name, _ in self._letters(names, None)]
        refused = dict.fromkeys(names, NO_LETTER)
        for name in there:
            refused.pop(name, None)
        done = Settled()
        try:
            self._discard(there, done)
        except S3QueueError as error:
            raise PartlyChanged(self._discarded(done, refused), error) from error
        return self._discarded(done, refused)

    @staticmethod
    def _discarded(done: Settled, refused: dict[str, str]) -> Changed:
        """Return what became of the letters; those that were being discarded already are discarded as well."""
        gone = (*done.lines, *(line for line, why in done.refused if why == GOING))
        refused |= {line.source: why for line, why in done.refused if why != GOING}
        return Changed(tuple(line.source for line in gone), refused)

    def _discard(self, names: Sequence[str], done: Settled) -> None:
        for some in batched(names, _BATCH):
            now = self._lane().now_ms()
            parsed = ((name, parse_letter(name)) for name in some)
            lines = [Line(name, "discard", name, 0, name, found[1], now) for name, found in parsed if found is not None]
            self._settle(lines, done)

    def _gone(self, lane: Lane) -> set[str]:
        """Return the letters that were replayed or discarded lately; a LIST, and a GET for each part not read before."""
        if len(self._journal) > _PARTS_KEPT:
            self._journal = {}
        return journal.read(lane, letters=True, parts=self._journal)

    def _replay(self, chosen: Iterator[tuple[str, DeadLetter]]) -> Replayed:
        """Move the letters, commit by commit."""
        done = Settled()
        for batch in batched(chosen, _BATCH):
            self._settle(
                [self._line(self._lane_of(lane_of_letter(name)), name, letter) for name, letter in batch], done
            )
        return Replayed(
            tuple(line.message_id for line in done.lines), {line.message_id: why for line, why in done.refused}
        )

    def _settle(self, lines: Sequence[Line], done: Settled) -> None:
        """Put lines into the ledgers of their letters' lanes and carry them out.

        What stands in a ledger is in ``done`` whatever fails afterwards: who finds it there carries it out. A line that is
        refused because another has been left standing finishes that.
        """
        for number in sorted({lane_of_letter(line.source) for line in lines}):
            lane, decided, refused = self._lane_of(number), [], []
            for line, why in self._decide(lane, [line for line in lines if lane_of_letter(line.source) == number]):
                if why is None:
                    decided.append(line)
                else:
                    refused.append((line, why))
            done.lines += decided
            done.refused += refused
            for line in decided:
                if line.kind == "replay":
                    lane.events.emit("message-replayed", id=line.message_id, letter=line.source)
            staged = [line.body for line, _ in refused if line.body]
            if staged:
                lane.store.delete_many(staged)
            before_ms, outbox = lane.now_ms() - 2 * ORPHANED_MS, lane.committer.ledger.outbox
            standing = [outbox[line.id] for line, _ in refused if line.id in outbox]
            left = [line for line in standing if line.kind == "discard" or line.decided_at_ms < before_ms]
            finish_orphans(lane, [*decided, *left])

    def _decide(self, lane: Lane, lines: Sequence[Line]) -> Sequence[tuple[Line, str | None]]:
        """Put the lines into the ledger, unless they are of ghosts; return each with the reason if it was refused.

        The journal is read after the ledger, and the judgement is void if letters were replayed or discarded since.
        """
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
        rows = (frames.letter_row(letter) | {"source": letter.source} for letter in self.each(filter=filter))
        return frames.to_dataframe(frames.LETTERS, rows)

    def _delete(self, names: Sequence[str]) -> int:
        done = Settled()
        self._discard(names, done)
        return len(done.lines)

    def _choose(
        self, ids: str | Iterable[str] | None, chosen: Callable[[DeadLetter], bool] | None
    ) -> Iterator[tuple[str, DeadLetter]]:
        if (ids is None) == (chosen is None):
            raise InvalidInput("Say which letters.", remedy="Give ids, or filter=… (lambda letter: True for all).")
        names = self.names() if ids is None else self._named([ids] if isinstance(ids, str) else list(ids))
        yield from self._letters(list(names), chosen)  # as they are now: what is replayed may die again meanwhile

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
