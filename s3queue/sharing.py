"""What processes of a queue share beside messages: locks, schedules, results, history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from s3queue.connection import Connection
from s3queue.core.checking import check_number
from s3queue.core.cron import Timetable, never_fires
from s3queue.core.keys import check_label, check_lock_name, check_schedule_name, rank_of
from s3queue.core.message import Message, Reservation
from s3queue.core.payload import check_payload
from s3queue.core.schedule import CATCH_UP
from s3queue.core.settings import MAX_KEPT_S
from s3queue.errors import InvalidSetting
from s3queue.options import check_order, check_shape
from s3queue.protocol import dedup, locks, results, retention, schedules
from s3queue.protocol.history import HistoryRecords
from s3queue.protocol.locks import Lock, LockInfo
from s3queue.protocol.schedules import Schedule
from s3queue.runtime.keeper import make_lock


class Sharing(ABC):
    """The part of :class:`s3queue.Queue` that is about things processes share."""

    @abstractmethod
    def connect(self) -> Connection:
        """Reach the store and return the connection."""

    # -- schedules --

    def schedule(
        self,
        name: str,
        *,
        cron: str,
        payload: Any = None,
        timezone: str = "UTC",
        priority: int = 0,
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
        max_attempts: int | None = None,
        catch_up: str = "one",
    ) -> Schedule:
        """Enqueue ``payload`` at each tick of ``cron`` in ``timezone``, once a tick, as long as a worker runs.

        Makes the schedule ``name`` (1 to 80 ASCII letters, digits, '.', '-', '_'), or changes it if there is one; every
        process may say the same when it starts. ``cron``: minute, hour, day of month, month, day of week, perhaps with
        seconds in front, as in Debian's cron; on the days that clocks change a daily job runs once all the same.
        ``timezone``: a name of the IANA database. ``catch_up``: of the ticks that nobody fired within a minute, the
        latest is made up for ("one"), none is ("none"), or the last hundred are ("all"). Other keywords as in
        :meth:`s3queue.Queue.enqueue`. Messages have the headers ``s3queue-schedule`` and ``s3queue-tick`` (the time due).

        Raises InvalidName, InvalidPayload or InvalidSetting (a line that never fires, for instance) before anything is
        written; OutcomeUnknown or StoreUnavailable if the store did not confirm it in time.
        """
        check_schedule_name(name)
        rank_of(priority)
        shape = check_shape(max_attempts, None, group, headers)
        if catch_up not in CATCH_UP:
            raise InvalidSetting(f"catch_up is {catch_up!r:.80}.", remedy=f"Use one of {', '.join(CATCH_UP)}.")
        timetable = Timetable(cron, timezone)
        connection = self.connect()
        settings, lane = connection.register.current(), connection.lane
        check_payload(payload, settings.max_payload_bytes)
        if settings.group_mark(group):
            check_order(settings.order, 0, None, priority)
        now = lane.now_ms()
        if timetable.after(now) is None:
            raise never_fires(cron)
        connection.register.serve(priority)
        message = Message("", payload, now, priority=priority, **shape)
        line = " ".join(cron.split())
        return schedules.define(lane, name, cron=line, timezone=timezone, message=message, catch_up=catch_up)

    def schedules(self) -> list[Schedule]:
        """Return the schedules by name: a LIST per thousand, a GET for each there ever was, one for the ledger."""
        return schedules.standing(self.connect().lane)

    def unschedule(self, name: str) -> bool:
        """Remove a schedule and return whether there was one: of later ticks none is enqueued."""
        return schedules.remove(self.connect().lane, check_schedule_name(name))

    # -- locks --

    def lock(self, name: str, ttl: float = 30, *, wait: float | None = 0, renew: bool | float = True) -> Lock:
        """Return a lock that all processes of the queue share: ``with q.lock("customer-42", ttl=30) as lock: …``.

        It is taken when the block begins, waiting up to ``wait`` seconds (None: for ever) before LockHeld is raised,
        and given back at its end. While it is held, a thread renews it every ``renew`` seconds (True: a third of
        ``ttl``; False: only :meth:`Lock.renew` does); should the process die, others have it after ``ttl`` seconds and
        two. ``lock.check()`` raises LockLost once it cannot be relied on any more, and so does the end of the block if
        it was lost meanwhile (a note of the exception that ends it, if there is one). Give ``lock.token`` to what the
        lock guards, and let that refuse a token lower than one it has seen. One PUT and GET to take it, a PUT for each
        renewal and to give it back. Raises InvalidName or InvalidSetting for what cannot be used.
        """
        return make_lock(self.connect().lane, name, ttl, wait, renew)

    def locks(self) -> list[LockInfo]:
        """Return the locks that are held, by name; a LIST per thousand objects and a GET each."""
        return locks.list_locks(self.connect().lane)

    def break_lock(self, name: str, *, token: int | None = None) -> LockInfo | None:
        """Take a lock away from its holder (with ``token``: from that one alone), and return who that was; None if nobody.

        The lock is free at once, and its next token is above the holder's. A holder that still lives goes on until its
        next renewal tells it: break the locks of holders that are dead, or whose resource checks tokens.
        """
        return locks.break_lock(self.connect().lane, check_lock_name(name), token)

    # -- results and history --

    def result(self, message_id: str, *, wait: float = 0) -> Any:
        """Return what the handler returned for a message (in queues with ``results=True``), once it did.

        ``wait``: seconds to look again, at first after 0.1 and later every 5 seconds, a GET each. The value is that of
        the latest attempt that ended well; a worker writes it just before it records the completion. Raises NoResult if
        there is none, with ``found`` saying why: ``unfinished``, ``dead``, ``gone`` or ``off``; InvalidName for what is
        no message's id.
        """
        return results.read(self.connect().lane, message_id, wait)

    def history(
        self, *, since: datetime | None = None, until: datetime | None = None, limit: int | None = None
    ) -> HistoryRecords:
        """Return the attempts that ended from ``since`` up to ``until`` (aware datetimes), oldest first, up to ``limit``.

        They are read as they are iterated: a LIST per thousand objects and a GET per object of up to a thousand records;
        ``.to_dataframe()`` makes a pandas DataFrame of them. Kept in queues with ``history=True``: each process writes
        its own once a minute, and loses those of the last minute if it dies. Raises InvalidSetting.
        """
        return HistoryRecords(lambda: self.connect().lane, since, until, limit)

    # -- deduplication --

    def dedup_lookup(self, dedup_id: str) -> Reservation | None:
        """Return what holds a deduplication key now (its ``message_id`` and times), or None if it is free; a GET."""
        check_label("dedup_id", dedup_id or "", 1000)
        return dedup.look_up(self.connect().lane, dedup_id)

    def clear_processed_cache(self, older_than: float | None = None) -> int:
        """Forget the deduplication keys, so that they can be enqueued again, and return how many were forgotten.

        ``older_than``: only those that were reserved more than so many seconds ago. What became of their messages is no
        matter: one that still waits stays, beside the new one. A GET for each key there is, another for each forgotten.
        """
        if older_than is not None:
            check_number("older_than", older_than, 0, MAX_KEPT_S)
        return retention.clear(self.connect().lane, None if older_than is None else round(older_than * 1000))
