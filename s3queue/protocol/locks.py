"""Locks: one holder at a time, by store time, and a fencing token that only grows.

A lock is one object, changed by compare-and-swap. Its holder relies on it for nine tenths of its time, counted from
before the request that took or renewed it; others take it two seconds after its end. What a holder that was suspended
does after that, only the token can stop: whoever guards a resource must refuse a token lower than one it has seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from s3queue.clock import to_datetime
from s3queue.core import lease
from s3queue.core.lease import Bid, LockState, Refused, decode_lock, encode_lock
from s3queue.errors import (
    CorruptObject,
    InvalidInput,
    LockHeld,
    LockLost,
    OutcomeUnknown,
    PreconditionFailed,
    S3QueueError,
    StoreError,
)
from s3queue.protocol.lane import Lane
from s3queue.store.port import walk
from s3queue.store.record import Record, Version

_ROUNDS = 20
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_DOOMED_WAIT_S = 2.0
"""How long to wait for the deletion of an unused lock, whatever the caller would wait for a holder."""


class Keeping(Protocol):
    """Renews locks while they are held."""

    def add(self, lock: Lock) -> None:
        """Renew the lock from now on."""
        ...

    def remove(self, lock: Lock) -> None:
        """Renew it no more."""
        ...


@dataclass(frozen=True, slots=True)
class LockInfo:
    """A lock that somebody holds. ``expired``: it may be taken; its holder has not renewed it in time."""

    name: str
    holder: str
    token: int
    acquired_at: datetime
    expires_at: datetime
    expired: bool


@dataclass(slots=True)
class _Grip:
    """A lock in hand: the version it was last seen at, and until when (monotonic seconds) it is relied on."""

    version: Version[LockState]
    nonce: str
    token: int
    trusted_until: float
    due_at: float


class Lock:
    """A lock of a queue, for use in a ``with`` statement; safe to share between threads, held once at a time.

    ``token`` is above that of every earlier holder (0 before the first time it is held). Made by ``Queue.lock``.
    """

    def __init__(
        self, lane: Lane, name: str, *, ttl_s: float, wait_s: float | None, renew_s: float, keeper: Keeping | None
    ) -> None:
        self.name = name
        self.token = 0
        self._lane = lane
        self._record = Record(lane.store, lane.keys.lock(name), decode_lock, encode_lock)
        self._ttl_ms, self._wait_s, self._renew_s = round(ttl_s * 1000), wait_s, renew_s
        self._keeper = keeper
        self._requests = threading.RLock()
        self._grip: _Grip | None = None
        self._over = "it was never acquired"
        self._lost = False

    def __repr__(self) -> str:
        return f"<Lock {self.name!r} token {self.token}{'' if self.held else ' (not held)'}>"

    # -- what the holder knows --

    @property
    def held(self) -> bool:
        """Whether the lock can be relied on now: it is in hand, and its time not near its end."""
        grip = self._grip
        return grip is not None and self._lane.clock.monotonic() < grip.trusted_until

    @property
    def due_in_s(self) -> float:
        """In how many seconds it should be renewed; at or below 0 for at once."""
        grip = self._grip
        return grip.due_at - self._lane.clock.monotonic() if grip is not None else 0.0

    def check(self) -> None:
        """Raise LockLost unless the lock can be relied on now."""
        if not self.held:
            late = "its time ran out before it could be renewed"
            raise LockLost(self.name, self.token, late if self._grip is not None else self._over)

    # -- requests --

    def acquire(self) -> Self:
        """Take the lock, waiting for its holder as long as was said; raise LockHeld after that.

        Raises CorruptObject for an object that is no lock, StoreError if the store does not answer: should the lock
        have been taken all the same, it runs out by itself.
        """
        with self._requests:
            if self._grip is not None:
                raise InvalidInput(f"The lock {self.name!r} is in use here.", remedy="Make another with queue.lock(…).")
            grip = self._win()
            self.token, self._lost = grip.token, False
            if self._lane.clock.monotonic() >= grip.trusted_until:  # the store took longer than the lock's time
                grip = self._renewed(grip)
            self._grip = grip
        if self._keeper is not None:
            self._keeper.add(self)
        return self

    def renew(self) -> None:
        """Begin the lock's time anew; raise LockLost if somebody else has had the lock since."""
        with self._requests:
            self._grip = self._renewed(self._in_hand())

    def postpone(self) -> None:
        """Let the next renewal be due a little later, as this one failed."""
        grip = self._grip
        if grip is not None:
            grip.due_at = self._lane.clock.monotonic() + max(self._renew_s / 5, 0.05)

    def tell(self, error: S3QueueError) -> None:
        """Tell the queue's listeners what kept the lock from being renewed."""
        self._lane.events.emit("error", error=error, doing=f"renewing the lock {self.name!r}")

    def release(self) -> None:
        """Give the lock back; raise LockLost if somebody else has had it since it was acquired.

        If the store cannot be reached (StoreError), the lock is still in hand, renewed no more, and runs out by itself.
        """
        if self._keeper is not None:
            self._keeper.remove(self)
        with self._requests:
            self._release(self._in_hand())

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._leave()
        except LockLost as lost:
            if error is None:
                raise
            error.add_note(str(lost))

    # -- how --

    def _win(self) -> _Grip:
        clock, attempts, pause = self._lane.clock, dict[str, float](), _FIRST_PAUSE_S
        begun = clock.monotonic()
        while True:
            answer = self._bid(attempts)
            if isinstance(answer, _Grip):
                return answer
            wait_s = float("inf") if self._wait_s is None else self._wait_s
            left = begun + max(wait_s, _DOOMED_WAIT_S if answer.doomed else 0) - clock.monotonic()
            if left <= 0:
                until = to_datetime(answer.until_ms)
                raise LockHeld(self.name, answer.why, holder=answer.holder, token=answer.token, until=until)
            clock.sleep(min(pause * (0.5 + self._lane.ids.random()), left))
            pause = min(pause * 1.6, _LONGEST_PAUSE_S)

    def _bid(self, attempts: dict[str, float]) -> _Grip | Refused:
        """Try to take the lock. ``attempts``: when each was begun; one whose answer was lost is known by its nonce."""
        lane = self._lane
        version = self._record.read()
        for _ in range(_ROUNDS):
            found = version.value
            if found is not None and found.nonce in attempts and not lease.why_lost(found, found.nonce):
                return self._gripped(version, found, attempts[found.nonce])
            begun, now = lane.clock.monotonic(), lane.now_ms()
            bid = Bid(self.name, lane.worker, lane.ids.new(now), self._ttl_ms)
            wanted = lease.acquire(found, bid, now)
            if isinstance(wanted, Refused):
                return wanted
            attempts[bid.nonce] = begun
            version = self._write(wanted, version)
        raise OutcomeUnknown(self._record.key)

    def _write(self, wanted: LockState, over: Version[LockState]) -> Version[LockState]:
        """Write, and return what is there afterwards: ours, or what somebody else wrote."""
        try:
            return self._record.write(wanted, over)
        except (PreconditionFailed, OutcomeUnknown):
            return self._record.read()

    def _gripped(self, version: Version[LockState], found: LockState, begun: float) -> _Grip:
        """Return the lock in hand, relied on from when the request that won it was begun."""
        trusted_until = begun + lease.TRUST * self._ttl_ms / 1000
        return _Grip(version, found.nonce, found.token, trusted_until, begun + self._renew_s)

    def _in_hand(self) -> _Grip:
        if self._grip is None:
            raise LockLost(self.name, self.token, self._over)
        return self._grip

    def _renewed(self, grip: _Grip) -> _Grip:
        lane, version, end_ms = self._lane, grip.version, 0
        begun = lane.clock.monotonic()
        for _ in range(_ROUNDS):
            wanted = lease.renew(version.value, grip.nonce, self._ttl_ms, lane.now_ms())
            if isinstance(wanted, Refused):
                raise self._lose(wanted.why)
            end_ms = end_ms or wanted.expires_at_ms
            version = self._write(wanted, version)
            found = version.value
            # An end as late as the first that was asked for: this renewal's, not one of an earlier call that landed late.
            if found is not None and not lease.why_lost(found, grip.nonce) and found.expires_at_ms >= end_ms:
                return self._gripped(version, found, begun)
        raise OutcomeUnknown(self._record.key)

    def _release(self, grip: _Grip) -> None:
        version, trusted, doubt = grip.version, self.held, False
        grip.trusted_until = float("-inf")  # once it is on its way, others may have the lock before we hear of it
        for _ in range(_ROUNDS):
            wanted = lease.release(version.value, grip.nonce, self._lane.now_ms())
            if isinstance(wanted, Refused):
                if doubt and trusted:  # ours has landed, and others have had the lock since
                    break
                raise self._lose(wanted.why)
            if wanted == version.value:
                break
            try:
                self._record.write(wanted, version)
                break
            except OutcomeUnknown:
                doubt = True
            except PreconditionFailed:
                pass  # a renewal of ours has landed late, or the lock is lost: the next round tells
            version = self._record.read()
        else:
            raise OutcomeUnknown(self._record.key)
        self._grip, self._over = None, "it was released"

    def _lose(self, why: str) -> LockLost:
        self._grip, self._over, self._lost = None, why, True
        self._lane.events.emit("lock-lost", lock=self.name, token=self.token, found=why)
        return LockLost(self.name, self.token, why)

    def _leave(self) -> None:
        """Give the lock back at the end of the block; raise LockLost if others may have had it meanwhile."""
        trusted = self.held
        if self._grip is None and not self._lost:
            return  # it was released
        try:
            self.release()
        except (StoreError, CorruptObject) as error:
            self._over = "it could not be released, and runs out by itself"
            self._grip = None
            if not trusted:
                raise self._lose("its time ran out, and whether others have had it since cannot be told") from error
            self._lane.events.emit("error", error=error, doing=f"releasing the lock {self.name!r}")


