"""Carrying plans out: commit by commit, at a pace, until it is done, stopped, or the store fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from s3queue.core.keys import lane_of_letter, parse_letter
from s3queue.core.settings import policy_from_wire, to_wire
from s3queue.errors import InvalidInput, OutcomeUnknown, S3QueueError, StoreUnavailable
from s3queue.protocol.changing import PER_COMMIT, Changed
from s3queue.protocol.dead_letters import PartlyChanged
from s3queue.protocol.locks import Lock
from s3queue.protocol.viewing import MessageView
from s3queue.queue import Queue
from s3queue.store.metered import Counts, Meter
from s3queue_admin.actions import moving, replaying
from s3queue_admin.actions.auditing import PART, Trail, whoami
from s3queue_admin.actions.model import VERBS, Cost, Progress, Result, Stop, never
from s3queue_admin.actions.options import describe
from s3queue_admin.actions.shared import SHARED, take_away

if TYPE_CHECKING:
    from s3queue_admin.actions.planning import Plan

LOCK: Final = "s3queue-admin.letters"
"""Replays and discards hold it: a letter that one of them has in hand is nobody else's."""
LOCK_TTL_S: Final = 60.0
T = TypeVar("T", MessageView, str)

_AUDIT = Cost(put=2)
_PER_BATCH: Final[Mapping[str, Cost]] = {
    "replay": Cost(put=3, list=1, post=1, get=3),
    "discard": Cost(put=3, list=1, post=1, get=3),
    "purge": Cost(put=3, list=1, post=1, get=3),
    "cancel": Cost(put=1, get=1, post=1),
    "reprioritise": Cost(put=2, get=2),
    "delay": Cost(put=2, get=2),
    "reset": Cost(put=1, get=1),
    "release": Cost(put=1, get=1),
}
_EACH: Final[Mapping[str, Cost]] = {
    "replay": Cost(put=1, get=2),
    "discard": Cost(get=1),
    "reprioritise": Cost(put=1),
    "delay": Cost(put=1),
}
EDITED_AT_ONCE: Final = 50
_EDITED = Cost(put=2, get=2)
"""What a letter costs that becomes a new message: that is staged, then written to its place."""
_EDITED_BATCH = Cost(put=3, get=3, list=1, post=2)
_MOVED = Cost(get=1)
"""What a letter costs more that goes to another queue, whose books must have it, too."""
_MOVED_BATCH = Cost(put=2, get=3)


def is_edited(options: Mapping[str, Any]) -> bool:
    """Whether a replay makes new messages: edited, or in another queue."""
    return any(options.get(name) is not None for name in ("edit", "to")) or bool({"payload", "patch"} & options.keys())


