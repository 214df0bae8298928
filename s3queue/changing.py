"""What an operator does with single messages: cancel, move, take back from those who hold them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial

from s3queue.connection import Connection
from s3queue.core.keys import MAX_PRIORITY, rank_in, rank_of
from s3queue.core.transitions import Reset
from s3queue.options import visible_at_ms
from s3queue.protocol import changing
from s3queue.protocol.changing import Changed, Wanted
from s3queue.protocol.viewing import MessageView


class Changing(ABC):
    """The part of :class:`s3queue.Queue` that changes single messages.

    Messages are given by id, or as :meth:`Queue.messages` showed them. Ids are looked up: a LIST per thousand objects and
    a GET a lane, and a GET for the object in which each was born; where a retry has taken it elsewhere, a GET for every
    object there is. Each message is judged on the books as they are: one that was claimed, completed or moved since it
    was seen is refused, with the reason, and the others are done. A commit per 200 messages.
    """

    @abstractmethod
    def connect(self) -> Connection:
        """Reach the store and return the connection."""

    def cancel(self, messages: Wanted, *, claimed: bool = True) -> Changed:
        """Throw messages away wherever they are: scheduled, pending, on their way to a retry, or claimed.

        Recorded as discarded before anything is deleted. Whoever holds one may work on, and is refused its outcome
        (LeaseLost); ``claimed=False`` leaves those alone. What follows in an ordered group goes on.
        """
        judge = changing.unless_gone if claimed else changing.if_free
        return changing.change(self.connect().lanes, messages, judge, changing.cancel)

    def reprioritise(self, messages: Wanted, priority: int) -> Changed:
        """Give messages that nobody holds another priority (0 to 9), with their attempts and errors as they are.

        They go behind those of that priority that wait; a time to come is kept. A PUT each. Refused for those that are
        claimed, and for those that keep the order of a group.
        """
        rank, connection = rank_of(priority), self.connect()
        connection.register.serve(priority)
        where = partial(_at_rank, rank)
        judge = partial(_unless_of, priority)
        return changing.change(connection.lanes, messages, judge, partial(changing.move, where=where))

    def postpone(self, messages: Wanted, delay: float) -> Changed:
        """Make messages that nobody holds visible ``delay`` seconds from now, later or sooner than they would be; 0: now.

        Otherwise as :meth:`reprioritise`. Raises InvalidSetting for a delay that cannot be.
        """
        connection = self.connect()
        at_ms = visible_at_ms(connection.store.now_ms(), delay, None)
        move = partial(changing.move, where=partial(_at_time, at_ms))
        return changing.change(connection.lanes, messages, changing.if_free, move)

    def reset(self, messages: Wanted, *, lapsed: bool = False) -> Changed:
        """Take messages from whoever holds them, as if their leases had run out: the lost claim counts as an attempt.

        They are available at once. Whoever held one may work on, and is refused its outcome. ``lapsed``: only those whose
        lease has ended when it is committed, so that a worker that lives, and extends, loses none.
        """
        apply = partial(changing.take_back, lapsed=lapsed)
        return changing.change(self.connect().lanes, messages, changing.if_held, apply)

    def release(self, messages: Wanted) -> Changed:
        """Take messages from whoever holds them as if these had given them back untried: no attempt is counted."""
        return changing.change(self.connect().lanes, messages, changing.if_held, changing.release)

    def reset_tickets(self, tickets: Iterable[tuple[int, str]] = (), *, worker: str = "", lapsed: bool = False) -> int:
        """Do what :meth:`reset` does to whole tickets, unread; return how many messages were taken back.

        ``tickets``: (lane, ticket id); ``worker``: all that it holds, too. A GET and a commit a lane.
        """
        wanted: dict[int, set[str]] = {}
        for number, ticket_id in tickets:
            wanted.setdefault(number, set()).add(ticket_id)
        taken = 0
        for agents in self.connect().lanes.all():
            committer = agents.lane.committer
            committer.read()
            ids = frozenset(wanted.get(agents.lane.number, set())) | {
                ticket.id for ticket in committer.ledger.tickets.values() if worker and ticket.worker == worker
            }
            if ids:
                (lost,) = committer.commit(Reset(ids, lapsed), fresh=True)
                taken += sum(int(ticket.size) for ticket in lost)
                agents.lane.announce()
        return taken


def _unless_of(priority: int, view: MessageView) -> str:
    held = changing.if_free(view)
    if not held and not view.line and rank_in(view.name) == MAX_PRIORITY - priority:
        return "it has that priority"
    return held


def _at_rank(rank: int, view: MessageView, now: int) -> tuple[int, int]:
    return rank, max(view.visible_at_ms, now)


def _at_time(at_ms: int, view: MessageView, now: int) -> tuple[int, int]:
    return MAX_PRIORITY - view.message.priority, max(at_ms, now)
