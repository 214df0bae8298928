"""A key whose producer died is one message, whenever it is asked for again."""

from __future__ import annotations

from collections import Counter

from tests.simulation.keys import STORMS, play_keys


def test_no_night_brings_a_message_back_that_was_processed() -> None:
    seen: Counter[str] = Counter()
    for seed in range(2 * len(STORMS)):
        outcome = play_keys(seed)
        assert not outcome.violations, f"seed {seed}\n" + "\n".join(outcome.violations)
        seen.update(outcome.situations)
    assert min(seen.values()) > 1, seen
