"""What can be done on the screens, in one list: keys, hints, palette, commands and help are made from it.

An action ``name`` on a screen calls the screen's method ``do_<name>``, or the application's. Uppercase keys change or destroy;
they never stand for reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding

EVERYWHERE: Final = ("*",)
LISTS: Final = ("overview", "messages", "dead", "tickets", "workers", "coordinator", "locks", "audit", "doctor")
"""The screens whose body is a table that ``/`` filters and in which rows are marked."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done: on the screens named ``where`` (all: :data:`EVERYWHERE`), by ``key``.

    ``key`` is Textual's name, several separated by commas; the first is shown. ``title`` begins with a verb, ``help`` tells
    more. ``write``: it changes the bucket, so it is refused unless that was allowed at the start. ``destructive``: what it
    does cannot simply be taken back. ``hint``: shown in the line of keys.
    """

    name: str
    key: str
    title: str
    where: tuple[str, ...] = EVERYWHERE
    help: str = ""
    write: bool = False
    destructive: bool = False
    hint: bool = False

    @property
    def shown_key(self) -> str:
        """The key as a person knows it."""
        first = self.key.split(",")[0]
        return _KEYS.get(first, first)

    def is_on(self, screen: str) -> bool:
        """Whether the screen of that name has it."""
        return self.where == EVERYWHERE or screen in self.where


_KEYS: Final = {
    "colon": ":",
    "slash": "/",
    "question_mark": "?",
    "escape": "esc",
    "ctrl+c": "^c",
    "ctrl+p": "^p",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}

ACTIONS: Final[tuple[Action, ...]] = (
    # -- everywhere --
    Action("help", "question_mark,f1", "help", help="Show the keys of this screen and the words of filters.", hint=True),
    Action("command", "colon", "command", help="Go to a screen or do something by its name: `:messages emails`.", hint=True),
    Action("back", "escape", "back", help="Close what is open, else return to the screen before.", hint=True),
    Action("pause_feed", "p", "pause", help="Stop looking at the bucket, or go on; what is shown stays.", hint=True),
    Action("refresh", "r", "refresh", help="Look at the bucket now, and list everything anew."),
    Action("theme", "t", "switch light and dark", help="Switch between the light and the dark theme."),
    Action("quit", "q,ctrl+c", "quit", help="Leave the dashboard."),
    # -- lists --
    Action("filter", "slash", "filter", LISTS, "Show only what matches; empty shows all. Tab completes.", hint=True),
    Action("mark", "space", "mark", LISTS, "Mark the row, or unmark it, and go to the next."),
    Action("unmark", "u", "unmark all", LISTS, "Take all marks away."),
    Action("sort", "s", "sort", LISTS, "Sort by the next column; a click on a title sorts by that one."),
    Action("turn", "o", "turn order", LISTS, "Turn the order round."),
    # -- overview --
    Action("messages", "enter,m", "messages", ("overview",), "Show the messages of the queue.", hint=True),
    # -- messages --
    Action("open", "enter,d", "describe", ("messages",), "Show all about the message.", hint=True),
    Action("raw", "y", "raw", ("messages", "message"), "Show the object in the bucket as it is.", hint=True),
    Action("state", "tab", "next state", ("messages",), "Show the messages in the next state.", hint=True),
    Action("state_back", "shift+tab", "previous state", ("messages",), "Show the messages in the state before."),
)


def actions_on(screen: str) -> tuple[Action, ...]:
    """Return what can be done on the screen of that name, its own first."""
    found = [action for action in ACTIONS if action.is_on(screen)]
    return tuple(sorted(found, key=lambda action: action.where == EVERYWHERE))


def find_action(name: str) -> Action | None:
    """Return the action of that name; None if there is none."""
    return next((action for action in ACTIONS if action.name == name), None)


def bindings(screen: str) -> list[Binding]:
    """Return Textual's bindings of a screen; each ends in ``action_do``, which looks at what is allowed."""
    return [
        Binding(action.key, f"do('{action.name}')", action.title, show=action.hint, key_display=action.shown_key)
        for action in actions_on(screen)
    ]
