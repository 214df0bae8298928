"""The ledger against a model: whatever happens in whatever order, nothing is lost, nothing is held twice.

The model keeps, for every message, who holds it or what became of it. It predicts each reply and the whole next ledger
but for one freedom: which of the messages that may be claimed are.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from s3queue.core.claiming import CURSOR_MARGIN_MS, RESCUE_MARGIN_MS
from s3queue.core.codec import decode_ledger, encode_ledger
from s3queue.core.invariants import step_violations, violations
from s3queue.core.keys import ObjectName, count_of, group_of, rank_in, visible_at_ms_of
from s3queue.core.ledger import Ledger, Line, Ticket
from s3queue.core.transitions import (
    Adopt,
    Cancel,
    Claim,
    Claimed,
    Discard,
    DropTicks,
    Extend,
    Fire,
    Handle,
    Import,
    Listing,
    Move,
    Outcome,
    Pause,
    Prune,
    Recall,
    Release,
    Replay,
    Request,
    Reschedule,
    Reset,
    Seen,
    Settle,
    Strike,
    Swept,
    apply,
)
from s3queue.core.upkeep import GOING, MOVING, SETTLED_KEPT_MS
from s3queue.ids import encode
from tests.core.samples import NOW

Where = tuple[str, int]
AVAILABLE = ("", 0)
LEASE_MS = 10_000
GONE = "its lease was rescued, reset or superseded"


class Model:
    """What must be so: each message's holder or outcome, each move, and what the bucket holds."""

    def __init__(self) -> None:
        self.holder: dict[Where, tuple[str, int]] = {}
        self.outcome: dict[Where, str] = {}
        self.lines: dict[str, Line] = {}
        self.settled: set[str] = set()
        self.forgotten: set[str] = set()
        self.expires: dict[str, int] = {}
        self.inbox: dict[str, int] = {}  # name → when it landed
        self.letters: set[str] = set()
        self.journal: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.ticks: dict[str, int] = {}
        self.fired: set[tuple[str, int]] = set()
        self.since: dict[str, int] = {}
        self.scheduled_at = 0

    def ticketed(self, name: str) -> bool:
        return (name, 0) in self.holder or (name, 0) in self.outcome

    def known(self, name: str) -> bool:
        held = any(where[0] == name for where in self.holder)
        return held or name in self.settled or any(line.source == name for line in self.lines.values())

    def ticket(self, name: str) -> None:
        assert not self.ticketed(name), f"{name} was ticketed twice"
        self.counts["ticketed"] += count_of(name)
        self.seen(name)
        self.holder.update({(name, index): AVAILABLE for index in range(count_of(name))})

    def settle(self, where: Where, kind: str) -> None:
        assert where not in self.outcome, f"{where} has two outcomes"
        del self.holder[where]
        self.outcome[where] = kind
        self.counts[kind] += 1

    def seen(self, target: str) -> None:
        for line in [
            line for line in self.lines.values() if line.target == target and line.kind not in ("replay", "import")
        ]:
            self.strike(line.id)

    def strike(self, line_id: str) -> None:
        line = self.lines.pop(line_id)
        if line.holds_source:
            self.close(line.source)

    def close(self, name: str) -> None:
        if not self.known(name):
            self.settled.add(name)

    def free(self, ticket_id: str) -> None:
        self.expires.pop(ticket_id, None)
        self.holder = {w: AVAILABLE if h[0] == ticket_id else h for w, h in self.holder.items()}


