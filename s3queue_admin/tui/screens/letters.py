"""Dead letters: by kind of error first, the most frequent on top, then the letters of a kind."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static

from s3queue.clock import to_datetime
from s3queue.text import counted
from s3queue_admin.filters import Filter, parse
from s3queue_admin.grouping import LATEST_MS
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.tui.acting import Acting, Where
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.shelf import Kind, Letter, Shelf, kinds_of, sift, sign_of
from s3queue_admin.tui.shown import ago, number, short
from s3queue_admin.tui.widgets.detail import Detail, Told, bar
from s3queue_admin.tui.widgets.filterbar import FilterBar
from s3queue_admin.tui.widgets.table import Cell, Column, Table

SOON_S = 1.0
"""While letters come in, what is shown is made anew at most this often."""
TRACE_LINES = 40
"""Lines of a traceback's end that are shown of a sample."""
NONE = "There are no dead letters."
NO_MATCH = "None of them matches the filter."


class Reading(Acting):
    """A screen of dead letters. Each is read once: when the screen opens, or a snapshot says that there are others."""

    def __init__(self, queue: str, *, shelf: Shelf | None = None, chosen: Filter | None = None) -> None:
        super().__init__(queue)
        self._shelf = shelf
        self.filter = chosen or self.filter
        self._is_reading = self._is_due = False
        self._version = -1
        self._trouble = ""

    # -- for subclasses --

    def columns(self) -> tuple[Column[Any], ...]:
        """Return the columns of the table."""
        raise NotImplementedError

    def key(self, row: Any) -> Hashable:
        """Return what names a row for good."""
        raise NotImplementedError

    def take(self, letters: list[Letter]) -> None:
        """Show these letters: those that the filter matches."""
        raise NotImplementedError

    def about(self, row: Any) -> Told:
        """Return all about a row that fits below the table."""
        raise NotImplementedError

    # -- reading --

    @property
    def shelf(self) -> Shelf:
        """The letters."""
        if self._shelf is None:
            self._shelf = Shelf(self.board.source, self.queue)
        return self._shelf

    def _now(self) -> datetime:
        return to_datetime(self.shelf.now_ms)

    def body(self) -> ComposeResult:
        """Make a line, the table, and the box about the row under the cursor."""
        yield Static(id="note")
        yield Table[Any](self.columns(), key=self.key, empty="Reading …")
        yield Detail(id="sample")

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one("#sample").display = False
        self.read()

    def read(self) -> None:
        """Read what is not read yet, in a thread."""
        self._is_reading = True
        self.shelf.sign = sign_of(self.seen)
        self.stream("letters", self.shelf.fresh, self._add, self._ended)
        self._note()

    def _add(self, letters: list[Letter]) -> None:
        self.shelf.add(letters)
        if not self._is_due:
            self._is_due = True
            self.set_timer(SOON_S, self._choose_due)

    def _choose_due(self) -> None:
        if self._is_due:
            self.choose()

    def _ended(self, complete: bool) -> None:
        self._is_reading = False
        if complete:
            self._trouble = ""
            self.shelf.end()
        self.choose()

    def choose(self) -> None:
        """Choose by the filter what is shown, in a thread."""
        self._is_due = False
        self._version, letters = self.shelf.version, list(self.shelf.letters.values())
        chosen, now_ms = self.meant(), self.shelf.now_ms
        self.ask("filter", lambda stop: sift(letters, chosen, now_ms, stop), self._chosen)

    def meant(self) -> Filter:
        """Return the filter of what is shown."""
        return self.filter

    def _chosen(self, letters: list[Letter]) -> None:
        self.take(letters)
        self.settle()

    def refused(self, what: str, error: Exception) -> None:
        """Say in the table's place that nothing could be read; the next snapshot tries again, and so does r."""
        if what != "letters":
            super().refused(what, error)
            return
        self._is_reading, self.shelf.sign = False, None
        if not self._trouble:
            super().refused(what, error)
        self._trouble = f"Cannot be read: {error}  r tries again."
        self.settle()

    def do_refresh(self) -> None:
        """Look now, and list the letters anew."""
        self.board.do_refresh()
        self.read()

    # -- showing --

    def show(self, snapshot: BucketSnapshot) -> None:
        """Read what is new, if the snapshot says that there is something."""
        self.query_one(FilterBar).known = {"queue": list(snapshot.queues), "state": ["dead"]}
        if not self._is_reading and self.shelf.sign != sign_of(self.seen):
            self.read()
        elif self._version != self.shelf.version:
            self.choose()

    def use_filter(self, chosen: Filter, *, final: bool) -> None:  # noqa: ARG002 - a newer one replaces the last
        """Show only what the filter matches."""
        self.choose()

    def settle(self) -> None:
        """Show all about the row under the cursor, or say why there is none."""
        table, box = self.query_one(Table), self.query_one("#sample", Detail)
        if not self._is_reading:
            table.empty = self._trouble or (NO_MATCH if self.shelf.letters else NONE)
        table.refresh()
        box.display = table.current is not None
        if table.current is not None:
            box.tell(self.about(table.current))
        self._note()

    def tell(self) -> None:
        """Paint the lines anew: time has passed."""
        super().tell()
        if self.is_made:
            self._note()

    def _note(self) -> None:
        table = self.query_one(Table)
        marked = f", {len(table.marked):,} marked" if table.marked else ""
        at_s = self.shelf.read_at_s
        age = f", read {short(max(0.0, self.board.source.monotonic() - at_s))} ago" if at_s is not None else ""
        read = ", reading …" if self._is_reading else age
        self.query_one("#note", Static).update(Content(f"{self.told()}{marked}{read}"))

    def told(self) -> str:
        """Return what is said of all rows together."""
        return ""

    @on(Table.Moved)
    def _moved(self) -> None:
        self.settle()

    def do_mark(self) -> None:
        """Mark the row."""
        super().do_mark()
        self._note()

    def do_unmark(self) -> None:
        """Take all marks away."""
        super().do_unmark()
        self._note()


