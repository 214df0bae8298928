"""How every action goes: the plan on stderr, a question, progress on stderr, the result on stdout, an exit code."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import click

from s3queue.cli.options import FAILED, REFUSED, Command, decorate
from s3queue.errors import LockHeld
from s3queue.text import clean, counted
from s3queue_admin.actions import VERBS, Plan, Result
from s3queue_admin.actions.options import describe
from s3queue_admin.cli.options import Common
from s3queue_admin.cli.render import Facts, dollars, emit, record, table
from s3queue_admin.cli.settings import facts_of_wire, said
from s3queue_admin.progress import Bar
from s3queue_admin.text import json_text, plain

_TOLD = 10
"""How many refusals are told on stderr; the data on stdout has them all."""
_PAST = {
    "cancel": "cancelled", "delay": "delayed", "pause": "paused", "purge": "discarded", "release": "released",
    "reset": "reset", "resume": "resumed", "undo": "undone",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Consent:
    """What the options of an action say: why it is done, and whether it is."""

    reason: str
    dry_run: bool
    yes: bool


def with_consent(function: Callable[..., None]) -> Command:
    """Decorate an action with ``--reason``, ``--dry-run`` and ``--yes``; it is called with ``reason``, ``dry_run``, ``yes``."""
    reason = click.option("--reason", default="", help="Why, for the audit trail.")
    dry_run = click.option("--dry-run", is_flag=True, help="Show the plan; change nothing.")
    return decorate(function, (reason, dry_run, click.option("--yes", is_flag=True, help="Do not ask.")))


def carry_out(
    common: Common, plans: Plan | Sequence[Plan], consent: Consent, *, asks: bool = True, notes: Sequence[str] = ()
) -> None:
    """Show the plan and ``notes`` on it, ask (if it ``asks``), do it, write what came of it; Failed if not all was done.

    Several plans of one verb are one action, done one after the other. On a terminal it asks; elsewhere it wants --yes. The
    first Ctrl-C stops it after what is under way, the second at once.
    """
    each = [plans] if isinstance(plans, Plan) else list(plans)
    for plan in each:
        _tell_plan(plan)
    for note in notes:
        _say(f"  {note}")
    if consent.dry_run:
        facts = plan_facts(each)
        emit(common.output, facts, lambda: record(_would(each[0].verb, facts)))
        return
    todo = [plan for plan in each if plan.count or not VERBS.get(plan.verb)]
    if todo and asks and not consent.yes:
        _confirm(common, todo)
    result = _apply(common, each, consent)
    emit(common.output, result_facts(result), lambda: _told(result), done=f"{len(result.done)} {_past(result.verb)}")
    _fail_if_partly(common, result)


def _apply(common: Common, plans: Sequence[Plan], consent: Consent) -> Result:
    """Do them one after the other, until one fails or is stopped; what is about no message is not begun."""
    first, total = plans[0], sum(plan.count for plan in plans)
    result = Result(first.verb, first.queue.name, 0)
    try:
        with Bar(f"{first.verb} {first.queue.name}", lambda: total) as bar, _stopping() as stop:
            for plan in plans:
                if result.error or result.stopped:
                    break
                if plan.count or not VERBS.get(plan.verb):
                    told = _Progress(bar, len(result.done))
                    done = plan.apply(reason=consent.reason, on_progress=told, stop=stop)
                else:
                    refused = plan.refused or {}
                    done = Result(plan.verb, plan.queue.name, len(refused), refused=refused)
                result = _merged(result, done)
    except LockHeld as error:
        raise common.fail(f"Somebody else replays or discards letters of this queue now. {error}", FAILED) from error
    return result


@dataclass(frozen=True, slots=True)
class _Progress:
    """Tells a bar how far a plan is, of several."""

    bar: Bar
    before: int

    def __call__(self, done: int, _total: int) -> None:
        self.bar(self.before + done)


def _merged(one: Result, other: Result) -> Result:
    requests = dict(one.requests)
    for line, count in other.requests.items():
        requests[line] = requests.get(line, 0) + count
    return replace(
        other,
        planned=one.planned + other.planned,
        done=one.done + other.done,
        refused={**one.refused, **other.refused},
        unknown=one.unknown + other.unknown,
        requests=requests,
        audit=" ".join(filter(None, (one.audit, other.audit))),
    )


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C was pressed; a second one interrupts."""
    pressed = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        click.echo("Stopping after what is under way; Ctrl-C again: at once.", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _confirm(common: Common, plans: Sequence[Plan]) -> None:
    first, count = plans[0], sum(plan.count for plan in plans)
    if count:
        what = f"{first.verb} {counted(count, 'message')} of {first.queue.name!r}"
    else:
        what = f"{first.verb} {first.where or repr(first.queue.name)}"
    if not sys.stdin.isatty():
        raise common.fail(f"This was not confirmed: {what}. Give --yes.", REFUSED)
    if not click.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
        raise common.fail("Nothing was changed.", REFUSED)


# -- plans ------------------------------------------------------------------------------------------------------------


def plan_facts(plans: Sequence[Plan]) -> Facts:
    """Return plans of one verb as data."""
    first = plans[0]
    return {
        "dry_run": True,
        "queue": first.queue.name,
        "verb": first.verb,
        "options": describe(first.options),
        "where": " or ".join(filter(None, (plan.where for plan in plans))),
        "count": sum(plan.count for plan in plans),
        "more": any(plan.more for plan in plans),
        "refused": {id_: why for plan in plans for id_, why in (plan.refused or {}).items()},
        "requests": sum(plan.cost.requests for plan in plans),
        "usd": sum(plan.usd for plan in plans),
        "warnings": [warning for plan in plans for warning in plan.warnings],
        "sample": [one for plan in plans for one in plan.sample],
        "planned_at": first.planned_at,
    }


def _would(verb: str, facts: Facts) -> Facts:
    return {f"would be {_past(verb)}": facts["count"] if VERBS.get(verb) or verb == "undo" else facts["queue"]}


def _tell_plan(plan: Plan) -> None:
    where = f" matching {plan.where}" if plan.where else ""
    what = f"{plan.verb} {plan.queue.name}"
    if plan.count:
        what = f"{plan.verb} {counted(plan.count, 'message')} of {plan.queue.name}{where}"
    elif VERBS.get(plan.verb):
        what = f"{plan.verb}: no message of {plan.queue.name}{where}"
    _say(f"Plan: {what}; about {counted(plan.cost.requests, 'request')}, {dollars(plan.usd)}.")
    if plan.sample:
        rows = [(one.id, one.state, one.attempts, one.error or json_text(one.payload)) for one in plan.sample]
        columns = ("id", "state", "att.", "last error, or payload")
        for line in table(columns, rows, wide=columns[-1:], width=_stderr_width() - 2).splitlines():
            _say(f"  {line}")
        if plan.count > len(plan.sample):
            _say(f"  … {plan.count - len(plan.sample):,} more")
    for warning in plan.warnings:
        _say(f"Note: {warning}")


def _stderr_width() -> int:
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else 120


def _say(line: str) -> None:
    click.echo(plain(line), err=True)


# -- results ----------------------------------------------------------------------------------------------------------


def _past(verb: str) -> str:
    return _PAST.get(verb, verb + ("d" if verb.endswith("e") else "ed"))


def result_facts(result: Result) -> Facts:
    """Return what an action came to as data."""
    return {
        "queue": result.queue,
        "verb": result.verb,
        "planned": result.planned,
        "count": len(result.done),
        "done": result.done,
        "refused": result.refused,
        "unknown": result.unknown,
        "stopped": result.stopped,
        "error": result.error,
        "before": result.before,
        "after": result.after,
        "requests": sum(result.requests.values()),
        "audit": result.audit,
    }


def _told(result: Result) -> str:
    facts: dict[str, Any] = {"queue": result.queue}
    if result.verb == "configure":
        facts |= {name: said(name, value) for name, value in facts_of_wire(result.after).items()}
    elif result.after:
        facts |= result.after
    else:
        facts[_past(result.verb)] = len(result.done)
    facts |= {"refused": len(result.refused) or None, "unknown": len(result.unknown) or None}
    facts |= {"audit": result.audit}
    return record({name: value for name, value in facts.items() if value not in (None, "")})


def _fail_if_partly(common: Common, result: Result) -> None:
    for id_, why in list(result.refused.items())[:_TOLD]:
        _say(f"Refused: {id_}: {why}")
    if len(result.refused) > _TOLD:
        _say(f"… {len(result.refused) - _TOLD:,} more were refused: --output json has all")
    if not result.exit_code:
        return
    parts = [f"{len(result.done):,} {_past(result.verb)}"]
    parts += [f"{len(result.refused):,} refused"] * bool(result.refused)
    parts += [f"{len(result.unknown):,} unknown"] * bool(result.unknown)
    parts += ["stopped"] * result.stopped
    raise common.fail(f"{', '.join(parts)}. {clean(result.error)}".strip(), result.exit_code)
