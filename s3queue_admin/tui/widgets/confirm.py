"""What an action would do, before it is done: count, sample, cost, warnings, and a yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Mount
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from s3queue.text import counted
from s3queue_admin.actions.model import VERBS
from s3queue_admin.actions.options import MAX_PER_S
from s3queue_admin.actions.shared import SHARED
from s3queue_admin.text import json_text, plain
from s3queue_admin.tui.shown import dollars, span
from s3queue_admin.tui.widgets.detail import Told

if TYPE_CHECKING:
    from s3queue_admin.actions import Plan

REFUSED: Final = 5
"""How many of those that were asked for and cannot be meant are shown."""


class Confirm(ModalScreen[bool]):
    """Shows plans of one verb and asks whether to apply them; ``reason`` is what was typed, for the audit trail.

    ``per_s``: of a replay, how many messages a second, None for all at once. Where ``destructive``, no is what Enter means
    until yes is chosen, or y is hit.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", show=False),
        Binding("y", "answer(True)", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    AUTO_FOCUS = "#no"

    def __init__(self, plans: Sequence[Plan], *, destructive: bool) -> None:
        super().__init__()
        self._plans, self._destructive = plans, destructive
        self.reason = ""
        self.per_s: float | None = None

    def compose(self) -> ComposeResult:
        """Make the dialog."""
        plans = self._plans
        can = any(plan.count or not VERBS.get(plan.verb) for plan in plans)
        with VerticalScroll(classes="dialog -danger" if self._destructive else "dialog"):
            yield Label(headline(plans), classes="dialog--title", markup=False)
            for plan in plans:
                yield Static(plan_text(plan).content())
            yield Input(placeholder="reason, for the audit trail", compact=True, id="reason")
            if plans[0].verb == "replay" and can:
                with Horizontal(id="pace"):
                    yield Input(placeholder="per second: all at once", compact=True, id="per-s")
                    yield Static(id="paced")
            with Horizontal(classes="dialog--buttons"):
                yield Button("No", id="no", compact=True)
                tone = "error" if self._destructive else "primary"
                yield Button(f"Yes, {plans[0].verb}", id="yes", variant=tone, disabled=not can, compact=True)  # type: ignore[arg-type]

    @on(Mount)
    def _begin(self) -> None:
        if not self._destructive:
            self.query_one("#yes").focus()

    def action_answer(self, yes: bool) -> None:
        """End the dialog."""
        if yes and self.query_one("#yes", Button).disabled:
            return
        self.reason = self.query_one("#reason", Input).value
        self.dismiss(yes)

    @on(Input.Changed, "#per-s")
    def _paced(self, event: Input.Changed) -> None:
        """Say how long it will take at that pace, or that there is no such pace; then it cannot be begun."""
        event.stop()
        count = sum(plan.count for plan in self._plans)
        self.per_s = pace_of(event.value)
        wrong = bool(event.value.strip()) and self.per_s is None
        told = f"takes {span(count / self.per_s)}" if self.per_s else "more than 0, up to 100,000" if wrong else ""
        self.query_one("#paced", Static).update(told)
        self.query_one("#paced").set_class(wrong, "wrong")
        self.query_one("#yes", Button).disabled = wrong

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_answer(event.button.id == "yes")

    @on(Input.Submitted)
    def _reasoned(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#yes", Button).focus()


def pace_of(text: str) -> float | None:
    """Return the messages a second that were typed; None if that is no pace."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 < found <= MAX_PER_S else None


def headline(plans: Sequence[Plan]) -> str:
    """Return what the plans are in a line: ``Discard 12 messages of emails?``."""
    verb, names = plans[0].verb, list(dict.fromkeys(plan.queue.name for plan in plans))
    count = sum(plan.count for plan in plans)
    of = plain(names[0]) if len(names) == 1 else f"{len(names)} queues"
    if verb in SHARED:
        return f"{verb.capitalize()} {plain(', '.join(plan.options['name'] for plan in plans), 60)} of {of}?"
    if not VERBS.get(verb):
        return f"{verb.capitalize()} {of}?"
    if not count:
        return f"Nothing to {verb} in {of}."
    return f"{verb.capitalize()} {count:,} {'message' if count == 1 else 'messages'} of {of}?"


def plan_text(plan: Plan) -> Told:
    """Return the plan for people: what is meant, some of it, what it takes, what to mind."""
    told = Told().line(("queue: ", "dim"), (plan.queue.name, "strong"))
    if plan.where:
        told.line(("which: ", "dim"), plain(plan.where, 300))
    for sample in plan.sample:
        payload, error = plain(json_text(sample.payload), 60), plain(sample.error, 60)
        told.line((f"  {sample.id}  ", "strong"), payload, (f"  {error}", "dim"))
    more = plan.count - len(plan.sample)
    if more > 0:
        told.line((f"  and {more:,} more", "dim"))
    told.line(("takes: ", "dim"), f"about {counted(plan.cost.requests, 'request')}, {dollars(plan.usd)}")
    refused = list(plan.refused.items())
    for id_, why in refused[:REFUSED]:
        told.line((f"not {plain(id_, 40)}: {plain(why, 200)}", "warn"))
    if len(refused) > REFUSED:
        told.line((f"and {len(refused) - REFUSED:,} more cannot be meant", "warn"))
    for warning in plan.warnings:
        told.line((f"▲ {warning}", "warn"))
    return told
