"""Where a message is, and why it is not processed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from s3queue.clock import to_datetime, to_ms
from s3queue.core.keys import group_of, is_message_id, rank_in
from s3queue.core.ledger import Ledger
from s3queue.errors import InvalidName, NoResult, S3QueueError
from s3queue.protocol.census import lane_names
from s3queue.protocol.lane import Lane
from s3queue.protocol.results import read as read_result
from s3queue.protocol.viewing import MessageView, find
from s3queue.queue import Queue
from s3queue.text import counted
from s3queue_admin.snapshot import LaneView, QueueSnapshot
from s3queue_admin.stalls.causes import Stuck, look, span, stuck


@dataclass(frozen=True, slots=True)
class Explanation:
    """A message as it stands. ``state``: pending, scheduled, processing, dead, ended, or unknown.

    ``why``: what it waits for, or what became of it, the most important first. ``causes``: what is stuck about it, with
    evidence and remedy. ``since``: since when it is so. ``view``: the message, if there is one.
    """

    id: str
    state: str
    why: tuple[str, ...]
    remedy: str = ""
    causes: tuple[Stuck, ...] = ()
    since: datetime | None = None
    view: MessageView | None = None


def explain(queue: Queue, message_id: str) -> Explanation:
    """Return where a message is and why it is not processed, or what became of it as far as anything tells.

    Costs what looking up an id does (see :meth:`s3queue.Queue.cancel`), a snapshot, and for one that waits a LIST per
    thousand objects. Raises InvalidName for what is no message's id.
    """
    if not is_message_id(message_id):
        raise InvalidName(f"{message_id!r:.80} is no message's id.", remedy="Use what enqueue returned.")
    connection = queue.connect()
    view = find([agents.lane for agents in connection.lanes.all()], [message_id]).get(message_id)
    if view is None:
        return _gone(queue, message_id)
    if view.state == "dead":
        return _dead(view)
    snapshot = look(queue)
    lane = next(lane for lane in snapshot.lanes if lane.number == view.lane)
    held = [each for each in stuck(snapshot) if view.ticket and (each.lane, each.ticket) == (view.lane, view.ticket)]
    if view.state == "processing":
        return _processing(view, held)
    if view.state == "scheduled":
        return _scheduled(view, snapshot, held)
    return _pending(view, snapshot, lane, held, connection.lanes.of(view.lane).lane)


def _gone(queue: Queue, message_id: str) -> Explanation:
    """Say what is left of a message that is nowhere."""
    lane = queue.connect().lane
    try:
        read_result(lane, message_id, 0)
    except NoResult:
        pass
    except S3QueueError as error:
        return Explanation(message_id, "unknown", (f"There is a result of it that cannot be read: {error}",))
    else:
        return Explanation(message_id, "ended", ("It has completed: its result is kept.",))
    born = message_id.rpartition("-")[0]
    for agents in queue.connect().lanes.all():
        for name, at_ms in agents.lane.committer.ledger.settled.items():
            if f"-{born}-" in name:
                at = to_datetime(at_ms)
                why = f"All messages of its object {name} have come to an end, the last at {at:%Y-%m-%d %H:%M:%S} UTC."
                return Explanation(message_id, "ended", (why,), since=at)
    return Explanation(
        message_id,
        "unknown",
        ("It waits nowhere and has no letter: it has completed, was discarded, or never was in this queue.",),
        "results=True or history=True keep what became of messages to come.",
    )


def _dead(view: MessageView) -> Explanation:
    last = view.errors[-1] if view.errors else None
    count = view.message.attempts
    why = [f"It died after {counted(count, 'attempt')}: {view.reason or 'no reason is told'}."]
    why += [f"Its last error, of attempt {last.attempt} on {last.worker}: {last.type}: {last.message}"] if last else []
    why += ["Its letter is not written yet; that is done at once, or by a sweep."] if view.line else []
    since = to_datetime(view.dead_at_ms) if view.dead_at_ms else None
    return Explanation(view.id, "dead", tuple(why), "Mend the cause, then replay it; or discard it.", (), since, view)


def _processing(view: MessageView, held: list[Stuck]) -> Explanation:
    why = [each.evidence for each in held]
    expires_at = to_datetime(view.expires_at_ms)
    why.append(
        f"{view.worker} has it under token {view.token}, attempt {_attempt(view)}, lease until {expires_at:%H:%M:%S} UTC."
    )
    remedy = held[0].remedy if held else "Nothing: its worker lives, and extends the lease while it is at work."
    return Explanation(view.id, view.state, tuple(why), remedy, tuple(held), to_datetime(view.claimed_at_ms), view)


def _attempt(view: MessageView) -> int:
    return view.message.attempts + view.rescues + 1


def _scheduled(view: MessageView, snapshot: QueueSnapshot, held: list[Stuck]) -> Explanation:
    left_s = (view.visible_at_ms - to_ms(snapshot.taken_at)) / 1000
    what = "It is retried" if view.message.attempts else "It becomes visible"
    why = [f"{what} in {span(round(left_s * 1000))}, as attempt {_attempt(view)}."]
    why += _moving(view)
    remedy = "Nothing, if it is meant to wait; postpone it by 0 to have it done now."
    return Explanation(view.id, view.state, tuple(why), remedy, tuple(held), None, view)


def _moving(view: MessageView) -> list[str]:
    if not view.line:
        return []
    return [
        "It is on its way: the move is decided and its object not written; a sweep finishes that within half a minute."
    ]


def _pending(view: MessageView, snapshot: QueueSnapshot, books: LaneView, held: list[Stuck], lane: Lane) -> Explanation:
    """Say what a visible message waits for: what keeps all from working first, then what goes before it."""
    ledger, now = books.ledger, to_ms(snapshot.taken_at)
    causes = [each for each in stuck(snapshot) if not each.ticket and each.lane in (0, view.lane)] + held
    why = [each.evidence for each in causes] + _moving(view)
    if not snapshot.living and not any(each.code == "no-workers" for each in causes):
        why.append("No worker is alive: whoever receives next gets it.")
    if view.assigned_to:
        ticket = ledger.tickets.get(view.ticket)
        until = f" until {to_datetime(ticket.assigned_until_ms):%H:%M:%S} UTC" if ticket else ""
        why.append(f"The coordinator has set it aside for {view.assigned_to}{until}.")
    if view.rescues:
        why.append(
            f"{counted(view.rescues, 'claim')} of it ran out: it is tried apart from others, as it may end workers."
        )
    why += _group(view, ledger, now)
    why += _ahead(view, ledger, lane)
    remedy = (
        causes[0].remedy if causes else "Nothing: it is claimed when its turn comes; more workers bring that sooner."
    )
    return Explanation(view.id, view.state, tuple(why), remedy, tuple(causes), to_datetime(view.visible_at_ms), view)


def _group(view: MessageView, ledger: Ledger, now: int) -> list[str]:
    """Say what a message of an ordered group waits for."""
    group = group_of(view.name)
    if not group:
        return []
    holders = {
        ticket.worker
        for ticket in ledger.tickets.values()
        if ticket.claimed and any(group_of(part.name) == group for part in ticket.parts)
    }
    why = [f"{', '.join(sorted(holders))} has another message of its group, which keeps its order."] if holders else []
    first = ledger.held_back.get(group)
    if first is not None and first != view.name:
        wait_s = (int(first[2:15]) - now) / 1000
        why.append(
            f"A retry of its group goes first: {first}, {f'in {span(round(wait_s * 1000))}' if wait_s > 0 else 'now'}."
        )
    return why


def _ahead(view: MessageView, ledger: Ledger, lane: Lane) -> list[str]:
    """Say how many objects go before it, and whether it was passed over."""
    if view.ticket or view.line:
        return ["It is in a ticket that anybody may claim: it goes before what is only listed."] if view.ticket else []
    if view.name <= ledger.cursor(rank_in(view.name)):
        return [
            "It arrived late, behind the cursor: the next sweep takes it in, within half a minute while a worker lives."
        ]
    known = ledger.held_names() | ledger.settled.keys()
    ahead = 0
    for name in lane_names(lane):
        if name >= view.name:
            break
        ahead += name not in known
    return [f"{ahead:,} message objects of its lane go before it."]
