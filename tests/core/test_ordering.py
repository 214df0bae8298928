"""Ordered groups: one in flight, in enqueue order, a retry holds back what follows."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3queue.core.claiming import CURSOR_MARGIN_MS, RESCUE_MARGIN_MS
from s3queue.core.invariants import step_violations, violations
from s3queue.core.keys import ObjectName, count_of, group_mark, group_of, visible_at_ms_of
from s3queue.core.ledger import Ledger, Line, Ticket
from s3queue.core.ordering import CROWD, Turns
from s3queue.core.settings import Settings
from s3queue.core.transitions import (
    Adopt,
    Claim,
    Discard,
    Expect,
    Handle,
    Listing,
    Missing,
    Outcome,
    Release,
    Request,
    Reset,
    Settle,
    Strike,
    apply,
)
from s3queue.ids import encode
from tests.core.samples import NOW

LEASE_MS = 10_000
A, B = group_mark("a"), group_mark("b")
Spot = tuple[str, int]


def named(serial: int, count: int = 1, group: str = A, at_ms: int = NOW) -> str:
    return str(ObjectName(9, at_ms, encode(serial, 20), count, group))


class Story:
    """A ledger, the inbox, and who each message is, whatever object it is in."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.now = NOW
        self.inbox: list[str] = []
        self.serial = 0

    def put(self, count: int = 1, group: str = A) -> str:
        self.serial += 1
        name = named(self.serial, count, group, self.now)
        self.inbox.append(name)
        return name

    def listing(self) -> Listing:
        cursor = self.ledger.cursor(9)
        return Listing(9, tuple(sorted(name for name in self.inbox if name > cursor)), self.now)

    def do(self, *requests: Request) -> list[Any]:
        before = self.ledger
        self.ledger, replies = apply(before, requests, self.now)
        assert violations(self.ledger) == []
        assert step_violations(before, self.ledger) == []
        return replies

    def claim(self, room: int = 10, *skip: str, listing: Listing | None = None, **more: Any) -> list[Handle]:
        seen = self.listing() if listing is None else listing
        (claimed,) = self.do(Claim("w", room, LEASE_MS, (seen,), frozenset(skip), **more))
        return [
            Handle(ticket.id, ticket.token, part.name, index)
            for ticket in claimed.tickets
            for part in ticket.parts
            for index in part.indices()
        ]

    def retry(self, handle: Handle, delay_ms: int = 2_000) -> Line:
        self.serial += 1
        id_ = encode(self.serial, 20)
        group = group_of(handle.name)
        target = str(ObjectName(9, self.now + delay_ms, id_, 1, group))
        line = Line(id_, "retry", handle.name, handle.index, target, id_, self.now, 1)
        assert self.do(Settle((Outcome(handle, "retry", line=line),))) == [[None]]
        return line

    def move(self, line: Line) -> None:
        self.inbox.append(line.target)
        self.do(Strike((line.id,)))

    def complete(self, *handles: Handle) -> None:
        self.do(Settle(tuple(Outcome(handle, "completed") for handle in handles)))


def spots(handles: list[Handle]) -> list[Spot]:
    return [(handle.name, handle.index) for handle in handles]


def test_a_group_has_one_in_flight_and_the_others_go_on() -> None:
    story = Story()
    first, other, free, second = story.put(3), story.put(1, B), story.put(2, ""), story.put()
    claimed = story.claim()
    assert spots(claimed) == [(first, 0), (other, 0), (free, 0), (free, 1)]
    assert story.claim() == []
    (_, follow) = story.do(Settle((Outcome(claimed[0], "completed"),)), Claim("w", 10, LEASE_MS))
    assert [part.name for ticket in follow.tickets for part in ticket.parts] == [first]
    assert follow.waits
    assert second not in story.ledger.held_names()


def test_a_retry_holds_back_what_follows_until_it_has_an_outcome() -> None:
    story = Story()
    story.put(2)
    behind = story.put()
    line = story.retry(story.claim()[0])
    assert story.ledger.held_back == {A: line.target}
    assert story.claim() == []  # its object is not there yet
    story.move(line)
    assert story.claim() == []  # nor is its time
    story.now += 2_000
    (retried,) = story.claim()
    assert retried.name == line.target
    story.do(Release((retried,)))
    assert spots(story.claim(10, line.target)) == []
    (retried,) = story.claim()
    assert retried.name == line.target, "it goes first though its name is the last"
    again = story.retry(retried, 0)
    story.move(again)
    (retried,) = story.claim()
    dead = Line("d", "dead", retried.name, 0, f"{NOW:013d}-{encode(1, 20)}-0", "m", NOW, 2)
    story.do(Settle((Outcome(retried, "dead", line=dead),)))
    assert story.ledger.held_back == {}
    (rest,) = story.claim()
    assert rest.index == 1
    story.complete(rest)
    assert spots(story.claim()) == [(behind, 0)]


