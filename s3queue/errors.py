"""Every error that s3queue raises on purpose.

::

    S3QueueError
    ├── InvalidInput (also ValueError)     the caller's argument cannot be used; nothing was written
    │   ├── InvalidPayload                 JSON cannot hold it, or it is too large
    │   ├── InvalidName                    a queue, bucket, prefix or worker name
    │   └── InvalidSetting                 a number out of range, an unknown word, a handler that is none
    ├── StoreError
    │   ├── NotFound                       no object at that key
    │   │   └── NoResult                   of a message: it has none yet, or it is dead, or results are off
    │   ├── PreconditionFailed             a conditional write was refused: somebody else was first
    │   ├── OutcomeUnknown                 the write may or may not have happened, and reading back cannot tell
    │   ├── StoreUnavailable               no usable answer in time: 5xx, time-out, endpoint down; try again
    │   ├── StoreRefused                   credentials, permission, bucket, region, clock, not S3; trying again is no use
    │   └── UnsafeStore                    the store breaks conditional writes: s3queue will not run on it
    ├── CorruptObject                      an object that s3queue cannot read; it is left as it is
    │   └── NewerFormat                    written by a newer s3queue
    ├── LockHeld                           somebody else holds the lock
    ├── LockLost                           the lock cannot be relied on any more: others may have had it
    ├── LeaseLost                          the token was rescued, reset or superseded: the outcome was not recorded
    ├── QueueGone                          the queue was deleted while in use
    └── HandlerError                       recorded as an attempt's error, never raised to a caller
        ├── HandlerTimeout
        ├── HandlerCrashed                 the process that ran the handler ended
        └── LeaseExpired                   the worker that held the message vanished

A handler steers its own fate by raising :class:`RetryLater` or :class:`NonRetriable`.
Each message of these errors says what was found and ends with the remedy.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar


class S3QueueError(Exception):
    """Base of all errors of s3queue; ``remedy`` says what to do about it."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.remedy = remedy


class InvalidInput(S3QueueError, ValueError):
    """An argument cannot be used; nothing was written."""


class InvalidPayload(InvalidInput):
    """JSON cannot hold the payload, or it is too large."""


class InvalidName(InvalidInput):
    """A name has characters that would not survive as part of a key."""


class InvalidSetting(InvalidInput):
    """A setting is out of range, unknown, or contradicts another."""


