"""Taking back what is stuck, and nothing from who lives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from s3queue.errors import InvalidInput
from s3queue.protocol.viewing import MessageView
from s3queue.queue import Queue
from s3queue_admin.actions.model import Progress, Result, Stop, never
from s3queue_admin.actions.planning import Plan, plan
from s3queue_admin.stalls.causes import look, span

MAX_OLDER_S: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Chooses claimed messages as a filter does."""

    test: Callable[[MessageView, int], bool]
    words: str
    states: tuple[str, ...] = ("processing",)

    def matches(self, view: MessageView, now_ms: int) -> bool:
        """Whether the message is meant."""
        return self.test(view, now_ms)

    def __str__(self) -> str:
        return self.words


def recovery(queue: Queue, *, older_than: timedelta | float, **options: Any) -> list[Plan]:
    """Return the plans of :func:`recover_stuck`: of leases that have ended, and of those that dead workers left behind.

    A warning of the first tells of those that are stuck for less than ``older_than``, and which limit would take them.
    """
    older_ms = _older_ms(older_than)
    dead = {worker.worker for worker in look(queue).workers if worker.state == "dead"}
    younger: dict[tuple[str, int], int] = {}

    def old(view: MessageView, since_ms: int, now_ms: int) -> bool:
        is_old = since_ms <= now_ms - older_ms
        if not is_old:
            younger[view.name, view.index] = now_ms - since_ms
        return is_old

    def ended(view: MessageView, now_ms: int) -> bool:
        return view.expires_at_ms <= now_ms and old(view, view.expires_at_ms, now_ms)

    def left(view: MessageView, now_ms: int) -> bool:
        return view.worker in dead and view.expires_at_ms > now_ms and old(view, view.claimed_at_ms, now_ms)

    words = f"lease ended {span(older_ms)} ago or earlier"
    plans = [plan(queue, "reset", _Chosen(ended, words), lapsed=True, **options)]
    if dead:
        words = f"claimed {span(older_ms)} ago or earlier by {', '.join(sorted(dead))}, dead"
        plans.append(plan(queue, "reset", _Chosen(left, words), **options))
    first, *others = [each for each in plans if each.count] or plans[:1]
    if younger:
        first = replace(first, warnings=(*first.warnings, _too_young(list(younger.values()), older_ms)))
    return [first, *others]


def _too_young(ages_ms: Sequence[int], older_ms: int) -> str:
    """Tell of what is stuck for less than the limit: how many, and which limit takes all of them, in whole seconds."""
    count, limit_s = len(ages_ms), min(ages_ms) // 1000
    each, are = ("one message", "is") if count == 1 else (f"{count:,} messages", "are")
    since = f"{span(min(ages_ms))} to {span(max(ages_ms))}" if count > 1 else span(ages_ms[0])
    return (
        f"{each.capitalize()} more {are} stuck, for {since}, which is less than {span(older_ms)}: {limit_s}s takes all."
    )


def recover_stuck(
    queue: Queue,
    *,
    older_than: timedelta | float,
    dry_run: bool = False,
    reason: str = "",
    who: str | None = None,
    on_progress: Progress | None = None,
    stop: Stop = never,
) -> Result:
    """Take messages back whose lease ended ``older_than`` (seconds, or a timedelta) ago, or that a dead worker has held as long.

    They are available at once, and the lost claims count as attempts, as with any rescue. A worker that lives loses none:
    what it extends before the commit is refused, and it would be fenced, not doubled, if it did not. ``dry_run``: nothing is
    written, and ``planned`` says how many there are. Raises InvalidInput for a time that cannot be.
    """
    plans = recovery(queue, older_than=older_than)
    planned = sum(each.count for each in plans)
    result = Result("reset", queue.name, planned)
    for each in plans if planned and not dry_run else ():
        if result.error or result.stopped:
            break
        done = each.apply(reason=reason or "stuck", who=who, on_progress=on_progress, stop=stop)
        requests = dict(result.requests)
        for line, count in done.requests.items():
            requests[line] = requests.get(line, 0) + count
        result = replace(
            done,
            planned=planned,
            done=result.done + done.done,
            refused={**result.refused, **done.refused},
            unknown=result.unknown + done.unknown,
            requests=requests,
        )
    return result


def _older_ms(older_than: timedelta | float) -> int:
    seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    if not good or not 0 <= seconds <= MAX_OLDER_S:
        raise InvalidInput(
            f"older_than is {older_than!r:.80}.", remedy=f"Use a timedelta, or 0 to {MAX_OLDER_S} seconds."
        )
    return round(seconds * 1000)
