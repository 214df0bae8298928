"""What an operator does with a queue: look at it, count, pause, change, empty, delete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from s3queue.connection import Connection
from s3queue.core.message import Message
from s3queue.core.settings import Settings
from s3queue.core.transitions import Pause
from s3queue.errors import InvalidInput, InvalidSetting
from s3queue.events import Events, Listener
from s3queue.options import make_settings
from s3queue.protocol import census, frames, viewing
from s3queue.protocol.census import Stats
from s3queue.protocol.dead_letters import DeadLetters
from s3queue.protocol.roster import WorkerInfo, list_workers
from s3queue.protocol.truncating import truncate
from s3queue.protocol.viewing import MessageView
from s3queue.store.port import delete_all, walk
from s3queue.text import counted

if TYPE_CHECKING:
    import pandas as pd


class Operating(ABC):
    """The part of :class:`s3queue.Queue` that operators use."""

    name: str
    root: str
    dlq: DeadLetters
    events: Events

    @abstractmethod
    def connect(self) -> Connection:
        """Reach the store and return the connection."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop the connection: the queue it knows is gone."""

    # -- looking --

    def stats(self) -> Stats:
        """Count messages by state: a LIST per thousand objects and letters, and a GET a lane; no message is read."""
        return census.take([agents.lane for agents in self.connect().lanes.all()])

    def count(self, state: str) -> int:
        """Return how many messages are in a state: a field of :class:`Stats`, such as ``pending`` or ``completed``."""
        numbers = self.stats().as_dict()
        value = numbers.get(state)
        if not isinstance(value, int) or isinstance(value, bool) or state == "at_ms":
            raise InvalidSetting(
                f"There is no state {state!r}.", remedy=f"Use one of {', '.join((*census.STATES, 'completed'))}."
            )
        return value

    def peek(self, limit: int = 10) -> list[Message]:
        """Return up to ``limit`` messages that wait, next first, without claiming them; a GET per object."""
        if limit <= 0:
            return []
        waiting = [census.peek(agents.lane, limit) for agents in self.connect().lanes.all()]
        return list(islice(chain.from_iterable(waiting), limit))

    def messages(self, *states: str) -> Iterator[MessageView]:
        """Yield messages one by one as they stand, in the ``states`` named (default: all that are unfinished or dead).

        ``pending``, ``scheduled``, ``processing``, ``dead``; state by state, oldest first. Claims nothing. A LIST per
        thousand objects and letters and a GET a lane, then a GET per object, made as they are iterated. What cannot be
        read is told as an error event. InvalidSetting for a state that there is none of.
        """
        lanes = [agents.lane for agents in self.connect().lanes.all()]
        return viewing.view(lanes, states or census.STATES)

    def to_dataframe(self, state: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return the messages in a state (or several; None: all) as a pandas DataFrame, a row each; needs pandas.

        Its columns are :data:`s3queue.protocol.frames.MESSAGES`, the same when there are no messages; times are UTC. Costs
        what :meth:`messages` does.
        """
        states = [state] if isinstance(state, str) else list(state or ())
        most = self.connect().register.current().max_attempts
        return frames.to_dataframe(frames.MESSAGES, (frames.message_row(view, most) for view in self.messages(*states)))

    def workers(self) -> list[WorkerInfo]:
        """Return who works on the queue, by the heartbeats of the registry; a LIST per thousand workers and a GET each.

        With a coordination backend that has presence (Redis), ``present`` says who was there within the last 15 seconds.
        """
        connection = self.connect()
        return list_workers(connection.lane, connection.hints.presence())

    def on(self, event: str, listener: Listener) -> None:
        """Call ``listener(event)`` whenever this process sees that event; ``"*"`` for all. See :data:`s3queue.events.EVENTS`."""
        self.events.on(event, listener)

    # -- operating --

    def configure(self, **changes: Any) -> Settings:
        """Change the queue's settings for all processes (the keywords of the constructor); they follow within seconds."""
        make_settings(**changes)
        connection = self.connect()
        wanted, before = (
            make_settings(connection.register.current(), **changes),
            connection.register.current().lanes_served,
        )
        opens = wanted.lanes_served > before
        paused = opens and self._is_paused()
        if paused:
            self._set_paused(wanted.lanes_served, paused=True)  # no lane of a paused queue hands out messages
        changed = connection.register.change(lambda found: make_settings(found, **changes))
        if opens and (self._is_paused() or paused):  # who pauses or resumes it meanwhile may not know of the new lanes
            self._set_paused(changed.lanes_served, paused=self._is_paused(), first=before)
        return changed

    def pause(self) -> None:
        """Refuse claims from now on, for all workers; what is claimed is finished, enqueueing goes on."""
        self._set_paused(self.connect().register.current().lanes_served, paused=True)

    def resume(self) -> None:
        """Allow claims again."""
        self._set_paused(self.connect().register.current().lanes_served, paused=False)

    def _is_paused(self) -> bool:
        committer = self.connect().lane.committer
        committer.read()
        return committer.ledger.paused

    def _set_paused(self, lanes: int, *, paused: bool, first: int = 0) -> None:
        """Pause or resume so many lanes, and what was opened meanwhile: who opens a lane looks at the first one after it."""
        connection, done = self.connect(), first
        while done < lanes:
            for number in range(done, lanes):
                lane = connection.lanes.of(number).lane
                lane.committer.commit(Pause(paused), fresh=True)
                if not paused:
                    lane.announce()
            done, lanes = lanes, max(lanes, connection.register.connect().lanes_served)

    def truncate(self, *, dead_letters: bool = False) -> int:
        """Throw away every message that waits or is being processed, and return how many; live claims are fenced off.

        Each is recorded as discarded before it is deleted. With ``dead_letters`` these go too.
        """
        gone = sum(truncate(agents) for agents in self.connect().lanes.all())
        if dead_letters:
            self.dlq.purge()
        return gone

    def delete(self, *, force: bool = False) -> int:
        """Remove the queue and everything in it; return how many objects were deleted.

        Refused while messages are unfinished, unless ``force``. Workers that still run stop with QueueGone.
        """
        stats = self.stats()
        if not force and (stats.unfinished or stats.dead):
            raise InvalidInput(
                f"Queue {self.name!r} still has {counted(stats.unfinished, 'message')} and {counted(stats.dead, 'dead letter')}.",
                remedy="Drain or truncate it first, or use force=True to throw them away.",
            )
        self.pause()
        connection = self.connect()
        # The ledgers, which are paused, go last: while they are there, no claim is made on a half-deleted queue.
        ledgers = {connection.keys.ledger(agents.lane.number) for agents in connection.lanes.all()}
        keys = sorted(walk(connection.store, self.root), key=lambda key: key in ledgers)
        left = delete_all(connection.store, keys)
        self._forget()
        return len(keys) - len(left)
