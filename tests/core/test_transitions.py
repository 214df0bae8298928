"""Each transition's rule and refusals, one story a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pytest

from s3queue.core.claiming import CURSOR_MARGIN_MS, RESCUE_MARGIN_MS, SUSPECT_GROUP
from s3queue.core.draft import WRITER_KEPT_MS, stamp
from s3queue.core.invariants import INVARIANTS, step_violations, violations
from s3queue.core.keys import bound_name, letter_name
from s3queue.core.ledger import Ledger, Line, Part, Ticket, ranges_of, split
from s3queue.core.transitions import (
    Adopt,
    Claim,
    Claimed,
    Discard,
    Extend,
    Handle,
    Listing,
    Outcome,
    Pause,
    Prune,
    Release,
    Replay,
    Request,
    Reset,
    Settle,
    Strike,
    Swept,
    apply,
)
from s3queue.core.upkeep import SETTLED_KEPT_MS
from tests.core.samples import NOW, name

LEASE_MS = 30_000
OLD = NOW - 60_000
SETTLED_BEFORE = "it was settled or released before"
LEASE_OVER = "its lease was rescued, reset or superseded"


class Lane:
    """A ledger, a clock, and the few moves of the stories below; every step is checked against the invariants."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.now = NOW

    def do(self, *requests: Request) -> list[Any]:
        after, replies = apply(self.ledger, requests, self.now)
        assert violations(after) == []
        assert step_violations(self.ledger, after) == []
        self.ledger = after
        return replies

    def claim(self, *listed: str, worker: str = "w", room: int = 1000, **more: Any) -> Claimed:
        listings = tuple(
            Listing(rank, tuple(sorted(n for n in listed if int(n[0]) == rank)), self.now)
            for rank in sorted({int(n[0]) for n in listed})
        )
        (claimed,) = self.do(Claim(worker, room, LEASE_MS, listings, **more))
        assert isinstance(claimed, Claimed)
        return claimed

    def ticket(self, *listed: str, **more: Any) -> Ticket:
        (ticket,) = self.claim(*listed, **more).tickets
        return ticket

    def complete(self, ticket: Ticket, indices: Iterable[int] | None = None) -> list[str | None]:
        outcomes = [Outcome(handle, "completed") for handle in handles(ticket, indices)]
        (replies,) = self.do(Settle(tuple(outcomes)))
        return list(replies)

    def fail(self, ticket: Ticket, kind: str = "retry", target: str | None = None) -> Line:
        (handle,) = handles(ticket)
        line = move(kind, handle, target or name(900, at_ms=self.now))
        assert self.do(Settle((Outcome(handle, line.kind, line=line),))) == [[None]]  # type: ignore[arg-type]
        return line

    def lease_ends(self) -> None:
        self.now += LEASE_MS + RESCUE_MARGIN_MS


def handles(ticket: Ticket, indices: Iterable[int] | None = None) -> list[Handle]:
    wanted = None if indices is None else set(indices)
    return [
        Handle(ticket.id, ticket.token, part.name, index)
        for part in ticket.parts
        for index in part.indices()
        if wanted is None or index in wanted
    ]


def move(kind: Any, handle: Handle, target: str) -> Line:
    return Line(f"{kind}-{target}", kind, handle.name, handle.index, target, "m", NOW, 1)


def messages(claimed: Claimed) -> list[tuple[str, int]]:
    return [(part.name, index) for t in claimed.tickets for part in t.parts for index in part.indices()]


@pytest.fixture
def lane() -> Lane:
    return Lane()


# --- claims


def test_an_urgent_rank_is_served_first_and_the_oldest_within_it(lane: Lane) -> None:
    old, new, urgent = name(1, at_ms=OLD), name(2, at_ms=OLD + 1), name(3, rank=0)
    assert messages(lane.claim(new, urgent, old, room=2)) == [(urgent, 0), (old, 0)]


