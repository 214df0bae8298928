"""Throwing away what waits in a lane: everything is recorded as discarded before it is deleted."""

from __future__ import annotations

from s3queue.core.keys import MAX_MESSAGES_PER_OBJECT
from s3queue.core.transitions import Discard
from s3queue.protocol import census
from s3queue.protocol.lanes import Agents


def truncate(agents: Agents) -> int:
    """Discard every message of the lane that waits or is being processed, and return how many."""
    lane, janitor = agents.lane, agents.janitor
    agents.sweeper.sweep()
    (gone,) = lane.committer.commit(Discard(in_flight=True), fresh=True)
    names = list(census.lane_names(lane))
    for start in range(0, len(names), MAX_MESSAGES_PER_OBJECT):
        some = tuple(names[start : start + MAX_MESSAGES_PER_OBJECT])
        (count,) = lane.committer.commit(Discard(some), fresh=True)
        gone += count
        janitor.note(some)
    janitor.note(lane.committer.ledger.settled)
    janitor.tick(flush=True)
    return int(gone)
