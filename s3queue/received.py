"""A message in the hands of a caller of ``receive``."""

from __future__ import annotations

from typing import Any

from s3queue.core.checking import check_number
from s3queue.core.message import Failure
from s3queue.core.retry import MAX_AFTER_S
from s3queue.errors import NonRetriable, RetryLater
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.outcomes import Delivery, Held


class ReceivedMessage(Held):
    """A claimed message: settle it by :meth:`ack` or :meth:`nack` within the visibility timeout, or :meth:`extend`.

    Each settles durably before it returns (one PUT, shared by threads that settle at the same time) and raises
    LeaseLost if the claim is over.
    """

    def __init__(self, consumer: Consumer, delivery: Delivery) -> None:
        super().__init__(delivery)
        self._consumer = consumer

    def __repr__(self) -> str:
        return f"<message {self.id} attempt {self.attempt}>"

    @property
    def payload(self) -> Any:
        """What was enqueued."""
        return self._delivery.message.payload

    def ack(self) -> None:
        """Record the message as completed."""
        self._consumer.settle(self._consumer.completed(self._delivery))

    def nack(self, error: BaseException | str = "nack", *, after: float | None = None) -> None:
        """Record a failed attempt: retried ``after`` seconds (default: by the queue's policy) or dead."""
        if after is not None:
            check_number("after", after, 0, MAX_AFTER_S)
        failure = error if isinstance(error, BaseException) and after is None else RetryLater(str(error), after=after)
        self._consumer.settle(self._consumer.failed(self._delivery, Failure.of(failure)))

    def dead(self, reason: str) -> None:
        """Move the message to the dead letter queue."""
        self._consumer.settle(self._consumer.failed(self._delivery, Failure.of(NonRetriable(reason))))

    def extend(self, seconds: float) -> None:
        """Keep the claim until at least ``seconds`` from now (it covers what was received together)."""
        check_number("seconds", seconds, 0, MAX_AFTER_S)
        self._consumer.extend(self._delivery, max(1, int(seconds * 1000)))

    def release(self) -> None:
        """Give the message back at once; the attempt does not count."""
        self._consumer.release([self._delivery])