class LedgerMachine(RuleBasedStateMachine):
    listings = Bundle("listings")
    tickets = Bundle("tickets")
    requests = Bundle("requests")

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger()
        self.model = Model()
        self.now = NOW
        self.serial = 0
        self.paused = False
        self.cursors: dict[int, list[str]] = {}
        self.staged: list[Line] = []

    # --- the world

    def put(self, rank: int, count: int, at_ms: int, group: str = "") -> str:
        self.serial += 1
        made = str(ObjectName(rank, at_ms, encode(self.serial, 20), count, group))
        self.model.inbox[made] = self.now
        return made

    def submit(self, *asked: Request) -> list[Any]:
        """Apply requests, and check all that must hold of any step."""
        before, kept = self.ledger, copy.deepcopy(self.ledger)
        after, replies = apply(before, asked, self.now)
        assert before == kept, "apply changed its input"
        assert violations(after) == []
        assert step_violations(before, after) == []
        if after is not before:
            assert decode_ledger(encode_ledger(after), "key") == after
        self.ledger = after
        for rank, cursor in after.cursors.items():
            self.cursors.setdefault(rank, [""]).append(cursor)
        return replies

    @rule(
        rank=st.sampled_from([4, 9]),
        count=st.sampled_from([1, 1, 2, 5]),
        key_age_ms=st.sampled_from([0, 0, 500, CURSOR_MARGIN_MS + 1, 30_000]),
        delay_ms=st.sampled_from([0, 0, 0, 7_000]),
        group=st.sampled_from(["", "", "aaaaaaaa", "bbbbbbbb"]),
    )
    def produce(self, rank: int, count: int, key_age_ms: int, delay_ms: int, group: str) -> None:
        self.put(rank, count, self.now - key_age_ms + delay_ms, group)

    @rule(by_ms=st.sampled_from([1, 1_000, 4_000, LEASE_MS + RESCUE_MARGIN_MS]))
    def time_passes(self, by_ms: int) -> None:
        self.now += by_ms

    @rule()
    def an_hour_passes(self) -> None:
        self.now += SETTLED_KEPT_MS + 1

    @rule(target=listings, rank=st.sampled_from([4, 9]), back=st.integers(0, 3), page=st.sampled_from([1, 2, 100]))
    def list_inbox(self, rank: int, back: int, page: int) -> Listing:
        """A listing from this cursor or a former one, perhaps cut off, perhaps used much later."""
        return self.list_now(rank, back, page)

    def list_now(self, rank: int, back: int = 0, page: int = 1000) -> Listing:
        former = self.cursors.get(rank, [""])
        after = former[max(0, len(former) - 1 - back)]
        names = sorted(name for name in self.model.inbox if rank_in(name) == rank and name > after)
        return Listing(rank, tuple(names[:page]), self.now, whole=len(names) <= page)

    # --- claims

    def stalled(self) -> set[str]:
        return {id_ for id_, end in self.model.expires.items() if end + RESCUE_MARGIN_MS <= self.now}

    def rescue(self, found: Sequence[Ticket], expected: Collection[str]) -> None:
        assert {ticket.id for ticket in found} == set(expected)
        for ticket in found:
            self.model.counts["rescued"] += ticket.size
            self.model.free(ticket.id)

    @rule(
        target=tickets,
        seen=st.lists(listings, max_size=2, unique_by=lambda listing: listing.rank),
        room=st.sampled_from([1, 3, 100]),
        max_objects=st.sampled_from([1, 2, 100]),
        suspects=st.booleans(),
        skips=st.booleans(),
        worker=st.sampled_from(["a", "b", "c"]),
    )
    def claim(
        self, seen: list[Listing], *, room: int, max_objects: int, suspects: bool, skips: bool, worker: str
    ) -> tuple[Ticket, ...]:
        skip = frozenset(list(self.model.inbox)[:1]) if skips else frozenset()
        return self.take(Claim(worker, room, LEASE_MS, tuple(seen), skip, suspects, 3, max_objects))

    def take(self, claim: Claim) -> tuple[Ticket, ...]:
        before = dict(self.ledger.cursors)
        listed = {name for listing in claim.listings for name in listing.names}
        (claimed,) = self.submit(claim)
        assert isinstance(claimed, Claimed)
        assert claimed.paused == self.paused
        if self.paused:
            assert claimed == Claimed(paused=True)
            return ()
        model = self.model
        self.rescue(claimed.rescued, self.stalled())
        for ticket in self.ledger.tickets.values():
            for part in ticket.parts:
                if not model.ticketed(part.name):
                    assert part.name in listed, "claimed what no listing shows"
                    assert part.name > before.get(rank_in(part.name), ""), "claimed below the cursor"
                    assert part.name not in model.settled | model.forgotten, "claimed what was settled"
                    assert visible_at_ms_of(part.name) <= self.now, "claimed before its time"
                    model.ticket(part.name)
        for ticket in claimed.tickets:
            model.expires[ticket.id] = self.now + LEASE_MS
            for where in wheres(ticket):
                assert where[0] not in claim.skip
                assert model.holder[where] == AVAILABLE, "claimed from under its holder"
                model.holder[where] = (ticket.id, ticket.token)
        taken = [where for ticket in claimed.tickets for where in wheres(ticket)]
        assert len(taken) <= claim.room
        assert sum(len(ticket.parts) for ticket in claimed.tickets) <= claim.max_objects
        assert len(claimed.tickets) <= (2 if claim.suspects else 1)
        model.counts["claimed"] += len(taken)
        return claimed.tickets

    @rule(target=tickets, room=st.sampled_from([1, 4, 100]), worker=st.sampled_from(["a", "b"]))
    def work(self, room: int, worker: str) -> tuple[Ticket, ...]:
        """What a worker does most: list what is new, claim it."""
        return self.take(Claim(worker, room, LEASE_MS, (self.list_now(4), self.list_now(9))))

    @rule(which=tickets, struck=st.booleans())
    def fail(self, which: tuple[Ticket, ...], struck: bool) -> None:
        """Every second message of a ticket fails and is moved at once; the lines may be left standing."""
        handles = [handle for handle in handles_of(which)[::2] if self.held(handle)]
        outcomes = [Outcome(handle, "retry", line=self.line(handle, "retry")) for handle in handles]
        (replies,) = self.submit(Settle(tuple(outcomes)))
        assert not any(replies)
        for outcome in outcomes:
            assert outcome.line is not None
            self.model.settle((outcome.handle.name, outcome.handle.index), "retry")
            self.model.lines[outcome.line.id] = outcome.line
            self.model.inbox[outcome.line.target] = self.now
        if struck:
            assert self.submit(Strike(tuple(outcome.line.id for outcome in outcomes if outcome.line))) == [
                len(outcomes)
            ]
            for outcome in outcomes:
                assert outcome.line is not None
                self.model.strike(outcome.line.id)

    def held(self, handle: Handle) -> bool:
        return self.model.holder.get((handle.name, handle.index)) == (handle.ticket_id, handle.token)

    def active(self, handle: Handle) -> bool:
        return handle.ticket_id in self.ledger.tickets and self.ledger.tickets[handle.ticket_id].token == handle.token

    def refusals(self, handles: list[Handle]) -> list[str | None]:
        expected: list[str | None] = []
        for number, handle in enumerate(handles):
            if self.held(handle) and handle not in handles[:number]:
                expected.append(None)
            else:
                expected.append("it was settled or released before" if self.active(handle) else GONE)
        return expected

    @rule(target=requests, which=tickets, data=st.data())
    def settle(self, which: tuple[Ticket, ...], data: st.DataObject) -> tuple[Request, ...]:
        """Outcomes for some messages of a ticket, which may long be somebody else's."""
        outcomes: list[Outcome] = []
        for handle in data.draw(st.lists(st.sampled_from(handles_of(which)), max_size=6)) if which else []:
            kind: Any = data.draw(st.sampled_from(["completed", "completed", "retry", "dead", "missing", "discarded"]))
            outcomes.append(Outcome(handle, kind, latency_ms=5, line=self.line(handle, kind)))
        expected = self.refusals([outcome.handle for outcome in outcomes])
        (replies,) = self.submit(Settle(tuple(outcomes)))
        assert replies == expected
        for outcome, refused in zip(outcomes, replies, strict=True):
            if refused is None:
                self.model.settle((outcome.handle.name, outcome.handle.index), outcome.kind)
                if outcome.line is not None:
                    self.model.lines[outcome.line.id] = outcome.line
        for outcome, refused in zip(outcomes, replies, strict=True):
            if refused is None:
                self.model.close(outcome.handle.name)
        return (Settle(tuple(outcomes)),)

    def line(self, handle: Handle, kind: str) -> Line | None:
        self.serial += 1
        id_ = encode(self.serial, 20)
        if kind == "retry":
            target = str(ObjectName(rank_in(handle.name), self.now + 2_000, id_, 1, group_of(handle.name)))
        elif kind == "dead":
            target = f"{self.now:013d}-{id_}-0"
        else:
            return None
        move: Any = kind
        return Line(id_, move, handle.name, handle.index, target, id_, self.now, 1)

    @rule(target=requests, which=tickets, data=st.data())
    def release(self, which: tuple[Ticket, ...], data: st.DataObject) -> tuple[Request, ...]:
        handles = data.draw(st.lists(st.sampled_from(handles_of(which)), max_size=6)) if which else []
        expected = self.refusals(handles)
        asked = Release(tuple(handles))
        (replies,) = self.submit(asked)
        assert replies == expected
        for handle, refused in zip(handles, replies, strict=True):
            if refused is None:
                self.model.holder[handle.name, handle.index] = AVAILABLE
        return (asked,)

    @rule(target=requests, which=tickets, lease_ms=st.sampled_from([1_000, 20_000]))
    def extend(self, which: tuple[Ticket, ...], lease_ms: int) -> tuple[Request, ...]:
        asked = Extend(tuple((ticket.id, ticket.token) for ticket in which), lease_ms)
        (replies,) = self.submit(asked)
        alive = {ticket_id for ticket_id, _ in self.model.holder.values()}
        assert replies == [ticket.id in alive for ticket in which]
        for ticket in which:
            if ticket.id in alive:
                self.model.expires[ticket.id] = max(self.model.expires[ticket.id], self.now + lease_ms)
        return (asked,)

    @rule(which=tickets)
    def reset(self, which: tuple[Ticket, ...]) -> None:
        wanted = frozenset(ticket.id for ticket in which)
        alive = {ticket_id for ticket_id, _ in self.model.holder.values()}
        (found,) = self.submit(Reset(wanted))
        self.rescue(found, wanted & alive)

    @rule(seen=st.lists(listings, max_size=1))
    def sweep(self, seen: list[Listing]) -> None:
        expected = self.stalled()
        (found,) = self.submit(Swept(tuple(seen)))
        self.rescue(found, expected)
        assert self.ledger.swept_at_ms == self.now

    @rule(asked=requests)
    def a_lost_answer_is_applied_again(self, asked: tuple[Request, ...]) -> None:
        """Settling or releasing once more on whatever the ledger is now: done at most once."""
        known = dict(self.model.holder)
        handles = [
            handle
            for request in asked
            for handle in ([outcome.handle for outcome in request.outcomes] if isinstance(request, Settle) else [])
        ]
        if handles and not any(self.held(handle) for handle in handles):
            before = self.ledger
            (replies,) = self.submit(*asked)
            assert None not in replies
            assert self.ledger is before, "a refused request changed the ledger"
        assert self.model.holder == known

    # --- schedules

    @rule(
        schedule=st.sampled_from(["a", "b"]),
        ages=st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
        lag=st.integers(0, 2),
    )
    def fire(self, schedule: str, ages: list[int], lag: int) -> None:
        """A leader fires ticks, which it or another may have fired before."""
        ticks = [self.now // 1000 - age for age in sorted(ages, reverse=True)]
        ticks = [tick for tick in ticks if tick > self.model.since.get(schedule, 0)]
        lines = []
        for tick in ticks:
            self.serial += 1
            target = str(ObjectName(9, self.now, encode(self.serial, 20), 1))
            lines.append(Line(target, "tick", schedule, tick, target, "m", self.now))
        judged = self.ledger.revision - lag
        before = self.ledger
        (replies,) = self.submit(Fire(tuple(lines), judged))
        if self.model.scheduled_at > judged:
            assert replies is None
            assert self.ledger is before
            return
        last = self.model.ticks.get(schedule, 0)
        assert replies == [tick > last for tick in ticks]
        for line, new in zip(lines, replies, strict=True):
            if new:
                assert (schedule, line.index) not in self.model.fired, "a tick was fired twice"
                self.model.fired.add((schedule, line.index))
                self.model.ticks[schedule] = line.index
                self.model.lines[line.id] = line
                self.model.counts["ticked"] += 1
        assert dict(self.ledger.ticks) == self.model.ticks

    @rule()
    def reschedule(self) -> None:
        self.submit(Reschedule())
        self.model.scheduled_at = self.ledger.revision

    @rule(lag=st.integers(0, 1))
    def drop_ticks(self, lag: int) -> None:
        """Schedule "b" is gone; who has read it before is refused. Made again, none of its ticks are from before."""
        judged = self.ledger.revision - lag
        (dropped,) = self.submit(DropTicks(("b", "never-was"), judged))
        assert dropped == (self.model.scheduled_at <= judged)
        if dropped:
            self.model.ticks.pop("b", None)
            self.model.since["b"] = self.now // 1000
            self.model.scheduled_at = self.ledger.revision

    # --- upkeep

    @rule(data=st.data(), lag=st.integers(0, 2))
    def adopt(self, data: st.DataObject, lag: int) -> None:
        """What a sweep finds below the cursor and not in the journal, judged now or a few revisions ago."""
        model = self.model
        strays = [n for n in sorted(model.inbox) if n <= self.ledger.cursor(rank_in(n)) and n not in model.journal]
        names = data.draw(st.lists(st.sampled_from(strays), unique=True)) if strays else []
        judged = self.ledger.revision - lag
        void = self.ledger.forgotten_at_revision > judged
        (adopted,) = self.submit(Adopt(tuple(names), judged))
        if void:
            assert adopted is None
            return
        assert adopted == [name for name in names if not model.known(name)]
        for name in adopted:
            model.ticket(name)

    @precondition(lambda self: bool(self.model.lines))
    @rule(data=st.data(), strikes=st.booleans())
    def carry_out(self, data: st.DataObject, strikes: bool) -> None:
        """Write a line's target; the line may be struck much later, or never by this mover."""
        line = self.model.lines[data.draw(st.sampled_from(sorted(self.model.lines)))]
        if line.kind == "dead":
            self.model.letters.add(line.target)
        elif line.kind != "discard" and not self.model.ticketed(line.target) and line.target not in self.model.settled:
            self.model.inbox.setdefault(line.target, self.now)
        if line.is_of_letter:
            self.model.letters.discard(line.source)
        if strikes:
            (struck,) = self.submit(Strike((line.id, "none")))
            assert struck == 1
            self.model.strike(line.id)
            assert self.submit(Strike((line.id,))) == [0]

    @precondition(lambda self: bool(self.model.letters))
    @rule(data=st.data(), lag=st.integers(0, 1), kind=st.sampled_from(["replay", "discard"]))
    def replay(self, data: st.DataObject, lag: int, kind: Literal["replay", "discard"]) -> None:
        letter = data.draw(st.sampled_from(sorted(self.model.letters)))
        self.serial += 1
        target = str(ObjectName(9, self.now, encode(self.serial, 20), 1)) if kind == "replay" else letter
        line = Line(letter, kind, letter, 0, target, "m", self.now)
        judged = self.ledger.revision - lag
        void = self.ledger.forgotten_at_revision > judged
        (replies,) = self.submit(Replay((line,), judged))
        if void:
            assert replies is None
            return
        if letter in self.model.lines:
            assert replies == [MOVING if self.model.lines[letter].kind == "replay" else GOING]
            return
        assert replies == [None]
        self.model.seen(letter)
        self.model.lines[line.id] = line
        self.model.counts["replayed" if kind == "replay" else "buried"] += 1

    @rule(again=st.booleans())
    def take_in(self, again: bool) -> None:
        """Take in what another queue's replay has staged, or once more what was taken in and struck by another mover."""
        if not again or not self.staged:
            self.serial += 1
            key, target = f"other/staged/{self.serial}.json", str(ObjectName(9, self.now, encode(self.serial, 20), 1))
            self.staged.append(Line(key, "import", key, 0, target, "m", self.now))
        line = self.staged[-1]
        (entered,) = self.submit(Import((line,)))
        assert [each.id for each in entered] == [line.id]
        assert entered[0].written or not self.model.known(line.target)
        self.model.lines.setdefault(line.id, line)

    @rule(data=st.data(), in_flight=st.booleans())
    def discard(self, data: st.DataObject, in_flight: bool) -> None:
        model = self.model
        some = data.draw(st.lists(st.sampled_from(sorted(model.inbox)), max_size=2, unique=True)) if model.inbox else []
        (gone,) = self.submit(Discard(tuple(some), in_flight=in_flight))
        thrown = list(model.holder) if in_flight else []
        for where in thrown:
            model.settle(where, "discarded")
        for name, _ in thrown:
            model.close(name)
        if in_flight:
            model.expires.clear()
            for line in [line for line in model.lines.values() if line.kind in ("retry", "tick", "move")]:
                model.ticket(line.target)  # which strikes the line
                model.settle((line.target, 0), "discarded")
                model.close(line.target)
                thrown.append((line.target, 0))
        expected = len(thrown)
        for name in some:
            if name > self.ledger.cursor(rank_in(name)) and not model.known(name):
                model.ticket(name)
                for index in range(count_of(name)):
                    model.settle((name, index), "discarded")
                    expected += 1
                model.close(name)
        assert gone == expected

    # --- single messages

    def some(self, data: st.DataObject) -> list[Where]:
        """Some messages that are, were, or never will be in the books."""
        model = self.model
        everywhere = [*model.holder, *model.outcome, *((name, 0) for name in model.inbox)]
        everywhere += [(name, count_of(name) - 1) for name in model.inbox]
        everywhere += [(line.source, line.index) for line in model.lines.values() if line.holds_source]
        places = sorted(set(everywhere))
        return data.draw(st.lists(st.sampled_from(places), max_size=6, unique=True)) if places else []

    def seen_at(self, wanted: list[Where], lag_ms: int) -> int:
        """When these were seen: what is deleted and forgotten was, before that, at the latest."""
        gone = any(name in self.model.forgotten and name not in self.model.inbox for name, _ in wanted)
        at_ms = self.now - lag_ms
        return min(at_ms, self.ledger.forgotten_above_at_ms - 1) if gone else at_ms

    def line_of(self, where: Where) -> Line | None:
        found = [line for line in self.model.lines.values() if line.holds_source and (line.source, line.index) == where]
        return found[0] if found else None

    def enter(self, names: Collection[str]) -> None:
        """What is taken out of an object that no ticket has tickets it, and what goes before it in its group."""
        for name in {part.name for ticket in self.ledger.tickets.values() for part in ticket.parts} | set(names):
            if not self.model.ticketed(name):
                assert name in self.model.inbox
                self.model.ticket(name)

    @rule(data=st.data(), lag_ms=st.sampled_from([0, 0, 5_000]), as_seen=st.booleans())
    def cancel(self, data: st.DataObject, lag_ms: int, as_seen: bool) -> None:
        model, wanted = self.model, self.some(data)
        held, seen_at_ms = {where: token for where, (_, token) in model.holder.items()}, self.seen_at(wanted, lag_ms)
        seen = [Seen(*where, held.get(where, 0) if as_seen else 0) for where in wanted]
        before, cursors, lines = dict(model.holder), dict(self.ledger.cursors), {w: self.line_of(w) for w in wanted}
        known = {name for name, _ in wanted if model.known(name)}
        (replies,) = self.submit(Cancel(tuple(seen), seen_at_ms, tuple(sorted(model.inbox))))
        self.enter([])
        done = [
            (each, lines[each.name, each.index]) for each, reply in zip(seen, replies, strict=True) if reply is None
        ]
        for each, line in done:
            where = (each.name, each.index)
            if line is not None:
                assert line.kind in ("retry", "move")
                model.strike(line.id)
                model.close(line.target)
                model.counts["ticketed"] += 1
                model.counts["discarded"] += 1
                model.outcome[line.target, 0] = "discarded"
                continue
            if not model.ticketed(each.name):
                assert each.name > cursors.get(rank_in(each.name), ""), "taken below the cursor"
                model.ticket(each.name)
            assert before.get(where, AVAILABLE)[1] == each.token, "cancelled from under another's claim"
            model.settle(where, "discarded")
        for each, line in done:
            if line is None:
                model.close(each.name)
        for each, reply in zip(seen, replies, strict=True):
            if reply is not None and each.name not in known and (each.name, each.index) not in model.outcome:
                young = group_of(each.name) and visible_at_ms_of(each.name) > seen_at_ms - CURSOR_MARGIN_MS
                passed = each.name <= cursors.get(rank_in(each.name), "")
                stale = seen_at_ms < self.ledger.forgotten_above_at_ms
                assert young or passed or stale or model.ticketed(each.name), reply

    @rule(data=st.data(), rank=st.sampled_from([4, 9]), by_ms=st.sampled_from([0, 5_000]), written=st.booleans())
    def move(self, data: st.DataObject, rank: int, by_ms: int, written: bool) -> None:
        model, wanted, lines = self.model, self.some(data), []
        for name, index in wanted:
            self.serial += 1
            id_ = encode(self.serial, 20)
            target = str(ObjectName(rank, self.now + by_ms, id_, 1))
            lines.append(Line(id_, "move", name, index, target, id_, self.now, 0))
        before, olds = dict(model.holder), {where: self.line_of(where) for where in wanted}
        lost = {
            (part.name, index): len(part.rescues)
            for ticket in self.ledger.tickets.values()
            for part in ticket.parts
            for index in part.indices()
        }
        (replies,) = self.submit(Move(tuple(lines), self.seen_at(wanted, 0)))
        self.enter([])
        for line, reply in zip(lines, replies, strict=True):
            where = (line.source, line.index)
            if isinstance(reply, str):
                continue
            old = olds[where]
            assert not group_of(line.source)
            model.lines[line.id] = reply
            if old is not None:
                assert (reply.kind, reply.attempts) == (old.kind, old.attempts)
                model.strike(old.id)
                model.close(old.target)
                continue
            assert reply.attempts == len(reply.errors) == lost.get(where, 0)
            assert before.get(where, AVAILABLE) == AVAILABLE, "moved from under its holder"
            if not model.ticketed(line.source):
                model.ticket(line.source)
            model.settle(where, "moved")
        for line in model.lines.values():
            if written and any(line == reply for reply in replies):
                model.inbox[line.target] = self.now

    @rule(target=requests, which=tickets, data=st.data(), lapsed=st.booleans())
    def recall(self, which: tuple[Ticket, ...], data: st.DataObject, lapsed: bool) -> tuple[Request, ...]:
        handles = data.draw(st.lists(st.sampled_from(handles_of(which)), max_size=6)) if which else []
        alive = {id_ for id_, end in self.model.expires.items() if end > self.now} if lapsed else set()
        expected = self.refusals(handles)
        asked = Recall(tuple(handles), lapsed)
        (replies,) = self.submit(asked)
        for handle, reply, refused in zip(handles, replies, expected, strict=True):
            if handle.ticket_id in alive and self.active(handle):
                assert reply is not None, "taken from the living"
            else:
                assert reply == refused or not self.active(handle)
            if reply is None:
                self.model.holder[handle.name, handle.index] = AVAILABLE
                self.model.counts["rescued"] += 1
        return (asked,)

    @rule(data=st.data(), deletes=st.booleans())
    def prune(self, data: st.DataObject, deletes: bool) -> None:
        """Delete, write the journal, forget: or die after the deletion."""
        model = self.model
        names = data.draw(st.lists(st.sampled_from(sorted(model.settled)), unique=True)) if model.settled else []
        for name in names:
            model.inbox.pop(name, None)
        if deletes:
            return
        model.journal.update(names)
        passed = [
            name
            for name in names
            if name <= self.ledger.cursor(rank_in(name)) or self.ledger.settled[name] + SETTLED_KEPT_MS < self.now
        ]
        (forgotten,) = self.submit(Prune((*names, "9/never-was")))
        assert forgotten == len(passed)
        model.settled.difference_update(passed)
        model.forgotten.update(passed)

    @precondition(lambda self: bool(self.model.settled))
    @rule(data=st.data())
    def a_ghost_lands(self, data: st.DataObject) -> None:
        """A second copy of an object that was processed, as long as the ledger still knows it."""
        self.model.inbox.setdefault(data.draw(st.sampled_from(sorted(self.model.settled))), self.now)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        assert self.submit(Pause(paused)) == [paused != self.paused]
        self.paused = paused

    # --- what holds after every step

    @invariant()
    def the_ledger_is_what_the_model_says(self) -> None:
        ledger, model = self.ledger, self.model
        held = {w: (t.id, t.token) if t.claimed else AVAILABLE for t in ledger.tickets.values() for w in wheres(t)}
        assert held == model.holder
        assert set(ledger.outbox) == set(model.lines)
        assert set(ledger.settled) == model.settled
        ends = {ticket.id: ticket.expires_at_ms for ticket in ledger.tickets.values() if ticket.claimed}
        assert ends.items() <= model.expires.items()
        assert ledger.paused == self.paused
        model.expires = {id_: end for id_, end in model.expires.items() if id_ in ends}

    @invariant()
    def the_books_balance(self) -> None:
        count, counts = self.ledger.counters.get, self.model.counts
        for counter, kind in [("retried", "retry"), *((k, k) for k in ("ticketed", "claimed", "completed", "dead"))]:
            assert count(counter, 0) == counts[kind], counter
        for counter in ("missing", "discarded", "moved", "rescued", "replayed", "ticked"):
            assert count(counter, 0) == counts[counter], counter

    @invariant()
    def nothing_that_came_in_time_is_passed_over(self) -> None:
        for name, landed_at_ms in self.model.inbox.items():
            in_time = landed_at_ms < visible_at_ms_of(name) + CURSOR_MARGIN_MS
            if in_time and not self.model.ticketed(name) and name not in self.model.settled | self.model.forgotten:
                assert name > self.ledger.cursor(rank_in(name)), f"the cursor passed {name}, which nobody has ticketed"


def wheres(ticket: Ticket) -> list[Where]:
    return [(part.name, index) for part in ticket.parts for index in part.indices()]


def handles_of(claimed: Sequence[Ticket]) -> list[Handle]:
    return [Handle(t.id, t.token, *where) for t in claimed for where in wheres(t)]


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
