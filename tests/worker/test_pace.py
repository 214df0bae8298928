"""How much a worker holds: little until it knows its handlers, then enough for the next second."""

from __future__ import annotations

from s3queue.runtime.pace import ENOUGH, HORIZON_S, Prefetch

LEASE_S = 30.0


def grown(handler_s: float, handled: int, *, concurrency: int = 4, limit: int = 1000) -> Prefetch:
    prefetch = Prefetch(concurrency, limit)
    for _ in range(handled):
        prefetch.observe(handler_s)
    for _ in range(5):
        prefetch.grow()
    return prefetch


def test_one_quick_message_is_no_reason_to_hold_many() -> None:
    for handled in range(ENOUGH):
        prefetch = grown(0.001, handled)
        assert prefetch.want(LEASE_S, 100.0) == 8
        assert prefetch.capacity(LEASE_S, 100.0, 0.0) == 8
    assert grown(0.001, ENOUGH).want(LEASE_S, 100.0) == 1000


def test_as_much_is_held_as_is_done_in_a_second() -> None:
    assert grown(0.1, ENOUGH).want(LEASE_S, 100.0) == 4 * (1 + HORIZON_S / 0.1)
    assert grown(60.0, ENOUGH).want(LEASE_S, 100.0) == 4


def test_nothing_is_held_that_a_short_lease_or_the_memory_has_no_room_for() -> None:
    assert grown(0.1, ENOUGH).want(1.0, 100.0) == 4 * (1 + 0.25 / 0.1)
    assert grown(0.001, ENOUGH).want(LEASE_S, 8 << 20) == 8
    assert grown(0.001, ENOUGH, limit=20).want(LEASE_S, 100.0) == 20


def test_one_that_reads_slowly_is_given_less() -> None:
    prefetch = grown(0.001, ENOUGH)
    assert prefetch.capacity(LEASE_S, 100.0, 0.0) == 1000
    assert prefetch.capacity(LEASE_S, 100.0, 0.01) == 100
