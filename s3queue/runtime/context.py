"""What a handler is told about its message, and what it may decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from s3queue.core.message import Failure
from s3queue.errors import InvalidInput, NonRetriable, RetryLater
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.locks import Lock
from s3queue.protocol.outcomes import Delivery, Held, Recorded
from s3queue.runtime.keeper import make_lock


class Decision(Protocol):
    """What the handler decided, as an outcome to record."""

    def __call__(self, consumer: Consumer, delivery: Delivery, /) -> Recorded:
        """Return the outcome."""
        ...


class Context(Held):
    """The second argument of a handler: facts about the message, and its fate if the handler wants to decide it.

    The last decision counts and is recorded when the handler ends. Without one, returning completes the message and
    raising fails the attempt (in manual mode, returning without a decision fails it too).
    """

    def __init__(self, consumer: Consumer | None, delivery: Delivery, worker: str, queue: str) -> None:
        super().__init__(delivery)
        self._consumer = consumer
        self.decision: Decision | None = None
        self.worker = worker
        self.queue = queue

    @property
    def holds(self) -> bool:
        """Whether the claim can still be relied on; False is a reason to stop."""
        return self._consumer is None or self._consumer.is_trusted(self._delivery)

    def extend(self, seconds: float) -> None:
        """Keep the claim for at least ``seconds`` from now; raise LeaseLost if it is over.

        Workers extend their claims by themselves while a handler runs; this is for handlers that know better.
        In a process of its own (``executor="process"``) the worker does it alone and this does nothing.
        """
        if self._consumer is not None:
            self._consumer.extend(self._delivery, int(seconds * 1000))

    def lock(self, name: str, ttl: float = 30, *, wait: float | None = 0, renew: bool | float = True) -> Lock:
        """Return a lock of the queue, as :meth:`s3queue.Queue.lock` does; raise InvalidInput in a process of its own.

        The lock is the handler's own affair: it is not given back with the message, so use it in a ``with`` statement.
        """
        if self._consumer is None:
            raise InvalidInput(
                f"The handler of message {self.id} runs in a process of its own, which has no connection to the queue.",
                remedy=f"Open one there, once a process: Queue({self.queue!r}, …).lock({name!r}); or use executor='thread'.",
            )
        return make_lock(self._consumer.lane, name, ttl, wait, renew)

    def ack(self) -> None:
        """Decide: completed, whatever happens after."""
        self.decision = COMPLETED

    def nack(self, error: BaseException | str = "nack") -> None:
        """Decide: this attempt failed; retries follow the queue's policy."""
        self.decision = failed(error if isinstance(error, BaseException) else RetryLater(error))

    def retry(self, after: float | None = None, reason: str = "retry requested") -> None:
        """Decide: this attempt failed, try again ``after`` seconds (default: the queue's backoff)."""
        self.decision = failed(RetryLater(reason, after=after))

    def dead(self, reason: str) -> None:
        """Decide: trying again is no use; to the dead letter queue with it."""
        self.decision = failed(NonRetriable(reason))


@dataclass(frozen=True)
class _Completed:
    def __call__(self, consumer: Consumer, delivery: Delivery, /) -> Recorded:
        return consumer.completed(delivery)


@dataclass(frozen=True)
class Failed:
    """The decision that this attempt failed."""

    failure: Failure

    def __call__(self, consumer: Consumer, delivery: Delivery, /) -> Recorded:
        return consumer.failed(delivery, self.failure)


COMPLETED: Decision = _Completed()


def failed(error: BaseException) -> Decision:
    """Return the decision that this attempt failed."""
    return Failed(Failure.of(error))
