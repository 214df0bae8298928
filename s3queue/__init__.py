"""A job queue whose only server is an S3 bucket.

    from s3queue import Queue, Worker

    q = Queue("emails", bucket="prod")
    q.enqueue({"to": "a@b.c"})
    Worker(q, handler, concurrency=8).run()

Every acknowledged enqueue is executed at least once or visibly dead-lettered; at most one claim can record the outcome;
a handler may run more than once, so make it idempotent. ``docs/protocol.md`` says why that holds.
"""

from s3queue.core.kept import HistoryRecord
from s3queue.core.message import AttemptError, DeadLetter, Message
from s3queue.core.payload import Gzip
from s3queue.core.retry import RetryPolicy
from s3queue.errors import (
    CorruptObject,
    InvalidInput,
    InvalidName,
    InvalidPayload,
    InvalidSetting,
    LeaseLost,
    LockHeld,
    LockLost,
    NewerFormat,
    NonRetriable,
    NoResult,
    NotFound,
    OutcomeUnknown,
    QueueGone,
    RetryLater,
    S3QueueError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UnsafeStore,
)
from s3queue.protocol.census import Stats
from s3queue.protocol.changing import Changed
from s3queue.protocol.dead_letters import Replayed
from s3queue.protocol.locks import Lock, LockInfo
from s3queue.protocol.roster import WorkerInfo
from s3queue.protocol.schedules import Schedule
from s3queue.queue import Queue
from s3queue.received import ReceivedMessage
from s3queue.runtime.context import Context
from s3queue.runtime.worker import Worker
from s3queue.version import __version__

__all__ = [
    "AttemptError",
    "Changed",
    "Context",
    "CorruptObject",
    "DeadLetter",
    "Gzip",
    "HistoryRecord",
    "InvalidInput",
    "InvalidName",
    "InvalidPayload",
    "InvalidSetting",
    "LeaseLost",
    "Lock",
    "LockHeld",
    "LockInfo",
    "LockLost",
    "Message",
    "NewerFormat",
    "NoResult",
    "NonRetriable",
    "NotFound",
    "OutcomeUnknown",
    "Queue",
    "QueueGone",
    "ReceivedMessage",
    "Replayed",
    "RetryLater",
    "RetryPolicy",
    "S3QueueError",
    "Schedule",
    "Stats",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "UnsafeStore",
    "Worker",
    "WorkerInfo",
    "__version__",
]
