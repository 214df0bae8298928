"""The play of a lane: its constants are the engine's, and what it comes to is reasonable for any load."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3queue.coordination import sqs
from s3queue.core.settings import Settings
from s3queue.protocol import committer, consumer, coordinator, inbox, search
from s3queue.runtime import maintenance
from s3queue.runtime.tuning import Tuning
from s3queue_admin.cost import estimate_usage
from s3queue_admin.cost import fleet as model
from s3queue_admin.cost import worker as play
from s3queue_admin.cost.books import Books, Plan, Turns
from s3queue_admin.cost.lane import Lane, Latency
from s3queue_admin.cost.play import Play, played


def test_the_constants_are_the_engine_s() -> None:
    engine = [
        search._LEDGER_AGE_S, committer._JUST_NOW_S, committer._BACKOFF_S, committer._MAX_BACKOFF_S,
        coordinator._READING_S, coordinator._TTL_MARGIN_MS / 1000, consumer._MEASURED_FROM, inbox._CACHED_OBJECTS,
        maintenance._TICK_S, Tuning().prefetch, sqs.SPACING_S, sqs.LONG_POLL_S,
    ]  # fmt: skip
    assert engine == [
        play.LEDGER_AGE_S, play.JUST_NOW_S, play.BACKOFF_S, play.MAX_BACKOFF_S,
        play.READ_SHARE_S, play.TTL_MARGIN_S, play.MEASURED_FROM, play.CACHED_OBJECTS,
        play.UPKEEP_S, play.HELD_MOST, model.SPACING_S, model.LONG_POLL_S,
    ]  # fmt: skip
    assert play.LISTING_KEPT_S == {
        "fifo": inbox._LISTING_KEPT_S, "lifo": inbox._NEWEST_LISTING_KEPT_S,
        "strict": inbox._ORDERED_LISTING_KEPT_S, "strict-group": inbox._ORDERED_LISTING_KEPT_S,
    }  # fmt: skip


LOADS = st.fixed_dictionaries({
    "workers": st.sampled_from([1, 3, 12, 60]),
    "batch": st.sampled_from([1, 10, 200]),
    "handler_s": st.sampled_from([0.0, 0.1, 1.0, 20.0]),
    "lanes": st.sampled_from([1, 3]),
    "coordination": st.sampled_from(["s3", "redis", "sqs"]),
    "max_poll_interval_s": st.sampled_from([1.0, 5.0, 60.0]),
})  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(load=LOADS, rate=st.sampled_from([0.002, 0.05, 1.0, 20.0, 150.0]))
def test_more_messages_cost_more_as_long_as_the_queue_keeps_up(load: dict[str, Any], rate: float) -> None:
    idle, some, more = (estimate_usage(messages_per_s=each, **load) for each in (0.0, rate, 3 * rate))
    assert all(each.per_second > 0 for found in (idle, some, more) for each in found.rates)
    usd = [found.bill().usd_a_month for found in (idle, some, more)]
    keeps_up = [not any("does not keep up" in note for note in found.notes) for found in (some, more)]
    if keeps_up[0]:
        assert usd[0] <= usd[1] * 1.001
    if all(keeps_up):
        assert usd[1] <= usd[2] * 1.1  # a worker that is busy for long, and has no room, looks less often


@pytest.mark.parametrize("order", ["fifo", "lifo", "strict-group"])
def test_no_messages_cost_what_an_idle_queue_does_and_few_hardly_more(order: str) -> None:
    idle, few = (estimate_usage(Settings(order=order), messages_per_s=each, workers=3) for each in (0.0, 1e-6))
    assert few.bill().usd_a_month == pytest.approx(idle.bill().usd_a_month, rel=0.1)  # sweeps list what is there


def test_every_message_that_comes_is_claimed_once_and_ended() -> None:
    lane = Lane(40.0, 2.5, 0.2, 8, 0.25, 5.0, Latency(), workers=6, fleet=6)
    game = Play(lane)
    game.run(60.0, 10**9)
    books = game.books
    held = sum(books.held.values()) + sum(part[1] for mine in books.assigned.values() for part, _ in mine)
    ticketed = sum(books.size(number) for number in range(books.taken))
    under_way = lane.concurrency * lane.workers  # recorded, and not yet answered
    assert 0 <= ticketed - (game.counts["ended"] + held + sum(count for _, count in books.free)) <= under_way
    assert game.counts["ended"] == pytest.approx(40 * 2.5 * 60, rel=0.03)


def test_an_ordered_group_has_one_message_in_hand() -> None:
    books = Books(1.0)
    turns = Turns(books, 3)
    assert turns.claim(0, 5, 5) == [(0, 1), (1, 1), (2, 1)]
    assert turns.claim(1, 5, 5) == []
    assert turns.waits(5)
    turns.end([1])
    assert turns.claim(1, 5, 5) == [(4, 1)]
    one = played(Lane(50.0, 1.0, 0.1, 8, 0.25, 5.0, Latency(), workers=3, fleet=3, order="strict"))
    assert one.ended < 6, "each message waits for the commit of the one before"


def test_sleepers_are_called_only_when_those_awake_are_behind() -> None:
    books = Books(1.0, rooms={0: 8, 1: 16, 2: 16})
    assert Plan(books, 0, [1], 8, short=False, ttl_s=15).next() == (1, 8)
    plan = Plan(books, 0, [1], 100, short=False, ttl_s=15)
    assert plan.behind
    assert plan.next() == (2, 8), "a few, to the sleeper first"