def test_what_is_visible_later_is_left(lane: Lane) -> None:
    later = name(1, at_ms=NOW + 1)
    assert lane.claim(later).tickets == ()
    lane.now += 1
    assert messages(lane.claim(later)) == [(later, 0)]


def test_what_is_held_is_claimed_by_nobody_else(lane: Lane) -> None:
    lane.claim(name(1))
    before = lane.ledger
    assert lane.claim(name(1), worker="other").tickets == ()
    assert lane.ledger is before


def test_a_big_object_is_shared_out_between_workers(lane: Lane) -> None:
    big = name(1, 10)
    one, two = lane.ticket(big, room=4), lane.ticket(big, room=4, worker="other")
    assert [part.ranges for part in one.parts] == [((0, 4),)]
    assert [part.ranges for part in two.parts] == [((4, 8),)]
    assert lane.complete(one) == [None] * 4
    assert lane.complete(two) == [None] * 4
    assert lane.ledger.settled == {}
    assert lane.complete(lane.ticket()) == [None, None]
    assert lane.ledger.settled == {big: NOW}


def test_an_object_whose_rest_is_taken_is_not_taken_for_new_by_the_same_claim(lane: Lane) -> None:
    """While a claim is made, what it has taken from available tickets is in no ticket: it must not look unknown."""
    big = name(1, 3)
    lane.complete(lane.ticket(big, room=1))
    assert messages(lane.claim(big)) == [(big, 1), (big, 2)]
    assert lane.ledger.counters["ticketed"] == 3


def test_an_object_in_hand_is_not_settled_when_the_same_claim_meets_the_target_of_its_move(lane: Lane) -> None:
    pair, target = name(1, 2, at_ms=OLD), name(2, at_ms=OLD + 1)
    ticket = lane.ticket(pair)
    first, second = handles(ticket)
    lane.do(Settle((Outcome(first, "retry", line=move("retry", first, target)),)), Release((second,)))
    assert sorted(messages(lane.claim(target))) == [(pair, 1), (target, 0)]
    assert lane.ledger.settled == {}


def test_a_ticket_may_hold_several_parts_of_one_object(lane: Lane) -> None:
    """Two workers give their shares back; whoever claims both can settle each message."""
    big = name(1, 10)
    one, two = lane.ticket(big, room=5), lane.ticket(big, room=5, worker="other")
    lane.do(Release(tuple(handles(one))), Release(tuple(handles(two))))
    whole = lane.ticket()
    assert len(whole.parts) == 2
    assert lane.complete(whole, [7, 2]) == [None, None]
    assert sorted(messages(Claimed(tuple(lane.ledger.tickets.values())))) == [
        (big, index) for index in range(10) if index not in (2, 7)
    ]
    assert lane.do(Release(tuple(handles(whole, [0, 9])))) == [[None, None]]
    assert lane.complete(whole, [1, 3, 4, 5, 6, 8]) == [None] * 6


def test_room_and_objects_bound_a_claim(lane: Lane) -> None:
    many = [name(serial, 2) for serial in range(10)]
    by_room = lane.claim(*many, room=5)
    assert (len(messages(by_room)), by_room.full) == (5, True)
    by_objects = lane.claim(*many, max_objects=2)
    assert ({n for n, _ in messages(by_objects)}, by_objects.full) == ({many[2], many[3]}, True)
    assert lane.claim(*many, room=0).tickets == ()


def test_a_name_to_skip_is_left_to_others_and_holds_the_cursor(lane: Lane) -> None:
    bad, good = name(1, at_ms=OLD), name(2, at_ms=OLD + 1)
    assert messages(lane.claim(bad, good, skip=frozenset({bad}))) == [(good, 0)]
    assert lane.ledger.cursor(9) == ""
    lane.do(Release(tuple(handles(lane.ticket(bad)))))
    assert lane.claim(skip=frozenset({bad})).tickets == ()
    assert messages(lane.claim()) == [(bad, 0)]


def test_a_settled_name_is_never_claimed_again_while_it_is_known(lane: Lane) -> None:
    lane.complete(lane.ticket(name(1)))
    assert lane.claim(name(1)).tickets == ()


