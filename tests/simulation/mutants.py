"""The engine with one safety rule taken away at a time: the simulation must notice each.

A mutant that survives is a hole in the simulation, or a rule that is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from s3queue.core import claiming, settling, upkeep
from s3queue.core.draft import Draft
from s3queue.core.keys import ObjectName, dedup_of, rank_of
from s3queue.core.ledger import Counter, Line
from s3queue.core.message import Message, Reservation
from s3queue.core.transitions import Strike
from s3queue.errors import OutcomeUnknown
from s3queue.protocol import consumer, dedup, janitor, journal
from s3queue.protocol.committer import Committer
from s3queue.protocol.janitor import Janitor
from s3queue.protocol.lane import Lane
from s3queue.protocol.outcomes import Delivery
from s3queue.protocol.sweeper import Sweeper
from s3queue.store.port import OVERWRITE
from s3queue.store.record import Record, Version
from tests.simulation.fleet_mutants import FLEET_MUTANTS
from tests.simulation.mutant import Mutant


def _no_fence() -> Any:
    """Settle by message alone: whoever holds it now."""
    original = settling.Removal.remove

    def remove(self: Any, handle: settling.Handle) -> Any:
        found: Any = original(self, handle)
        for ticket in self.draft.tickets.values():
            if isinstance(found, str) and ticket.claimed:
                found = original(self, replace(handle, ticket_id=ticket.id, token=ticket.token))
        return found

    return patch.object(settling.Removal, "remove", remove)


def _listing_ignores_cursor() -> Any:
    original = claiming._Taking.from_listing

    def from_listing(self: Any, listing: claiming.Listing) -> None:
        cursors, self.draft.cursors = self.draft.cursors, {}
        try:
            original(self, listing)
        finally:
            self.draft.cursors = cursors

    return patch.object(claiming._Taking, "from_listing", from_listing)


def _known_ignores_settled() -> Any:
    return patch.object(Draft, "known", lambda self, name: self.held(name))


def _delete_before_settled() -> Any:
    def look(self: Janitor, now: float) -> None:
        for name in self._touched:
            self._settled.setdefault(name, now)
        self._touched.clear()

    return patch.object(Janitor, "_look", look)


def _unknown_is_committed() -> Any:
    original = Record.write

    def write(self: Record[Any], value: Any, over: Version[Any]) -> Version[Any]:
        try:
            return original(self, value, over)
        except OutcomeUnknown:
            return Version(value, over.etag)

    return patch.object(Record, "write", write)


def _first_write_overwrites(kind: str) -> Any:
    """Let the first write of such a record overwrite what another has put there meanwhile."""

    def write(self: Record[Any], value: Any, over: Version[Any]) -> Version[Any]:
        if over.etag is not None or f"/{kind}" not in self.key:
            return original(self, value, over)
        version = Version(value, self._store.put(self.key, self._encode(value), OVERWRITE))
        self._cached = version
        return version

    original = Record.write
    return patch.object(Record, "write", write)


def _under_own_name() -> Any:
    original = dedup._complete

    def complete(lane: Lane, record: Any, version: Any, held: Reservation, message: Message) -> str:
        object_id = message.id.rpartition("-")[0]
        own = ObjectName(rank_of(message.priority), message.enqueued_at_ms, object_id, 1, dedup=dedup_of(held.name))
        return original(lane, record, version, replace(held, name=str(own)), message)

    return patch.object(dedup, "_complete", complete)


def _never_extended() -> Any:
    return patch.object(consumer.LaneConsumer, "_to_extend", lambda self: [])


def _delivered_twice() -> Any:
    original = consumer.LaneConsumer._read_part

    def read_part(self: consumer.LaneConsumer, *args: Any) -> Any:
        return original(self, *args) * 2

    return patch.object(consumer.LaneConsumer, "_read_part", read_part)


def _adopt_unguarded() -> Any:
    original = upkeep.Adopt.apply
    return patch.object(
        upkeep.Adopt, "apply", lambda self, draft, now: original(replace(self, judged_at_revision=1 << 60), draft, now)
    )


@contextmanager
def _journal_read_first() -> Iterator[None]:
    """Judge by what the journal held when the sweep began. Actors take turns within a sweep, so each has its own."""
    original, real = Sweeper.sweep, journal.read
    early: dict[int, set[str]] = {}

    def sweep(self: Sweeper) -> Any:
        early[id(self._lane)] = real(self._lane)
        try:
            return original(self)
        finally:
            del early[id(self._lane)]

    def read(lane: Lane, *, letters: bool = False, parts: Any = None) -> set[str]:
        if letters or id(lane) not in early:
            return real(lane, letters=letters, parts=parts)
        return early[id(lane)]

    with patch.object(Sweeper, "sweep", sweep), patch.object(journal, "read", read):
        yield


def _journal_unread() -> Any:
    real = journal.read
    return patch.object(
        journal, "read", lambda lane, letters=False, parts=None: real(lane, letters=True) if letters else set()
    )


def _letter_journal_unread() -> Any:
    real = journal.read
    return patch.object(journal, "read", lambda lane, letters=False, parts=None: set() if letters else real(lane))


def _forget_without_journal() -> Any:
    real = journal.write

    def write(lane: Lane, names: Sequence[str], *, letters: bool = False) -> None:
        if letters:
            real(lane, names, letters=True)

    return patch.object(journal, "write", write)


def _strike_unwritten() -> Any:
    def carry_out(lane: Lane, decided: Sequence[tuple[Line, Message]], since: float) -> None:
        del since
        lane.committer.defer(Strike(tuple(line.id for line, _ in decided)))

    return patch.object(consumer, "carry_out", carry_out)


def _line_holds_nothing() -> Any:
    return patch.object(Line, "holds_source", property(lambda self: False))


def _replay_twice() -> Any:
    def apply(self: upkeep.Replay, draft: Draft, now: int) -> list[str | None]:
        for number, line in enumerate(self.lines):
            draft.seen(line.source, now)
            draft.add_line(replace(line, id=f"{line.id}/{draft.revision}.{number}"))
            draft.count("replayed")
        return [None] * len(self.lines)

    return patch.object(upkeep.Replay, "apply", apply)


@contextmanager
def _prune_anything() -> Iterator[None]:
    def prunable(settled: Any, cursors: Any, name: str, now: int) -> bool:
        del cursors, now
        return name in settled

    with patch.object(upkeep, "prunable", prunable), patch.object(janitor, "prunable", prunable):
        yield


def _unseen() -> Any:
    return patch.object(Draft, "seen", lambda self, target, now: None)


def _limbo_forgotten() -> Any:
    return patch.object(Committer, "_settle_limbo", lambda self, version: None)


def _no_margin() -> Any:
    return patch.object(claiming, "RESCUE_MARGIN_MS", 0)


def _trust_for_ever() -> Any:
    return patch.object(consumer, "_trusted_s", lambda lease_ms: lease_ms * 10 / 1000)


def _never_worn_out() -> Any:
    return patch.object(consumer, "worn_out", lambda *args, **kwargs: "")


def _replays_uncounted() -> Any:
    original = Draft.count

    def count(self: Draft, counter: Counter, by: int = 1) -> None:
        if counter != "replayed":
            original(self, counter, by)

    return patch.object(Draft, "count", count)


def _always_present() -> Any:
    """Rely on a claim whatever became of the heartbeat."""

    def is_trusted(self: consumer.LaneConsumer, delivery: Delivery) -> bool:
        return not delivery.lease.lost and self.lane.clock.monotonic() < delivery.lease.trusted_until

    return patch.object(consumer.LaneConsumer, "is_trusted", is_trusted)


def _unpinned() -> Any:
    return patch.object(Draft, "pin", lambda self, name, by: None)


MUTANTS = (
    Mutant("no fencing", "a settle names its token", _no_fence, ("pauses", "wild clocks")),
    Mutant(
        "cursor ignored",
        "a listing gives nothing below the cursor",
        _listing_ignores_cursor,
        ("pauses", "late and paused"),
    ),
    Mutant("settled ignored", "a listing gives nothing that is settled", _known_ignores_settled),
    Mutant("deleted early", "deletion follows settlement", _delete_before_settled),
    Mutant("line not seen", "a claim advances the line that wrote its message", _unseen, ("night",), 1100),
    Mutant("unknown is committed", "a lost answer is resolved by reading", _unknown_is_committed),
    Mutant("unknown is lost", "a lost answer is resolved by the writer's number", _limbo_forgotten),
    Mutant("first write overwrites", "the first ledger is create-only", lambda: _first_write_overwrites("ledger")),
    Mutant("no rescue margin", "a lease is left alone for as long as clocks may differ", _no_margin, ("skew",)),
    Mutant("lease trusted too long", "a lease is not relied on to its end", _trust_for_ever),
    Mutant(
        "adopt unguarded",
        "a judgement is void if names were forgotten since",
        _adopt_unguarded,
        ("late and paused",),
        1900,
    ),
    Mutant("journal read first", "the journal is read after the ledger", _journal_read_first, ("late and paused",)),
    Mutant("journal unread", "the journal tells ghosts from late arrivals", _journal_unread, ("late puts",)),
    Mutant(
        "forgotten without journal",
        "the journal is written before the ledger forgets",
        _forget_without_journal,
        ("late puts",),
    ),
    Mutant("forgotten above the cursor", "names above the cursor stay in the ledger", _prune_anything, ("late puts",)),
    Mutant("struck unwritten", "a line is struck after its target is written", _strike_unwritten),
    Mutant("line holds nothing", "an outbox line keeps its source", _line_holds_nothing),
    Mutant("replayed twice", "a letter has one replay at a time", _replay_twice, ("calm", "throttling")),
    Mutant("letter journal unread", "a replayed letter is known for an hour", _letter_journal_unread, ("late puts",)),
    Mutant("attempts unlimited", "lost claims count as attempts", _never_worn_out),
    Mutant("replays uncounted", "counters equal the history", _replays_uncounted),
    Mutant("reservation overwrites", "a key is reserved once", lambda: _first_write_overwrites("dedup/")),
    Mutant("written under its own name", "a key's message is written under the name reserved", _under_own_name),
    Mutant("never extended", "no message runs twice without a fault", _never_extended, ("calm",)),
    Mutant("delivered twice", "a claim delivers a message once", _delivered_twice, ("calm",)),
    Mutant("heartbeat not needed", "a worker that may be taken for dead relies on nothing", _always_present),
    Mutant("nothing pinned", "what a claim takes is held while it takes it", _unpinned),
    *FLEET_MUTANTS,
)
"""Each must be caught; :mod:`tests.simulation.test_mutants` says how."""