def test_what_cannot_be_read_holds_back_its_group_alone() -> None:
    story = Story()
    first, _, other = story.put(), story.put(), story.put(1, B)
    assert spots(story.claim(10, first)) == [(other, 0)]


def test_suspects_that_this_worker_may_not_have_hold_back_their_group() -> None:
    story = Story()
    first = story.put()
    story.put()
    story.claim()
    story.now += LEASE_MS + RESCUE_MARGIN_MS
    assert story.claim(suspects=False) == []
    assert spots(story.claim()) == [(first, 0)]


def test_a_late_arrival_is_next() -> None:
    story = Story()
    late = named(0, 1, A, NOW - 1)
    story.put(3)
    story.complete(*story.claim())
    story.now += CURSOR_MARGIN_MS + 1
    held = story.claim()
    assert story.ledger.cursor(9) > late
    assert story.do(Adopt((late,), story.ledger.revision)) == [[late]]
    assert story.claim() == []
    story.complete(*held)
    assert spots(story.claim()) == [(late, 0)]


def test_the_cursor_waits_for_what_was_long_on_its_way() -> None:
    story = Story()
    slow = named(0, 1, A, NOW - 1)
    story.put()
    assert story.do(Expect(slow)) == [False]
    story.complete(*story.claim())
    story.now += CURSOR_MARGIN_MS + 1
    story.put(1, B)
    story.claim()
    assert story.ledger.cursor(9) < slow
    story.inbox.append(slow)
    story.complete(*[handle for handle in story.claim() if handle.name == slow])
    assert story.ledger.expected == {}
    story.put(1, B)
    story.claim()
    assert story.do(Expect(named(0, 1, A, NOW - 2))) == [True]


def test_behind_the_first_page_only_what_is_old_enough_is_taken() -> None:
    story = Story()
    shown = [story.put(), story.put(1, B)]
    listing = Listing(9, tuple(shown), NOW + 10, first_page=shown[0])
    story.now = NOW + 5_000
    assert spots(story.claim(listing=listing)) == [(shown[0], 0)]
    old = Listing(9, tuple(shown), NOW + CURSOR_MARGIN_MS, first_page=shown[0])
    assert spots(story.claim(listing=old)) == [(shown[1], 0)]


def test_a_retry_that_vanished_lets_its_group_go_on() -> None:
    story = Story()
    story.put()
    behind = story.put()
    line = story.retry(story.claim()[0])
    assert story.do(Missing((line.target,))) == [0]  # it is still to be written
    story.do(Strike((line.id,)))
    assert story.do(Missing((line.target,))) == [1]
    assert story.ledger.counters["missing"] == 1
    assert spots(story.claim()) == [(behind, 0)]


@pytest.mark.parametrize("written", [False, True])
def test_truncating_and_lost_sources_end_the_wait_for_a_retry(written: bool) -> None:
    story = Story()
    story.put()
    line = story.retry(story.claim()[0])
    if written:
        story.move(line)
        story.do(Discard((line.target,), in_flight=True))
    else:
        story.do(Strike((line.id,), frozenset((line.id,))))
    assert story.ledger.held_back == {}
    behind = story.put()
    assert spots(story.claim()) == [(behind, 0)]


def test_a_waiting_group_does_not_keep_the_cursor_for_ever() -> None:
    story = Story()
    story.put(2)
    story.retry(story.claim()[0], 3_600_000)
    behind = story.put()
    for _ in range(CROWD + 2):
        story.put(1, "")
    story.now += CURSOR_MARGIN_MS + 1
    story.complete(*story.claim(CROWD + 10, max_objects=CROWD + 10))
    before = story.ledger.cursor(9)
    story.put(1, "")
    story.claim()
    assert before < behind < story.ledger.cursor(9)
    assert behind in story.ledger.held_names()


def test_newest_takes_the_newest_objects_first_and_no_cursor_passes_the_others() -> None:
    story = Story()
    names = [story.put(1, "") for _ in range(4)]
    assert spots(story.claim(2, newest=True)) == [(names[3], 0), (names[2], 0)]
    assert story.ledger.cursor(9) == ""


