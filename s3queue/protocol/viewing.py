"""Messages one by one as they stand, in whatever state: read from the bucket, claimed by nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from s3queue.batches import batched
from s3queue.core.codec import decode_letter
from s3queue.core.keys import ObjectName, count_of, lane_of_letter, parse_letter, visible_at_ms_of
from s3queue.core.ledger import Ledger, Line, Part, Ticket
from s3queue.core.message import HasMessage, Message
from s3queue.errors import CorruptObject, InvalidSetting, NotFound, S3QueueError
from s3queue.protocol.census import STATES, lane_names, letter_names
from s3queue.protocol.lane import Lane
from s3queue.store.port import fetch

_AT_ONCE = 64
"""How many objects are read at a time, so that memory holds no more than those."""


@dataclass(frozen=True, slots=True)
class MessageView(HasMessage):
    """A message as it stands: what it is, where it lies, who has it. Times are store time in ms, 0 for none.

    ``state``: one of :data:`~s3queue.protocol.census.STATES`. ``name`` and ``index``: which message of which object
    below ``inbox/{lane}/``, or of which letter below ``dlq/``. ``worker``, ``token``, ``claimed_at_ms`` and
    ``expires_at_ms`` tell of its claim, ``assigned_to`` of its ticket, ``dead_at_ms`` and ``reason`` of its end, ``line`` of
    a move that is decided and not made yet. ``seen_at_ms``: when the listing began that showed it.
    """

    message: Message
    state: str
    lane: int
    name: str
    index: int
    key: str
    visible_at_ms: int = 0
    worker: str = ""
    token: int = 0
    claimed_at_ms: int = 0
    expires_at_ms: int = 0
    assigned_to: str = ""
    ticket: str = ""
    dead_at_ms: int = 0
    reason: str = ""
    rescues: int = 0
    line: str = ""
    seen_at_ms: int = 0

    def is_stalled(self, now: int) -> bool:
        """Whether it is claimed past the end of its lease at ``now`` (store time in ms)."""
        return self.state == "processing" and self.expires_at_ms < now


@dataclass(frozen=True, slots=True)
class _Spot:
    """What is known of a message before it is read."""

    state: str
    visible_at_ms: int
    ticket: Ticket | None = None
    line: Line | None = None
    rescues: int = 0


@dataclass(slots=True)
class _Read:
    """An object or letter to be read, and its messages by index; without any: all are ``rest``."""

    lane: Lane
    name: str
    letter: bool = False
    seen_at_ms: int = 0
    spots: dict[int, _Spot] = field(default_factory=dict)
    rest: _Spot | None = None


def view(lanes: Sequence[Lane], states: Sequence[str] = STATES) -> Iterator[MessageView]:
    """Yield the messages that are in one of ``states``, state by state, oldest first within a lane; a GET per object.

    A LIST per thousand objects or letters and a GET a lane come first. What cannot be read is told as an error event,
    what is gone meanwhile is left out. InvalidSetting for a state that there is none of.
    """
    for state in states:
        if state not in STATES:
            raise InvalidSetting(f"There is no state {state!r}.", remedy=f"Use one of {', '.join(STATES)}.")
    plans = _plans(lanes, states)
    for state in dict.fromkeys(states):
        chosen = (plan for plan in plans if state in _states_of(plan))
        for some in batched(chosen, _AT_ONCE):
            for found in some[0].lane.spread(_read, some):
                yield from (each for each in found if each.state == state)


def find(lanes: Sequence[Lane], ids: Sequence[str], states: Sequence[str] = STATES) -> dict[str, MessageView]:
    """Return the messages with these ids that there are, by id; what cannot be read is told as an error event.

    A LIST per thousand objects and letters and a GET a lane, then a GET per object: first those in which the messages were
    born, or died, which mostly is enough; the rest if it is not.
    """
    wanted = set(ids)
    born = {id_.rpartition("-")[0] for id_ in ids}
    likely: list[_Read] = []
    others: list[_Read] = []
    for plan in _plans(lanes, states):
        (likely if _may_hold(plan, wanted, born) else others).append(plan)
    found: dict[str, MessageView] = {}
    for plans in (likely, others):
        for some in batched(plans, _AT_ONCE):
            if len(found) == len(wanted):
                return found
            for views in some[0].lane.spread(_read, some):
                found.update((view.id, view) for view in views if view.id in wanted and view.state in states)
    return found


def _may_hold(plan: _Read, wanted: AbstractSet[str], born: AbstractSet[str]) -> bool:
    """Whether the name of an object or a letter says that it holds one of these messages."""
    if plan.letter:
        parsed = parse_letter(plan.name)
        return parsed is not None and parsed[1] in wanted
    name = ObjectName.parse(plan.name)
    return name is not None and name.id in born


def _plans(lanes: Sequence[Lane], states: Sequence[str]) -> list[_Read]:
    """Return what to read, once listings and ledgers are."""
    now = lanes[0].now_ms()
    letters = _letters(lanes) if {"dead", "pending"} & set(states) else {}
    plans = [plan for lane in lanes for plan in _plan(lane, letters, states)]
    if "dead" in states:
        plans += [
            _Read(lane, name, letter=True, rest=_Spot("dead", 0), seen_at_ms=now) for name, lane in letters.items()
        ]
    return plans


def _states_of(plan: _Read) -> set[str]:
    return {spot.state for spot in (plan.rest, *plan.spots.values()) if spot is not None}


def _letters(lanes: Sequence[Lane]) -> dict[str, Lane]:
    """Return the letters by name, oldest first, each with the lane whose ledger its moves stand in."""
    by_number = {lane.number: lane for lane in lanes}
    return {name: by_number.get(lane_of_letter(name), lanes[0]) for name in letter_names(lanes[0])}


def _plan(lane: Lane, letters: dict[str, Lane], states: Sequence[str]) -> Iterator[_Read]:
    """Yield what to read of a lane; takes the letters that are on their way back out of ``letters``."""
    seen_at_ms = lane.now_ms()
    names = list(lane_names(lane))
    lane.committer.read()  # after the listing: what was settled and deleted between does not wait any more
    ledger, now = lane.committer.ledger, lane.now_ms()
    held = ledger.held_names() | ledger.settled.keys()
    reads: dict[str, _Read] = {}
    for name in names:
        if name not in held:
            at_ms = visible_at_ms_of(name)
            state = "pending" if at_ms <= now else "scheduled"
            if state in states:
                reads[name] = _Read(lane, name, rest=_Spot(state, at_ms))
    for part, spot in _held(ledger, now):
        read = reads.setdefault(part.name, _Read(lane, part.name))
        read.spots.update(dict.fromkeys(part.indices(), spot))
    for read in (*reads.values(), *_moving(lane, ledger, set(names), letters, now)):
        read.seen_at_ms = seen_at_ms
        yield read


def _held(ledger: Ledger, now: int) -> Iterator[tuple[Part, _Spot]]:
    for ticket in ledger.tickets.values():
        for part in ticket.parts:
            at_ms = visible_at_ms_of(part.name)
            state = "processing" if ticket.claimed else "pending" if at_ms <= now else "scheduled"
            yield part, _Spot(state, at_ms, ticket, rescues=len(part.rescues))


def _moving(lane: Lane, ledger: Ledger, listed: set[str], letters: dict[str, Lane], now: int) -> Iterator[_Read]:
    """Yield the sources of moves that were decided and are not made yet: their messages count as where they go."""
    for line in ledger.outbox.values():
        if line.is_of_letter:
            waits = line.fills_inbox and line.target not in listed and not line.written
            if letters.pop(line.source, None) is not None and waits:
                yield _Read(lane, line.source, letter=True, rest=_Spot("pending", line.decided_at_ms, line=line))
        elif line.kind == "dead" and line.target not in letters:
            yield _Read(lane, line.source, spots={line.index: _Spot("dead", 0, line=line)})
        elif line.kind in ("retry", "move") and line.target not in listed and not line.written:
            at_ms = visible_at_ms_of(line.target)
            spot = _Spot("scheduled" if at_ms > now else "pending", at_ms, line=line)
            yield _Read(lane, line.source, spots={line.index: spot})


def _read(plan: _Read) -> list[MessageView]:
    lane = plan.lane
    try:
        if plan.letter:
            return [_letter(plan)]
        messages = lane.inbox.read(plan.name)
    except NotFound:
        return []
    except S3QueueError as error:
        if not isinstance(error, CorruptObject):
            raise
        lane.events.emit("error", error=error, doing=f"reading {error.key}")
        return []
    spots: Mapping[int, _Spot | None] = plan.spots or dict.fromkeys(range(count_of(plan.name)), plan.rest)
    key = lane.keys.message(lane.number, plan.name)
    views = ((index, spot) for index, spot in spots.items() if spot is not None and index < len(messages))
    return [_view(messages[index], spot, plan, index, key) for index, spot in views]


def _letter(plan: _Read) -> MessageView:
    lane, spot = plan.lane, plan.rest or _Spot("dead", 0)
    key = lane.keys.letter(plan.name)
    letter = decode_letter(fetch(lane.store, key).body, key, lane.seal)
    found = _view(letter.message, spot, plan, 0, key)
    return replace(found, dead_at_ms=letter.dead_at_ms, reason=letter.reason)


def _view(message: Message, spot: _Spot, plan: _Read, index: int, key: str) -> MessageView:
    ticket, line = spot.ticket or Ticket("", ()), spot.line
    if line is not None and line.holds_source:
        message = message.failed(line.errors, line.attempts)
    return MessageView(
        message,
        spot.state,
        plan.lane.number,
        plan.name,
        index,
        key,
        spot.visible_at_ms,
        ticket.worker,
        ticket.token,
        ticket.claimed_at_ms,
        ticket.expires_at_ms,
        ticket.assigned_to,
        ticket.id,
        line.decided_at_ms if line is not None and line.kind == "dead" else 0,
        line.reason if line is not None else "",
        spot.rescues,
        line.id if line is not None else "",
        plan.seen_at_ms,
    )
