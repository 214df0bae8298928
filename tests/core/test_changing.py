"""Requests about single messages: what they do to the books, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from s3queue.core.changing import ALIVE, CHANGED_HANDS, CLAIMED, ENDED, FULL, GONE_BY, ORDERED, STALE, TOO_YOUNG
from s3queue.core.claiming import CURSOR_MARGIN_MS
from s3queue.core.dispatch import MAX_PARTS
from s3queue.core.invariants import violations
from s3queue.core.keys import ObjectName
from s3queue.core.ledger import Ledger, Line, Part, Ticket
from s3queue.core.transitions import (
    Cancel,
    Claim,
    Handle,
    Lead,
    Listing,
    Move,
    Outcome,
    Publish,
    Recall,
    Request,
    Seen,
    Settle,
    apply,
)
from s3queue.ids import encode
from tests.core.samples import NOW, name

LATER = NOW + CURSOR_MARGIN_MS + 10_000


class Books:
    """A ledger to which requests are made one after the other."""

    def __init__(self) -> None:
        self.ledger, self.now = Ledger(), NOW

    def ask(self, *requests: Request) -> list[Any]:
        self.ledger, replies = apply(self.ledger, requests, self.now)
        assert violations(self.ledger) == []
        return replies

    def claim(self, *names: str, room: int = 100, worker: str = "w") -> tuple[Ticket, ...]:
        (got,) = self.ask(Claim(worker, room, 10_000, (Listing(9, tuple(sorted(names)), self.now),)))
        tickets: tuple[Ticket, ...] = got.tickets
        return tickets

    def waiting(self) -> list[tuple[str, int]]:
        return [
            (part.name, index)
            for ticket in self.ledger.tickets.values()
            if not ticket.claimed
            for part in ticket.parts
            for index in part.indices()
        ]


@pytest.fixture
def books() -> Books:
    return Books()


def grouped(serial: int, count: int, at_ms: int = NOW, group: str = "aaaaaaaa") -> str:
    return str(ObjectName(9, at_ms, encode(serial, 20), count, group))


def line(source: str, index: int, target: str, id_: str = "line", attempts: int = 0) -> Line:
    return Line(id_, "move", source, index, target, "m", NOW, attempts)


def test_the_rest_of_an_object_that_is_not_visible_yet_stays_hidden(books: Books) -> None:
    later = name(1, 3, at_ms=NOW + 60_000)
    assert books.ask(Cancel((Seen(later, 1),), NOW)) == [[None]]
    assert books.waiting() == [(later, 0), (later, 2)]
    assert books.claim() == ()
    books.ask(Lead("boss", "boss-1", 20_000))
    books.ledger = replace(books.ledger, rooms={"boss": 5, "w": 5})
    (published,) = books.ask(Publish("boss", "boss-1", 1, 10_000, awake=("w",)))
    assert published.tickets == ()
    books.now = NOW + 60_000
    (ticket,) = books.claim()
    assert ticket.size == 2


def test_what_goes_before_a_message_in_its_group_enters_the_books_with_it(books: Books) -> None:
    first, second, other = grouped(1, 2), grouped(2, 3), grouped(3, 2, group="bbbbbbbb")
    books.now = LATER
    wanted = (Seen(second, 1),)
    assert books.ask(Cancel(wanted, NOW, (first, other, second))) == [[TOO_YOUNG]]
    assert books.ask(Cancel(wanted, LATER, (first, other, second))) == [[None]]
    assert sorted(books.waiting()) == [(first, 0), (first, 1), (second, 0), (second, 2)]
    order = []
    while tickets := books.claim(other, room=1):
        (part,) = tickets[0].parts
        order.append((part.name, part.ranges[0][0]))
        books.ask(Settle((Outcome(Handle(tickets[0].id, tickets[0].token, *order[-1]), "completed"),)))
    assert [spot for spot in order if spot[0] != other] == [(first, 0), (first, 1), (second, 0), (second, 2)]


def test_of_a_whole_object_nothing_is_left_in_the_books(books: Books) -> None:
    young = grouped(1, 2)
    assert books.ask(Cancel((Seen(young, 0), Seen(young, 1)), NOW)) == [[None, None]]
    assert list(books.ledger.settled) == [young]
    assert not books.ledger.tickets
    assert books.ask(Cancel((Seen(young, 0),), NOW)) == [[ENDED]]


def test_books_that_are_full_take_no_more_parts(books: Books) -> None:
    parts = tuple(Part(name(serial), ((0, 1),)) for serial in range(MAX_PARTS))
    books.ledger = Ledger(revision=1, tickets={"1.1": Ticket("1.1", parts)}, counters={"ticketed": MAX_PARTS})
    big = name(MAX_PARTS + 1, 2)
    assert books.ask(Cancel((Seen(big, 0),), NOW)) == [[FULL]]
    assert books.ask(Cancel((Seen(big, 0), Seen(big, 1)), NOW)) == [[None, None]]  # which leaves none


def test_what_was_seen_before_names_were_forgotten_is_looked_for_again(books: Books) -> None:
    books.ledger = Ledger(revision=5, forgotten_above_at_ms=NOW, cursors={9: name(5, at_ms=NOW - 5)})
    assert books.ask(Cancel((Seen(name(9), 0),), NOW - 1)) == [[STALE]]
    assert books.ask(Cancel((Seen(name(1, at_ms=NOW - 9), 0),), NOW)) == [[GONE_BY]]
    assert books.ask(Move((line(name(9), 0, name(10)),), NOW - 1)) == [[STALE]]


def test_claims_are_named_as_they_were_seen(books: Books) -> None:
    one = name(1, 2)
    (ticket,) = books.claim(one)
    token = ticket.token
    assert books.ask(Cancel((Seen(one, 0), Seen(one, 1, token + 1)), NOW)) == [[CLAIMED, CHANGED_HANDS]]
    assert books.ask(Cancel((Seen(one, 1, token),), NOW)) == [[None]]
    assert books.ask(Move((line(one, 0, name(2)),), NOW)) == [[CLAIMED]]
    mine = Handle(ticket.id, token, one, 0)
    assert books.ask(Settle((Outcome(Handle(ticket.id, token, one, 1), "completed"), Outcome(mine, "completed")))) == [
        ["it was settled or released before", None]
    ]
    assert books.ledger.counters["discarded"] == books.ledger.counters["completed"] == 1


def test_a_move_takes_lost_claims_along_and_holds_its_source(books: Books) -> None:
    one = name(1, 2)
    books.claim(one)
    books.now += 60_000
    (ticket,) = books.claim()
    assert books.ask(Recall((Handle(ticket.id, ticket.token, one, 0),))) == [[None]]  # its second lost claim
    target = name(2, at_ms=books.now + 500)
    ((made,),) = books.ask(Move((line(one, 0, target, attempts=1),), books.now))
    assert (made.attempts, [error.attempt for error in made.errors]) == (3, [2, 3])
    assert one in books.ledger.held_names()
    assert books.ledger.counters["moved"] == 1


def test_a_move_that_gives_way_to_another_leaves_a_ghost_and_its_kind(books: Books) -> None:
    one, first, second = name(1), name(2, at_ms=NOW + 5_000), name(3, at_ms=NOW + 9_000)
    (ticket,) = books.claim(one)
    retry = Line("r", "retry", one, 0, first, "m", NOW, 1)
    books.ask(Settle((Outcome(Handle(ticket.id, ticket.token, one, 0), "retry", line=retry),)))
    ((made,),) = books.ask(Move((line(one, 0, second),), NOW))
    assert (made.kind, made.target, made.attempts) == ("retry", second, 1)
    assert list(books.ledger.outbox) == ["line"]
    assert first in books.ledger.settled
    books.now += 60_000
    assert books.claim(first) == ()


def test_ordered_messages_keep_their_place(books: Books) -> None:
    assert books.ask(Move((line(grouped(1, 1), 0, name(2)),), NOW)) == [[ORDERED]]
    assert books.ledger.revision == 0


def test_only_what_has_lapsed_is_recalled_from_who_may_live(books: Books) -> None:
    one = name(1, 3)
    (ticket,) = books.claim(one)
    handles = tuple(Handle(ticket.id, ticket.token, one, index) for index in range(2))
    assert books.ask(Recall(handles, lapsed=True)) == [[ALIVE, ALIVE]]
    books.now += 10_000
    assert books.ask(Recall(handles[:1], lapsed=True)) == [[None]]
    assert books.waiting() == [(one, 0)]
    assert books.ledger.tickets[ticket.id].size == 2  # the rest is still held
    assert books.ask(Recall(handles[:1])) == [["it was settled or released before"]]
