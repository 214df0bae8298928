"""The screens, by name: each in a module of its own, imported when it is first shown."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from s3queue_admin.tui.screens.view import View


@dataclass(frozen=True, slots=True)
class Place:
    """A screen that can be gone to. ``home``: ``module:Class``; ``title`` for people.

    ``needs_queue``: it is about one queue. ``takes_id``: what follows its name is a message's id, not a queue.
    """

    home: str
    title: str
    needs_queue: bool = False
    takes_id: bool = False


PLACES: Final[dict[str, Place]] = {
    "overview": Place("overview:Overview", "All queues"),
    "messages": Place("messages:Messages", "Messages of a queue", needs_queue=True),
    "message": Place("message:MessageScreen", "One message, by its id", needs_queue=True, takes_id=True),
    "dead": Place("letters:Dead", "Dead letters by kind of error", needs_queue=True),
    "letters": Place("letters:Letters", "Dead letters one by one", needs_queue=True),
    "tickets": Place("tickets:Tickets", "Tickets of a queue", needs_queue=True),
    "workers": Place("workers:Workers", "Workers of a queue", needs_queue=True),
    "coordinator": Place("coordinator:Coordinator", "Who coordinates the lanes of a queue", needs_queue=True),
    "locks": Place("locks:Locks", "Locks and schedules of a queue", needs_queue=True),
    "schedules": Place("locks:Schedules", "Schedules and locks of a queue", needs_queue=True),
    "cost": Place("cost:Cost", "What a queue costs, and would cost", needs_queue=True),
    "doctor": Place("doctor:Doctor", "What is wrong, with evidence and remedy"),
    "audit": Place("audit:Audit", "What operators did"),
}


def make_screen(name: str, queue: str = "", **options: Any) -> View:
    """Return a new screen of that name; KeyError if there is none."""
    module, _, kind = PLACES[name].home.partition(":")
    made: View = getattr(import_module(f"{__name__}.{module}"), kind)(queue, **options)
    return made
