"""Group commit: one conditional PUT of a lane's ledger in flight at a time, carrying all requests that have gathered.

Safe in the face of every answer. *Lost race*: re-read, re-apply, try again with jitter. *Lost answer*: the ledger names
each writer's last commit, so after reading it the writer knows whether its commit landed, even if others have written
since; each attempt has a number of its own, as two attempts may carry different replies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from s3queue.clock import Clock
from s3queue.core.draft import stamp
from s3queue.core.ledger import Ledger
from s3queue.core.transitions import Request, apply
from s3queue.errors import OutcomeUnknown, PreconditionFailed, QueueGone, S3QueueError, StoreError, StoreUnavailable
from s3queue.ids import Ids
from s3queue.store.record import Record, Version

GET_PRICE_OF_PUT = 0.08
"""A GET costs 0.08 of a PUT (S3 Standard: $0.40 to $5.00 a million), so reading first pays if staleness is likelier."""
_JUST_NOW_S = 0.05
_BACKOFF_S = 0.02
_MAX_BACKOFF_S = 1.0
_FIRST_LOSS, _FORGETS_S = 0.1, 5.0
_NO_REPLY: Any = object()


@dataclass(slots=True, eq=False)
class _Entry:
    """What one caller asked for, and what it is told."""

    requests: Sequence[Request]
    fresh: bool
    replies: list[Any] = field(default_factory=list)
    error: S3QueueError | None = None

    def __post_init__(self) -> None:
        self.replies = [_NO_REPLY] * len(self.requests)

    @property
    def done(self) -> bool:
        return self.error is not None or not any(reply is _NO_REPLY for reply in self.replies)


Batch = list[tuple[Request, Any]]


@dataclass(slots=True)
class Crowding:
    """How crowded a writer finds a ledger, from 0 to 1: the first lost race is a tenth, each further one doubles it.

    It halves in five seconds. Who finds a ledger crowded leaves it to others for a while: lost races make work for all, and
    so more of them.
    """

    _found: float = 0.0
    _lost_at: float = float("-inf")

    def lost(self, now: float) -> None:
        """Take note of a lost race."""
        self._found, self._lost_at = min(1.0, max(_FIRST_LOSS, 2 * self.at(now))), now

    def at(self, now: float) -> float:
        """Return how crowded it is now."""
        found = self._found * 0.5 ** ((now - self._lost_at) / _FORGETS_S)
        return found if found > _FIRST_LOSS / 2 else 0.0


class Committer:
    """The only writer of one lane's ledger in this process; safe to share between threads.

    ``patience_s``: how long a commit is tried before its callers are told that it failed. They may submit the same
    request objects again: those of a commit that turns out to have landed are answered, not applied twice.
    ``writer``: a name that no committer had before, as each numbers its commits anew.
    """

    def __init__(
        self,
        record: Record[Ledger],
        *,
        writer: str,
        clock: Clock,
        ids: Ids,
        now_ms: Callable[[], int],
        patience_s: float = 60.0,
    ) -> None:
        self.record = record
        self.writer = writer
        self.lost_races = 0
        self.commits = 0
        self.comes_first = False
        """Whether others wait for this writer: it tries again at once when it has lost a race."""
        self._clock, self._ids, self._now_ms = clock, ids, now_ms
        self._patience_s = patience_s
        self._mutex = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Entry] = []
        self._deferred: list[Request] = []
        self._number = 0
        self._limbo: dict[int, Batch] = {}
        self._landed: dict[int, tuple[Request, Any]] = {}
        self._stale = 0.5
        self._crowding = Crowding()
        self._existed = False
        self._read_at = float("-inf")

    # -- reading --

    @property
    def ledger(self) -> Ledger:
        """The ledger as last seen; read now if it never was."""
        version = self.record.cached or self.read()
        return version.value or Ledger()

    @property
    def age_s(self) -> float:
        """How long ago the ledger in hand was the newest, in seconds."""
        return self._clock.monotonic() - self._read_at

    @property
    def crowding(self) -> float:
        """How crowded this writer finds the ledger, 0 to 1: see :class:`Crowding`."""
        return self._crowding.at(self._clock.monotonic())

    def refresh(self, max_age_s: float) -> Ledger:
        """Return the ledger, read anew if it is older than that, or if others have likely written since."""
        age_s = self.age_s
        if age_s > max_age_s or (age_s > _JUST_NOW_S and self._stale > GET_PRICE_OF_PUT):
            self.read()
        return self.ledger

    def read(self) -> Version[Ledger]:
        """Return the ledger's newest version; QueueGone if it was there before and is not now."""
        before = self.record.cached
        version = self.record.read()
        self._read_at = self._clock.monotonic()
        if version.value is None and self._existed:
            raise QueueGone(self.record.key)
        self._existed = version.value is not None
        if before is not None:
            self._learn(version.etag != before.etag)
        return version

    # -- writing --

    def defer(self, *requests: Request) -> None:
        """Let requests ride with the next commit; nobody waits for their replies, and losing them must do no harm."""
        with self._mutex:
            self._deferred.extend(requests)

    @property
    def has_deferred(self) -> bool:
        """Whether requests wait for a commit to ride with."""
        return bool(self._deferred)

    def commit(self, *requests: Request, fresh: bool = False) -> list[Any]:
        """Apply the requests in one commit, together with those of other threads, and return their replies.

        Nothing is written if nothing changes. ``fresh``: judge on the newest ledger even if nothing would change on
        the one in hand. Raises what the store raised if it could not be done in time; it may have happened all the same.
        """
        entry = _Entry(requests, fresh)
        with self._mutex:
            self._waiting.append(entry)
        with self._turn:
            if not requests or not entry.done:
                self._run(entry)
        if entry.error is not None:
            raise entry.error
        return entry.replies

    def _run(self, own: _Entry) -> None:
        """Commit for all who wait; the caller, who has the turn, is ``own``."""
        entries: list[_Entry] = []
        deferred: list[Request] = []
        deadline = self._clock.monotonic() + self._patience_s
        losses = 0
        try:
            while not self._attempt(entries, deferred, losses):
                losses += 1
                self._check_patience(deadline)
                longer = 1 if self.comes_first else losses
                self._clock.sleep(self._ids.random() * min(_BACKOFF_S * 2**longer, _MAX_BACKOFF_S))
        except S3QueueError as error:
            self.defer(*deferred)
            for entry in entries:
                entry.error = None if entry.done else error
        except BaseException:
            # This thread is being stopped (Ctrl-C) in the middle of the others' work: they go on without it.
            self.defer(*deferred)
            with self._mutex:
                self._waiting = [entry for entry in entries if entry is not own] + self._waiting
            raise

    def _check_patience(self, deadline: float) -> None:
        if self._clock.monotonic() > deadline:
            raise OutcomeUnknown(self.record.key)

    def _attempt(self, entries: list[_Entry], deferred: list[Request], losses: int) -> bool:
        """Try once; return whether all entries have their replies."""
        with self._mutex:
            entries += self._waiting
            deferred += self._deferred
            self._waiting, self._deferred = [], []
        version = self._base(any(entry.fresh for entry in entries) or losses > 0 or bool(self._limbo))
        self._answer_landed(entries)
        pending = [(entry, i) for entry in entries for i, reply in enumerate(entry.replies) if reply is _NO_REPLY]
        if not pending and not deferred:
            return True
        now = self._now_ms()
        requests = [entry.requests[i] for entry, i in pending]
        changed, replies = apply(version.value or Ledger(), [*requests, *deferred], now)
        if changed is not version.value and changed.revision != 0:
            self._number += 1
            signed = stamp(changed, writer=self.writer, number=self._number, write_id=self._ids.new(now), now=now)
            if not self._write(signed, version, list(zip(requests, replies, strict=False))):
                return False
        for (entry, i), reply in zip(pending, replies, strict=False):
            entry.replies[i] = reply
        return True

    def _base(self, must_read: bool) -> Version[Ledger]:
        """Return the version to write over: the one in hand, unless a newer one is likely enough to pay for a GET."""
        cached = self.record.cached
        just_read = self.age_s < _JUST_NOW_S
        gone = cached is not None and cached.value is None and self._existed
        if cached is not None and not gone and not must_read and (just_read or self._stale < GET_PRICE_OF_PUT):
            return cached
        version = self.read()
        self._settle_limbo(version)
        return version

    def _learn(self, was_stale: bool) -> None:
        self._stale += 0.2 * (was_stale - self._stale)

    def _write(self, ledger: Ledger, over: Version[Ledger], batch: Batch) -> bool:
        # In limbo until the store has spoken: even Ctrl-C in the middle of it leaves a commit that may have landed.
        self._limbo[self._number] = batch
        try:
            self.record.write(ledger, over)
        except PreconditionFailed:
            del self._limbo[self._number]
            self.lost_races += 1
            self._crowding.lost(self._clock.monotonic())
            self._learn(True)
            return False
        except OutcomeUnknown:
            return False
        except StoreError as error:
            if not (isinstance(error, StoreUnavailable) and error.maybe_applied):
                del self._limbo[self._number]
            raise
        self.commits += 1
        self._existed = True
        self._read_at = self._clock.monotonic()
        self._learn(False)
        self._limbo.clear()
        return True

    def _settle_limbo(self, version: Version[Ledger]) -> None:
        """Find out, from the writers' numbers in the ledger, which unanswered commit landed."""
        if not self._limbo or version.value is None:
            return
        number, _ = version.value.writers.get(self.writer, (0, 0))
        for request, reply in self._limbo.get(number, ()):
            self._landed[id(request)] = (request, reply)
        if number in self._limbo:
            self._limbo.clear()

    def _answer_landed(self, entries: list[_Entry]) -> None:
        if not self._landed:
            return
        for entry in entries:
            for i, request in enumerate(entry.requests):
                found = self._landed.pop(id(request), None)
                if found is not None:
                    entry.replies[i] = found[1]
        while len(self._landed) > 1000:  # answers nobody asks for again
            self._landed.pop(next(iter(self._landed)))
