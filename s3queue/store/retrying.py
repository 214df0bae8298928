"""Retries, and the verdict on every write: **committed**, **lost** or **unknown**.

Reads, listings and deletes are repeated on StoreUnavailable with full jitter until the deadline; keys are never used
again after their deletion, so a delete that lands twice does no harm.

A PUT is repeated *with the same condition*. As long as every attempt was surely not applied, the last answer is the
verdict. After an attempt that may have been applied (``maybe_applied``: time-out, broken connection, 500; some servers
answer 500 to the loser of a race), a refusal may come from our own write, and what is at the key is read back:

===========  ==============================  =====================================================================
mode         read back                       verdict, and why
===========  ==============================  =====================================================================
any          our body                        committed, with the ETag found: the condition held for one of the
                                             attempts (or an equal body was there, which is the same state)
Create       another body                    unknown: it was there before us, or ours landed and was replaced
Create       nothing                         unknown: another's was there and went, or ours landed and was deleted
Replace(e)   ETag ``e``                      not (yet) applied, and the refusal was an error: try again
Replace(e)   another body                    unknown: another replaced ``e``, or ours, which had replaced ``e``
Replace(e)   nothing                         unknown: another deleted ``e``, or ours
Overwrite    another body, or nothing        unknown: ours never landed, or was overwritten or deleted since
===========  ==============================  =====================================================================

The same table closes a write whose deadline passed or whose credentials were refused after an ambiguous attempt, with
one difference: there is no time to try again, and ``e`` still there is unknown too, since the attempt can land late.
"Lost" after an ambiguous attempt does not exist: no store can prove it. OutcomeUnknown leaves it to the
caller, who can look for its own mark (a writer's number in the body).

So: *committed* means our body was at the key under its condition; *lost* (PreconditionFailed) and StoreUnavailable
mean it was not and never will be. A late landing of an attempt whose twin was committed is refused by its
condition as long as bodies do not repeat and created keys are not deleted soon; Overwrite has no condition,
so only a key with a single writer may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from s3queue.clock import Clock
from s3queue.errors import NotFound, OutcomeUnknown, PreconditionFailed, StoreError, StoreRefused, StoreUnavailable
from s3queue.ids import Ids
from s3queue.store.port import Object, Page, PutMode, Replace, Store
from s3queue.store.versions import Place, VersionPage, versioned

T = TypeVar("T")

_DELETE_ROUNDS: Final = 4  # keys that a store refuses one by one are not worth a whole deadline


class Retrying:
    """A store that repeats what failed for the moment and settles what was not answered (see the module).

    ``deadline_s`` bounds one operation from its first attempt to the start of its last; the wait before attempt n + 1
    is random below ``min(cap_s, base_s * 2**(n - 1))``. ``on_throttle(operation, attempt, delay_s)`` is called for
    every answer that asks to slow down, from the thread concerned, before it waits.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        ids: Ids,
        deadline_s: float = 30.0,
        base_s: float = 0.05,
        cap_s: float = 5.0,
        on_throttle: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self._store = store
        self._policy = _Policy(clock, ids, deadline_s, base_s, cap_s, on_throttle)

    @property
    def location(self) -> str:
        return self._store.location

    def now_ms(self) -> int:
        return self._store.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        return _repeat(_Wait("get", self._policy), lambda: self._store.get(key, if_none_match))

    def delete(self, key: str) -> None:
        _repeat(_Wait("delete", self._policy), lambda: self._store.delete(key))

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return _repeat(_Wait("list", self._policy), lambda: self._store.list(prefix, after, limit))

    def keeps_versions(self) -> bool:
        return _repeat(_Wait("get", self._policy), versioned(self._store).keeps_versions)

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        return _repeat(_Wait("list", self._policy), lambda: versioned(self._store).versions(prefix, after, limit))

    def get_version(self, key: str, version_id: str) -> Object:
        return _repeat(_Wait("get", self._policy), lambda: versioned(self._store).get_version(key, version_id))

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Remove the keys; those that the store refused are tried again, at most three times."""
        wait = _Wait("delete_many", self._policy)
        left = tuple(keys)
        for rounds_left in reversed(range(_DELETE_ROUNDS)):
            left = _repeat(wait, partial(self._store.delete_many, left)) if left else ()
            if not left or not rounds_left or not wait.once_more():
                break
        return left

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write under the condition; the verdict is told by what returns or is raised (see the module)."""
        wait = _Wait("put", self._policy)
        ambiguous = False
        while True:
            try:
                return self._store.put(key, body, mode)
            except StoreUnavailable as error:
                ambiguous = ambiguous or error.maybe_applied
                if wait.once_more(error):
                    continue
                failure: StoreError = error
            except (PreconditionFailed, StoreRefused) as error:
                failure = error
            if not ambiguous:
                raise failure
            etag = self._read_back(wait, key, body, mode, failure)
            if etag is not None:
                return etag

    def close(self) -> None:
        self._store.close()

    def _read_back(self, wait: _Wait, key: str, body: bytes, mode: PutMode, failure: StoreError) -> str | None:
        """Return the ETag if our write landed, None if it is to be tried again; raise OutcomeUnknown otherwise."""
        try:
            found = _repeat(wait, lambda: self._store.get(key))
        except NotFound:
            found = None
        except StoreError as error:
            raise OutcomeUnknown(key) from error
        if found is not None and found.body == body:
            return found.etag
        untouched = found is not None and isinstance(mode, Replace) and found.etag == mode.etag
        if untouched and isinstance(failure, PreconditionFailed) and wait.once_more():
            return None
        raise OutcomeUnknown(key) from failure


def _repeat(wait: _Wait, request: Callable[[], T]) -> T:
    """Return the answer of the first attempt that is not StoreUnavailable, or raise that once the deadline is over."""
    while True:
        try:
            return request()
        except StoreUnavailable as error:
            if not wait.once_more(error):
                raise


@dataclass(frozen=True, slots=True)
class _Policy:
    clock: Clock
    ids: Ids
    deadline_s: float
    base_s: float
    cap_s: float
    on_throttle: Callable[[str, int, float], None] | None


class _Wait:
    """The waits of one operation, from one deadline."""

    def __init__(self, operation: str, policy: _Policy) -> None:
        self._operation = operation
        self._policy = policy
        self._until_s = policy.clock.monotonic() + policy.deadline_s
        self._ceiling_s = min(policy.base_s, policy.cap_s)
        self._attempt = 0

    def once_more(self, error: StoreUnavailable | None = None) -> bool:
        """Wait and return True; False at once if the deadline is over."""
        policy = self._policy
        left_s = self._until_s - policy.clock.monotonic()
        if left_s <= 0:
            return False
        delay_s = min(policy.ids.random() * self._ceiling_s, left_s)
        self._attempt += 1
        self._ceiling_s = min(self._ceiling_s * 2, policy.cap_s)
        if error is not None and error.throttled and policy.on_throttle is not None:
            policy.on_throttle(self._operation, self._attempt, delay_s)
        policy.clock.sleep(delay_s)
        return True
