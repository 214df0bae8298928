"""Letters that are replayed, edited, moved to another queue and discarded become one message each, in any storm."""

from __future__ import annotations

from collections import Counter

from tests.simulation.replays import STORMS, play_replays


def test_no_storm_makes_two_messages_of_a_letter_or_loses_one() -> None:
    seen: Counter[str] = Counter()
    for seed in range(2 * len(STORMS)):  # by day and by night
        outcome = play_replays(seed)
        assert not outcome.violations, f"seed {seed}\n" + "\n".join(outcome.violations)
        seen.update(outcome.situations)
    assert len(seen) == 5
    assert min(seen.values()) > 3, seen
