"""The messages of a queue, state by state, read from the bucket as they stand."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import islice
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from s3queue.clock import to_datetime
from s3queue.protocol.viewing import MessageView
from s3queue_admin.actions import Result
from s3queue_admin.filters import Filter, FilterError
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.text import Redactor, json_text
from s3queue_admin.tui.acting import Acting
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens.view import Stop
from s3queue_admin.tui.shown import ago, short, until
from s3queue_admin.tui.widgets.filterbar import FilterBar
from s3queue_admin.tui.widgets.table import Cell, Column, Table
from s3queue_admin.tui.widgets.tabs import TabsLine

TABS: Final = ("pending", "scheduled", "processing", "stalled", "dead", "all")
READ: Final[dict[str, tuple[str, ...]]] = {
    "stalled": ("processing",),
    "all": ("pending", "scheduled", "processing", "dead"),
}
"""What is read of the bucket for a tab that is no state of the engine."""
MOST: Final = 100_000
"""Rows that are kept."""
TYPED: Final = 2_000
"""Up to so many rows are filtered while the filter is being typed; more only at its end, in a thread."""
_TONES: Final = {"pending": "", "scheduled": "accent", "processing": "good", "dead": "bad"}


class Entry:
    """A message in a row; its texts are made when they are first seen, secrets hidden."""

    __slots__ = ("_error", "_payload", "_redactor", "now_ms", "view")

    def __init__(self, view: MessageView, redactor: Redactor, now_ms: int) -> None:
        self.view, self.now_ms = view, now_ms
        self._redactor = redactor
        self._payload: str | None = None
        self._error: str | None = None

    @property
    def state(self) -> str:
        """The state, ``stalled`` if it is claimed past its lease."""
        return "stalled" if self.view.is_stalled(self.now_ms) else self.view.state

    @property
    def payload(self) -> str:
        """The payload in one line."""
        if self._payload is None:
            self._payload = json_text(self._redactor.value(self.view.payload, "payload"))
        return self._payload

    @property
    def error(self) -> str:
        """The last error in one line, or why it is dead."""
        if self._error is None:
            last = self.view.errors[-1] if self.view.errors else None
            told = f"{last.type}: {last.message}" if last is not None else self.view.reason
            self._error = self._redactor.text(told, "error")
        return self._error


def key_of(entry: Entry) -> Hashable:
    """Return what names the message for good."""
    return entry.view.id


class Messages(Acting):
    """The messages of one queue. They are read when the screen opens and when the operator asks (r): that costs a GET an object.

    ``state``: the tab to begin with; ``chosen``: the filter to begin with.
    """

    NAME = "messages"
    BINDINGS: ClassVar[list[BindingType]] = bindings("messages")

    def __init__(self, queue: str, *, state: str = "pending", chosen: Filter | None = None) -> None:
        super().__init__(queue)
        self._state = state
        self.filter = chosen or self.filter
        self._read_at_s: float | None = None
        self._is_reading = False
        self._anew: list[Entry] | None = None

    def body(self) -> ComposeResult:
        """Make the tabs and the table."""
        tabs = TabsLine(TABS, id="states")
        tabs.chosen = self._state
        yield tabs
        yield Table[Entry](COLUMNS, key=key_of, empty="There are none.")

    def on_mount(self) -> None:
        """Begin to read."""
        self.read()

    @property
    def _table(self) -> Table[Entry]:
        return self.query_one(Table)

    # -- reading --

    def read(self, *, quietly: bool = False) -> None:
        """Read the messages of the state anew, in a thread; ``quietly``: what is shown stays until all are read, and marks do."""
        state = self._state
        self._is_reading = True
        self._anew = [] if quietly else None
        if not quietly:
            self._table.empty = "Reading …"
            self._table.set_rows(())
        self.stream("messages", lambda stop: self._entries(state, stop), self._add, self._done)
        self._tell_tabs()

    def _entries(self, state: str, stop: Stop) -> Iterator[Entry]:
        """Yield what the tab shows; in a thread."""
        queue = self.board.source.queue(self.queue)
        redactor = self.board.source.bucket.redactor
        now_ms = queue.connect().lane.now_ms()
        for view in islice(queue.messages(*READ.get(state, (state,))), MOST):
            if stop():
                return
            if state != "stalled" or view.is_stalled(now_ms):
                yield Entry(view, redactor, now_ms)

    def _add(self, entries: list[Entry]) -> None:
        if self._anew is None:
            self._table.add_rows(entries)
        else:
            self._anew += entries
        self._tell_tabs()

    def _done(self, complete: bool) -> None:
        if complete:
            self._is_reading = False
            self._read_at_s = self.board.source.monotonic()
            if self._anew is not None:
                self._table.set_rows(self._anew)
                self._anew = None
            self._table.empty = "There are none." if not self._table.total else "None of them matches the filter."
            self._table.refresh()
            self.use_filter(self.filter, final=True)

    def refused(self, what: str, error: Exception) -> None:
        """Say in the table's place that nothing could be read; r tries again."""
        self._is_reading = False
        self._table.empty = f"Cannot be read: {error}  r tries again."
        self._tell_tabs()
        super().refused(what, error)

    def do_refresh(self) -> None:
        """Look now, and read the messages anew."""
        self.board.source.forget(self.queue)
        self.board.do_refresh()
        self.read()

    # -- showing --

    def title_text(self) -> str:
        """Return what is shown."""
        return "messages"

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show how many are in each state now, whatever was read."""
        queue = snapshot.queues.get(self.queue)
        self.query_one(FilterBar).known = {
            "queue": list(snapshot.queues),
            "worker": [worker.worker for worker in queue.workers] if queue is not None else [],
        }
        self._tell_tabs()

    def _tell_tabs(self) -> None:
        counts = {}
        if self.seen is not None:
            stats = self.seen.stats
            counts = {name: int(getattr(stats, name)) for name in TABS if name != "all"}
            counts["all"] = stats.pending + stats.scheduled + stats.processing + stats.dead
        table = self._table
        shown = f"{len(table.rows):,}" if len(table.rows) == table.total else f"{len(table.rows):,} of {table.total:,}"
        marked = f", {len(table.marked):,} marked" if table.marked else ""
        read = "reading …" if self._is_reading else f"{short(self._age_s())} old"
        more = f", the first {MOST:,}" if table.total >= MOST else ""
        self.query_one(TabsLine).tell(counts, f"{shown}{marked}{more}, {read}")

    def _age_s(self) -> float:
        return max(0.0, self.board.source.monotonic() - (self._read_at_s or 0.0))

    def tell(self) -> None:
        """Paint the lines anew: time has passed."""
        super().tell()
        if self.is_made:
            self._tell_tabs()

    # -- filter --

    def use_filter(self, chosen: Filter, *, final: bool) -> None:
        """Show what matches: at once while few rows are there, in a thread if there are many."""
        if chosen.is_everything:
            self._table.filter_rows(None)
        elif self._table.total <= TYPED:
            self._table.filter_rows(lambda entry: _matches(chosen, entry))
        elif final:
            rows = list(self._table.all_rows)
            self.ask("filter", lambda stop: _matching(rows, chosen, stop), self._show_only)
        if not self._is_reading:
            self._table.empty = "There are none." if not self._table.total else "None of them matches the filter."
        self._tell_tabs()

    def _show_only(self, keys: set[Hashable]) -> None:
        self._table.filter_rows(lambda entry: key_of(entry) in keys)
        self._tell_tabs()

    # -- actions --

    def acted(self, result: Result) -> None:
        """Take what was changed out of the list at once, and read it anew; marks on the others stay."""
        super().acted(result)
        gone = set(result.done)
        self._table.set_rows([entry for entry in self._table.all_rows if entry.view.id not in gone])
        self.read(quietly=True)

    @on(TabsLine.Picked)
    def _picked(self, event: TabsLine.Picked) -> None:
        self._state = event.name
        self._table.unmark()
        self.read()

    def do_state(self) -> None:
        """Show the next state."""
        self.query_one(TabsLine).step(1)

    def do_state_back(self) -> None:
        """Show the state before."""
        self.query_one(TabsLine).step(-1)

    def do_mark(self) -> None:
        """Mark the message."""
        super().do_mark()
        self._tell_tabs()

    def do_unmark(self) -> None:
        """Take all marks away."""
        super().do_unmark()
        self._tell_tabs()

    @on(Table.Chosen)
    def do_open(self) -> None:
        """Show all about the message under the cursor."""
        entry = self._table.current
        if entry is not None:
            self.board.go("message", self.queue, view=entry.view)

    def do_raw(self) -> None:
        """Show the object in which the message under the cursor lies."""
        entry = self._table.current
        if entry is not None:
            self.board.show_object(entry.view.key)


def _matches(chosen: Filter, entry: Entry) -> bool:
    try:
        return chosen.matches(entry.view, entry.now_ms)
    except FilterError:  # a pattern that takes too long on this one
        return False


def _matching(rows: list[Entry], chosen: Filter, stop: Stop) -> set[Hashable]:
    """Return the keys of what matches; in a thread."""
    found: set[Hashable] = set()
    for number, entry in enumerate(rows):
        if number % 500 == 0 and stop():
            break
        if _matches(chosen, entry):
            found.add(key_of(entry))
    return found


# -- columns ----------------------------------------------------------------------------------------------------------


def _when(entry: Entry) -> Cell:
    """Return what time means for the state: since when it waits, works or is dead, or until when it waits."""
    view, now = entry.view, to_datetime(entry.now_ms)
    if view.state == "scheduled":
        return f"in {until(to_datetime(view.visible_at_ms), now)}", "accent"
    at_ms = view.dead_at_ms or view.claimed_at_ms or view.visible_at_ms or view.message.enqueued_at_ms
    return ago(to_datetime(min(at_ms, entry.now_ms)), now)


def _when_ms(entry: Entry) -> int:
    return entry.view.dead_at_ms or entry.view.claimed_at_ms or entry.view.visible_at_ms


def _lease(entry: Entry) -> Cell:
    if not entry.view.token:
        return "", ""
    left = until(to_datetime(entry.view.expires_at_ms), to_datetime(entry.now_ms))
    return left, "bad" if entry.state == "stalled" else ""


def _attempts(entry: Entry) -> Cell:
    attempts = entry.view.message.attempts + entry.view.rescues
    return str(attempts), "warn" if attempts else "dim"


def _state(entry: Entry) -> Cell:
    return entry.state, "bad" if entry.state == "stalled" else _TONES.get(entry.state, "")


def _worker(entry: Entry) -> Cell:
    return entry.view.worker or (f"→{entry.view.assigned_to}" if entry.view.assigned_to else "")


COLUMNS = (
    Column[Entry]("id", lambda entry: entry.view.id, 22, order=lambda entry: entry.view.id),
    Column[Entry]("state", _state, 10, need=100, order=lambda entry: entry.state),
    Column[Entry]("when", _when, 7, right=True, order=_when_ms),
    Column[Entry](
        "try", _attempts, 3, right=True, order=lambda entry: entry.view.message.attempts + entry.view.rescues
    ),
    Column[Entry]("prio", lambda entry: str(entry.view.message.priority), 4, right=True, need=130),
    Column[Entry]("lease", _lease, 6, right=True, need=110, order=lambda entry: entry.view.expires_at_ms),
    Column[Entry]("worker", _worker, 12, need=110, order=lambda entry: entry.view.worker),
    Column[Entry]("group", lambda entry: entry.view.message.group or "", 10, need=160),
    Column[Entry]("payload", lambda entry: entry.payload, 18, grow=3),
    Column[Entry]("error", lambda entry: (entry.error, "bad"), 14, grow=2, order=lambda entry: entry.error),
)
