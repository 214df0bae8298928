"""What all screens have in common: the line on top, the prompts, the keys, the status, and how the bucket is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Semaphore
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.events import Mount, Resize, ScreenResume, Unmount
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.worker import get_current_worker

from s3queue.batches import batched
from s3queue.errors import S3QueueError
from s3queue_admin.filters import Filter, parse
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot
from s3queue_admin.tui.actions import PROMPTS, actions_on, find_action
from s3queue_admin.tui.feed import condition_of
from s3queue_admin.tui.screens import PLACES
from s3queue_admin.tui.widgets.commandbar import CommandBar
from s3queue_admin.tui.widgets.filterbar import FilterBar
from s3queue_admin.tui.widgets.keysline import KeysLine
from s3queue_admin.tui.widgets.prompt import Prompt
from s3queue_admin.tui.widgets.statusline import StatusLine
from s3queue_admin.tui.widgets.table import Table
from s3queue_admin.tui.widgets.topline import TopLine

if TYPE_CHECKING:
    from s3queue_admin.tui.app import Dashboard

T = TypeVar("T")
Stop = Callable[[], bool]
"""Asked in a thread whether its answer is still wanted."""
AT_ONCE = 500
"""How many things of a stream are handed to the screen at a time."""
LOTS = 2
"""How many such lots wait for the screen at most."""
PATIENCE_S = 0.1
"""How often a thread that waits for the screen asks whether it is to stop."""


class Answer(Message, Generic[T]):
    """What a thread found out: ``take`` is called with ``value`` on the screen's thread.

    ``asked``: what was asked, and which turn that was: if it was asked anew meanwhile, the answer comes too late.
    """

    def __init__(self, take: Callable[[T], object], value: T, asked: tuple[str, int] | None = None) -> None:
        self.take, self.value, self.asked = take, value, asked
        super().__init__()


class View(Screen[None]):
    """A screen. ``NAME`` is its name among the actions and places; ``queue`` the queue it is about, '' for all.

    A subclass makes its widgets in :meth:`body`, shows a snapshot in :meth:`show`, and has a ``do_<name>`` for each of its
    actions. Nothing in those may ask the bucket: :meth:`ask` and :meth:`stream` do, in a thread.
    """

    NAME: ClassVar[str] = ""
    AUTO_FOCUS = "Table"
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-narrow"), (110, "-wide")]  # type: ignore[misc] # no variable of the class there
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-short"), (40, "-tall")]  # type: ignore[misc] # no variable of the class there

    def __init__(self, queue: str = "") -> None:
        super().__init__()
        self.queue = queue
        self.filter = parse("")
        self._mounted = False
        self._turns: dict[str, int] = {}
        """How often each thing was asked, by its name."""

    # -- for subclasses --

    def body(self) -> ComposeResult:
        """Yield the widgets between the first line and the last ones."""
        yield from ()

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show what was seen: called on the screen's thread, when the screen opens and with each new snapshot."""

    def use_filter(self, chosen: Filter, *, final: bool) -> None:
        """Show only what the filter matches; ``final``: it will not change with the next letter."""

    def title_text(self) -> str:
        """Return what stands in the first line: what is shown here."""
        return self.NAME

    # -- parts --

    @property
    def board(self) -> Dashboard:
        """The application."""
        from s3queue_admin.tui.app import Dashboard

        app = self.app
        assert isinstance(app, Dashboard)  # noqa: S101 - screens are made by it alone
        return app

    @property
    def is_made(self) -> bool:
        """Whether all its widgets are there: not before it is mounted, nor while it is being closed, when they go first."""
        return self._mounted and self.display

    @property
    def seen(self) -> QueueSnapshot | None:
        """The queue that the screen is about, as it was last seen."""
        snapshot = self.board.feed.snapshot
        return snapshot.queues.get(self.queue) if snapshot is not None else None

    def compose(self) -> ComposeResult:
        """Make the screen: the subclass's body between the lines that all have."""
        yield TopLine(id="top")
        yield from self.body()
        yield FilterBar(id="filter")
        yield CommandBar(self.board.words, self.board.queue_names, id="command")
        yield KeysLine(actions_on(self.NAME), write=self.board.write)
        yield StatusLine(id="status")

    @on(Mount)
    def _made(self) -> None:
        self._mounted = True
        self.renew()

    @on(Unmount)
    def _unmade(self) -> None:
        self._mounted = False
        self.board.memory.let_go(self)

    @on(ScreenResume)
    def renew(self) -> None:
        """Show what was seen last; a screen that is being opened does so once its widgets are there."""
        snapshot = self.board.feed.snapshot
        if snapshot is not None and self.is_made:
            self.show(snapshot)
        self.tell()

    @on(Resize)
    def _resized(self) -> None:
        self.call_after_refresh(self.tell)

    def tell(self) -> None:
        """Paint the first line and the status anew."""
        if self.is_made:
            self.query_one(TopLine).tell(self.board.place, self.title_text(), self.queue, str(self.filter))
            self.query_one(StatusLine).tell(self.board.facts(self.queue))

    # -- asking the bucket --

    def ask(self, what: str, call: Callable[[Stop], T], take: Callable[[T], object]) -> None:
        """Call ``call(stop)`` in a thread, then ``take`` with what it returned, here. A newer call of the same name replaces it.

        Errors of the bucket go to :meth:`refused`.
        """
        asked = (what, self._turns.get(what, 0) + 1)
        self._turns[what] = asked[1]

        def work() -> None:
            worker = get_current_worker()
            try:
                found = call(lambda: worker.is_cancelled)
            except (S3QueueError, PermissionError) as error:
                self.post_message(Answer(lambda told: self.refused(what, told), error, asked))
            else:
                self.post_message(Answer(take, found, asked))

        self.run_worker(work, thread=True, exclusive=True, group=what, exit_on_error=False)

    def stream(
        self,
        what: str,
        call: Callable[[Stop], Iterable[T]],
        take: Callable[[list[T]], object],
        done: Callable[[bool], object],
    ) -> None:
        """Take from ``call(stop)`` in a thread, and hand it over here some at a time; ``done(True)`` at the end of it.

        The thread waits for the screen, which must not find more to be shown than keys that were pressed meanwhile.
        """
        asked = (what, self._turns.get(what, 0) + 1)  # the turn that ask takes
        count, room = 0, Semaphore(LOTS)

        def show(some: list[T]) -> None:
            room.release()
            take(some)

        def read(stop: Stop) -> bool:
            nonlocal count
            for some in batched(iter(call(stop)), AT_ONCE):
                while not room.acquire(timeout=PATIENCE_S):
                    if stop():
                        return False
                if stop():
                    return False
                count += len(some)
                self.post_message(Answer(show, some, asked))
            return True

        def end(complete: bool) -> None:
            done(complete)
            self.board.memory.hold(self, count)

        self.ask(what, read, end)

    @on(Answer)
    def _take(self, answer: Answer[Any]) -> None:
        answer.stop()
        if not self.is_made:
            return
        if answer.asked is None or self._turns[answer.asked[0]] == answer.asked[1]:
            answer.take(answer.value)

    def refused(self, what: str, error: Exception) -> None:
        """Tell that the bucket did not answer; the screen stays as it is."""
        condition = condition_of(error) if isinstance(error, S3QueueError) else "refused"
        self.notify(str(error), title=f"{what}: {condition}", severity="error", markup=False)

    # -- actions --

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Say no to what opens a prompt while something is typed elsewhere: there, its key is a letter."""
        typing = isinstance(self.focused, Input | TextArea)
        if typing and action == "do" and parameters and parameters[0] in PROMPTS:
            return False
        return super().check_action(action, parameters)

    def action_do(self, name: str) -> None:
        """Do the action of that name, if it is allowed: the one way to all of them."""
        action = find_action(name)
        if action is None:
            return
        if action.write and not self.board.write:
            self.notify(f"This dashboard only reads: start it with --write to {action.title}.", severity="warning")
            return
        method = getattr(self, f"do_{name}", None) or getattr(self.board, f"do_{name}")
        method()

    @property
    def table(self) -> Table[Any] | None:
        """The table that list actions are about, None if the screen has none."""
        found = self.query(Table)
        return found.first() if found else None

    def do_filter(self) -> None:
        """Open the filter with what it is."""
        self.query_one(FilterBar).open(str(self.filter))

    def do_command(self) -> None:
        """Open the command line."""
        self.query_one(CommandBar).open()

    def do_back(self) -> None:
        """Take the filter away, if there is one; else return to the screen before."""
        if self.table is not None and not self.filter.is_everything:
            self.query_one(FilterBar).choose(parse(""))
        else:
            self.board.go_back()

    def do_mark(self) -> None:
        """Mark the row."""
        if self.table is not None:
            self.table.mark()

    def do_unmark(self) -> None:
        """Take all marks away."""
        if self.table is not None:
            self.table.unmark()

    def do_sort(self) -> None:
        """Sort by the next column."""
        if self.table is not None:
            self.table.sort_next()

    def do_turn(self) -> None:
        """Turn the order round."""
        if self.table is not None:
            self.table.turn()

    # -- prompts --

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        event.stop()
        self.filter = event.chosen
        self.use_filter(event.chosen, final=event.final)
        self.tell()

    @on(Prompt.Closed)
    def _prompt_closed(self, event: Prompt.Closed) -> None:
        event.stop()
        if self.table is not None:
            self.table.focus()
        else:
            self.set_focus(None)

    @on(CommandBar.Said)
    def _said(self, event: CommandBar.Said) -> None:
        event.stop()
        takes_id = event.word in PLACES and PLACES[event.word].takes_id
        self.board.say(event.word, event.rest if takes_id else event.rest or self.queue)
