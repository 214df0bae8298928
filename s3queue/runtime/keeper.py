"""Keeps locks while they are held: one thread a connection, from the first held lock to the last."""

from __future__ import annotations

import logging
import threading
from weakref import WeakKeyDictionary

from s3queue.core.checking import check_number, is_number
from s3queue.core.keys import check_lock_name
from s3queue.errors import InvalidSetting, LockLost, S3QueueError
from s3queue.protocol.lane import Lane
from s3queue.protocol.locks import Lock
from s3queue.store.port import Store

MAX_TTL_S = 86_400
_LONGEST_LOOK_S = 1.0
_SHORTEST_LOOK_S = 0.01

log = logging.getLogger("s3queue")


class Keeper:
    """Renews each of its locks when it is due, one after the other. What fails is tried again soon, and told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._locks: dict[int, Lock] = {}
        self._thread: threading.Thread | None = None

    def add(self, lock: Lock) -> None:
        with self._changed:
            self._locks[id(lock)] = lock
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="s3queue-locks", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, lock: Lock) -> None:
        with self._changed:
            self._locks.pop(id(lock), None)
            self._changed.notify()

    def step(self) -> None:
        """Renew what is due."""
        with self._changed:
            locks = list(self._locks.values())
        for lock in sorted(locks, key=lambda lock: lock.due_in_s):
            if lock.due_in_s <= 0:
                self._renew(lock)

    def _renew(self, lock: Lock) -> None:
        try:
            lock.renew()
        except LockLost:
            self.remove(lock)  # whoever uses it is told when they ask, or leave
        except S3QueueError as error:
            lock.postpone()
            lock.tell(error)
        except Exception:  # a defect here must not end the thread that keeps the others
            lock.postpone()
            log.exception("renewing the lock %r failed", lock.name)

    def _loop(self) -> None:
        while True:
            with self._changed:
                if not self._locks:
                    self._thread = None
                    return
                pause = min(lock.due_in_s for lock in self._locks.values())
                self._changed.wait(min(max(pause, _SHORTEST_LOOK_S), _LONGEST_LOOK_S))
            self.step()


_keepers: WeakKeyDictionary[Store, Keeper] = WeakKeyDictionary()
_keepers_lock = threading.Lock()


def keeper_of(store: Store) -> Keeper:
    """Return the keeper of a connection's locks: each has its own, so that a dead endpoint holds up no other's."""
    with _keepers_lock:
        return _keepers.setdefault(store, Keeper())


def make_lock(lane: Lane, name: str, ttl: float, wait: float | None, renew: bool | float) -> Lock:
    """Return a lock that is not held yet; InvalidName or InvalidSetting for arguments that cannot be used (see Queue.lock)."""
    check_lock_name(name)
    check_number("ttl", ttl, 1, MAX_TTL_S)
    if wait is not None and (not is_number(wait) or not wait >= 0):
        raise InvalidSetting(f"wait is {wait!r}.", remedy="Use seconds, 0 not to wait, or None to wait for ever.")
    if isinstance(renew, bool):
        renew_s = ttl / 3
    elif not is_number(renew) or not 0 < renew <= ttl / 2:
        raise InvalidSetting(
            f"renew is {renew!r}, and ttl {ttl!r}: the lock would run out before it is renewed.",
            remedy="Renew within half the ttl; renew=True does it at a third.",
        )
    else:
        renew_s = renew
    keeper = keeper_of(lane.store) if renew else None
    return Lock(lane, name, ttl_s=ttl, wait_s=wait, renew_s=renew_s, keeper=keeper)
