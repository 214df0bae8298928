"""Who leads a lane, and what a coordinator assigns: terms, fencing by epoch, packing, room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from s3queue.core.claiming import RESCUE_MARGIN_MS
from s3queue.core.dispatch import AWAKE_TTL_MS, CALLED_WITH
from s3queue.core.invariants import violations
from s3queue.core.ledger import Leader, Ledger
from s3queue.core.transitions import Claim, Lead, Leave, Listing, Prune, Publish, Request, apply
from s3queue.core.upkeep import SETTLED_KEPT_MS
from tests.core.samples import NOW, name

LEASE_MS = 20_000


def does(ledger: Ledger, *requests: Request, now: int = NOW) -> tuple[Ledger, Any]:
    """Return the ledger after the requests, and the reply to the last."""
    after, replies = apply(ledger, requests, now)
    assert violations(after) == []
    return after, replies[-1]


def claim(worker: str, room: int = 10, *listings: Listing, **more: Any) -> Claim:
    return Claim(worker, room, 30_000, listings, instance=worker, follows=True, joins=True, **more)


def publish(worker: str, epoch: int, *names: str) -> Publish:
    return Publish(worker, worker, epoch, 30_000, (Listing(9, names, NOW),))


def led(*followers: str, room: int = 10) -> Ledger:
    """Return the ledger of a lane that "a" leads, with workers that have said what they would hold."""
    ledger, _ = does(Ledger(), Lead("a", "a", LEASE_MS))
    for follower in followers:
        ledger, _ = does(ledger, claim(follower, room))
    return ledger


def test_one_leads_until_its_term_is_over_and_the_clocks_may_differ() -> None:
    ledger, leader = does(Ledger(), Lead("a", "a", LEASE_MS))
    assert leader == Leader("a", "a", 1, NOW + LEASE_MS)
    for wait_ms in (0, LEASE_MS, LEASE_MS + RESCUE_MARGIN_MS - 1):
        same, found = does(ledger, Lead("b", "b", LEASE_MS), now=NOW + wait_ms)
        assert (same, found.worker) == (ledger, "a")
    _, found = does(ledger, Lead("b", "b", LEASE_MS), now=NOW + LEASE_MS + RESCUE_MARGIN_MS)
    assert (found.worker, found.epoch) == ("b", 2)


def test_a_term_is_renewed_for_nothing_only_after_a_third_of_it() -> None:
    ledger, _ = does(Ledger(), Lead("a", "a", LEASE_MS))
    assert does(ledger, Lead("a", "a", LEASE_MS), now=NOW + 1000)[0] is ledger
    _, renewed = does(ledger, Lead("a", "a", LEASE_MS), now=NOW + LEASE_MS // 2)
    assert (renewed.epoch, renewed.until_ms) == (1, NOW + LEASE_MS // 2 + LEASE_MS)
    _, again = does(ledger, Lead("a", "a", LEASE_MS), now=NOW + LEASE_MS)
    assert again.epoch == 2, "a term that has run out is over, even for who held it"


def test_who_leaves_is_followed_at_once_and_keeps_no_assignment() -> None:
    ledger, _ = does(led("b"), publish("a", 1, name(1)))
    ledger, _ = does(ledger, Leave("b"), Leave("a", "a"))
    assert [ticket.assigned_to for ticket in ledger.tickets.values()] == [""]
    assert not ledger.rooms
    assert does(ledger, Lead("b", "b", LEASE_MS))[1].epoch == 2


def test_followers_take_what_is_assigned_and_nothing_else() -> None:
    ledger, published = does(led("b", "c"), publish("a", 1, name(1)))
    assert [ticket.assigned_to for ticket in published.tickets] == ["b"]
    same, got = does(ledger, claim("c", 10, Listing(9, (name(2),), NOW)))
    assert (same, got.tickets, got.led) == (ledger, (), True)
    _, got = does(ledger, claim("b"))
    assert [part.name for ticket in got.tickets for part in ticket.parts] == [name(1)]


def test_without_a_leader_everybody_claims_from_its_own_listing() -> None:
    late = NOW + LEASE_MS
    _, got = does(led("b"), claim("b", 10, Listing(9, (name(1),), late)), now=late)
    assert (len(got.tickets), got.led) == (1, False)


def test_assignments_are_packed_and_never_more_than_there_is_room_for() -> None:
    names = [name(serial, count=4) for serial in range(6)]
    ledger, published = does(led("b", "c", "d", room=7), publish("a", 1, *names))
    sizes = {ticket.assigned_to: ticket.size for ticket in published.tickets}
    assert sizes == {"b": 7, "c": 7, "d": 7}
    ledger, _ = does(led("b", "c", room=10), publish("a", 1, name(1, count=4)))
    ledger, published = does(ledger, publish("a", 1, name(2, count=4)))
    assert {ticket.assigned_to for ticket in ledger.tickets.values()} == {"b"}, "c was not woken"


def shares(published: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for ticket in published.tickets:
        found[ticket.assigned_to] = found.get(ticket.assigned_to, 0) + ticket.size
    return found


def test_those_awake_get_half_of_their_room_in_turn_before_any_is_filled() -> None:
    proposal = replace(publish("a", 1, *(name(serial, count=5) for serial in range(4))), awake=("b", "c"))
    assert shares(does(led("b", "c", "d", room=20), proposal)[1]) == {"b": 10, "c": 10}
    proposal = replace(publish("a", 1, *(name(serial, count=6) for serial in range(5))), awake=("b", "c"))
    assert shares(does(led("b", "c", "d", room=20), proposal)[1]) == {"b": 20, "c": 10}
    few = replace(publish("a", 1, name(1, count=5)), awake=("c", "b"))
    ledger, published = does(led("b", "c", "d", room=20), few)
    assert shares(published) == {"c": 5}
    assert [ticket.assigned_until_ms for ticket in ledger.tickets.values()] == [NOW + AWAKE_TTL_MS]


def test_sleepers_are_called_with_little_and_only_for_more_than_those_awake_do_in_time() -> None:
    names = [name(serial, count=size) for serial, size in enumerate((10, 10, CALLED_WITH))]
    second = replace(publish("a", 1, *names[:2]), awake=("b",))
    assert shares(does(led("b", "c", "d", room=20), second)[1]) == {"b": 20}, "a second's work of b: c sleeps on"
    more = replace(publish("a", 1, *names), awake=("b",))
    ledger, published = does(led("b", "c", "d", room=20), more)
    assert shares(published) == {"c": CALLED_WITH, "b": 20}
    assert published.behind
    _, published = does(ledger, replace(publish("a", 1, name(9)), awake=("b",)))
    assert shares(published) == {}, "c is coming, and has room for it"
    late = replace(second, short=True)
    assert shares(does(led("b", "c", "d", room=20), late)[1]) == {"c": CALLED_WITH, "b": 12}


def test_who_is_slow_and_has_room_is_called_beside_what_it_holds() -> None:
    ledger, _ = does(led("b", room=20), publish("a", 1, name(1, count=CALLED_WITH)))
    ledger, _ = does(ledger, claim("b", 20, capacity=20))
    assert shares(does(ledger, publish("a", 1, name(2, count=5)))[1]) == {"b": 5}


def test_room_is_what_a_worker_says_it_would_hold() -> None:
    ledger, _ = does(led("b"), claim("c", 1000, capacity=40))
    assert ledger.rooms == {"b": 10, "c": 40}


def test_free_tickets_are_split_to_fit() -> None:
    ledger, _ = does(led("b", "c", room=2), Claim("x", 3, 1000, (Listing(9, (name(1, count=3),), NOW),)))
    ledger, _ = does(ledger, Lead("a", "a", LEASE_MS), now=NOW + 5000)
    (ticket,) = ledger.tickets.values()
    ledger = replace(ledger, tickets={ticket.id: replace(ticket, worker="", token=0, claimed_at_ms=0, expires_at_ms=0)})
    _, published = does(ledger, publish("a", 1), now=NOW + 5000)
    assert sorted((ticket.assigned_to, ticket.size) for ticket in published.tickets) == [("b", 2), ("c", 1)]


@pytest.mark.parametrize(("worker", "epoch"), [("b", 1), ("a", 0), ("a", 2)])
def test_only_who_leads_in_this_epoch_publishes(worker: str, epoch: int) -> None:
    before = led("b")
    after, reply = does(before, publish(worker, epoch, name(1)))
    assert reply.refused
    assert after is before


def test_who_does_not_claim_in_time_loses_the_assignment_and_its_place() -> None:
    ledger, _ = does(led("b", "c"), publish("a", 1, name(1)))
    later = NOW + 40_000
    ledger, _ = does(ledger, Lead("a", "a", LEASE_MS), now=later)
    ledger, _ = does(ledger, publish("a", 2), now=later)
    assert [ticket.assigned_to for ticket in ledger.tickets.values()] == ["c"]
    assert "b" not in ledger.rooms


def test_an_old_listing_gives_nothing_that_was_forgotten_above_the_cursor_since() -> None:
    hour_ago = NOW - SETTLED_KEPT_MS - 1
    ledger = Ledger(revision=1, settled={name(1): hour_ago})
    ledger, forgotten = does(ledger, Prune((name(1),)))
    assert forgotten == 1
    old, new = Listing(9, (name(1),), NOW - 5_000), Listing(9, (name(1),), NOW + 5_000)
    assert does(ledger, Claim("b", 1, 1000, (old,)))[1].tickets == ()
    assert len(does(ledger, Claim("b", 1, 1000, (new,)), now=NOW + 6_000)[1].tickets) == 1
