"""Changing single messages for an operator: cancel, move, take back. What changed since it was seen is refused, with why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from s3queue.batches import batched
from s3queue.core.keys import ObjectName, count_of, group_of, rank_in
from s3queue.core.ledger import Line
from s3queue.core.transitions import Cancel, Handle, Move, Recall, Release, Seen
from s3queue.protocol.arrivals import take_in
from s3queue.protocol.lane import Lane
from s3queue.protocol.lanes import Agents, Lanes
from s3queue.protocol.moves import carry_out, finish_orphans
from s3queue.protocol.viewing import MessageView, find

PER_COMMIT = 200
"""How many messages a commit changes: their moves must be made within seconds."""
NOT_THERE = "there is no such message that waits or is claimed"
IS_DEAD = "it is dead: replay or discard its letter"
REPLAYED = "it is being replayed at this moment: try again"
HELD = "a worker holds it: reset it first, or let the worker finish"
NOT_HELD = "nobody holds it"

Wanted = str | MessageView | Iterable[str | MessageView]
Judge = Callable[[MessageView], str]
Apply = Callable[[Agents, Sequence[MessageView]], Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Changed:
    """Which messages were changed, by id, and which were not, with the reason."""

    done: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def change(lanes: Lanes, wanted: Wanted, judge: Judge, apply: Apply) -> Changed:
    """Apply a change to messages, given by id or as they were seen, commit by commit; ``judge`` refuses some beforehand."""
    given = [wanted] if isinstance(wanted, str | MessageView) else list(wanted)
    ids = dict.fromkeys(item for item in given if isinstance(item, str))
    found = find([agents.lane for agents in lanes.all()], list(ids)) if ids else {}
    refused = {id_: NOT_THERE for id_ in ids if id_ not in found}
    views = {(view.lane, view.name, view.index): view for view in given if isinstance(view, MessageView)}
    views |= {(view.lane, view.name, view.index): view for id_ in ids if (view := found.get(id_)) is not None}
    done: list[str] = []
    by_lane: dict[int, list[MessageView]] = {}
    for view in views.values():
        why = judge(view)
        if why:
            refused[view.id] = why
        else:
            by_lane.setdefault(view.lane, []).append(view)
    for number, some in sorted(by_lane.items()):
        for batch in batched(some, PER_COMMIT):
            for view, reply in zip(batch, apply(lanes.of(number), batch), strict=True):
                if reply is None:
                    done.append(view.id)
                else:
                    refused[view.id] = reply
    return Changed(tuple(done), refused)


def unless_gone(view: MessageView) -> str:
    """Refuse what is dead, or a letter on its way back."""
    if view.state == "dead":
        return IS_DEAD
    return "" if ObjectName.parse(view.name) else REPLAYED


def if_free(view: MessageView) -> str:
    """Refuse what somebody holds, too."""
    return unless_gone(view) or (HELD if view.token else "")


def if_held(view: MessageView) -> str:
    """Refuse what nobody holds."""
    return "" if view.token else unless_gone(view) or NOT_HELD


def cancel(agents: Agents, views: Sequence[MessageView]) -> Sequence[str | None]:
    """Discard the messages; whoever holds one is refused its outcome."""
    lane = agents.lane
    seen_at_ms, ahead = _take_in(lane, views), tuple[str, ...]()
    split = [view.name for view in views if group_of(view.name) and count_of(view.name) > 1 and not view.ticket]
    if split:
        seen_at_ms, ahead = min(seen_at_ms, lane.now_ms()), tuple(_up_to(lane, split))
    wanted = tuple(Seen(view.name, view.index, view.token) for view in views)
    (replies,) = lane.committer.commit(Cancel(wanted, seen_at_ms, ahead), fresh=True)
    agents.janitor.note(view.name for view in views)
    agents.janitor.tick()
    return [*replies]


def move(
    agents: Agents, views: Sequence[MessageView], where: Callable[[MessageView, int], tuple[int, int]]
) -> Sequence[str | None]:
    """Move the messages to names of their own: ``where(view, now)`` returns the rank and when they are visible (ms)."""
    lane = agents.lane
    seen_at_ms = _take_in(lane, views)
    since, now = lane.clock.monotonic(), lane.now_ms()
    lines = [_line(lane, view, *where(view, now), now) for view in views]
    (replies,) = lane.committer.commit(Move(tuple(lines), seen_at_ms), fresh=True)
    decided = [(view, line) for view, line in zip(views, replies, strict=True) if isinstance(line, Line)]
    carry_out(lane, [(line, view.message) for view, line in decided if not view.line], since)
    finish_orphans(lane, [line for view, line in decided if view.line])  # as seen, they have what those lines add
    agents.janitor.note(view.name for view in views)
    agents.flush()
    return [None if isinstance(reply, Line) else reply for reply in replies]


def take_back(agents: Agents, views: Sequence[MessageView], *, lapsed: bool) -> Sequence[str | None]:
    """Take the messages from their holders, as a rescue does: the claim counts as an attempt."""
    (replies,) = agents.lane.committer.commit(Recall(tuple(map(_handle, views)), lapsed), fresh=True)
    agents.lane.announce()
    return [*replies]


def release(agents: Agents, views: Sequence[MessageView]) -> Sequence[str | None]:
    """Take the messages from their holders, as if these had given them back untried."""
    (replies,) = agents.lane.committer.commit(Release(tuple(map(_handle, views))), fresh=True)
    agents.lane.announce()
    return [*replies]


def _handle(view: MessageView) -> Handle:
    return Handle(view.ticket, view.token, view.name, view.index)


def _line(lane: Lane, view: MessageView, rank: int, at_ms: int, now: int) -> Line:
    target = str(lane.naming.name(rank, at_ms, 1))
    id_, attempts = lane.ids.new(now), view.message.attempts
    return Line(id_, "move", view.name, view.index, target, view.id, now, attempts)


def _take_in(lane: Lane, views: Sequence[MessageView]) -> int:
    """Bring late arrivals into the books; return since when the views are known to be true."""
    lane.committer.read()
    ledger = lane.committer.ledger
    known = ledger.held_names() | ledger.settled.keys()
    unknown = dict.fromkeys(view.name for view in views if view.name not in known)
    late = [name for name in unknown if name <= ledger.cursor(rank_in(name)) and _is_there(lane, name)]
    if late:
        take_in(lane, late)
    return min(view.seen_at_ms for view in views)


def _is_there(lane: Lane, name: str) -> bool:
    key = lane.inbox.key(name)
    return any(entry.key == key for entry in lane.store.list(key, limit=1).entries)


def _up_to(lane: Lane, names: Sequence[str]) -> Iterator[str]:
    """Yield what the inbox has of each rank behind its cursor, up to the last of ``names``."""
    ledger = lane.committer.ledger
    for rank in sorted({rank_in(name) for name in names}):
        last = max(name for name in names if rank_in(name) == rank)
        yield from lane.inbox.names(rank, ledger.cursor(rank), until=last)