def test_a_paused_lane_refuses_claims_and_keeps_the_rest_going(lane: Lane) -> None:
    ticket = lane.ticket(name(1))
    assert lane.do(Pause(True)) == [True]
    assert lane.do(Pause(True)) == [False]
    assert lane.claim(name(2)) == Claimed(paused=True)
    assert lane.complete(ticket) == [None]
    assert lane.do(Pause(False)) == [True]
    assert messages(lane.claim(name(2))) == [(name(2), 0)]


# --- the cursor


def test_the_cursor_goes_over_what_is_ticketed_and_stops_at_what_is_not(lane: Lane) -> None:
    one, two, three = (name(serial, at_ms=OLD + serial) for serial in (1, 2, 3))
    lane.claim(one, two, three, skip=frozenset({two}))
    assert lane.ledger.cursor(9) == one


def test_the_cursor_stays_out_of_the_margin(lane: Lane) -> None:
    before, inside = name(1, at_ms=NOW - CURSOR_MARGIN_MS - 1), name(2, at_ms=NOW - CURSOR_MARGIN_MS)
    lane.claim(before, inside)
    assert lane.ledger.cursor(9) == before
    late = name(3, at_ms=NOW - CURSOR_MARGIN_MS)  # made before the listing, landed after it
    assert messages(lane.claim(inside, late)) == [(late, 0)]


@pytest.mark.parametrize(
    ("listed", "whole", "reached"),
    [((), True, 3), ((), False, 0), ((2,), True, 3), ((2,), False, 2), ((4,), True, 3), ((2, 4), False, 3)],
)
def test_the_cursor_passes_what_is_settled_and_deleted_as_far_as_a_listing_shows_nothing_new(
    lane: Lane, listed: tuple[int, ...], whole: bool, reached: int
) -> None:
    names = [name(serial, at_ms=NOW + serial) for serial in range(6)]
    lane.now = NOW + 10
    ticket = lane.ticket(*names[1:4])  # inside the margin: the cursor cannot pass them yet
    lane.complete(ticket)
    lane.now = NOW + CURSOR_MARGIN_MS + 5
    listing = Listing(9, tuple(names[serial] for serial in listed), lane.now, whole=whole)
    lane.do(Claim("w", 5, LEASE_MS, (listing,), skip=frozenset({names[4]})), Pause(True))
    assert lane.ledger.cursor(9) == (names[reached] if reached else "")


def test_an_old_listing_does_not_move_the_cursor_back_nor_past_what_it_missed(lane: Lane) -> None:
    one, two = name(1, at_ms=OLD), name(2, at_ms=OLD + 1)
    stale = Listing(9, (one,), NOW)
    lane.claim(one, two)
    assert lane.do(Claim("w", 5, LEASE_MS, (stale,))) == [Claimed()]
    assert lane.ledger.cursor(9) == two


def test_a_listing_alone_is_no_reason_to_write(lane: Lane) -> None:
    lane.claim(name(1))
    before = lane.ledger
    lane.now += 10_000
    lane.claim(name(1))
    assert lane.ledger is before


# --- outcomes


def test_each_outcome_is_booked_once(lane: Lane) -> None:
    ticket = lane.ticket(name(1, 5))
    every = handles(ticket)
    kinds: list[Any] = ["completed", "retry", "dead", "missing", "discarded"]
    targets = {"retry": name(8), "dead": letter_name(NOW, "0" * 20 + "-0")}
    outcomes = tuple(
        Outcome(handle, kind, latency_ms=100, line=move(kind, handle, targets[kind]) if kind in targets else None)
        for handle, kind in zip(every, kinds, strict=True)
    )
    assert lane.do(Settle(outcomes)) == [[None] * 5]
    assert lane.do(Settle(outcomes)) == [[LEASE_OVER] * 5]
    booked = ("ticketed", "claimed", "completed", "retried", "dead", "failed", "missing", "discarded")
    assert [lane.ledger.counters[kind] for kind in booked] == [5, 5, 1, 1, 1, 2, 1, 1]
    assert lane.ledger.latency_ms == {128: 1}