def test_turns_count_what_is_ready_and_leave_out_what_ends() -> None:
    story = Story()
    first = story.put(2)
    (handle,) = story.claim()
    tickets = list(story.ledger.tickets.values())
    assert (Turns(tickets, {}).ready(), Turns(tickets, {}).room(A, NOW)) == (0, 0)
    ended = Turns(tickets, {}, frozenset([(handle.ticket_id, first, 0)]))
    assert (ended.ready(), ended.room(A, NOW), ended.next(A)) == (1, 1, (first, 1))
    later = Turns((), {A: named(9, at_ms=NOW + 5)})
    assert (later.room(A, NOW), later.room(A, NOW + 5)) == (0, 1)


def test_which_messages_are_ordered_is_for_the_settings_to_say() -> None:
    strict, grouped = Settings(order="strict"), Settings(order="strict-group")
    assert strict.group_mark(None) == strict.group_mark("a/b") == group_mark("")
    assert grouped.group_mark("a/b") == group_mark("a/b") != group_mark("a")
    assert grouped.group_mark(None) == Settings(order="lifo").group_mark("a") == ""


class Chaos(Story):
    """A story that chance tells."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.who: dict[Spot, tuple[str, int]] = {}
        self.made: dict[str, int] = {}
        self.done: dict[str, list[int]] = {}
        self.held: list[Handle] = []
        self.lines: list[Line] = []
        self.old = Listing(9, (), NOW)

    def enqueue(self) -> None:
        group = self.random.choice([A, B])
        name = self.put(self.random.choice([1, 1, 3]), group)
        for index in range(count_of(name)):
            self.who[name, index] = (group, self.made.get(group, 0))
            self.made[group] = self.made.get(group, 0) + 1

    def take(self) -> None:
        fresh = self.listing()
        listing, self.old = self.random.choice([(fresh, self.old), (self.old, fresh)])
        skip = self.random.sample(self.inbox, 1) if self.inbox and self.random.random() < 0.2 else []
        self.held += self.claim(
            self.random.choice([1, 2, 10]), *skip, listing=listing, suspects=self.random.random() < 0.8
        )

    def end(self) -> None:
        if not self.held:
            return
        handle = self.held.pop(self.random.randrange(len(self.held)))
        kind: Any = self.random.choice(["completed", "completed", "completed", "retry", "release"])
        if kind == "release":
            self.do(Release((handle,)))
        elif kind == "retry" and self.holds(handle):
            line = self.retry(handle, self.random.choice([0, 3_000]))
            self.who[line.target, 0] = self.who[handle.name, handle.index]
            self.lines.append(line)
        elif kind != "retry" and self.do(Settle((Outcome(handle, "completed"),))) == [[None]]:
            group, number = self.who[handle.name, handle.index]
            self.done.setdefault(group, []).append(number)

    def holds(self, handle: Handle) -> bool:
        ticket: Ticket | None = self.ledger.tickets.get(handle.ticket_id)
        return ticket is not None and ticket.token == handle.token and handle.name in {p.name for p in ticket.parts}

    def sweep(self) -> None:
        if self.lines:
            line = self.lines.pop()
            self.inbox.append(line.target)
            if line.id in self.ledger.outbox:
                self.do(Strike((line.id,)))
        late = [
            name
            for name in self.inbox
            if name <= self.ledger.cursor(9) and name not in self.ledger.held_names() | self.ledger.settled.keys()
        ]
        self.do(Adopt(tuple(late), self.ledger.revision))

    def lose(self) -> None:
        self.now += self.random.choice([LEASE_MS + RESCUE_MARGIN_MS, 1_000])
        if self.ledger.tickets and self.random.random() < 0.3:
            self.do(Reset(frozenset([next(iter(self.ledger.tickets))])))


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_whatever_happens_each_group_is_done_in_order(random: Random) -> None:
    story = Chaos(random)
    for _ in range(60):
        random.choice([story.enqueue, story.take, story.take, story.end, story.end, story.sweep, story.lose])()
        story.now += random.choice([0, 1, 700])
    for _ in range(400):  # what is left is done by somebody who does not fail
        story.now += LEASE_MS
        story.sweep()
        story.held = story.claim()
        for handle in story.held:
            story.complete(handle)
            group, number = story.who[handle.name, handle.index]
            story.done.setdefault(group, []).append(number)
        if not story.ledger.tickets and not story.lines and set(story.inbox) <= story.ledger.settled.keys():
            break
    for group, numbers in story.done.items():
        assert numbers == list(range(story.made[group])), "lost, doubled, or out of order"
    assert set(story.done) == set(story.made)
    assert story.ledger.held_back == {}
    assert all(visible_at_ms_of(name) <= story.now for name in story.inbox)
