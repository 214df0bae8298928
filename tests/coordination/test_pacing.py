"""When a worker looks because of a hint."""

from __future__ import annotations

from s3queue.runtime.pace import HINTED_S, SPREAD_S, Polling


def idle() -> Polling:
    polling = Polling(1.0, 5.0)
    for _ in range(10):
        polling.look(100)
        polling.found(100, 0, 8, 0.5)
    assert polling.due_at == 105
    return polling


def test_an_idle_worker_looks_at_once_a_little_spread() -> None:
    polling = idle()
    polling.hint(101, 0.5)
    assert polling.due_at == 101 + SPREAD_S / 2


def test_hints_do_not_make_looks_follow_each_other_fast() -> None:
    polling = idle()
    looks = []
    now = 101.0
    while now < 103:
        polling.hint(now, 0)
        if polling.due_at <= now:
            looks.append(now)
            polling.look(now)
            polling.found(now, 0, 8, 0.5)
        now += 0.01
    assert 2 / HINTED_S - 1 <= len(looks) <= 2 / HINTED_S + 1


def test_a_hint_that_comes_during_a_look_is_not_lost() -> None:
    polling = idle()
    polling.look(105)
    polling.hint(105.1, 0)
    polling.found(105.2, 0, 8, 0.5)
    assert polling.due_at == 105.1
    polling.look(105.2)
    polling.found(105.3, 0, 8, 0.5)
    assert polling.due_at == 110.3


def test_a_hint_never_delays_a_look() -> None:
    polling = idle()
    polling.hint(101, 0)
    polling.look(101)
    polling.found(101, 8, 8, 0.5)
    polling.hint(101.01, 0)
    assert polling.due_at == 101


def test_a_look_for_others_does_not_put_off_ones_own() -> None:
    polling = Polling(1.0, 5.0)
    polling.found(100, 10, 10, 0.5)
    polling.looked_for_others(100, 4.0, 0.5)
    assert polling.next_at(10, leads=True) == 100
    assert polling.next_at(0, leads=True) == 104
    assert polling.next_at(0, leads=False) == float("inf")