def test_one_message_settled_twice_in_one_request_is_booked_once(lane: Lane) -> None:
    (handle,) = handles(lane.ticket(name(1, 2)), [0])
    twice = Settle((Outcome(handle, "completed"), Outcome(handle, "dead", line=move("dead", handle, "x"))))
    assert lane.do(twice) == [[None, SETTLED_BEFORE]]
    assert lane.ledger.outbox == {}


@pytest.mark.parametrize("ends", ["rescued", "reset", "discarded"])
def test_the_token_of_a_claim_that_is_over_is_refused(lane: Lane, ends: str) -> None:
    ticket = lane.ticket(name(1))
    if ends == "rescued":
        lane.lease_ends()
        lane.do(Swept())
    else:
        lane.do(Reset(frozenset({ticket.id})) if ends == "reset" else Discard(in_flight=True))
    after = lane.ledger
    assert lane.complete(ticket) == [LEASE_OVER]
    assert lane.do(Release(tuple(handles(ticket)))) == [[LEASE_OVER]]
    assert lane.do(Extend(((ticket.id, ticket.token),), LEASE_MS)) == [[False]]
    assert lane.ledger is after


def test_a_token_does_not_pass_for_that_of_a_later_claim(lane: Lane) -> None:
    first = lane.ticket(name(1))
    lane.lease_ends()
    second = lane.ticket(worker="other")
    assert second.token > first.token
    forged = Handle(second.id, first.token, name(1), 0)
    assert lane.do(Settle((Outcome(forged, "completed"),))) == [[LEASE_OVER]]
    assert lane.complete(second) == [None]


def test_a_handle_of_a_message_that_the_ticket_never_had_is_refused(lane: Lane) -> None:
    ticket = lane.ticket(name(1, 2), room=1)
    wrong = [Handle(ticket.id, ticket.token, name(1, 2), 1), Handle(ticket.id, ticket.token, name(7), 0)]
    assert lane.do(Release(tuple(wrong))) == [[SETTLED_BEFORE] * 2]


def test_a_lease_is_extended_but_never_cut_short(lane: Lane) -> None:
    ticket = lane.ticket(name(1))
    lane.do(Extend(((ticket.id, ticket.token),), 1000))
    assert lane.ledger.tickets[ticket.id].expires_at_ms == NOW + LEASE_MS
    lane.now += 10_000
    assert lane.do(Extend(((ticket.id, ticket.token), ("9.9", 9)), LEASE_MS)) == [[True, False]]
    assert lane.ledger.tickets[ticket.id].expires_at_ms == lane.now + LEASE_MS


def test_a_lease_is_left_alone_until_clocks_cannot_differ_any_more(lane: Lane) -> None:
    ticket = lane.ticket(name(1))
    lane.now += LEASE_MS + RESCUE_MARGIN_MS - 1
    assert lane.claim().rescued == ()
    assert lane.complete(ticket) == [None]


def test_what_is_given_back_keeps_the_claims_it_lost(lane: Lane) -> None:
    lane.ticket(name(1))
    lane.lease_ends()
    lane.do(Release(tuple(handles(lane.ticket(worker="other")))))
    (part,) = lane.ticket().parts
    assert [lost.worker for lost in part.rescues] == ["w"]


def test_reset_takes_only_what_is_claimed(lane: Lane) -> None:
    ticket = lane.ticket(name(1, 2), room=1)
    (free,) = lane.ledger.tickets.keys() - {ticket.id}
    assert lane.do(Reset(frozenset({ticket.id, free, "nothing"}))) == [(ticket,)]


# --- what kills its worker


