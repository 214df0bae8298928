"""What an action came to, where that is not simply all that was meant: refused and why, unknown, broken off."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from s3queue.store.metered import usd
from s3queue.text import counted
from s3queue_admin.actions import Result
from s3queue_admin.actions.shared import SHARED
from s3queue_admin.text import Redactor, plain
from s3queue_admin.tui.shown import dollars
from s3queue_admin.tui.widgets.detail import Told

SHOWN: Final = 200
"""How many refusals are shown; the audit trail has as many."""
PAST: Final = {
    "cancel": "cancelled",
    "discard": "discarded",
    "pause": "paused",
    "purge": "discarded",
    "release": "released",
    "replay": "replayed",
    "reset": "reset",
    "resume": "resumed",
    "undo": "undone",
    "unlock": "unlocked",
    "unschedule": "unscheduled",
}


class Outcome(ModalScreen[None]):
    """Shows it until it is closed; ``bad``: something failed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,space", "dismiss", show=False)]

    def __init__(self, title: str, told: Told, *, bad: bool) -> None:
        super().__init__()
        self._words, self._told, self._bad = title, told, bad

    def compose(self) -> ComposeResult:
        """Make the dialog."""
        with VerticalScroll(classes="dialog -danger" if self._bad else "dialog"):
            yield Label(self._words, classes="dialog--title", markup=False)
            yield Static(self._told.content())
            yield Static("esc closes", classes="dim dialog--foot")


def summary(result: Result) -> str:
    """Return the result in a sentence: ``Replayed 3 messages of emails; 1 refused; stopped.``."""
    verb = PAST.get(result.verb, result.verb).capitalize()
    count = len(result.done)
    if result.verb in SHARED and result.after:
        told = [f"{verb} {plain(', '.join(result.after), 60)} of {plain(result.queue)}"]
    elif result.after or result.verb in SHARED:
        told = [f"{verb} {plain(result.queue)}"]
    else:
        told = [f"{verb} {count:,} {'message' if count == 1 else 'messages'} of {plain(result.queue)}"]
    told += [f"{len(result.refused):,} refused"] * bool(result.refused)
    told += [f"{len(result.unknown):,} unknown"] * bool(result.unknown)
    told += ["stopped"] * result.stopped + ["broken off"] * bool(result.error)
    return "; ".join(told) + "."


def bill(result: Result) -> str:
    """Return what it took: ``14 requests, $0.00004; audit 1764…``."""
    spent = f"{counted(sum(result.requests.values()), 'request')}, {dollars(usd(result.requests))}"
    return f"{spent}; audit {result.audit}" if result.audit else spent


def outcome_text(result: Result, redactor: Redactor) -> Told:
    """Return all that is to be known of a result."""
    told = Told()
    if result.error:
        told.line((f"▲ {redactor.text(result.error, 'error')}", "bad"))
    if result.unknown:
        told.line(("The store did not say whether these were changed: look at them.", "warn"))
    for id_ in result.unknown[:SHOWN]:
        told.line((f"  {plain(id_, 60)}", "strong"))
    for id_, why in list(result.refused.items())[:SHOWN]:
        told.line((f"  {plain(id_, 60)}  ", "strong"), plain(redactor.text(why, "refused"), 300))
    if len(result.refused) > SHOWN:
        told.line((f"  and {len(result.refused) - SHOWN:,} more", "dim"))
    return told.line((bill(result), "dim"))