# -- kinds ------------------------------------------------------------------------------------------------------------


class Dead(Reading):
    """The dead letters of a queue by kind of error: those that differ in numbers, ids and quotes alone are one."""

    NAME = "dead"
    BINDINGS: ClassVar[list[BindingType]] = bindings("dead")

    def title_text(self) -> str:
        """Return what is shown."""
        return "dead letters by error"

    def columns(self) -> tuple[Column[Kind], ...]:
        """Return the columns."""
        return (
            Column("kind", lambda kind: (kind.fingerprint, "accent"), 8, order=lambda kind: kind.fingerprint),
            Column("count", lambda kind: (number(kind.group.count), "strong"), 6, right=True, order=_count),
            Column("share", lambda kind: bar(kind.share, 1.0, 10), 10, need=110),
            Column("first", lambda kind: ago(kind.group.first_at, self._now()), 6, right=True, order=_first),
            Column("last", lambda kind: ago(kind.group.last_at, self._now()), 6, right=True, order=_last),
            Column("error", lambda kind: (kind.sample.title, "bad"), 20, grow=3, order=lambda kind: kind.sample.title),
            Column("sample", lambda kind: kind.sample.payload, 20, grow=2, need=130),
        )

    def key(self, row: Kind) -> Hashable:
        """Return the kind's name."""
        return row.fingerprint

    def take(self, letters: list[Letter]) -> None:
        """Show the kinds of these letters."""
        self.query_one(Table).set_rows(kinds_of(letters))

    def about(self, row: Kind) -> Told:
        """Return the kind's sample."""
        told = Told().head(f"{row.group.count:,} of {row.fingerprint}", (f"  {row.sample.title}", "bad"))
        return tell_letter(told, row.sample, "the last of them")

    def told(self) -> str:
        """Return how many letters there are in all."""
        kinds = self.query_one(Table).rows
        letters, total = sum(kind.group.count for kind in kinds), len(self.shelf.letters)
        return f"{number_of(letters, total)} of {counted(len(kinds), 'kind')}"

    def chosen(self) -> Where:
        """Return the filter of the letters of the kinds that are meant."""
        kinds = [kind.fingerprint for kind in self.rows_meant()]
        if not kinds:
            return []
        return parse(f"state:dead ({' OR '.join(f'fingerprint:{kind}' for kind in kinds)})") & self.filter

    @on(Table.Chosen)
    def do_open(self) -> None:
        """Show the letters of the kind under the cursor."""
        kind = self.query_one(Table).current
        if kind is not None:
            self.board.go("letters", self.queue, kind=kind, shelf=self.shelf, chosen=self.filter)


