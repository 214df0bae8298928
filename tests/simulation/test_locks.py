"""Locks keep their rules in every storm, and the faults that are meant to happen do."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.locks import STORMS, Resource, Run, play_locks

ROUNDS = 3
"""How often each storm is played."""


@pytest.mark.parametrize("storm", STORMS)
def test_no_storm_breaks_a_rule(storm: str) -> None:
    first, happened = list(STORMS).index(storm), Counter[str]()
    for seed in range(first, first + ROUNDS * len(STORMS), len(STORMS)):
        outcome = play_locks(seed)
        assert outcome.violations == [], f"replay: play_locks({seed}, keep_trace=True)"
        assert outcome.acquired > 10
        happened.update(outcome.faults)
        happened.update(outcome.situations)
    wanted = {name for name, value in vars(STORMS[storm]).items() if value and not name.endswith("_s")} - {"page"}
    late = ("holders that woke too late", "refused by the resource", "told that a lock was lost")
    assert all(happened[name] for name in (*wanted, *late))


def test_sweeps_delete_while_others_want_the_lock() -> None:
    first = list(STORMS).index("night")
    nights = [play_locks(seed) for seed in range(first, first + 4 * len(STORMS), len(STORMS))]
    assert sum(night.swept for night in nights) > 0
    assert all(night.faults["night"] == 3 for night in nights)


def test_without_a_fence_the_resource_is_used_by_holders_that_woke_too_late() -> None:
    found = [
        text
        for seed in range(0, 3 * len(STORMS), len(STORMS))
        for text in Run(seed, resource=Resource(fenced=False)).play().violations
    ]
    assert found
    assert all("fencing" in text for text in found)


def test_the_same_seed_gives_the_same_run() -> None:
    assert play_locks(6).digest == play_locks(6).digest != play_locks(15).digest
