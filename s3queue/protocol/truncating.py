"""Throwing away what waits in a lane: everything is recorded as discarded before it is deleted."""

from __future__ import annotations

from s3queue.batches import batched
from s3queue.core.transitions import Discard
from s3queue.protocol import census
from s3queue.protocol.lanes import Agents

_PER_COMMIT = 1000
"""How many objects one commit discards."""


def truncate(agents: Agents) -> int:
    """Discard every message of the lane that waits or is being processed, and return how many."""
    lane, janitor = agents.lane, agents.janitor
    agents.sweeper.sweep()
    (gone,) = lane.committer.commit(Discard(in_flight=True), fresh=True)
    names = list(census.lane_names(lane))
    for some in batched(names, _PER_COMMIT):
        (count,) = lane.committer.commit(Discard(tuple(some)), fresh=True)
        gone += count
        janitor.note(some)
    janitor.note(lane.committer.ledger.settled)
    janitor.tick(flush=True)
    return int(gone)
