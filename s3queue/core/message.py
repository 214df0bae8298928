"""A message, and what is remembered of its failed attempts."""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from s3queue.core.retry import RetryPolicy
from s3queue.errors import NonRetriable, RetryLater

MAX_ERRORS_KEPT = 20
MAX_TRACEBACK_CHARS = 4000
MAX_ERROR_CHARS = 1000


@dataclass(frozen=True, slots=True)
class AttemptError:
    """Why one attempt failed. ``at_ms`` is store time."""

    attempt: int
    at_ms: int
    type: str
    message: str
    traceback: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed, in words that can cross from one process to another.

    ``retriable``: whether trying again may help. ``after_s``: the delay the handler asked for, None for the policy's.
    """

    type: str
    message: str
    traceback: str = ""
    retriable: bool = True
    after_s: float | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what is kept of an exception: the ends of long texts, as there the cause is told."""
        text = "".join(tracebacks.format_exception(error)) if error.__traceback__ else ""
        return cls(
            type(error).__qualname__,
            clip(_text(error)),
            storable(text[-MAX_TRACEBACK_CHARS:]),
            not isinstance(error, NonRetriable),
            _after_s(error),
        )

    def as_error(self, *, attempt: int, at_ms: int, worker: str) -> AttemptError:
        """Return the failure as the error of an attempt."""
        return AttemptError(attempt, at_ms, self.type, self.message, self.traceback, worker)


def _after_s(error: BaseException) -> float | None:
    """Return the delay asked for; None if none was, or nonsense: that must not cost more than the attempt."""
    after = error.after if isinstance(error, RetryLater) else None
    return after if isinstance(after, int | float) and after == after else None  # noqa: PLR0124 - NaN is not


def _text(error: BaseException) -> str:
    try:
        return storable(str(error))
    except Exception:  # noqa: BLE001 - an exception whose __str__ fails must not cost the message
        return "(its text cannot be told)"


def storable(text: str) -> str:
    """Return the text without what UTF-8 cannot hold: lone surrogates, as names of files have them, become escapes."""
    return text.encode(errors="backslashreplace").decode()


def clip(text: str, limit: int = MAX_ERROR_CHARS) -> str:
    """Return ``text`` cut to ``limit`` characters, with a mark where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it lies in an object: ``attempts`` counts the attempts that failed before it was put there.

    ``max_attempts`` and ``retry`` are those of the queue if None.
    """

    id: str
    payload: Any
    enqueued_at_ms: int
    priority: int = 0
    attempts: int = 0
    max_attempts: int | None = None
    retry: RetryPolicy | None = None
    group: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[AttemptError, ...] = ()

    def failed(self, errors: tuple[AttemptError, ...], attempts: int) -> Message:
        """Return the message as it is put back after failures, with the last errors kept."""
        return replace(self, attempts=attempts, errors=(self.errors + errors)[-MAX_ERRORS_KEPT:])


@dataclass(frozen=True, slots=True)
class Reservation:
    """A deduplication key in use: the message it stands for, and where that was to be written.

    ``written``: the message is known to have been written. Times are store time.
    """

    message_id: str
    name: str
    reserved_at_ms: int
    expires_at_ms: int
    written: bool = False
    lane: int = 0


class HasMessage:
    """What has a message in it, and goes by its id."""

    __slots__ = ()
    message: Message

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.message.id

    @property
    def payload(self) -> Any:
        """The payload of the message."""
        return self.message.payload

    @property
    def errors(self) -> tuple[AttemptError, ...]:
        """Every attempt's error that was kept, oldest first."""
        return self.message.errors


@dataclass(frozen=True, slots=True)
class DeadLetter(HasMessage):
    """A message that will not be tried again: when and why it died, and where it came from."""

    message: Message
    dead_at_ms: int
    reason: str
    source: str