def test_a_message_that_kills_its_workers_ends_alone_and_its_neighbours_live(lane: Lane) -> None:
    """Each worker that holds the poison dies with all it holds; every other message completes."""
    poison, max_attempts = (name(5), 0), 3
    listed = [name(serial) for serial in range(40)]
    done: set[tuple[str, int]] = set()
    dead: set[tuple[str, int]] = set()
    for _ in range(200):
        claimed = lane.claim(*listed, max_attempts=max_attempts)
        if not claimed.tickets:
            break
        if any(len(part.rescues) >= max_attempts for ticket in claimed.tickets for part in ticket.parts):
            dead.update(messages(claimed))
            for ticket in claimed.tickets:
                lane.fail(ticket, "dead", "letter")
        elif poison in messages(claimed):
            lane.lease_ends()
        else:
            done.update(messages(claimed))
            assert {reply for ticket in claimed.tickets for reply in lane.complete(ticket)} == {None}
    assert dead == {poison}
    assert done == {(listed_name, 0) for listed_name in listed} - {poison}


def test_suspects_are_tried_in_groups_and_then_one_by_one(lane: Lane) -> None:
    everything = lane.claim(name(1, 100), max_attempts=3)
    assert len(messages(everything)) == 100
    lane.lease_ends()
    group = lane.claim(max_attempts=3)
    assert len(messages(group)) == SUSPECT_GROUP
    lane.lease_ends()
    sizes = []
    while (claimed := lane.claim(max_attempts=3)).tickets:
        sizes.append(len(messages(claimed)))
        for ticket in claimed.tickets:
            lane.complete(ticket)
    assert sum(sizes) == 100
    assert sorted(sizes)[:SUSPECT_GROUP] == [1] * SUSPECT_GROUP


def test_suspects_do_not_ride_with_the_rest_and_can_be_declined(lane: Lane) -> None:
    lane.claim(name(1))
    lane.lease_ends()
    assert lane.claim(suspects=False).tickets == ()
    suspect = next(iter(lane.ledger.tickets.values()))
    fresh, doubtful = lane.claim(name(2), room=5).tickets
    assert [part.name for part in fresh.parts] == [name(2)]
    assert doubtful.parts == suspect.parts


# --- moves


def test_the_source_of_a_move_is_kept_until_its_line_is_struck(lane: Lane) -> None:
    line = lane.fail(lane.ticket(name(1)))
    assert lane.ledger.settled == {}
    assert lane.claim(name(1)).tickets == ()
    assert lane.do(Strike((line.id, "unknown"))) == [1]
    assert lane.ledger.settled == {name(1): NOW}
    assert lane.do(Strike((line.id,))) == [0]


def test_claiming_a_target_strikes_its_line(lane: Lane) -> None:
    line = lane.fail(lane.ticket(name(1)))
    lane.claim(line.target)
    assert lane.ledger.outbox == {}
    assert name(1) in lane.ledger.settled


def test_adopting_a_target_strikes_its_line(lane: Lane) -> None:
    line = lane.fail(lane.ticket(name(1)))
    assert lane.do(Adopt((line.target,), lane.ledger.revision)) == [[line.target]]
    assert lane.ledger.outbox == {}


def test_discarding_a_target_strikes_its_line(lane: Lane) -> None:
    line = lane.fail(lane.ticket(name(1)))
    assert lane.do(Discard((line.target,))) == [1]
    assert lane.ledger.outbox == {}


@pytest.mark.parametrize("by", ["replay", "discard"])
def test_a_letter_that_was_seen_strikes_the_line_that_was_to_write_it(
    lane: Lane, by: Literal["replay", "discard"]
) -> None:
    letter = letter_name(NOW, "0" * 20 + "-0")
    lane.fail(lane.ticket(name(1)), "dead", letter)
    line = Line(letter, by, letter, 0, name(8) if by == "replay" else letter, "m", NOW)
    lane.do(Replay((line,), lane.ledger.revision))
    assert [line.kind for line in lane.ledger.outbox.values()] == [by]
    assert name(1) in lane.ledger.settled


