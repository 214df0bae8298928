"""Retention: what is kept for a while only goes when its time is over. Dead letters are kept until somebody decides.

A pass over each folder now and then, a page at a time: each step may be the last of its process, and two at once only do
the work twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from s3queue.batches import batched
from s3queue.core.kept import HOUR_MS, decode_result
from s3queue.core.keys import is_message_id
from s3queue.core.message import Reservation
from s3queue.errors import CorruptObject, NotFound
from s3queue.ids import made_at_ms
from s3queue.protocol import forgetting
from s3queue.protocol.history import first_ended_at_ms
from s3queue.protocol.lane import Lane
from s3queue.store.port import fetch, walk

PAGE = 500
"""How many objects a step looks at, in each folder that is due."""
INTERVAL_S = 600.0
"""How long after a pass the next one begins."""
DEDUP_KEPT_MS = 900_000
"""How long a reservation is left alone after its end: as much as clocks may differ, and to spare."""
_AGAIN_S = 30.0
_TOLD = 1000


@dataclass(frozen=True, slots=True)
class Retained:
    """What a step deleted: results, history objects, reservations of deduplication keys."""

    results: int = 0
    history: int = 0
    reservations: int = 0


@dataclass(slots=True)
class _Round:
    """Where the pass over a folder stands."""

    prefix: str
    due_at: float
    after: str = ""


class Retention:
    """Deletes what is over, a :meth:`step` at a time."""

    def __init__(self, lane: Lane, interval_s: float = INTERVAL_S) -> None:
        self._lane = lane
        self._interval_s = interval_s
        self._told: set[str] = set()
        first = lane.clock.monotonic() + interval_s * lane.ids.random()
        keys = lane.keys
        self._results, self._history, self._dedup = (
            _Round(prefix, first) for prefix in (keys.results, keys.history, keys.dedup)
        )

    def step(self) -> Retained | None:
        """Look at a page of each folder that is due and delete what is over; None if none is due.

        A LIST a page. A result that may be over, and each reservation, is read: a GET.
        """
        ttl_s = self._lane.settings().dedup_ttl_s
        results = self._turn(self._results, self._expire_results, self._interval_s)
        history = self._turn(self._history, self._expire_history, self._interval_s)
        reservations = self._turn(self._dedup, self._expire_reservations, max(self._interval_s, ttl_s / 2))
        if results is None and history is None and reservations is None:
            return None
        return Retained(results or 0, history or 0, reservations or 0)

    def _turn(self, turn: _Round, expire: Callable[[list[str]], tuple[int, bool]], interval_s: float) -> int | None:
        """Let a folder have its turn, if it is due: a page; the next at the next step, as long as there is more."""
        now = self._lane.clock.monotonic()
        if now < turn.due_at:
            return None
        turn.due_at = now + _AGAIN_S  # should this fail
        page = self._lane.store.list(turn.prefix, after=turn.after, limit=PAGE)
        keys = [entry.key for entry in page.entries]
        gone, over = expire(keys)
        if page.more and not over:
            turn.after, turn.due_at = keys[-1], now
        else:
            turn.after, turn.due_at = "", now + interval_s * (0.75 + 0.5 * self._lane.ids.random())
        return gone

    def _expire_results(self, keys: list[str]) -> tuple[int, bool]:
        """Delete the results that are over; say, too, whether all that follow are of messages too young for that."""
        lane, names = self._lane, self._lane.keys
        cutoff = lane.now_ms() - round(lane.settings().result_ttl_s * 1000)
        old: list[str] = []
        young = False
        for key in keys:
            id_ = names.name_in(names.results, key)
            if not is_message_id(id_):
                self._tell(CorruptObject(key, "it is foreign"))
                continue
            made = made_at_ms(id_)
            young = made is not None and made >= cutoff  # and it was completed later still
            if young:
                break
            old.append(key)
        over = [
            key for key, at_ms in zip(old, lane.spread(self._completed_at_ms, old), strict=True) if 0 < at_ms < cutoff
        ]
        return self._delete(over), young

    def _completed_at_ms(self, key: str) -> int:
        """Return when a result was written; 0 if nobody can tell."""
        try:
            return decode_result(fetch(self._lane.store, key).body, key).completed_at_ms
        except NotFound:
            return 0
        except CorruptObject as error:
            self._tell(error)
            return 0

    def _expire_history(self, keys: list[str]) -> tuple[int, bool]:
        cutoff = self._lane.now_ms() - round(self._lane.settings().history_ttl_s * 1000)
        over: list[str] = []
        for key in keys:
            first_ms = first_ended_at_ms(key, self._history.prefix)
            if first_ms is None:
                self._tell(CorruptObject(key, "it is foreign"))
            elif (first_ms // HOUR_MS + 1) * HOUR_MS > cutoff:
                return self._delete(over), True
            else:
                over.append(key)
        return self._delete(over), False

    def _expire_reservations(self, keys: list[str]) -> tuple[int, bool]:
        before = self._lane.now_ms() - DEDUP_KEPT_MS
        gone = forgetting.forget(self._lane, keys, lambda held: held.expires_at_ms < before, self._tell)
        return gone or 0, False

    def _delete(self, keys: list[str]) -> int:
        return len(keys) - len(self._lane.store.delete_many(keys)) if keys else 0

    def _tell(self, error: CorruptObject) -> None:
        """Tell of an object that is left as it is, once."""
        if error.key not in self._told and len(self._told) < _TOLD:
            self._told.add(error.key)
            self._lane.events.emit("error", error=error, doing="looking for what is over")


def clear(lane: Lane, older_than_ms: int | None) -> int:
    """Forget the deduplication keys that were reserved longer ago than that (None: all); return how many were."""
    before = lane.now_ms() - (older_than_ms or 0)

    def chosen(held: Reservation) -> bool:
        return older_than_ms is None or held.reserved_at_ms < before

    def tell(error: CorruptObject) -> None:
        lane.events.emit("error", error=error, doing="forgetting deduplication keys")

    keys = list(walk(lane.store, lane.keys.dedup))
    return sum(forgetting.forget_all(lane, page, chosen, tell) for page in batched(keys, PAGE))
