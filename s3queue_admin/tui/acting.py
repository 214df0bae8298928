"""How every action goes on the screens: planned in a thread; yes or no; done in a thread, telling how far; what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from s3queue.errors import LockHeld
from s3queue.protocol.viewing import MessageView, find
from s3queue.queue import Queue
from s3queue_admin.actions import VERBS, Plan, Result, paced, plan
from s3queue_admin.filters import Filter, parse
from s3queue_admin.text import plain
from s3queue_admin.tui.actions import find_action
from s3queue_admin.tui.screens.view import Answer, Stop, View
from s3queue_admin.tui.widgets.confirm import Confirm
from s3queue_admin.tui.widgets.detail import Told as Lines
from s3queue_admin.tui.widgets.going import Going
from s3queue_admin.tui.widgets.outcome import Outcome, bill, outcome_text, summary

Where = Filter | Sequence[str] | None
"""Messages that are meant: those that a filter matches, or those with these ids; None: the action is about the queue."""
Told = Callable[[int, int | None], object]
"""Called, in a thread, with how many are through and of how many."""
Make = Callable[[Stop, Told], Sequence[Plan]]
"""Makes plans, in a thread."""
LOOK_EACH: Final = 1000
"""How many messages are looked at between two words on how far it is."""
_ABOUT_QUEUE: Final = ("pause", "resume", "purge")


class Stopped(Exception):
    """The operator wants no plan any more."""


@dataclass(frozen=True)
class _Watched:
    """A filter that tells how many messages it was asked about, and can be stopped."""

    chosen: Filter
    stop: Stop
    told: Told
    looked: list[int]

    @property
    def states(self) -> tuple[str, ...]:
        return self.chosen.states

    def admits(self, queue: str) -> bool:
        return self.chosen.admits(queue)

    def matches(self, view: MessageView, now_ms: int) -> bool:
        if self.stop():
            raise Stopped
        self.looked[0] += 1
        if self.looked[0] % LOOK_EACH == 0:
            self.told(self.looked[0], None)
        return self.chosen.matches(view, now_ms)

    def __str__(self) -> str:
        return str(self.chosen)


class Acting(View):
    """A screen on which messages and queues are changed. Its actions are lines of :mod:`.actions`.

    A subclass may say otherwise what is meant (:meth:`chosen`, :meth:`shown`, :meth:`queues_meant`), and lists anew in
    :meth:`acted`. Filter and marks are never touched here.
    """

    # -- for subclasses --

    def chosen(self) -> Where:
        """Return the messages meant by an action on rows: those marked, else the one under the cursor."""
        return [row.view.id for row in self.rows_meant()]

    def shown(self) -> Filter:
        """Return the filter of the messages meant by an action on all that is shown."""
        return self.filter

    def queues_meant(self) -> list[str]:
        """Return the queues that an action on queues is about."""
        return [self.queue]

    def acted(self, result: Result) -> None:  # noqa: ARG002 - for those who list anew what was changed
        """Look at the bucket anew after an action."""
        self.board.feed.look(fresh=True)

    def rows_meant(self) -> list[Any]:
        """Return the rows of the table that are marked, else the one under the cursor."""
        table = self.table
        if table is None:
            return []
        return table.marked_rows or [row for row in [table.current] if row is not None]

    # -- the flow --

    def act(self, verb: str, where: Where, *, destructive: bool = False, **options: Any) -> None:
        """Plan ``verb`` on messages of the screen's queue, ask, do it. ``options``: see :func:`s3queue_admin.actions.plan`."""
        if where is not None and not isinstance(where, Filter) and not where:
            self.notify(f"There is nothing to {verb}: no row is marked or under the cursor.", severity="warning")
            return
        name, redactor, source = self.queue, self.board.source.bucket.redactor, self.board.source

        def make(stop: Stop, told: Told) -> list[Plan]:
            meant = _Watched(where, stop, told, [0]) if isinstance(where, Filter) else where
            return [plan(source.writable(name), verb, meant, redactor=redactor, **options)]

        self.act_on(verb, make, destructive=destructive)

    def act_on_queues(self, verb: str, *, destructive: bool = False) -> None:
        """Plan ``verb`` on the queues that are meant, ask, do it."""
        names, redactor, source = self.queues_meant(), self.board.source.bucket.redactor, self.board.source
        if not names:
            self.notify(f"There is no queue to {verb}.", severity="warning")
            return
        make = lambda stop, told: [plan(source.writable(name), verb, redactor=redactor) for name in names]  # noqa: E731, ARG005
        self.act_on(verb, make, destructive=destructive)

    def act_on(self, verb: str, make: Make, *, destructive: bool = False) -> None:
        """Make plans of one verb in a thread, ask once for all of them, do them one after the other."""
        going = Going(f"{verb.capitalize()}: looking for what is meant …", leaves=True)
        self.app.push_screen(going)

        def call(stop: Stop) -> Sequence[Plan] | Exception:
            try:
                return make(lambda: stop() or going.stopping.is_set(), self._act_teller(going))
            except Exception as error:  # noqa: BLE001 - whatever it is, the dialog must not stay for ever
                return error

        self.ask("plan", call, partial(self._act_planned, verb, going, destructive))

    def _act_teller(self, going: Going) -> Told:
        return lambda done, total: self.post_message(Answer(lambda told: going.tell(*told), (done, total)))

    def _act_planned(self, verb: str, going: Going, destructive: bool, plans: Sequence[Plan] | Exception) -> None:
        if going.stopping.is_set():
            return
        going.end()
        if isinstance(plans, Exception):
            self._act_failed(f"{verb.capitalize()}: nothing was changed.", plans)
            return
        dialog = Confirm(plans, destructive=destructive)
        self.app.push_screen(dialog, lambda yes: self._act_apply(plans, dialog.reason, dialog.per_s) if yes else None)

    def _act_apply(self, plans: Sequence[Plan], reason: str, per_s: float | None) -> None:
        verb, total = plans[0].verb, sum(each.count for each in plans)
        going = Going(f"{verb.capitalize()} {plain(plans[0].queue.name)} …", total=total)
        self.app.push_screen(going)

        def call(stop: Stop) -> Result | Exception:
            try:
                meant = plans if per_s is None else [paced(each, per_s) for each in plans]
                return carry_out(
                    meant, reason, told=self._act_teller(going), stop=lambda: stop() or going.stopping.is_set()
                )
            except Exception as error:  # noqa: BLE001 - as above
                return error

        self.ask("apply", call, partial(self._act_done, verb, going))

    def _act_done(self, verb: str, going: Going, result: Result | Exception) -> None:
        going.end()
        if isinstance(result, Exception):
            self._act_failed(f"{verb.capitalize()}: not done.", result)
            return
        if result.exit_code:
            told = outcome_text(result, self.board.source.bucket.redactor)
            self.app.push_screen(Outcome(summary(result), told, bad=bool(result.error)))
        else:
            self.notify(bill(result), title=summary(result), markup=False)
        self.acted(result)

    def _act_failed(self, title: str, error: Exception) -> None:
        text = self.board.source.bucket.redactor.text(str(error), "error")
        if isinstance(error, LockHeld):
            text = f"Somebody else replays or discards letters of this queue now. {text}"
        self.app.push_screen(Outcome(title, Lines().line((f"▲ {text}", "bad")), bad=True))

    # -- actions --

    def _act_do(self, verb: str, where: Where, **options: Any) -> None:
        action = find_action(verb)
        self.act(verb, where, destructive=action is not None and action.destructive, **options)

    def do_replay(self) -> None:
        """Put dead letters back."""
        self._act_do("replay", self.chosen())

    def do_discard(self) -> None:
        """Throw dead letters away."""
        self._act_do("discard", self.chosen())

    def do_replay_filtered(self) -> None:
        """Put back all dead letters that are shown."""
        self._act_do("replay", parse("state:dead") & self.shown())

    def do_discard_filtered(self) -> None:
        """Throw away all dead letters that are shown."""
        self._act_do("discard", parse("state:dead") & self.shown())

    def do_cancel(self) -> None:
        """Take messages out before they are done."""
        self._act_do("cancel", self.chosen())

    def do_release(self) -> None:
        """Give claimed messages back."""
        self._act_do("release", self.chosen())

    def do_reset(self) -> None:
        """Give claimed messages back; the claims count as attempts."""
        self._act_do("reset", self.chosen())

    def do_reset_stuck(self) -> None:
        """Give back all that is stuck."""
        from s3queue_admin.stalls.recovering import recovery

        names, source = self.queues_meant(), self.board.source

        def make(_stop: Stop, _told: Told) -> list[Plan]:
            redactor = source.bucket.redactor
            return [each for name in names for each in recovery(source.writable(name), older_than=0, redactor=redactor)]

        self.act_on("reset", make)

    def do_pause(self) -> None:
        """Pause the queues that are meant."""
        self.act_on_queues("pause")

    def do_resume(self) -> None:
        """Resume them."""
        self.act_on_queues("resume")

    def do_purge(self) -> None:
        """Throw all dead letters of the queues away."""
        self.act_on_queues("purge", destructive=True)

    # -- editing --

    def do_edit(self) -> None:
        """Change the payload of the dead letter under the cursor, and replay it."""
        where = self.chosen()
        if not isinstance(where, list) or len(where) != 1:
            self.notify("Mark one message, or none: they are edited one by one.", severity="warning")
            return
        id_, name, source = where[0], self.queue, self.board.source
        self.ask("edit", lambda _stop: letter_of(source.writable(name), id_), partial(self._act_edit, id_))

    def _act_edit(self, id_: str, found: tuple[Any, int] | None) -> None:
        from s3queue_admin.tui.widgets.editor import Edited, Editor

        if found is None:
            self.notify(
                f"There is no dead letter {id_}: it was replayed or discarded.", severity="warning", markup=False
            )
            return

        def take(edited: Edited | None) -> None:
            if edited is not None:
                self.act("replay", [id_], payload=edited.payload)

        self.app.push_screen(Editor(id_, *found), take)