def test_a_letter_is_replayed_once(lane: Lane) -> None:
    letter = letter_name(NOW, "0" * 20 + "-0")
    once, again = (Line(letter, "replay", letter, 0, name(serial), "m", NOW) for serial in (1, 2))
    assert lane.do(Replay((once, again), 0)) == [[None, "it is being replayed already"]]
    assert lane.do(Replay((again,), 1)) == [["it is being replayed already"]]
    assert lane.ledger.outbox == {letter: once}
    assert lane.ledger.counters["replayed"] == 1


@pytest.mark.parametrize("gone_by", ["discarded", "replayed"])
def test_a_replay_judged_before_a_letter_went_is_void(lane: Lane, gone_by: str) -> None:
    """Whoever read the journal before then may have a ghost of that very letter in hand."""
    letter = letter_name(NOW, "0" * 20 + "-0")
    line = Line(letter, "replay", letter, 0, name(1), "m", NOW)
    judged = lane.ledger.revision
    gone = line if gone_by == "replayed" else Line(letter, "discard", letter, 0, letter, "m", NOW)
    lane.do(Replay((gone,), judged))
    lane.do(Strike((line.id,)))
    before = lane.ledger
    assert lane.do(Replay((line,), judged)) == [None]
    assert lane.ledger is before


def test_claiming_a_replayed_message_leaves_only_the_deletion_of_its_letter(lane: Lane) -> None:
    letter = letter_name(NOW, "0" * 20 + "-0")
    lane.do(Replay((Line(letter, "replay", letter, 0, name(1), "m", NOW),), 0))
    lane.claim(name(1))
    (line,) = lane.ledger.outbox.values()
    assert line.written


def test_a_move_whose_source_is_gone_is_booked_as_missing_instead(lane: Lane) -> None:
    line = lane.fail(lane.ticket(name(1)))
    lane.do(Strike((line.id,), frozenset({line.id})))
    assert (lane.ledger.counters["retried"], lane.ledger.counters["missing"]) == (0, 1)


# --- late arrivals, ghosts, forgetting


def test_a_late_arrival_is_ticketed_once(lane: Lane) -> None:
    late = name(1, 2, at_ms=OLD)
    assert lane.do(Adopt((late,), lane.ledger.revision)) == [[late]]
    assert lane.do(Adopt((late,), lane.ledger.revision)) == [[]]
    assert len(messages(lane.claim())) == 2


def test_a_judgement_from_before_something_was_forgotten_is_void(lane: Lane) -> None:
    old = name(1, at_ms=OLD)
    lane.complete(lane.ticket(old))
    judged = lane.ledger.revision
    lane.do(Prune((old,)))
    before = lane.ledger
    assert lane.do(Adopt((old,), judged)) == [None]
    assert lane.ledger is before


def test_what_the_cursor_has_not_passed_is_not_forgotten(lane: Lane) -> None:
    passed, above = name(1, at_ms=OLD), name(2, at_ms=NOW)
    lane.complete(lane.ticket(passed, above))
    assert lane.do(Prune((passed, above, name(3)))) == [1]
    assert set(lane.ledger.settled) == {above}
    assert lane.ledger.forgotten_at_revision == lane.ledger.revision
    lane.now += SETTLED_KEPT_MS
    assert lane.do(Prune((above,))) == [0]
    lane.now += 1
    assert lane.do(Prune((above,))) == [1]


# --- discarding


def test_discarding_fences_live_claims_and_balances_the_books(lane: Lane) -> None:
    held, retried = lane.ticket(name(1, 3)), lane.ticket(name(2))
    line = lane.fail(retried)
    assert lane.do(Discard((name(3, 2), name(1, 3)), in_flight=True)) == [6]
    assert lane.complete(held) == [LEASE_OVER] * 3
    assert (lane.ledger.tickets, lane.ledger.outbox) == ({}, {})
    assert set(lane.ledger.settled) == {name(1, 3), name(2), name(3, 2), line.target}
    assert lane.claim(name(3, 2), line.target).tickets == ()


