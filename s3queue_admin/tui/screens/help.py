"""Help, made from the list of actions and of the filter's fields: it cannot say what is not so."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from s3queue_admin.filters import FIELDS
from s3queue_admin.tui.actions import EVERYWHERE, Action, actions_on
from s3queue_admin.tui.screens import PLACES


class Help(ModalScreen[None]):
    """The keys of a screen, the names of screens, and the words of filters."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,f1", "dismiss", show=False)]

    def __init__(self, screen_name: str, *, write: bool) -> None:
        super().__init__()
        self._screen_name, self._write = screen_name, write

    def compose(self) -> ComposeResult:
        """Make the dialog."""
        with VerticalScroll(classes="dialog"):
            yield Static(help_text(self._screen_name, write=self._write))


def help_text(screen_name: str, *, write: bool) -> Text:
    """Return the help of a screen."""
    text = Text()
    here = [action for action in actions_on(screen_name) if action.where != EVERYWHERE]
    for title, some in (
        (f"On this screen: {screen_name}", here),
        ("On every screen", [action for action in actions_on(screen_name) if action.where == EVERYWHERE]),
    ):
        text.append(f"{title}\n", "bold")
        for action in some:
            text.append_text(_line(action, write=write))
        text.append("\n")
    text.append("Screens\n", "bold")
    for name, place in PLACES.items():
        text.append(f"  :{name:<12} {place.title}\n")
    text.append("\nFilters\n", "bold")
    text.append("  words and fields side by side; OR, NOT, brackets. : equals, * any, ~ contains, ~/…/ pattern\n  ")
    text.append(", ".join(FIELDS) + "\n", "dim")
    return text


def _line(action: Action, *, write: bool) -> Text:
    text = Text(f"  {action.shown_key:<6} {action.title:<22} ", "bold red" if action.destructive else "")
    text.append(action.help, "dim")
    if action.write and not write:
        text.append(" Needs --write.", "italic")
    return text.append("\n")
