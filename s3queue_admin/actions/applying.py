"""Carrying plans out: each verb by what does it, with the audit trail before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from s3queue.errors import InvalidInput, S3QueueError
from s3queue.protocol.changing import Changed
from s3queue.protocol.dead_letters import PartlyChanged
from s3queue.protocol.locks import Lock
from s3queue.queue import Queue
from s3queue.store.metered import Counts, Meter
from s3queue_admin.actions import moving, replaying, restoring
from s3queue_admin.actions.auditing import Trail, whoami
from s3queue_admin.actions.configuring import change_queue
from s3queue_admin.actions.costs import is_edited
from s3queue_admin.actions.model import VERBS, Progress, Result, Stop, Tally, never
from s3queue_admin.actions.options import describe
from s3queue_admin.actions.running import LOCK, LOCK_TTL_S, Run, id_of_letter
from s3queue_admin.actions.shared import SHARED, take_away

if TYPE_CHECKING:
    from s3queue_admin.actions.planning import Plan


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
        restoring.carry_out(run)
    elif VERBS[plan.verb] == ("dead",):
        run.each(plan.letters, _change(plan, trail), id_of_letter)
    else:
        run.each(plan.views, _change(plan, trail), lambda view: view.id)


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