def test_discarding_leaves_dead_letters_on_their_way(lane: Lane) -> None:
    line = lane.fail(lane.ticket(name(1)), "dead", letter_name(NOW, "0" * 20 + "-0"))
    lane.do(Discard(in_flight=True))
    assert lane.ledger.outbox == {line.id: line}


def test_a_name_below_the_cursor_is_not_discarded_unjudged(lane: Lane) -> None:
    lane.claim(name(1, at_ms=OLD + 1))
    assert lane.do(Discard((name(2, at_ms=OLD),))) == [0]


# --- the rest


def test_a_writer_unheard_of_for_an_hour_is_dropped() -> None:
    ledger = stamp(Ledger(), writer="a", number=1, write_id="x", now=NOW)
    ledger = stamp(ledger, writer="b", number=7, write_id="y", now=NOW + WRITER_KEPT_MS - 1)
    assert ledger.writers == {"a": (1, NOW), "b": (7, NOW + WRITER_KEPT_MS - 1)}
    ledger = stamp(ledger, writer="b", number=8, write_id="z", now=NOW + WRITER_KEPT_MS)
    assert ledger.writers == {"b": (8, NOW + WRITER_KEPT_MS)}


@pytest.mark.parametrize(
    ("indices", "ranges"), [([], ()), ([3], ((3, 4),)), ([2, 0, 1], ((0, 3),)), ([5, 0, 1], ((0, 2), (5, 6)))]
)
def test_ranges_cover_exactly_their_indices(indices: list[int], ranges: tuple[tuple[int, int], ...]) -> None:
    assert ranges_of(indices) == ranges
    assert Part("x", ranges).indices() == sorted(indices)


def test_a_part_splits_across_its_ranges() -> None:
    part = Part("x", ((0, 2), (5, 9)))
    assert split(part, 3) == (Part("x", ((0, 2), (5, 6))), Part("x", ((6, 9),)))
    assert split(part, 6) == (part, None)


def test_a_bound_is_never_negative() -> None:
    assert bound_name(9, -5) == "9/0000000000000"


CLAIMED = Ticket("1.1", (Part(name(1, 3), ((0, 2),)),), "w", 1, NOW, NOW + 1)
RETRY = Line("l", "retry", name(1, 3), 1, name(2), "m", NOW)
BROKEN: dict[str, dict[str, Any]] = {
    "one_holder": {"tickets": {"1.1": CLAIMED, "1.2": Ticket("1.2", (Part(name(1, 3), ((1, 3),)),))}},
    "within_object": {"tickets": {"1.1": Ticket("1.1", (Part(name(1, 3), ((2, 4),)),))}},
    "claim_is_whole": {"tickets": {"1.1": Ticket("1.1", CLAIMED.parts, "", 1, NOW, NOW + 1)}},
    "settled_is_free": {"settled": {name(1, 3): NOW}, "outbox": {"l": RETRY}},
    "one_move": {"outbox": {"l": RETRY, "k": RETRY}},
    "books_balance": {"counters": {"ticketed": 5}},
    "one_in_flight_per_group": {
        "tickets": {
            "1.1": Ticket("1.1", (Part(f"{name(1)}.0000000a", ((0, 1),)),), "w", 1, NOW, NOW + 1),
            "1.2": Ticket("1.2", (Part(f"{name(2)}.0000000a", ((0, 1),)),), "w", 1, NOW, NOW + 1),
        }
    },
    "turn_is_kept": {"held_back": {"0000000a": f"{name(1)}.0000000b"}},
}


@pytest.mark.parametrize("rule", INVARIANTS)
def test_each_invariant_sees_its_breach(rule: str) -> None:
    ledger = Ledger(revision=1, **BROKEN[rule])
    assert [what for what in violations(ledger) if what.startswith(f"{rule}:")]


def test_a_step_back_is_seen() -> None:
    before, after = Ledger(revision=4, cursors={9: name(2)}), Ledger(revision=4, cursors={9: name(1)})
    assert len(step_violations(before, after)) == 2
