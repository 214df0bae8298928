"""The ledger of a lane: who holds which messages. Data only; :mod:`.transitions` changes it.

Words: a **ticket** is a set of messages that is claimed as one. It is *available* or *claimed*; *stalled* is claimed
past ``expires_at``. A **part** of a ticket is the share it has of one message object, as index ranges. A **line** of the
**outbox** is a move that has been decided and is carried out after the commit. **Settled** objects have no message left
in a ticket or line; they are deleted and, once the journal has them too, forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from s3queue.core.message import AttemptError

Ranges = tuple[tuple[int, int], ...]
"""Index ranges, half open, sorted, not touching each other."""

LineKind = Literal["retry", "dead", "replay", "tick", "move", "discard", "import"]


@dataclass(frozen=True, slots=True)
class Rescue:
    """A claim that ran out: whose it was, from when till when (store time)."""

    worker: str
    claimed_at_ms: int
    rescued_at_ms: int


@dataclass(frozen=True, slots=True)
class Part:
    """Messages of one object: its name below the inbox, the indices, and the claims of them that ran out."""

    name: str
    ranges: Ranges
    rescues: tuple[Rescue, ...] = ()

    @property
    def size(self) -> int:
        """How many messages the part has."""
        return sum(stop - start for start, stop in self.ranges)

    def indices(self) -> list[int]:
        """Return the indices one by one, ascending."""
        return [index for start, stop in self.ranges for index in range(start, stop)]


@dataclass(frozen=True, slots=True)
class Ticket:
    """Messages that are claimed as one. ``token`` is 0 while available; a fencing token that only grows once claimed.

    ``assigned_to``: for which worker a coordinator (in its term ``epoch``) published it; others leave it alone until
    ``assigned_until_ms``.
    """

    id: str
    parts: tuple[Part, ...]
    worker: str = ""
    token: int = 0
    claimed_at_ms: int = 0
    expires_at_ms: int = 0
    assigned_to: str = ""
    assigned_until_ms: int = 0
    epoch: int = 0

    @property
    def claimed(self) -> bool:
        """Whether a worker holds it (its lease may have run out)."""
        return self.token > 0

    @property
    def size(self) -> int:
        """How many messages the ticket has."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Line:
    """A move: *write the target, delete the source, strike the line*.

    ``retry``, ``move``: message ``index`` of inbox object ``source`` → inbox object ``target``, after a failure or as an
    operator wants it. ``dead``: the same → dead letter
    ``target``. ``replay``: dead letter ``source`` → inbox object ``target``. ``discard``: dead letter ``source`` → nothing.
    ``tick``: the schedule named ``source``, due
    at ``index`` (store time in ms) → inbox object ``target``. ``import``: the staged object with the key ``source``, of
    another queue's replay → inbox object ``target``. ``written``: the target has been seen.

    ``body``: the key of the staged object that is written to the target of a replay in place of the letter's message;
    ``ledger``: the key of another queue's ledger, in whose lane that target lies.
    """

    id: str
    kind: LineKind
    source: str
    index: int
    target: str
    message_id: str
    decided_at_ms: int
    attempts: int = 0
    errors: tuple[AttemptError, ...] = ()
    reason: str = ""
    written: bool = False
    body: str = ""
    ledger: str = ""

    @property
    def holds_source(self) -> bool:
        """Whether the source is an inbox object that must not be deleted yet."""
        return self.kind in ("retry", "dead", "move")

    @property
    def is_of_letter(self) -> bool:
        """Whether it says what becomes of a dead letter, which is its source."""
        return self.kind in ("replay", "discard")

    @property
    def fills_inbox(self) -> bool:
        """Whether the target is an object in the inbox of the ledger's own lane."""
        return self.kind not in ("dead", "discard") and not self.ledger


@dataclass(frozen=True, slots=True)
class Leader:
    """The lane's coordinator: which worker, under which name of its process, in which term, until when (store time).

    ``fleet``: how many workers it knows of. ``until_ms`` is 0 once it has resigned.
    """

    worker: str
    instance: str
    epoch: int
    until_ms: int
    fleet: int = 0


