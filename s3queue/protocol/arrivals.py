"""Messages that the cursor has passed: telling late arrivals from ghosts, and keeping their place in ordered groups."""

from __future__ import annotations

from collections.abc import Sequence

from s3queue.batches import batched
from s3queue.core.claiming import CURSOR_MARGIN_MS, RESCUE_MARGIN_MS
from s3queue.core.keys import ObjectName
from s3queue.core.transitions import Adopt, Expect
from s3queue.protocol import journal
from s3queue.protocol.lane import Lane
from s3queue.store.port import PER_REQUEST

SLOW_MS = CURSOR_MARGIN_MS - RESCUE_MARGIN_MS
"""How long an object may take from its naming until it lies in the inbox; later the cursor may have passed it. The rest
of the cursor's margin is for clocks that differ."""
_JUDGEMENTS = 10


def take_in(lane: Lane, listed: Sequence[str]) -> tuple[int, int]:
    """Adopt the late arrivals among names that lie in the inbox, delete the ghosts; return how many of each.

    The journal is read after the ledger: a name that is settled and forgotten in between is found in it. Names that
    are forgotten after the journal was read void the judgement (see :class:`Adopt`): what is new is read, and judged.
    """
    committer, parts = lane.committer, journal.Parts()
    for _ in range(_JUDGEMENTS):
        judged = committer.ledger
        known = judged.held_names() | judged.settled.keys()
        strays = [name for name in listed if name not in known]
        settled = journal.read(lane, parts=parts) if strays else set()
        ghosts = [name for name in strays if name in settled]
        late = [name for name in strays if name not in settled]
        for some in batched(ghosts, PER_REQUEST):
            lane.inbox.delete(some)
        if not late:
            return 0, len(ghosts)
        (adopted,) = committer.commit(Adopt(tuple(late), judged.revision), fresh=True)
        if adopted is not None:
            return len(adopted), len(ghosts)
    return 0, 0


def keep_place(lane: Lane, name: ObjectName, took_ms: float) -> None:
    """See to it that an ordered object which was long on its way is not passed over by what is enqueued after it.

    ``took_ms``: from its naming until it was in the inbox. Nothing is done for one that was quick: no listing from which
    the cursor may pass it is older than that.
    """
    if name.group and took_ms > SLOW_MS:
        (passed,) = lane.committer.commit(Expect(str(name)), fresh=True)
        if passed:
            take_in(lane, [str(name)])
