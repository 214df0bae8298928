"""How many lanes a queue should have, by how often its workers get into each other's way."""

from __future__ import annotations

from dataclasses import dataclass

CROWDED = 0.4
"""The share of commits that lose a race above which lanes are doubled: each lost one is a PUT for nothing."""
CALM = 0.05
"""The share below which lanes are halved, if the commits of all would fit into fewer."""
BUSY_PER_S = 4.0
"""Commits a second and lane beneath which races are an accident, not contention; one key takes some 15 (S3, 50 ms a PUT)."""
MAX_AUTO = 64


@dataclass(frozen=True, slots=True)
class Contention:
    """What the workers of a queue did in a stretch of ``seconds``: ledger commits, and attempts that lost a race.

    ``whole``: it is known of all workers; else what is unknown may have been busy.
    """

    seconds: float
    commits: float
    lost_races: float
    whole: bool = True

    @property
    def lost_share(self) -> float:
        """Of all attempts, those that lost."""
        attempts = self.commits + self.lost_races
        return self.lost_races / attempts if attempts > 0 else 0.0


def advise(lanes: int, workers: int, seen: Contention) -> int:
    """Return how many lanes there should be: twice as many, half as many, or as many as there are.

    Never raised above one for two workers, as a lane needs somebody to coordinate it and somebody to follow. At one rate
    of commits it is never raised and later lowered: raised, each lane has more than twice what is calm.
    """
    if seen.seconds <= 0:
        return lanes
    per_lane = seen.commits / seen.seconds / lanes
    if seen.lost_share > CROWDED and per_lane > BUSY_PER_S:
        return max(lanes, min(lanes * 2, workers // 2, MAX_AUTO))
    if seen.whole and seen.lost_share < CALM and per_lane < BUSY_PER_S / 4 and lanes > 1:
        return lanes // 2
    return lanes
