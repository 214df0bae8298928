"""Claims messages, reads them, records what became of them: the agent behind ``receive``, ``process_once`` and workers.

Its hot path is one commit: the outcomes since the last one, leases to extend, and a claim of what there is room for.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from s3queue.core.keys import count_of
from s3queue.core.ledger import Part, Ticket, lost_errors
from s3queue.core.message import Failure, Message
from s3queue.core.retry import worn_out
from s3queue.core.settling import LEASE_OVER
from s3queue.core.transitions import (
    Claim,
    Claimed,
    Extend,
    Handle,
    Outcome,
    Publish,
    Release,
    Settle,
)
from s3queue.errors import CorruptObject, LeaseLost, NotFound, S3QueueError, StoreError
from s3queue.protocol import outcomes
from s3queue.protocol.janitor import Janitor
from s3queue.protocol.lane import Lane
from s3queue.protocol.moves import carry_out
from s3queue.protocol.outcomes import Delivery, Lease, Recorded
from s3queue.protocol.search import Search, Sent

_MEASURED_FROM = 16
"""How many objects must be read together to tell how fast this process reads."""
TURN_S, ASIDE_S = 0.5, 5.0
"""How long a follower, and one without work in an ordered lane, leave a ledger to others at most when it is most crowded.

Half of what a worker holds: it prefetches a second's work. Leases are extended whoever's turn it is."""
_CORRUPT_SKIPPED_S = 300.0
_UNREAD_SKIPPED_S = 5.0
"""How long a corrupt object, and one that the store would not hand out, is left alone by this process."""


@dataclass(frozen=True, slots=True)
class _Ack:
    """An outcome that was not recorded for certain when its caller was told so."""

    outcome: Outcome
    sent: Sent


class LaneConsumer:
    """One process' claims on one lane; safe to share between threads."""

    def __init__(self, lane: Lane, janitor: Janitor) -> None:
        self.lane = lane
        self.janitor = janitor
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._pending: list[Recorded] = []
        self._doubt: list[Sent] = []
        self._acks: dict[Handle, _Ack] = {}
        self.search = Search(lane)
        self.claimed_in_full = False
        self.mean_read_s = 0.0
        """How long this process takes to read a message when it reads many; 0 while that is unknown."""
        self.others_wait = False
        """Whether the last claim left messages that wait for others of their group."""
        self.may_be_more = False
        """Whether something was claimed and a next claim may find more, were it not for what is claimed."""

    # -- what this process holds --

    def held(self) -> int:
        """Return how many messages this process holds without an outcome."""
        with self._lock:
            return sum(lease.left for lease in self._leases.values())

    def pending(self) -> int:
        """Return how many outcomes wait to be recorded."""
        with self._lock:
            return len(self._pending) + sum(item.outcomes for item in self._doubt)

    def is_trusted(self, delivery: Delivery) -> bool:
        """Whether the claim can be relied on for the moment: its lease is not near its end."""
        lease, standing = delivery.lease, self.lane.standing
        until = min(lease.trusted_until, standing.present_until)
        # What was claimed before this process was silent for too long may be taken from it any moment.
        return not lease.lost and standing.present_since <= lease.begun_at and self.lane.clock.monotonic() < until

    def needs_extension(self) -> bool:
        """Whether a lease has half run out."""
        return bool(self._to_extend())

    # -- outcomes --

    def completed(self, delivery: Delivery) -> Recorded:
        """Return the outcome *completed*."""
        return outcomes.completed(self.lane, delivery)

    def failed(self, delivery: Delivery, failure: Failure) -> Recorded:
        """Return the outcome of a failed attempt: tried again, or dead, as settings, message and failure say."""
        return outcomes.failed(self.lane, delivery, failure)

    # -- commits --

    def record(self, recorded: Recorded) -> None:
        """Let an outcome be recorded with the next :meth:`exchange`."""
        with self._lock:
            self._pending.append(recorded)

    def settle(self, recorded: Recorded) -> None:
        """Record an outcome now; LeaseLost if the claim is over."""
        handle = recorded.delivery.handle
        sent = self._acks.pop(handle, None)
        if sent is None or sent.outcome.kind != recorded.outcome.kind:
            sent = _Ack(recorded.outcome, self._settling([recorded]))
        try:
            (replies,) = self.lane.committer.commit(sent.sent.request)
        except BaseException:
            self._acks[handle] = sent  # should the caller try again, the committer will know it
            raise
        sent.sent.conclude(replies)
        if replies[0] is not None:
            raise LeaseLost(recorded.delivery.id, handle.token, replies[0])

    def extend(self, delivery: Delivery, lease_ms: int | None = None) -> None:
        """Let a message's lease end ``lease_ms`` (default: the visibility timeout) from now, or raise LeaseLost."""
        lease = delivery.lease
        lease.lease_ms = lease_ms or lease.lease_ms
        started = self.lane.clock.monotonic()
        (replies,) = self.lane.committer.commit(Extend(((lease.ticket_id, lease.token),), lease.lease_ms))
        self._note_extended([lease], replies, started)
        if lease.lost:
            raise LeaseLost(delivery.id, lease.token, "its lease was rescued, reset or superseded")

    def drop(self, delivery: Delivery) -> None:
        """Give back a message whose lease is not to be relied on any more, with the next commit."""
        self.lane.committer.defer(Release((delivery.handle,)))
        self._let_go([delivery])
        self.lane.events.emit(
            "lease-lost", id=delivery.id, token=delivery.handle.token, found="its lease ran out unused"
        )

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give messages back untried; those whose claim is over are somebody else's already."""
        if deliveries:
            self.lane.committer.commit(Release(tuple(delivery.handle for delivery in deliveries)))
            self._let_go(deliveries)
            self.lane.announce()

    def exchange(
        self,
        room: int,
        *,
        look: bool | None = None,
        deliver: Callable[[Delivery], None] | None = None,
        keep_leases: bool = True,
    ) -> list[Delivery]:
        """Record the pending outcomes, extend what runs long and claim up to ``room`` messages: one commit.

        Returns the messages claimed and readable; ``deliver`` is given each as soon as it has been read. A coordinator
        assigns to others in the same commit what it has no room for.
        """
        # The look first: it may fail, and no outcome must be lost.
        looks = room > 0 if look is None else look and (room > 0 or self.leads)
        asked = self._look(room, deliver) if looks and not self._claim_in_doubt() else []
        with self._lock:
            batch, self._pending = self._pending, []
            sent, self._doubt = self._doubt, []
        # What is in doubt is cleared up first: the leases may be done with.
        ending = Counter(item.delivery.lease.ticket_id for item in batch)
        long = [lease for lease in self._to_extend() if lease.left > ending[lease.ticket_id]]
        long = long if keep_leases and not sent else []
        sent += self._compose(batch, long) + asked
        if not sent:
            return []
        try:
            replies = self.lane.committer.commit(*(item.request for item in sent))
        except BaseException:
            with self._lock:
                self._doubt = sent + self._doubt
            raise
        return [delivery for item, reply in zip(sent, replies, strict=True) for delivery in item.conclude(reply)]

    def _compose(
        self,
        batch: list[Recorded],
        long: list[Lease],
    ) -> list[Sent]:
        started = self.lane.clock.monotonic()
        sent = []
        if batch:
            sent.append(self._settling(batch))
        if long:
            lease_ms = max(self.lane.settings().lease_ms, *(lease.lease_ms for lease in long))
            tickets = tuple((lease.ticket_id, lease.token) for lease in long)
            sent.append(Sent(Extend(tickets, lease_ms), lambda holds: self._note_extended(long, holds, started)))
        return sent

    def _settling(self, batch: list[Recorded]) -> Sent:
        started = self.lane.clock.monotonic()
        settle = Settle(tuple(item.outcome for item in batch))
        return Sent(settle, lambda replies: self._after_settle(batch, replies, started), len(batch))

    def _claim_in_doubt(self) -> bool:
        return any(isinstance(item.request, Claim | Publish) for item in self._doubt)

    @property
    def leads(self) -> bool:
        """Whether this process coordinates the lane."""
        return self.search.leads

    @property
    def turn_s(self) -> float:
        """How long to leave the ledger to others after a commit, in seconds: 0 unless races are lost.

        Who follows a coordinator gathers outcomes meanwhile. Who claims for itself in an ordered lane leaves it to those at
        work when it has nothing in hand; what they hold holds up others of its group, and does not wait.
        """
        ordered = self.lane.settings().strict
        if self.leads or not self.search.is_led() or (ordered and (self.held() or self.pending())):
            return 0.0
        return (ASIDE_S if ordered else TURN_S) * self.lane.committer.crowding

    def _look(self, room: int, deliver: Callable[[Delivery], None] | None) -> list[Sent]:
        started = self.lane.clock.monotonic()
        with self._lock:
            self._leases = {id_: lease for id_, lease in self._leases.items() if not _over(lease, started)}
            suspects = not any(lease.suspect for lease in self._leases.values())
            handles = [item.outcome.handle for item in self._pending]
        return self.search.ask(
            room,
            suspects=suspects,
            take=lambda claimed: self._read(claimed, started, deliver),
            ending=frozenset((handle.ticket_id, handle.name, handle.index) for handle in handles),
            read_s=self.mean_read_s,
        )

    # -- after a commit --

    def _after_settle(self, batch: list[Recorded], replies: list[str | None], started: float) -> None:
        moves = []
        done = [item for item, found in zip(batch, replies, strict=True) if found is None]
        self.lane.standing.telemetry.settled(done, started)
        for item, found in zip(batch, replies, strict=True):
            if found is not None:
                item.delivery.lease.lost |= found == LEASE_OVER  # else the rest of the ticket is still held
                self.lane.events.emit("lease-lost", id=item.delivery.id, token=item.delivery.handle.token, found=found)
            else:
                self._tell(item)
                if item.outcome.line is not None:
                    moves.append((item.outcome.line, item.delivery.message))
        self._let_go([item.delivery for item, found in zip(batch, replies, strict=True) if found in (None, LEASE_OVER)])
        if moves:
            carry_out(self.lane, moves, started)
        self.janitor.note(item.outcome.handle.name for item in batch)

    def _tell(self, item: Recorded) -> None:
        self.lane.standing.note(item)
        events, line, delivery = self.lane.events, item.outcome.line, item.delivery
        if item.outcome.kind == "completed":
            if events.wanted("message-completed"):
                latency_ms = item.outcome.latency_ms
                events.emit("message-completed", id=delivery.id, attempt=delivery.attempt, latency_ms=latency_ms)
        elif item.outcome.kind == "retry" and line is not None:
            at_ms = int(line.target[2:15])
            error = f"{line.errors[-1].type}: {line.errors[-1].message}"
            events.emit("message-retry", id=delivery.id, attempt=delivery.attempt, at_ms=at_ms, error=error)
        elif line is not None:
            error = f"{line.errors[-1].type}: {line.errors[-1].message}" if line.errors else ""
            events.emit("message-dead", id=delivery.id, attempt=delivery.attempt, reason=line.reason, error=error)

    def _let_go(self, deliveries: Sequence[Delivery]) -> None:
        with self._lock:
            for delivery in deliveries:
                delivery.lease.left -= 1
                if delivery.lease.left <= 0:
                    self._leases.pop(delivery.lease.ticket_id, None)

    def _to_extend(self) -> list[Lease]:
        now = self.lane.clock.monotonic()
        with self._lock:
            return [
                lease
                for lease in self._leases.values()
                if not lease.lost and now - lease.renewed_at > lease.lease_ms / 2000
            ]

    def _note_extended(self, leases: list[Lease], replies: Sequence[bool], started: float) -> None:
        for lease, holds in zip(leases, replies, strict=True):
            if holds:
                lease.renewed_at = started
                lease.trusted_until = started + _trusted_s(lease.lease_ms)
            else:
                lease.lost = True
                with self._lock:
                    self._leases.pop(lease.ticket_id, None)
                self.lane.events.emit("lease-lost", id=lease.ticket_id, token=lease.token, found="it was rescued")

    def _read(self, claimed: Claimed, started: float, deliver: Callable[[Delivery], None] | None) -> list[Delivery]:
        for ticket in claimed.rescued:
            self.lane.events.emit("message-recovered", worker=ticket.worker, count=ticket.size)
        work: list[tuple[Ticket, Part, Lease]] = []
        self.claimed_in_full = bool(claimed.tickets) and claimed.full
        self.others_wait = claimed.waits
        self.may_be_more = bool(claimed.tickets) and (claimed.full or claimed.waits)
        for ticket in claimed.tickets:
            suspect = any(part.rescues for part in ticket.parts)
            lease_ms = ticket.expires_at_ms - ticket.claimed_at_ms
            until = started + _trusted_s(lease_ms)
            lease = Lease(
                ticket.id, ticket.token, lease_ms, started, until, ticket.size, self.lane.number, started, suspect
            )
            with self._lock:
                self._leases[ticket.id] = lease
            work += [(ticket, part, lease) for part in ticket.parts]

        def read(item: tuple[Ticket, Part, Lease]) -> list[Delivery]:
            deliveries = self._read_part(*item)
            if deliver is not None:
                for delivery in deliveries:
                    deliver(delivery)
            return deliveries

        began = self.lane.clock.monotonic()
        ready = [delivery for found in self.lane.spread(read, work) for delivery in found]
        if len(work) >= _MEASURED_FROM:
            seconds = (self.lane.clock.monotonic() - began) / max(len(ready), 1)
            self.mean_read_s = self.mean_read_s + 0.2 * (seconds - self.mean_read_s) if self.mean_read_s else seconds
        if work and not ready and claimed.waits and self.lane.committer.has_deferred:
            with suppress(S3QueueError):  # what could not be read makes way for the others now, or with a later commit
                self.lane.committer.commit()
        return ready

    def _read_part(self, ticket: Ticket, part: Part, lease: Lease) -> list[Delivery]:
        partly = part.size < count_of(part.name)
        try:
            messages = self.lane.inbox.read(part.name, partly=partly)
        except NotFound as error:
            self._unreadable(ticket, part, lease, error, missing=True)
            return []
        except (CorruptObject, StoreError) as error:
            skipped_s = _CORRUPT_SKIPPED_S if isinstance(error, CorruptObject) else _UNREAD_SKIPPED_S
            self.search.skip(part.name, skipped_s)
            self._unreadable(ticket, part, lease, error, missing=False)
            return []
        ready = []
        for index in part.indices():
            delivery = self._delivery(ticket, part, lease, index, messages[index])
            reason = worn_out(
                self.lane.settings().failure, delivery.attempt, delivery.max_attempts, lost=len(delivery.lost_claims)
            )
            if reason:
                self.record(outcomes.dead(self.lane, delivery, reason, None, self.lane.now_ms()))
            else:
                ready.append(delivery)
        if ready and self.lane.events.wanted("message-claimed"):
            self.lane.events.emit("message-claimed", ids=[delivery.id for delivery in ready], token=ticket.token)
        return ready

    def _delivery(self, ticket: Ticket, part: Part, lease: Lease, index: int, message: Message) -> Delivery:
        lost = lost_errors(message.attempts, part.rescues)
        return Delivery(
            message,
            Handle(ticket.id, ticket.token, part.name, index),
            lease,
            attempt=message.attempts + len(lost) + 1,
            max_attempts=message.max_attempts or self.lane.settings().max_attempts,
            lost_claims=lost,
            claimed_at_ms=ticket.claimed_at_ms,
        )

    def _unreadable(self, ticket: Ticket, part: Part, lease: Lease, error: S3QueueError, *, missing: bool) -> None:
        """Stop at this object alone. What is gone is reported and struck off; the rest is given back, untouched."""
        self.lane.events.emit("error", error=error, doing=f"reading {part.name}")
        handles = [Handle(ticket.id, ticket.token, part.name, index) for index in part.indices()]
        if missing:
            self.lane.committer.defer(Settle(tuple(Outcome(handle, "missing") for handle in handles)))
        else:
            self.lane.committer.defer(Release(tuple(handles)))
        with self._lock:
            lease.left -= len(handles)
            if lease.left <= 0:
                self._leases.pop(lease.ticket_id, None)


def _over(lease: Lease, now: float) -> bool:
    """Whether nobody will settle under this lease any more: it ended long ago, as its holder forgot it."""
    return now - lease.renewed_at > 2 * lease.lease_ms / 1000


def _trusted_s(lease_ms: int) -> float:
    """Return for how many seconds after its commit began a lease is trusted: a tenth less than it lasts."""
    return lease_ms * 0.9 / 1000
