"""Backoff and verdicts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3queue.core.retry import MAX_AFTER_S, STRATEGIES, RetryPolicy, judge, worn_out
from s3queue.errors import InvalidSetting
from tests.core.samples import policies

chances = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 10_000), chances)
def test_a_delay_is_within_its_bounds(policy: RetryPolicy, attempt: int, random: float) -> None:
    delay_ms = policy.delay_ms(attempt, random)
    whole_ms = 1000 * min(policy.cap_s, policy.base_s * policy.factor ** min(attempt - 1, 64))
    assert int(whole_ms * (1 - policy.jitter)) - 1 <= delay_ms <= whole_ms <= policy.cap_s * 1000


@given(policies, st.integers(1, 200))
def test_without_luck_delays_never_shrink(policy: RetryPolicy, attempt: int) -> None:
    assert policy.delay_ms(attempt, 0) <= policy.delay_ms(attempt + 1, 0)


def test_the_default_doubles_up_to_five_minutes_and_takes_up_to_half_off() -> None:
    policy = RetryPolicy()
    assert [policy.delay_ms(attempt, 0) for attempt in (1, 2, 3, 9, 10, 1000)] == [
        1000,
        2000,
        4000,
        256_000,
        300_000,
        300_000,
    ]
    assert policy.delay_ms(2, 0.5) == 1500


@pytest.mark.parametrize(
    "bad",
    [
        {"base_s": -1},
        {"base_s": 10, "cap_s": 5},
        {"cap_s": 86_400 * 15},
        {"factor": 0.5},
        {"factor": 101},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"base_s": math.nan},
        {"cap_s": math.nan},
        {"factor": math.inf},
        {"jitter": math.nan},
        {"base_s": "1"},
        {"factor": None},
    ],
)
def test_a_backoff_out_of_range_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="is not a backoff"):
        RetryPolicy(**bad)


def verdict(strategy: str, attempt: int, *, retriable: bool = True, after_s: float | None = None) -> int | None:
    return judge(
        RetryPolicy(jitter=0),
        strategy,
        attempt=attempt,
        max_attempts=3,
        retriable=retriable,
        random=0,
        after_s=after_s,
    ).after_ms


def test_hybrid_retries_and_then_gives_up() -> None:
    assert [verdict("hybrid", attempt) for attempt in (1, 2, 3, 4)] == [1000, 2000, None, None]


def test_retry_has_no_end() -> None:
    assert verdict("retry", 1000) == 300_000


def test_dead_letter_gives_up_at_once() -> None:
    assert verdict("dead-letter", 1) is None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_cannot_be_retried_is_dead(strategy: str) -> None:
    assert verdict(strategy, 1, retriable=False) is None


@given(st.floats(allow_nan=False))
def test_a_delay_that_a_handler_asks_for_stays_within_a_year(after_s: float) -> None:
    after_ms = verdict("hybrid", 1, after_s=after_s)
    assert after_ms is not None
    assert 0 <= after_ms <= MAX_AFTER_S * 1000


def test_the_handlers_delay_goes_before_the_policys() -> None:
    assert verdict("hybrid", 1, after_s=7.5) == 7500
    assert verdict("hybrid", 1, after_s=0) == 0


@pytest.mark.parametrize(
    ("strategy", "attempt", "lost", "worn"),
    [
        ("hybrid", 3, 0, False),
        ("hybrid", 3, 2, False),
        ("hybrid", 4, 1, True),
        ("hybrid", 4, 0, True),
        ("retry", 400, 0, False),
        ("retry", 400, 2, False),
        ("retry", 4, 3, True),
    ],
)
def test_what_has_used_up_its_attempts_is_not_tried_again(strategy: str, attempt: int, lost: int, worn: bool) -> None:
    assert bool(worn_out(strategy, attempt, 3, lost=lost)) is worn