def estimate(plan: Plan) -> Cost:
    """Return what the action will cost, about, the audit trail included."""
    lanes = plan.queue.connect().register.current().lanes_served
    if plan.verb in ("pause", "resume"):
        return Cost(put=1, get=1).times(lanes) + _AUDIT
    if plan.verb in SHARED:
        return Cost(put=1, get=2, list=int(plan.verb == "unschedule")) + _AUDIT
    if plan.verb in ("configure", "undo"):
        return Cost(put=1, get=1, list=1).times(max(plan.count, 1)) + _AUDIT
    count = plan.count
    if plan.verb == "replay" and is_edited(plan.options):
        batches, moved = -(-count // _batch_size(plan)), plan.options.get("to") is not None
        each, batch = (_EDITED + _MOVED, _EDITED_BATCH + _MOVED_BATCH) if moved else (_EDITED, _EDITED_BATCH)
        return each.times(count) + batch.times(batches) + _AUDIT + Cost(put=2, get=1, list=1)
    batches = -(-count // _batch_size(plan))
    parts = Cost(put=-(-count // PART)) if plan.verb in ("discard", "purge") else Cost()
    locked = Cost(put=2, get=1) if VERBS[plan.verb] == ("dead",) else Cost()
    commits = -(-count // PER_COMMIT) if plan.verb == "purge" else batches
    cost = _EACH.get(plan.verb, Cost()).times(count) + _PER_BATCH[plan.verb].times(commits)
    read = len({(view.lane, view.name) for view in plan.views}) if plan.verb in ("reprioritise", "delay") else 0
    return cost + parts + locked + _AUDIT + Cost(get=read)


def _batch_size(plan: Plan) -> int:
    """Return how many messages go at a time: those of a second, if they are paced."""
    if plan.verb == "purge":
        return PART
    per_s, most = plan.options.get("per_s"), PER_COMMIT
    if plan.verb == "replay" and is_edited(plan.options):
        most = EDITED_AT_ONCE  # staged one after the other: the lock is to last
    return min(most, max(1, int(per_s))) if per_s else most


@dataclass
class Tally:
    """What has been done so far."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    error: str = ""
    stopped: bool = False
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


def apply(
    plan: Plan, *, reason: str = "", who: str | None = None, on_progress: Progress | None = None, stop: Stop = never
) -> Result:
    """Do what a plan says; see :meth:`s3queue_admin.actions.planning.Plan.apply`."""
    if not isinstance(reason, str):
        raise InvalidInput(f"The reason is {reason!r:.80}.", remedy="Give a text.")
    connection = plan.queue.connect()
    meters = [queue.meter for queue in {plan.queue, plan.options.get("to")} if isinstance(queue, Queue)]
    metered = [meter.snapshot() for meter in meters]
    trail = Trail(connection.lane, plan.redactor)
    with _locked(plan) as lock:
        run = Run(plan, lock, on_progress, stop)
        trail.begin(
            plan.verb,
            plan.queue.name,
            who=who or whoami(),
            reason=reason,
            where=plan.where,
            options=describe(plan.options),
            planned=plan.count,
        )
        try:
            _carry_out(run, trail)
        except S3QueueError as error:
            run.tally.error = str(error)
        except BaseException as error:  # what was done is done, whoever broke it off: the trail has it
            run.tally.error = f"{type(error).__name__}: {error}"
            with suppress(S3QueueError):
                trail.end(_result(plan, run.tally, trail, _spent(meters, metered)))
            raise
        result = _result(plan, run.tally, trail, _spent(meters, metered))
        try:
            trail.end(result)
        except S3QueueError as error:  # what was done is done: it must be told all the same
            text = f"The audit entry {trail.id} has no result: {error}"
            result = replace(result, error=f"{result.error} {text}".strip())
    return result


def _spent(meters: Sequence[Meter], metered: Sequence[Counts]) -> dict[tuple[str, str, str], int]:
    """Return what was asked of the stores since, by line of the meters."""
    spent: dict[tuple[str, str, str], int] = {}
    for meter, before in zip(meters, metered, strict=True):
        for line, count in meter.snapshot().items():
            if count > before.get(line, 0):
                spent[line] = spent.get(line, 0) + count - before.get(line, 0)
    return spent


def _result(plan: Plan, tally: Tally, trail: Trail, requests: Counts) -> Result:
    return Result(
        plan.verb,
        plan.queue.name,
        plan.count + len(plan.refused),
        tuple(tally.done),
        tally.refused,
        tuple(tally.unknown),
        tally.error,
        tally.stopped,
        requests,
        audit=trail.id,
        before=tally.before,
        after=tally.after,
    )


@contextmanager
def _locked(plan: Plan) -> Iterator[Lock | None]:
    """Hold the lock that actions on dead letters hold; LockHeld if somebody else has it.

    That it was lost is told by who looks at it, in the result; and one that cannot be given back runs out.
    """
    if VERBS[plan.verb] != ("dead",) and not (plan.verb == "undo" and plan.letters):
        yield None
        return
    lock = plan.queue.lock(LOCK, ttl=LOCK_TTL_S, renew=False).acquire()
    try:
        yield lock
    finally:
        with suppress(S3QueueError):
            lock.release()


def _carry_out(run: Run, trail: Trail) -> None:
    plan = run.plan
    if plan.verb in SHARED:
        take_away(plan.queue, plan.verb, plan.options, run.tally)
    elif plan.verb in ("pause", "resume", "configure"):
        change_queue(plan.queue, plan.verb, plan.options, run.tally)
    elif plan.verb == "undo":
        from s3queue_admin.actions.undoing import carry_out  # which makes plans, too

        carry_out(run)
    elif VERBS[plan.verb] == ("dead",):
        run.each(plan.letters, _change(plan, trail), id_of_letter)
    else:
        run.each(plan.views, _change(plan, trail), lambda view: view.id)


def change_queue(queue: Queue, verb: str, options: Mapping[str, Any], tally: Tally) -> None:
    """Pause, resume or configure a queue, and note how it was and is."""
    if verb == "configure":
        before = settings_of(queue)
        queue.configure(**options)
        after = settings_of(queue)
        changed = [name for name, value in after.items() if before.get(name) != value]
        if "lanes_auto" in changed and "lanes" not in changed:
            changed.append("lanes")  # how many there are has to be said to take auto back
        tally.before, tally.after = ({name: side.get(name) for name in changed} for side in (before, after))
        return
    committer = queue.connect().lane.committer
    committer.read()
    tally.before = {"paused": committer.ledger.paused}
    (queue.pause if verb == "pause" else queue.resume)()
    tally.after = {"paused": verb == "pause"}


def settings_of(queue: Queue) -> dict[str, Any]:
    """Return the queue's settings as the audit trail has them, read anew."""
    found: dict[str, Any] = json.loads(json.dumps(to_wire(queue.connect().register.connect())))
    return found


def keywords(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the audit trail as the keywords that ``configure`` takes."""
    found: dict[str, Any] = {}
    for name, value in wire.items():
        if name == "retry":
            found["retry"] = policy_from_wire(value)
        elif name.endswith("_ms"):
            found[name.removesuffix("_ms")] = value / 1000
        elif name == "lanes_auto":
            found |= {"lanes": "auto"} if value else {}
        elif name not in ("priorities", "lanes_ever") and not (name == "lanes" and wire.get("lanes_auto")):
            found[name] = value
    return found


def id_of_letter(name: str) -> str:
    """Return the id of the message whose letter has this name."""
    parsed = parse_letter(name)
    return parsed[1] if parsed is not None else name


def _change(plan: Plan, trail: Trail) -> Callable[[Sequence[Any]], Changed]:
    """Return what does the verb to some messages, and tells which were done, by id."""
    queue, options = plan.queue, plan.options
    match plan.verb:
        case "replay" if is_edited(options):
            return partial(replaying.anew, queue, options, plan.redactor)
        case "replay":
            return partial(replaying.as_they_are, queue)
        case "discard" | "purge":
            return partial(_discard, queue, trail, unread=plan.verb == "purge")
        case "cancel":
            return partial(queue.cancel, claimed=options.get("claimed", True))
        case "reprioritise":
            return partial(moving.move, queue, partial(queue.reprioritise, priority=options["priority"]))
        case "delay":
            return partial(moving.move, queue, partial(queue.postpone, delay=options["seconds"]))
        case "reset":
            return partial(queue.reset, lapsed=options.get("lapsed", False))
        case _:
            return queue.release


def _discard(queue: Queue, trail: Trail, names: Sequence[str], *, unread: bool) -> Changed:
    """Discard letters that the trail names, before and after: undoing must know them, whoever dies in between."""
    part = trail.part(names)
    broken: S3QueueError | None = None
    try:
        found = queue.dlq.discard_letters(names, unread=unread)
    except PartlyChanged as error:
        broken, found = error, error.changed
    left = [name for name in names if name in found.refused]
    changed = Changed(
        tuple(map(id_of_letter, found.done)), {id_of_letter(name): why for name, why in found.refused.items()}
    )
    try:
        if left:
            trail.left(part, left)
    except S3QueueError as error:
        broken = broken or error
    if broken is not None:
        raise PartlyChanged(changed, broken.__cause__ or broken) from (broken.__cause__ or broken)
    return changed


class Run:
    """Goes through the messages of a plan, batch by batch."""

    def __init__(self, plan: Plan, lock: Lock | None, on_progress: Progress | None, stop: Stop) -> None:
        self.plan, self.tally = plan, Tally(refused=dict(plan.refused))
        self._lock, self._on_progress, self._stop = lock, on_progress, stop
        self._clock = plan.queue.connect().lane.clock
        self._next_at_s = self._clock.monotonic()
        self._size = _batch_size(plan)

    def each(self, items: Sequence[T], change: Callable[[Sequence[T]], Changed], id_of: Callable[[T], str]) -> None:
        """Change all, unless told to stop; an error ends it, with what was under way noted as unknown."""
        tally, total, through = self.tally, len(items), 0
        for some in self._batches(items):
            self._keep_pace(len(some))
            if self._stop():
                tally.stopped = True
                return
            try:
                self._keep_lock()
                changed = change(some)
            except S3QueueError as error:
                partly = getattr(error, "changed", Changed())
                tally.done += partly.done
                tally.refused |= partly.refused
                if _in_doubt(error) or _in_doubt(error.__cause__):
                    tally.unknown += [
                        id_ for id_ in map(id_of, some) if id_ not in partly.done and id_ not in partly.refused
                    ]
                raise
            tally.done += changed.done
            tally.refused |= changed.refused
            through += len(some)
            if self._on_progress is not None:
                self._on_progress(through, total)
        self._keep_lock()

    def _batches(self, items: Sequence[T]) -> Iterator[list[T]]:
        """Yield batches of one lane each, which is a commit: if it fails, what was done before is known."""
        for _, own in groupby(sorted(items, key=_lane_of), _lane_of):
            while some := list(islice(own, self._size)):
                yield some

    def _keep_pace(self, count: int) -> None:
        """Wait until these may go, renewing the lock meanwhile. What a slow store held up is not made up for."""
        per_s = self.plan.options.get("per_s")
        if per_s is None:
            return
        while (wait_s := self._next_at_s - self._clock.monotonic()) > 0:
            if self._stop():
                return
            self._clock.sleep(min(wait_s, LOCK_TTL_S / 4))
            self._keep_lock()
        self._next_at_s = max(self._next_at_s, self._clock.monotonic()) + count / per_s

    def _keep_lock(self) -> None:
        if self._lock is None:
            return
        if self._lock.due_in_s <= 0:
            self._lock.renew()
        self._lock.check()


def _lane_of(item: MessageView | str) -> int:
    return lane_of_letter(item) if isinstance(item, str) else item.lane


def _in_doubt(error: BaseException | None) -> bool:
    return isinstance(error, OutcomeUnknown) or (isinstance(error, StoreUnavailable) and error.maybe_applied)
