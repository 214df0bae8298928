"""What can be done on the screens, in one list: keys, hints, palette, commands and help are made from it.

An action ``name`` on a screen calls the screen's method ``do_<name>``, or the application's. Uppercase keys change or destroy;
they never stand for reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding, BindingType

EVERYWHERE: Final = ("*",)
PROMPTS: Final = ("command", "filter")
"""What opens a prompt goes before all other keys: those typed right after it, while the screen is busy, are text already."""
LISTS: Final = (
    "overview",
    "messages",
    "dead",
    "letters",
    "tickets",
    "workers",
    "coordinator",
    "locks",
    "audit",
    "doctor",
)
"""The screens whose body is a table that ``/`` filters and in which rows are marked."""
DETAILED: Final = ("tickets", "workers", "coordinator", "locks", "doctor", "audit")
"""The lists that have a box with all about one row."""


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
    Action(
        "help", "question_mark,f1", "help", help="Show the keys of this screen and the words of filters.", hint=True
    ),
    Action(
        "command", "colon", "command", help="Go to a screen or do something by its name: `:messages emails`.", hint=True
    ),
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
    Action("enter", "enter,m", "messages", ("overview",), "Show the messages of the queue.", hint=True),
    Action("series", "c", "charts", ("overview",), "Show charts of the queue, or of all queues.", hint=True),
    # -- messages --
    Action("open", "enter,d", "describe", ("messages", "dead", "letters"), "Show all about the row.", hint=True),
    Action("raw", "y", "raw", ("messages", "message", "letters"), "Show the object in the bucket as it is.", hint=True),
    Action("pane", "tab", "other pane", ("message",), "Give the other pane the keys.", hint=True),
    Action("state", "tab", "next state", ("messages",), "Show the messages in the next state.", hint=True),
    Action("state_back", "shift+tab", "previous state", ("messages",), "Show the messages in the state before."),
    # -- tickets, workers, coordinator, locks, cost, doctor, audit --
    Action(
        "describe", "enter,d", "describe", DETAILED, "Give the box below the screen; again, or esc: back.", hint=True
    ),
    Action("held", "m", "messages", ("tickets", "workers"), "Show the messages that it holds.", hint=True),
    Action("other", "tab,shift+tab", "other table", ("locks",), "Give the other table the keys.", hint=True),
    Action("as_measured", "n", "as measured", ("cost",), "Set the sliders to what the queue is now.", hint=True),
    Action(
        "examine",
        "x",
        "ask the doctor",
        ("doctor",),
        "Check store, permissions and queues now; reads alone.",
        hint=True,
    ),
    Action("fsck", "f", "check the books", ("doctor",), "Hold the books against the bucket: LIST and GET.", hint=True),
    Action("fsck_deep", "e", "check every object", ("doctor",), "The same, and read every object: a GET each."),
    Action(
        "further",
        "b",
        "look further back",
        ("audit",),
        "Read what was done before, too; a month, a year, all.",
        hint=True,
    ),
    # -- changes; none of their keys is that of a read action on the same screen with Shift --
    Action(
        "replay",
        "A",
        "replay",
        ("messages", "message", "dead", "letters"),
        write=True,
        hint=True,
        help="Put dead letters back: those marked, else the one under the cursor.",
    ),
    Action(
        "edit",
        "E",
        "edit, then replay",
        ("messages", "message", "letters"),
        write=True,
        hint=True,
        help="Change the payload of a dead letter and replay it as a new message.",
    ),
    Action(
        "discard",
        "X",
        "discard",
        ("messages", "message", "dead", "letters"),
        write=True,
        destructive=True,
        hint=True,
        help="Throw dead letters away: those marked, else the one under the cursor.",
    ),
    Action(
        "replay_filtered",
        "F",
        "replay all shown",
        ("messages", "dead", "letters"),
        write=True,
        hint=True,
        help="Put back all dead letters that the filter matches.",
    ),
    Action(
        "discard_filtered",
        "Z",
        "discard all shown",
        ("messages", "dead", "letters"),
        write=True,
        destructive=True,
        help="Throw away all dead letters that the filter matches.",
    ),
    Action(
        "cancel",
        "C",
        "cancel",
        ("messages", "message"),
        write=True,
        destructive=True,
        hint=True,
        help="Take messages out before they are done: those marked, else the one under the cursor.",
    ),
    Action(
        "release",
        "L",
        "release",
        ("messages", "message", "tickets", "workers"),
        write=True,
        hint=True,
        help="Give claimed messages back at once; the claim does not count as an attempt.",
    ),
    Action(
        "reset",
        "B",
        "reset",
        ("messages", "message", "tickets", "workers"),
        write=True,
        help="Give claimed messages back at once; the lost claim counts as an attempt.",
    ),
    Action(
        "reset_stuck",
        "V",
        "reset stuck",
        ("overview", "messages", "tickets", "workers"),
        write=True,
        help="Give back all whose lease has ended, or whose worker is dead.",
    ),
    Action(
        "pause",
        "H",
        "hold the queue",
        ("overview", "messages", "dead", "letters", "tickets", "workers"),
        write=True,
        help="Pause the queue: nothing more of it is claimed.",
    ),
    Action(
        "resume",
        "W",
        "wake the queue",
        ("overview", "messages", "dead", "letters", "tickets", "workers"),
        write=True,
        help="Resume a paused queue.",
    ),
    Action(
        "purge",
        "N",
        "purge",
        ("overview", "dead"),
        write=True,
        destructive=True,
        help="Throw all dead letters of the queue away, unread.",
    ),
    Action(
        "take_away",
        "X",
        "unlock or unschedule",
        ("locks",),
        write=True,
        destructive=True,
        hint=True,
        help="Take the locks from their holders, or remove the schedules, of the table that has the keys.",
    ),
    Action(
        "undo",
        "I",
        "undo",
        ("audit",),
        write=True,
        destructive=True,
        hint=True,
        help="Take back what was done, as far as that can be: discard, purge, pause, resume, configure.",
    ),
)


def actions_on(screen: str) -> tuple[Action, ...]:
    """Return what can be done on the screen of that name, its own first."""
    found = [action for action in ACTIONS if action.is_on(screen)]
    return tuple(sorted(found, key=lambda action: action.where == EVERYWHERE))


def find_action(name: str) -> Action | None:
    """Return the action of that name; None if there is none."""
    return next((action for action in ACTIONS if action.name == name), None)


def bindings(screen: str) -> list[BindingType]:
    """Return Textual's bindings of a screen; each ends in ``action_do``, which looks at what is allowed."""
    return [
        Binding(
            action.key,
            f"do('{action.name}')",
            action.title,
            show=action.hint,
            key_display=action.shown_key,
            priority=action.name in PROMPTS,
        )
        for action in actions_on(screen)
    ]
