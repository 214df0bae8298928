"""Help, made from the list of actions and of the filter's fields: it cannot say what is not so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
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
        with VerticalScroll(classes="dialog -wide"):
            yield Static(help_text(self._screen_name, write=self._write))


def help_text(screen_name: str, *, write: bool) -> Group:
    """Return the help of a screen."""
    here = [action for action in actions_on(screen_name) if action.where != EVERYWHERE]
    everywhere = [action for action in actions_on(screen_name) if action.where == EVERYWHERE]
    places = _grid()
    for name, place in PLACES.items():
        places.add_row("", f":{name}", Text(place.title, "dim"))
    words = "words and fields side by side; OR, NOT, brackets. : equals, * any, ~ contains, ~/…/ pattern"
    return Group(
        Text(f"On this screen: {screen_name}", "bold"),
        _actions(here, write=write),
        Text("\nOn every screen", "bold"),
        _actions(everywhere, write=write),
        Text("\nScreens", "bold"),
        places,
        Text("\nFilters", "bold"),
        Padding(Text(words), (0, 2)),
        Padding(Text(", ".join(FIELDS), "dim"), (0, 2)),
    )


def _grid() -> Table:
    """Return a table without lines: what is long goes on below itself."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(width=9)
    grid.add_column(width=22)
    grid.add_column(ratio=1)
    return grid


def _actions(actions: Sequence[Action], *, write: bool) -> Padding:
    grid = _grid()
    for action in actions:
        tone = "bold red" if action.destructive else "bold"
        more = Text(" Needs --write.", "italic") if action.write and not write else Text()
        grid.add_row(Text(action.shown_key, tone), Text(action.title, tone), Text(action.help, "dim") + more)
    return Padding(grid, (0, 0, 0, 2))
