"""A look at a queue whose books could not be read is no look at it: what is shown of it stays as it was."""

from __future__ import annotations

from dataclasses import replace

from s3queue.errors import StoreError, StoreRefused, StoreUnavailable
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot


def only_read(seen: BucketSnapshot) -> BucketSnapshot:
    """Return the snapshot with such queues among those that failed: without books all their counts would be 0.

    Books that are there and damaged are another matter: they are shown, as a problem.
    """
    unread = {name: cause for name, queue in seen.queues.items() if (cause := cause_of(queue)) is not None}
    if not unread:
        return seen
    return replace(
        seen,
        queues={name: queue for name, queue in seen.queues.items() if name not in unread},
        failed={**seen.failed, **{name: str(cause) for name, cause in unread.items()}},
        causes={**seen.causes, **unread},
    )


def cause_of(queue: QueueSnapshot) -> StoreError | None:
    """Return why a ledger of the queue could not be read though it may be there; None if all were."""
    for problem in queue.problems:
        if problem.part != "ledger":
            continue
        if problem.kind in ("StoreUnavailable", "Throttled"):
            return StoreUnavailable(problem.error, key=problem.key, throttled=problem.kind == "Throttled")
        if problem.kind == "StoreRefused":
            return StoreRefused(problem.error, reason="access-denied", key=problem.key)
    return None
