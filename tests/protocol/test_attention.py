"""Whom a coordinator takes for awake: who took or settled something lately, as its ledgers show."""

from __future__ import annotations

from s3queue.core.ledger import Ledger, Part, Ticket
from s3queue.protocol.attention import AWAKE_S, PATIENCE_S, Attention
from tests.core.samples import NOW, name


def held(ticket_id: str, worker: str, count: int) -> Ticket:
    part = Part(name(1, count=8), ((0, count),))
    return Ticket(ticket_id, (part,), worker, 1, NOW, NOW + 30_000)


def test_who_claims_or_settles_is_awake_for_a_while_and_the_latest_comes_first() -> None:
    seen = Attention()
    seen.watch(Ledger(tickets={"1.1": held("1.1", "a", 8), "1.2": held("1.2", "b", 8)}), 10.0)
    assert seen.awake(10.0) == ("a", "b")
    seen.watch(Ledger(tickets={"1.1": held("1.1", "a", 8), "1.2": held("1.2", "b", 7)}), 12.0)
    assert seen.awake(12.0) == ("b", "a")
    seen.watch(Ledger(tickets={"1.1": held("1.1", "a", 8)}), 13.0)
    assert seen.awake(10.0 + AWAKE_S) == ("b",), "it holds a message for long, and looks seldom"
    assert seen.awake(13.0 + AWAKE_S) == ()


def test_who_took_what_it_was_given_is_awake_though_it_has_settled_it_since() -> None:
    given = Ticket("1.1", (Part(name(1), ((0, 1),)),), assigned_to="a", assigned_until_ms=NOW + 30_000, epoch=1)
    seen = Attention()
    seen.gave([given], 10.0, behind=False)
    seen.watch(Ledger(tickets={"1.1": given}), 10.5)
    assert seen.awake(10.5) == ()
    seen.watch(Ledger(), 11.0)
    assert seen.awake(11.0) == ("a",)


def test_being_behind_counts_when_it_has_lasted() -> None:
    seen = Attention()
    seen.gave([], 10.0, behind=True)
    seen.gave([], 10.5, behind=True)
    assert not seen.is_short(10.9)
    assert seen.is_short(10.0 + PATIENCE_S)
    seen.gave([], 11.5, behind=False)
    seen.gave([], 11.6, behind=True)
    assert not seen.is_short(12.0)
