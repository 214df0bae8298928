"""How many lanes there should be: its bounds, and that it settles."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3queue.core.lane_count import BUSY_PER_S, CALM, CROWDED, MAX_AUTO, Contention, advise

LANES = st.integers(1, 256)
WORKERS = st.integers(0, 5000)
SEEN = st.builds(
    Contention,
    seconds=st.floats(0, 1e6),
    commits=st.floats(0, 1e9),
    lost_races=st.floats(0, 1e9),
    whole=st.booleans(),
)
CROWD = Contention(60, commits=60 * 2 * BUSY_PER_S, lost_races=60 * 4 * BUSY_PER_S)
QUIET = Contention(60, commits=1, lost_races=0)


@given(LANES, WORKERS, SEEN)
def test_it_stays_within_its_bounds_and_goes_one_step_at_a_time(lanes: int, workers: int, seen: Contention) -> None:
    advised = advise(lanes, workers, seen)
    assert advised >= 1
    assert advised in {lanes, lanes // 2} or lanes < advised <= min(2 * lanes, workers // 2, MAX_AUTO)


@given(
    st.integers(1, MAX_AUTO),
    WORKERS,
    st.floats(0, 1000),
    st.lists(st.floats(0, 0.99), min_size=1, max_size=30),
)
def test_at_one_rate_of_commits_it_never_goes_up_and_down(
    lanes: int, workers: int, per_s: float, shares: list[float]
) -> None:
    """Whatever the races do, as they depend on luck and on the number of lanes."""
    counts = [lanes]
    for share in shares:
        seen = Contention(60, per_s * 60, per_s * 60 * share / (1 - share))
        counts.append(advise(counts[-1], workers, seen))
    raised = any(after > before for before, after in pairwise(counts))
    lowered = any(after < before for before, after in pairwise(counts))
    assert not (raised and lowered)


@given(st.integers(1, MAX_AUTO), WORKERS)
def test_between_crowded_and_calm_nothing_changes(lanes: int, workers: int) -> None:
    for share in (CALM + 0.001, CROWDED - 0.001):
        for per_lane in (0.1, BUSY_PER_S / 4, BUSY_PER_S, 100.0):
            commits = per_lane * lanes * 60
            assert advise(lanes, workers, Contention(60, commits, commits * share / (1 - share))) == lanes


def test_contended_lanes_double_until_there_is_one_for_two_workers() -> None:
    counts = [1]
    for _ in range(5):
        seen = Contention(60, CROWD.commits * counts[-1], CROWD.lost_races * counts[-1])
        counts.append(advise(counts[-1], 13, seen))
    assert counts == [1, 2, 4, 6, 6, 6]
    assert advise(MAX_AUTO, 10_000, Contention(1, 1e6, 2e6)) == MAX_AUTO


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_few_workers_keep_one_lane(workers: int) -> None:
    assert advise(1, workers, CROWD) == 1


def test_calm_lanes_are_halved_down_to_one() -> None:
    counts = [64]
    while counts[-1] > 1:
        counts.append(advise(counts[-1], 2, QUIET))
    assert counts == [64, 32, 16, 8, 4, 2, 1]
    assert advise(1, 2, QUIET) == 1


def test_busy_lanes_without_races_and_slow_ones_with_many_stay() -> None:
    assert advise(8, 100, Contention(60, 8 * 60 * BUSY_PER_S, 0)) == 8
    assert advise(8, 100, Contention(60, 8 * 60, 8 * 600)) == 8


def test_what_is_not_known_changes_nothing() -> None:
    assert advise(4, 100, Contention(0, 1e6, 1e6)) == 4
    assert advise(4, 100, Contention(0, 0, 0)) == 4
    assert advise(4, 100, Contention(60, 1, 0, whole=False)) == 4, "the others may be busy"
    assert advise(4, 100, Contention(60, 1e6, 1e6, whole=False)) == 8, "these alone are too many"
    assert Contention(60, 0, 0).lost_share == 0