def _count(kind: Kind) -> int:
    return kind.group.count


def _first(kind: Kind) -> Any:
    return kind.group.first_at


def _last(kind: Kind) -> Any:
    return kind.group.last_at


# -- letters of a kind ------------------------------------------------------------------------------------------------


class Letters(Reading):
    """The dead letters of a kind, of all without one; the last that died on top."""

    NAME = "letters"
    BINDINGS: ClassVar[list[BindingType]] = bindings("letters")

    def __init__(self, queue: str, *, kind: Kind | None = None, **options: Any) -> None:
        super().__init__(queue, **options)
        self.kind = kind

    def title_text(self) -> str:
        """Return what is shown."""
        return f"dead letters of {self.kind.fingerprint}" if self.kind else "dead letters"

    def columns(self) -> tuple[Column[Letter], ...]:
        """Return the columns."""
        return (
            Column("id", lambda letter: letter.view.id, 26, order=lambda letter: letter.view.id),
            Column("died", self._died, 6, right=True, order=lambda letter: letter.view.dead_at_ms),
            Column("try", _attempts, 3, right=True, order=lambda letter: letter.view.message.attempts),
            Column(
                "kind", lambda letter: (letter.fingerprint, "accent"), 8, need=110, order=lambda row: row.fingerprint
            ),
            Column("group", lambda letter: letter.view.message.group or "", 10, need=140),
            Column("payload", lambda letter: letter.payload, 16, grow=3),
            Column("error", lambda letter: (letter.error, "bad"), 16, grow=3, order=lambda letter: letter.error),
        )

    def _died(self, letter: Letter) -> Cell:
        at_ms = min(max(letter.view.dead_at_ms, 0), LATEST_MS)
        return ago(to_datetime(at_ms), self._now())

    def key(self, row: Letter) -> Hashable:
        """Return the letter's name."""
        return row.view.name

    def meant(self) -> Filter:
        """Return the filter of what is shown: that which was typed, and the kind."""
        return parse(f"fingerprint:{self.kind.fingerprint}") & self.filter if self.kind else self.filter

    def take(self, letters: list[Letter]) -> None:
        """Show these letters; marks on those that the filter hides stay."""
        table, found = self.query_one(Table), {letter.view.name for letter in letters}
        if len(found) < len(self.shelf.letters):
            table.filter_rows(lambda letter: letter.view.name in found)
        else:
            table.filter_rows(None)
        table.set_rows(sorted(self.shelf.letters.values(), key=lambda letter: letter.view.dead_at_ms, reverse=True))

    def about(self, row: Letter) -> Told:
        """Return the letter's last error and its payload."""
        return tell_letter(Told(), row)

    def told(self) -> str:
        """Return what they have in common."""
        return number_of(len(self.query_one(Table).rows), len(self.shelf.letters))

    def shown(self) -> Filter:
        """Return the filter of an action on all that is shown."""
        return self.meant()

    @on(Table.Chosen)
    def do_open(self) -> None:
        """Show all about the letter under the cursor."""
        letter = self.query_one(Table).current
        if letter is not None:
            self.board.go("message", self.queue, view=letter.view)

    def do_raw(self) -> None:
        """Show the object that the letter under the cursor is."""
        letter = self.query_one(Table).current
        if letter is not None:
            self.board.show_object(letter.view.key)


def _attempts(letter: Letter) -> Cell:
    return str(letter.view.message.attempts)


def tell_letter(told: Told, letter: Letter, which: str = "") -> Told:
    """Add what is known of a letter: id, error, payload, the end of its traceback."""
    told.facts(
        ("letter", f"{letter.view.id}{f', {which}' if which else ''}"),
        ("error", letter.error, "bad"),
        ("payload", letter.payload),
        ("reason", letter.reason),
    )
    for line in letter.traceback[-TRACE_LINES:]:
        told.line((line, "dim"))
    return told


def number_of(some: int, total: int) -> str:
    """Return ``3``, or ``3 of 12`` if that is not all."""
    return counted(total, "letter") if some == total else f"{some:,} of {counted(total, 'letter')}"