# -- operating --------------------------------------------------------------------------------------------------------


def list_locks(lane: Lane) -> list[LockInfo]:
    """Return the locks that somebody holds, by name: a LIST per thousand and a GET each. What is no lock is told of."""
    now, found = lane.now_ms(), []
    for record in _records(lane):
        state = _state(lane, record)
        if state is not None and state.holder and not state.doomed_at_ms:
            found.append(_info(state, now))
    return found


def break_lock(lane: Lane, name: str, token: int | None = None) -> LockInfo | None:
    """Take the lock away from whoever holds it (with ``token``: only if it is that one's), and return who did; None if nobody.

    The next holder's token is above the old one's, whose holder learns of it with its next renewal.
    """
    record = Record(lane.store, lane.keys.lock(name), decode_lock, encode_lock)
    nonce = lane.ids.new(lane.now_ms())
    victim = record.read().value
    if victim is not None and token is not None and victim.token != token:
        return None
    for _ in range(_ROUNDS):
        version, now = record.cached or record.read(), lane.now_ms()
        wanted = lease.take_away(version.value, nonce, now)
        if victim is None or wanted is None or version.value is None or version.value.nonce != victim.nonce:
            break  # nobody has it, or somebody else has: not to be broken in the old one's stead
        try:
            record.write(wanted, version)
            break
        except (PreconditionFailed, OutcomeUnknown):
            record.read()
    else:
        raise OutcomeUnknown(record.key)
    return _info(victim, now) if victim is not None and victim.holder and not victim.doomed_at_ms else None


