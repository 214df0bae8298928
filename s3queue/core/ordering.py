"""Whose turn it is: of an ordered group one message is in flight at most, and the next is the first that is left.

A group's messages carry its mark in the names of their objects (:func:`s3queue.core.keys.group_of`). Names sort as they
were enqueued; a retry gets a later name, and keeps its turn because the ledger says so (``Ledger.held_back``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from s3queue.core.draft import Draft
from s3queue.core.keys import count_of, group_of, visible_at_ms_of
from s3queue.core.ledger import Part, Ticket, split

CROWD = 2_000
"""How many settled names may wait in the ledger for the cursor before what blocks it is seen to."""

Spot = tuple[str, int]
"""A message's place: object name and index. Within a group, spots sort as the messages were enqueued."""


class Turns:
    """The turns of all ordered groups, as these tickets and retries have them.

    ``ended``: (ticket id, name, index) of messages whose outcome is about to be recorded.
    """

    def __init__(
        self,
        tickets: Iterable[Ticket],
        held_back: Mapping[str, str],
        ended: Collection[tuple[str, str, int]] = (),
    ) -> None:
        self._held_back = held_back
        self._busy: set[str] = set()
        self._first: dict[str, Spot] = {}
        for ticket in tickets:
            for part in ticket.parts:
                group = group_of(part.name)
                if not group:
                    continue
                if not ticket.claimed:
                    spot = _spot(part)
                    self._first[group] = min(self._first.get(group, spot), spot)
                elif not ended or any((ticket.id, part.name, index) not in ended for index in part.indices()):
                    self._busy.add(group)

    def next(self, group: str) -> Spot | None:
        """Return what comes next as far as the ledger knows: a retry, what was given back; None: what a listing shows."""
        held = self._held_back.get(group)
        return (held, 0) if held is not None else self._first.get(group)

    def is_busy(self, group: str) -> bool:
        """Whether a message of the group is in flight, or what comes next cannot be had."""
        return group in self._busy

    def room(self, group: str, now: int) -> int:
        """Return how many messages of the group may be taken now, as far as the ledger knows: one, or none."""
        held = self._held_back.get(group)
        return int(group not in self._busy and (held is None or visible_at_ms_of(held) <= now))

    def ready(self) -> int:
        """Return how many groups have their next message in an available ticket."""
        return sum(group not in self._busy and self.next(group) == spot for group, spot in self._first.items())

    def may_take(self, part: Part) -> bool:
        """Whether the first message of an available part has its turn."""
        group = group_of(part.name)
        return not group or (group not in self._busy and self.next(group) == _spot(part))

    def may_list(self, name: str) -> bool:
        """Whether the first message of an object that no ticket has is next, as the first of its group in a listing."""
        group = group_of(name)
        if not group:
            return True
        first = self.next(group)
        return group not in self._busy and (first is None or first[0] == name)

    def close(self, name: str) -> None:
        """Let nothing more of the object's group be taken: it was taken, or must not be taken and is waited for."""
        group = group_of(name)
        if group:
            self._busy.add(group)


def _spot(part: Part) -> Spot:
    return part.name, part.ranges[0][0]


def share(part: Part, room: int) -> tuple[Part, Part | None]:
    """Return what one claim takes of a part with this much room (≥ 1), and the rest: of a group's, one message."""
    return split(part, 1 if group_of(part.name) else room)


def make_way(draft: Draft, rank: int, names: Iterable[str], now: int) -> None:
    """Ticket what waits for its turn, once the names settled above the cursor have become a crowd.

    Else the cursor would stay at the first message of a group that waits for a retry, and the ledger would keep the name
    of every object settled meanwhile. ``names``: those of a listing that have nothing unlisted before them, in order; of
    those a crowd at most.
    """
    if len(draft.settled) <= CROWD:
        return
    cursor, left = draft.cursors.get(rank, ""), CROWD
    for name in names:
        if name <= cursor or draft.known(name):
            continue
        if not group_of(name) or left <= 0:
            return
        draft.seen(name, now)
        draft.count("ticketed", count_of(name))
        draft.available([Part(name, ((0, count_of(name)),))])
        left -= 1