class StoreError(S3QueueError):
    """Something about the bucket; ``key`` is the object concerned, or ''."""

    def __init__(self, message: str, *, key: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.key = key


class NotFound(StoreError):
    """There is no object at ``key``."""

    def __init__(self, key: str) -> None:
        super().__init__(f"There is no object at {key!r}.", key=key)


class NoResult(NotFound):
    """A message has no result. ``found`` says why: ``unfinished``, ``dead``, ``gone`` (too old) or ``off``."""

    _WHY: ClassVar[dict[str, tuple[str, str]]] = {
        "unfinished": (
            "has no result yet",
            "It waits, is at work, was discarded, or was never in this queue; wait=… waits for it.",
        ),
        "dead": ("is dead, so it has no result", "queue.dlq.get(…) tells why, queue.dlq.replay(…) tries it again."),
        "gone": (
            "has no result",
            "Results are kept for the queue's result_ttl after completion; this may have had one.",
        ),
        "off": (
            "has no result, as the queue keeps none",
            "Queue.configure(results=True), or `s3queue-admin configure QUEUE results=true`, keeps those to come.",
        ),
    }

    def __init__(self, message_id: str, key: str, found: str) -> None:
        what, remedy = self._WHY[found]
        StoreError.__init__(self, f"Message {message_id!r} {what}.", key=key, remedy=remedy)
        self.message_id = message_id
        self.found = found


class PreconditionFailed(StoreError):
    """A conditional write was refused and has not happened: somebody else was first."""

    def __init__(self, key: str, *, expected: str, found: str = "something else") -> None:
        super().__init__(f"{key!r} was to be {expected}, but the store found {found}.", key=key)
        self.expected = expected
        self.found = found


class OutcomeUnknown(StoreError):
    """A write got no answer, and what is there now does not show whether it happened."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The write of {key!r} was not answered, and reading it back does not show whether it happened.",
            key=key,
            remedy="Look before you repeat it: an enqueue that is repeated makes a second message, unless both have the "
            "same dedup_id.",
        )


class StoreUnavailable(StoreError):
    """The store gave no usable answer in time.

    ``throttled``: it asked to slow down (503 / 429). ``maybe_applied``: a write may have happened all the same.
    """

    def __init__(
        self, message: str, *, key: str = "", throttled: bool = False, maybe_applied: bool = False, remedy: str = ""
    ) -> None:
        super().__init__(message, key=key, remedy=remedy)
        self.throttled = throttled
        self.maybe_applied = maybe_applied


class StoreRefused(StoreError):
    """The store will not serve this client until something is put right.

    ``reason`` is one of ``bucket-missing``, ``access-denied``, ``no-credentials``, ``bad-credentials``,
    ``wrong-region``, ``clock-skew``, ``not-s3``, ``rejected``; of what operators ask besides: ``no-versions``,
    ``no-rules``, ``read-only``.
    """

    def __init__(self, message: str, *, reason: str, key: str = "", remedy: str = "") -> None:
        super().__init__(message, key=key, remedy=remedy)
        self.reason = reason


class UnsafeStore(StoreError):
    """The store ignores or misjudges a condition, so messages would be lost or doubled on it.

    ``location`` names the store, ``condition`` the condition that it broke.
    """

    def __init__(self, location: str, condition: str, evidence: str) -> None:
        super().__init__(
            f"{location} breaks conditional writes ({condition}): {evidence}.",
            remedy="Use a store with atomic conditional PUT (AWS S3, MinIO ≥ 2024-09, SeaweedFS ≥ 4, …); "
            "if a proxy or gateway stands between, let it pass If-Match and If-None-Match. "
            "`s3queue probe` repeats this test.",
        )
        self.location = location
        self.condition = condition


class CorruptObject(S3QueueError):
    """The object at ``key`` cannot be read; it is left as it is."""

    def __init__(self, key: str, reason: str, *, remedy: str = "") -> None:
        super().__init__(
            f"The object {key!r} is not readable: {reason}.",
            remedy=remedy or "It was left untouched: restore an earlier version of it, or move it away.",
        )
        self.key = key
        self.reason = reason


class NewerFormat(CorruptObject):
    """The object at ``key`` was written by a newer s3queue."""

    def __init__(self, key: str, found: str, known: str) -> None:
        super().__init__(
            key,
            f"it has format {found!r}, this version reads up to {known!r}",
            remedy="It was left untouched: upgrade s3queue here.",
        )
        self.found = found


class LeaseLost(S3QueueError):
    """The claim with this token no longer holds the message; the outcome was not recorded."""

    def __init__(self, message_id: str, token: int, found: str) -> None:
        super().__init__(
            f"The claim of message {message_id!r} with token {token} is over: {found}.",
            remedy="Another worker will process it (or has). Make the handler idempotent; "
            "raise visibility_timeout if handlers run longer than expected.",
        )
        self.message_id = message_id
        self.token = token
        self.found = found


class LockHeld(S3QueueError):
    """Somebody else has the lock: ``holder`` ('' if it is nobody), with ``token``, ``until`` then unless it is renewed."""

    def __init__(self, name: str, found: str, *, holder: str, token: int, until: datetime) -> None:
        super().__init__(
            f"The lock {name!r} is not to be had: {found}.",
            remedy="Wait for it (wait=seconds, or None for ever), or try again later; "
            "break_lock takes it away from a holder that is known to be dead.",
        )
        self.name = name
        self.holder = holder
        self.token = token
        self.until = until


class LockLost(S3QueueError):
    """The lock that was held with this token cannot be relied on any more."""

    def __init__(self, name: str, token: int, found: str) -> None:
        super().__init__(
            f"The lock {name!r} with token {token} is lost: {found}.",
            remedy="Stop what it guards and acquire it anew; let the resource refuse tokens lower than the last it saw; "
            "raise ttl if the holder is held up for longer.",
        )
        self.name = name
        self.token = token
        self.found = found


class QueueGone(S3QueueError):
    """The queue's ledger or settings vanished while in use."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"{key!r} is gone: the queue was deleted, or a lifecycle rule removed it.",
            remedy="Restart to begin with an empty ledger (messages still in the inbox will be processed); "
            "keep lifecycle rules away from the queue's prefix.",
        )
        self.key = key


class HandlerError(S3QueueError):
    """Base of the errors that a worker records for an attempt that raised none itself."""


class HandlerTimeout(HandlerError):
    """The handler ran longer than ``handler_timeout``."""


class HandlerCrashed(HandlerError):
    """The process that ran the handler ended before it returned."""


class LeaseExpired(HandlerError):
    """The worker that held the message vanished; its lease ran out."""


class RetryLater(Exception):
    """Raise in a handler: fail this attempt and try again ``after`` seconds (default: the queue's backoff)."""

    def __init__(self, reason: str = "retry requested", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class NonRetriable(Exception):
    """Raise in a handler: trying again is no use; the message goes to the dead letter queue now."""
