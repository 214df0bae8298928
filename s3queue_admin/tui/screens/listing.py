"""What lists have in common: a table, all about the row under the cursor below it, and the filter on both."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.widget import Widget

from s3queue.clock import to_ms
from s3queue.protocol.viewing import MessageView
from s3queue_admin.filters import Filter
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.text import plain
from s3queue_admin.tui.acting import Acting
from s3queue_admin.tui.sought import is_meant
from s3queue_admin.tui.widgets.detail import Detail, Told
from s3queue_admin.tui.widgets.table import Column, Table

Row = TypeVar("Row")
NOT_SEEN = "Nothing was seen yet."
NO_MATCH = "Nothing matches the filter."


class Listing(Acting, Generic[Row]):
    """A table of rows and, below it, all about one. ``EMPTY`` is said where there is no row.

    A subclass says what its rows are (:meth:`rows`, or :meth:`put` when they come later), how they are shown, found
    (:meth:`sought`) and told (:meth:`about`).
    """

    EMPTY: ClassVar[str] = ""

    def __init__(self, queue: str = "") -> None:
        super().__init__(queue)
        self._none: dict[str | None, str] = {}

    # -- for subclasses --

    def columns(self) -> Sequence[Column[Row]]:
        """Return the columns."""
        raise NotImplementedError

    def key(self, row: Row) -> Hashable:
        """Return what names the row for good."""
        raise NotImplementedError

    def sought(self, row: Row) -> MessageView:
        """Return the row as filters see it."""
        raise NotImplementedError

    def about(self, row: Row) -> Told:
        """Return all about the row."""
        raise NotImplementedError

    def rows(self, snapshot: BucketSnapshot) -> Iterable[Row]:
        """Return the rows that a snapshot has."""
        raise NotImplementedError

    def extra(self) -> Iterable[Widget]:
        """Return the widgets between the table and the box."""
        return ()

    # -- showing --

    def body(self) -> ComposeResult:
        """Make the table, and the box below it."""
        yield Table[Row](self.columns(), self.key, empty=NOT_SEEN)
        yield from self.extra()
        yield Detail(id="detail")

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show what was seen."""
        if self.queue and self.queue not in snapshot.queues:
            self.put((), empty=f"There is no queue {self.queue} in the bucket.")
        else:
            self.put(self.rows(snapshot))

    def put(self, rows: Iterable[Row], *, empty: str = "") -> None:
        """Show these rows; ``empty``: what is said if there are none."""
        self.fill(self.grid, rows, empty or self.EMPTY)
        self.settle()

    def fill(self, table: Table[Row], rows: Iterable[Row], empty: str) -> None:
        """Show these rows in this table."""
        self._none[table.id] = empty
        table.set_rows(rows)

    @property
    def grid(self) -> Table[Row]:
        """The table."""
        return self.query_one(Table)

    @property
    def now_ms(self) -> int:
        """The store's time at which all that is shown was seen, in ms."""
        snapshot = self.board.feed.snapshot
        seen = self.seen
        at = seen.taken_at if seen is not None else snapshot.taken_at if snapshot is not None else None
        return to_ms(at) if at is not None else 0

    def use_filter(self, chosen: Filter, *, final: bool) -> None:  # noqa: ARG002 - it is quick enough for each letter
        """Show only what the filter matches."""
        self.narrow(self.grid, chosen)
        self.settle()

    def narrow(self, table: Table[Row], chosen: Filter) -> None:
        """Show only what the filter matches in this table."""
        now_ms = self.now_ms
        where = None if chosen.is_everything else lambda row: is_meant(chosen, self.sought(row), now_ms)
        table.filter_rows(where)

    def settle(self) -> None:
        """Say why there is no row, or all about the one under the cursor."""
        for each in self.query(Table):
            each.empty = NO_MATCH if each.total else self._none.get(each.id, NOT_SEEN)
        table = self.grid
        detail, current = self.query_one("#detail", Detail), table.current
        detail.display = current is not None
        if current is not None:
            detail.tell(self.about(current))
        elif self.has_class("-full"):
            self.do_describe()

    @on(Table.Moved)
    def _moved(self) -> None:
        self.settle()

    # -- actions --

    @on(Table.Chosen)
    def _chosen(self) -> None:
        self.do_describe()

    def do_describe(self) -> None:
        """Give the box the screen, or back to the table what is its."""
        if self.has_class("-full") or self.grid.current is None:
            self.remove_class("-full")
            self.grid.focus()
        else:
            self.add_class("-full")
            self.query_one("#detail", Detail).focus()

    def do_back(self) -> None:
        """Return from the box to the table, else as on every screen."""
        if self.has_class("-full"):
            self.do_describe()
        else:
            super().do_back()


def named(rows: Iterable[str], most: int = 20) -> str:
    """Return some names in a line, and how many more there are."""
    some = list(rows)
    more = f" and {len(some) - most:,} more" if len(some) > most else ""
    return ", ".join(plain(each) for each in some[:most]) + more
