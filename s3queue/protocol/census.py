"""How many messages are in which state: from listings and the ledger alone, no message is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields

from s3queue.core.keys import ObjectName, count_of, parse_letter, visible_at_ms_of
from s3queue.core.ledger import Ledger
from s3queue.core.message import Message
from s3queue.errors import CorruptObject, NotFound
from s3queue.protocol.lane import Lane
from s3queue.store.port import walk

STATES = ("pending", "scheduled", "processing", "dead")


@dataclass(frozen=True, slots=True)
class Stats:
    """A queue in numbers, at ``at_ms`` (store time).

    Now: ``pending`` (visible, unclaimed), ``scheduled`` (visible later, retries included), ``processing`` (claimed, of
    which ``stalled`` past their lease), ``dead`` (letters). Ever: ``completed``, ``failed`` (attempts), ``retried``,
    ``rescued``, ``replayed`` (letters, edited and to other queues, too), ``discarded`` (cancelled, truncated, and letters
    thrown away), ``missing`` (objects that vanished), ``died``. What came in, by producers and from letters of other
    queues, is completed, discarded, missing, dead or unfinished, or was replayed to another queue. ``oldest_age_s``: since
    the oldest pending message became visible.
    """

    at_ms: int
    pending: int = 0
    scheduled: int = 0
    processing: int = 0
    stalled: int = 0
    dead: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    rescued: int = 0
    replayed: int = 0
    discarded: int = 0
    missing: int = 0
    died: int = 0
    oldest_age_s: float = 0.0
    paused: bool = False
    latency_ms: dict[int, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the numbers by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def unfinished(self) -> int:
        """How many messages still wait for their outcome."""
        return self.pending + self.scheduled + self.processing


def take(lanes: Sequence[Lane]) -> Stats:
    """Count the messages of all lanes; a LIST per thousand objects and letters, a GET per lane."""
    now = lanes[0].now_ms()
    letters = set(letter_names(lanes[0]))
    books: list[tuple[Ledger, Sequence[str]]] = []
    for lane in lanes:
        # The ledger after the listing: what was settled and deleted between is not counted as pending.
        names = list(lane_names(lane))
        lane.committer.read()
        books.append((lane.committer.ledger, names))
    return tally(books, letters, now)


def tally(books: Iterable[tuple[Ledger, Sequence[str]]], letters: AbstractSet[str], now: int) -> Stats:
    """Return the numbers of lanes with these ledgers and names of message objects, and of these dead letters."""
    total: dict[str, float] = {"dead": len(letters)}
    paused, oldest, latency = False, now, dict[int, int]()
    for ledger, names in books:
        oldest = min(oldest, _count_lane(ledger, names, letters, now, total))
        paused = paused or ledger.paused
        for bound, count in ledger.latency_ms.items():
            latency[bound] = latency.get(bound, 0) + count
    whole = {name: int(value) for name, value in total.items()}
    return Stats(at_ms=now, oldest_age_s=(now - oldest) / 1000, paused=paused, latency_ms=latency, **whole)


def lane_names(lane: Lane) -> Iterator[str]:
    """Return the names of all message objects of a lane, urgent ranks first."""
    prefix = lane.keys.inbox(lane.number)
    names = (lane.keys.name_in(prefix, key) for key in walk(lane.store, prefix))
    return (name for name in names if ObjectName.parse(name) is not None)


def letter_names(lane: Lane) -> Iterator[str]:
    """Return the names of all dead letters of the queue, oldest first."""
    names = (lane.keys.name_in(lane.keys.dlq, key) for key in walk(lane.store, lane.keys.dlq))
    return (name for name in names if parse_letter(name) is not None)


def _count_lane(
    ledger: Ledger, names: Sequence[str], letters: AbstractSet[str], now: int, total: dict[str, float]
) -> int:
    """Add a lane's numbers to ``total`` and return when its oldest pending message became visible."""

    def add(state: str, count: int) -> None:
        total[state] = total.get(state, 0) + count

    oldest = now
    held = ledger.held_names() | ledger.settled.keys()
    for name in names:
        if name in held:
            continue
        visible_at_ms = visible_at_ms_of(name)
        add("pending" if visible_at_ms <= now else "scheduled", count_of(name))
        oldest = min(oldest, visible_at_ms)
    for ticket in ledger.tickets.values():
        if ticket.claimed:
            add("processing", ticket.size)
            add("stalled", ticket.size if ticket.expires_at_ms < now else 0)
            continue
        for part in ticket.parts:
            visible_at_ms = visible_at_ms_of(part.name)
            add("pending" if visible_at_ms <= now else "scheduled", part.size)
            oldest = min(oldest, visible_at_ms)
    listed = set(names)
    for line in ledger.outbox.values():
        if line.kind == "dead":
            add("dead", 0 if line.target in letters else 1)
        elif line.fills_inbox and line.target not in listed and not line.written:
            add("scheduled" if visible_at_ms_of(line.target) > now else "pending", 1)
        if line.is_of_letter and line.source in letters:
            add("dead", -1)
    for counter, name in (("dead", "died"), ("buried", "discarded"), *((name, name) for name in _EVER)):
        add(name, ledger.counters.get(counter, 0))
    return oldest


_EVER = ("completed", "failed", "retried", "rescued", "replayed", "discarded", "missing")


def peek(lane: Lane, limit: int) -> Iterator[Message]:
    """Yield up to ``limit`` messages that wait, next first, without claiming them; a GET per object."""
    names = list(lane_names(lane))
    lane.committer.read()
    ledger = lane.committer.ledger
    claimed = {
        (part.name, index)
        for ticket in ledger.tickets.values()
        if ticket.claimed
        for part in ticket.parts
        for index in part.indices()
    }
    free: dict[str, set[int]] = {}
    for part in (part for ticket in ledger.tickets.values() if not ticket.claimed for part in ticket.parts):
        free.setdefault(part.name, set()).update(part.indices())
    gone = (ledger.held_names() | ledger.settled.keys()) - free.keys()
    for name in names:
        if name in gone:
            continue
        try:
            messages = lane.inbox.read(name)
        except NotFound:
            continue
        except CorruptObject as error:
            lane.events.emit("error", error=error, doing=f"peeking at {name}")
            continue
        for index, message in enumerate(messages):
            if (name, index) in claimed or (name in free and index not in free[name]):
                continue
            yield message
            limit -= 1
            if limit <= 0:
                return