Counter = Literal[
    "ticketed", "claimed", "completed", "failed", "retried", "moved", "rescued", "dead", "replayed", "buried",
    "ticked", "discarded", "missing"
]  # fmt: skip
"""What a lane counts for ever."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """One lane's books. ``revision`` 0 is the ledger that has not been written yet.

    ``writers``: each writer's last commit number and when it was made, so that a writer whose answer was lost can read
    whether its commit landed. ``cursors``: by rank, the name up to which every object has been ticketed.
    ``settled``: name → when. ``forgotten_at_revision``: when settled names were last dropped;
    ``forgotten_above_at_ms``: when last some above a cursor. ``latency_ms``:
    histogram of enqueue → completed, by upper bound in ms. ``leader``: who coordinates, or did last. ``rooms``: how
    many messages in all each worker would hold, as it said with its last claim. ``ticks``: by schedule, the newest tick
    that was fired (store time in ms). ``scheduled_at_revision``: when schedules were last changed. ``held_back``: by the
    mark of an ordered group, the object of its message that was tried before: until that has an outcome, it goes first.
    ``expected``: name → since when; objects that the cursor must not pass before they are ticketed.
    """

    revision: int = 0
    write_id: str = ""
    paused: bool = False
    swept_at_ms: int = 0
    forgotten_at_revision: int = 0
    forgotten_above_at_ms: int = 0
    writers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    cursors: Mapping[int, str] = field(default_factory=dict)
    tickets: Mapping[str, Ticket] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)
    outbox: Mapping[str, Line] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    latency_ms: Mapping[int, int] = field(default_factory=dict)
    leader: Leader | None = None
    rooms: Mapping[str, int] = field(default_factory=dict)
    ticks: Mapping[str, int] = field(default_factory=dict)
    scheduled_at_revision: int = 0
    held_back: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)

    def led_at(self, now: int) -> Leader | None:
        """Return the coordinator whose term has not run out at ``now`` (store time in ms)."""
        return self.leader if self.leader is not None and self.leader.until_ms > now else None

    def cursor(self, rank: int) -> str:
        """Return the name up to which ``rank`` has been ticketed; '' for none."""
        return self.cursors.get(rank, "")

    def held_names(self) -> set[str]:
        """Return the names of objects that a ticket or an outbox line still needs."""
        names = {part.name for ticket in self.tickets.values() for part in ticket.parts}
        names.update(line.source for line in self.outbox.values() if line.holds_source)
        return names


def lost_errors(attempts: int, rescues: Iterable[Rescue]) -> tuple[AttemptError, ...]:
    """Return the claims that ran out as errors of the attempts that follow ``attempts`` failed ones."""
    return tuple(
        AttemptError(
            attempts + number,
            rescue.rescued_at_ms,
            "LeaseExpired",
            f"worker {rescue.worker} claimed it at {rescue.claimed_at_ms} ms and vanished",
            worker=rescue.worker,
        )
        for number, rescue in enumerate(rescues, 1)
    )


def held_by(tickets: Iterable[Ticket]) -> dict[str, int]:
    """Return how many messages each worker holds or is assigned."""
    held: dict[str, int] = {}
    for ticket in tickets:
        worker = ticket.worker or ticket.assigned_to
        if worker:
            held[worker] = held.get(worker, 0) + ticket.size
    return held


def ranges_of(indices: Iterable[int]) -> Ranges:
    """Return the ranges that cover exactly ``indices``."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(indices):
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def split(part: Part, size: int) -> tuple[Part, Part | None]:
    """Return the first ``size`` (≥ 1) messages of ``part`` and the rest, if any."""
    if part.size <= size:
        return part, None
    indices = part.indices()
    return (
        Part(part.name, ranges_of(indices[:size]), part.rescues),
        Part(part.name, ranges_of(indices[size:]), part.rescues),
    )