def sweep_locks(lane: Lane) -> int:
    """Delete the objects of locks that nobody has held for a day, and return how many; a LIST per thousand, a GET each.

    A lock is *doomed* first, so that nobody takes it while it is being deleted. The deletion has no condition that
    could be relied on, so it is sent only once, and only for seconds after that: it cannot hit a lock that was made anew.
    A sweep that ends in between leaves a doomed lock, which can be taken again once no deletion can land any more.
    """
    return sum(_sweep(lane, record) for record in _records(lane))


def _sweep(lane: Lane, record: Record[LockState]) -> bool:
    state, begun = _state(lane, record), lane.clock.monotonic()
    doomed = lease.doom(state, lane.now_ms())
    if doomed is None or record.cached is None:
        return False
    with suppress(StoreError):
        record.write(doomed, record.cached)
        if lane.clock.monotonic() - begun <= lease.DELETE_WITHIN_S:
            lane.once.delete(record.key)
            return True
    return False


def _records(lane: Lane) -> Iterator[Record[LockState]]:
    for key in walk(lane.store, lane.keys.locks):
        if lane.keys.name_in(lane.keys.locks, key):
            yield Record(lane.store, key, decode_lock, encode_lock)


def _state(lane: Lane, record: Record[LockState]) -> LockState | None:
    """Return what the lock's object says; None if it is gone, or says nothing that can be read: that is told, and left."""
    try:
        return record.read().value
    except S3QueueError as error:
        lane.events.emit("error", error=error, doing="reading a lock")
        return None


def _info(state: LockState, now: int) -> LockInfo:
    times = to_datetime(state.acquired_at_ms), to_datetime(state.expires_at_ms)
    return LockInfo(state.name, state.holder, state.token, *times, state.expires_at_ms + lease.MARGIN_MS <= now)
