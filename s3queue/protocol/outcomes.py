"""Messages in the hands of this process, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from s3queue.clock import to_datetime
from s3queue.core.keys import ObjectName, group_of, letter_name, rank_in, visible_at_ms_of
from s3queue.core.ledger import Line, LineKind
from s3queue.core.message import AttemptError, Failure, Message
from s3queue.core.retry import judge
from s3queue.core.transitions import Handle, Outcome
from s3queue.protocol.lane import Lane


@dataclass(slots=True)
class Lease:
    """A ticket of this process, claimed at ``begun_at``; after ``trusted_until`` it is not relied on any more (monotonic)."""

    ticket_id: str
    token: int
    lease_ms: int
    renewed_at: float
    trusted_until: float
    left: int
    lane: int = 0
    begun_at: float = 0.0
    suspect: bool = False
    lost: bool = False


@dataclass(slots=True)
class Delivery:
    """A claimed message in the hands of this process. ``attempt`` counts from 1; times are store time.

    ``started_at_ms`` is filled in by whoever runs a handler on it, when that begins; 0 if nobody does.
    """

    message: Message
    handle: Handle
    lease: Lease
    attempt: int
    max_attempts: int
    lost_claims: tuple[AttemptError, ...]
    claimed_at_ms: int
    started_at_ms: int = 0

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.message.id


@dataclass(frozen=True, slots=True)
class Recorded:
    """An outcome on its way into the ledger, with the delivery it is of, and when it was decided (store time)."""

    delivery: Delivery
    outcome: Outcome
    ended_at_ms: int


class Held:
    """A claimed message as its holder sees it: what was enqueued, and which claim this is."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    @property
    def id(self) -> str:
        """The id that ``enqueue`` returned."""
        return self._delivery.id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._delivery.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts there may be."""
        return self._delivery.max_attempts

    @property
    def token(self) -> int:
        """The fencing token of the claim: it only grows, so a system that remembers the highest can refuse older ones."""
        return self._delivery.handle.token

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers given at enqueue."""
        return self._delivery.message.headers

    @property
    def priority(self) -> int:
        """The priority given at enqueue."""
        return self._delivery.message.priority

    @property
    def group(self) -> str | None:
        """The group given at enqueue."""
        return self._delivery.message.group

    @property
    def enqueued_at(self) -> datetime:
        """When the message was enqueued, in store time."""
        return to_datetime(self._delivery.message.enqueued_at_ms)


def completed(lane: Lane, delivery: Delivery) -> Recorded:
    """Return the outcome *completed*."""
    now = lane.now_ms()
    latency = max(0, now - delivery.message.enqueued_at_ms)
    return Recorded(delivery, Outcome(delivery.handle, "completed", latency_ms=latency), now)


def failed(lane: Lane, delivery: Delivery, failure: Failure) -> Recorded:
    """Return the outcome of a failed attempt: tried again, or dead, as settings, message and failure say."""
    settings = lane.settings()
    now = lane.now_ms()
    kept = failure.as_error(attempt=delivery.attempt, at_ms=now, worker=lane.worker)
    verdict = judge(
        delivery.message.retry or settings.retry,
        settings.failure,
        attempt=delivery.attempt,
        max_attempts=delivery.max_attempts,
        retriable=failure.retriable,
        random=lane.ids.random(),
        after_s=failure.after_s,
    )
    if verdict.after_ms is None:
        return dead(lane, delivery, verdict.reason, kept, now)
    source = delivery.handle.name
    name = ObjectName(rank_in(source), now + verdict.after_ms, lane.ids.new(now), 1, group_of(source))
    line = _line(lane, delivery, "retry", str(name), error=kept, now=now)
    return Recorded(delivery, Outcome(delivery.handle, "retry", line=line), now)


def dead(lane: Lane, delivery: Delivery, reason: str, error: AttemptError | None, now: int) -> Recorded:
    """Return the outcome *dead*; without an error of its own, the claims it lost are why."""
    # It may have died before: then this is a letter of its own, not the ghost of the one that it was replayed from.
    if delivery.message.errors:
        now = max(now, visible_at_ms_of(delivery.handle.name) + 1)
    line = replace(
        _line(lane, delivery, "dead", letter_name(now, delivery.id, lane.number), error=error, now=now), reason=reason
    )
    return Recorded(delivery, Outcome(delivery.handle, "dead", line=line, failed=error is not None), now)


def _line(lane: Lane, delivery: Delivery, kind: LineKind, target: str, *, error: AttemptError | None, now: int) -> Line:
    return Line(
        id=lane.ids.new(now),
        kind=kind,
        source=delivery.handle.name,
        index=delivery.handle.index,
        target=target,
        message_id=delivery.id,
        decided_at_ms=now,
        attempts=delivery.attempt if error is not None else delivery.attempt - 1,
        errors=delivery.lost_claims + ((error,) if error is not None else ()),
    )