def letter_of(queue: Queue, id_: str) -> tuple[Any, int] | None:
    """Return the payload of the dead letter with this id, as it is, and how many bytes one may have; None if there is none."""
    lanes = [agents.lane for agents in queue.connect().lanes.all()]
    view = find(lanes, [id_], ("dead",)).get(id_)
    return None if view is None else (view.payload, queue.connect().register.current().max_payload_bytes)


def carry_out(plans: Sequence[Plan], reason: str, *, told: Told, stop: Stop) -> Result:
    """Do plans of one verb one after the other, until one fails or is stopped; return what came of all.

    What is about no message is not begun. Raises what the first does; what a later one raises is the error of the result.
    """
    result: Result | None = None
    total = sum(each.count for each in plans)
    for each in plans:
        if result is not None and (result.error or result.stopped):
            break
        before = len(result.done) if result is not None else 0
        if each.count or not VERBS.get(each.verb):
            try:
                done = each.apply(reason=reason, on_progress=lambda n, _of: told(before + n, total), stop=stop)  # noqa: B023
            except Exception as error:
                if result is None:
                    raise
                done = Result(each.verb, each.queue.name, each.count, error=str(error))
        else:
            done = Result(each.verb, each.queue.name, len(each.refused), refused=each.refused)
        result = done if result is None else together(result, done)
    if result is None:
        raise ValueError("There is no plan to carry out.")
    return result


def together(one: Result, other: Result) -> Result:
    """Return what two plans of one verb came to, as one result."""
    requests = dict(one.requests)
    for line, count in other.requests.items():
        requests[line] = requests.get(line, 0) + count
    queues = dict.fromkeys([*one.queue.split(", "), other.queue])
    return replace(
        other,
        queue=", ".join(queues),
        planned=one.planned + other.planned,
        done=one.done + other.done,
        refused={**one.refused, **other.refused},
        unknown=one.unknown + other.unknown,
        requests=requests,
        audit=" ".join(filter(None, (one.audit, other.audit))),
        before={**one.before, **other.before},
        after={**one.after, **other.after},
    )
