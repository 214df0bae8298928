"""A table that paints only the lines that are seen: a hundred thousand rows, sorted, filtered, marked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.binding import Binding, BindingType
from textual.events import Click, Resize, Unmount
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from s3queue.text import cells
from s3queue_admin.text import plain

Row = TypeVar("Row")
Cell = str | tuple[str, str]
"""A text, or a text and its tone: one of :data:`TONES`."""
TONES: Final = ("good", "warn", "bad", "dim", "accent", "strong")
GAP: Final = 1
_MARK_WIDTH: Final = 2


@dataclass(frozen=True)
class Column(Generic[Row]):
    """What a column is called, shows of a row (a stranger's text may be in it), and is as wide as.

    ``width``: columns of the terminal, the title's at least; ``grow``: its share of what is left. ``need``: it is left out
    where the table is narrower than that; where not all fit, those that need most go first. ``order``: what to sort by,
    None if it cannot be.
    """

    title: str
    show: Callable[[Row], Cell]
    width: int
    grow: int = 0
    right: bool = False
    need: int = 0
    order: Callable[[Row], Any] | None = None


class Table(ScrollView, Generic[Row], can_focus=True):
    """Rows under their columns. ``key`` names a row for good: cursor and marks stay with it when rows are set anew.

    Rows stay in the order in which they come until a column is sorted by. The methods are for the screen's thread.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--head", "table--cursor", "table--marked", "table--odd", "table--blurred", *(f"table--{tone}" for tone in TONES),
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("home,g", "go(0)", show=False),
        Binding("end,G", "go(-1)", show=False),
    ]

    class Chosen(Message):
        """A row was clicked twice."""

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        key: Callable[[Row], Hashable],
        *,
        empty: str = "",
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.columns, self.key, self.empty = tuple(columns), key, empty
        self.marked: set[Hashable] = set()
        self.sorted_by: int | None = None
        self.descends = False
        self.cursor = 0
        self._all: list[Row] = []
        self._rows: list[Row] = []
        self._where: Callable[[Row], bool] | None = None
        self._plan: list[tuple[Column[Row], int, int]] = []
        self._paints: dict[str, Style] = {}

    # -- rows --

    @property
    def rows(self) -> Sequence[Row]:
        """The rows that are shown, in their order."""
        return self._rows

    @property
    def all_rows(self) -> Sequence[Row]:
        """All rows, those included that the filter hides."""
        return self._all

    @property
    def total(self) -> int:
        """How many rows there are, those included that the filter hides."""
        return len(self._all)

    @property
    def current(self) -> Row | None:
        """The row under the cursor, None if the table is empty."""
        return self._rows[self.cursor] if self._rows else None

    @property
    def marked_rows(self) -> list[Row]:
        """The rows that are marked and shown, in their order."""
        return [row for row in self._rows if self.key(row) in self.marked]

    def set_rows(self, rows: Iterable[Row]) -> None:
        """Show these rows; the cursor stays on its row, if it is still there."""
        self._all = list(rows)
        self.marked &= {self.key(row) for row in self._all} if self.marked else set()
        self._reorder()

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Show these, too."""
        new = list(rows)
        self._all += new
        more = new if self._where is None else list(filter(self._where, new))
        at = self._name_of_current()
        self._rows += more
        if self.sorted_by is not None and more:
            self._sort()
        self._find(at)

    def filter_rows(self, where: Callable[[Row], bool] | None) -> None:
        """Show only rows of which that is true; None: all."""
        self._where = where
        self._reorder()

    def _reorder(self) -> None:
        at = self._name_of_current()
        self._rows = list(self._all) if self._where is None else [row for row in self._all if self._where(row)]
        self._sort()
        self._find(at)

    def _sort(self) -> None:
        """Sort the rows that are shown; those that are sorted already take little time."""
        order = self.columns[self.sorted_by].order if self.sorted_by is not None else None
        if order is not None:
            self._rows.sort(key=order, reverse=self.descends)

    def _name_of_current(self) -> Hashable | None:
        current = self.current
        return self.key(current) if current is not None else None

    def _find(self, at: Hashable | None) -> None:
        """Put the cursor on the row of that name, if it is there."""
        here = self._rows[self.cursor] if self.cursor < len(self._rows) else None
        if at is not None and (here is None or self.key(here) != at):
            found = (index for index, row in enumerate(self._rows) if self.key(row) == at)
            self.cursor = next(found, min(self.cursor, max(0, len(self._rows) - 1)))
        self._fit()

    # -- order and marks --

    def sort_by(self, column: int | None, *, descends: bool | None = None) -> None:
        """Sort by the column of that number; None: as the rows came. Numbers descend, unless told."""
        self.sorted_by = column
        if descends is None:
            descends = column is not None and self.columns[column].right
        self.descends = descends
        self._reorder()

    def sort_next(self) -> None:
        """Sort by the next column that can be sorted by."""
        able = [None, *(n for n, (column) in enumerate(self.columns) if column.order and self._shows(column))]
        at = able.index(self.sorted_by) if self.sorted_by in able else 0
        self.sort_by(able[(at + 1) % len(able)])

    def turn(self) -> None:
        """Turn the order round."""
        self.descends = not self.descends
        if self.sorted_by is None:
            self._all.reverse()
        self._reorder()

    def mark(self) -> None:
        """Mark the row under the cursor, or unmark it, and go to the next."""
        current = self.current
        if current is not None:
            self.marked ^= {self.key(current)}
            self.action_move(1)
            self.refresh()

    def unmark(self) -> None:
        """Take all marks away."""
        self.marked.clear()
        self.refresh()

    # -- moving --

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by so many screenfuls."""
        self._go(self.cursor + by * max(1, self.size.height - 2))

    def action_go(self, row: int) -> None:
        """Move the cursor to the first row (0) or the last (-1)."""
        self._go(row if row >= 0 else len(self._rows) + row)

    def _go(self, row: int) -> None:
        row = min(max(row, 0), max(0, len(self._rows) - 1))
        moved, self.cursor = row != self.cursor, row
        height = max(1, self.size.height - 1)
        top = round(self.scroll_offset.y)
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False)
        self.refresh()
        if moved:
            self.post_message(self.Moved())

    @on(Click)
    def _clicked(self, event: Click) -> None:
        event.stop()
        y, x = event.y - self.gutter.top, event.x - self.gutter.left
        if y == 0:
            self._sort_at(x)
        elif (row := y - 1 + round(self.scroll_offset.y)) < len(self._rows):
            self._go(row)
            if event.chain > 1:
                self.post_message(self.Chosen())

    def _sort_at(self, x: int) -> None:
        left = _MARK_WIDTH
        for column, width, gap in self._plan:
            left += width + gap
            if x < left:
                number = self.columns.index(column)
                if column.order is not None:
                    same = number == self.sorted_by
                    self.sort_by(number, descends=not self.descends if same else None)
                return

    @on(Unmount)
    def _gone(self) -> None:
        """Let the rows go at once: the widget itself stays until it is found to be garbage."""
        self._all, self._rows = [], []

    # -- painting --

    @on(Resize)
    def _resized(self) -> None:
        self._fit()

    def _shows(self, column: Column[Row]) -> bool:
        return self.size.width >= column.need

    def _spare(self, columns: Sequence[Column[Row]]) -> int:
        """Return how many cells of a line these columns leave."""
        return self.size.width - _MARK_WIDTH - sum(column.width for column in columns) - sum(_gaps(columns))

    def _fit(self) -> None:
        """Give each column its width, and the scroll bars their range."""
        shown = [column for column in self.columns if self._shows(column)]
        while (spare := self._spare(shown)) < 0 and any(column.need for column in shown):
            shown.remove(max(shown, key=lambda column: column.need))
        shares = sum(column.grow for column in shown) or 1
        self._plan = [
            (
                column,
                max(4, cells(column.title), column.width + spare * column.grow // shares)
                if column.grow
                else column.width,
                gap,
            )
            for column, gap in zip(shown, _gaps(shown), strict=True)
        ]
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        self.cursor = min(self.cursor, max(0, len(self._rows) - 1))
        self.refresh()

    def notify_style_update(self) -> None:
        """Take the styles anew: the theme has changed."""
        super().notify_style_update()
        self._paints.clear()

    def _style(self, *names: str) -> Style:
        if not names:
            return self.rich_style
        key = " ".join(names)
        if key not in self._paints:
            self._paints[key] = self.get_component_rich_style(*(f"table--{name}" for name in names))
        return self._paints[key]

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen: the titles, a row, or nothing."""
        width = self.size.width
        if y == 0:
            return self._head().adjust_cell_length(width, self._style("head"))
        number = y - 1 + round(self.scroll_offset.y)
        if number < len(self._rows):
            return self._line(number).adjust_cell_length(width, self._style(*self._ground(number)))
        if y == 1 and not self._rows:
            return Strip([Segment(plain(f"  {self.empty}", width), self._style("dim"))]).adjust_cell_length(
                width, self.rich_style
            )
        return Strip.blank(width, self.rich_style)

    def _ground(self, number: int) -> tuple[str, ...]:
        """Return the styles behind a row."""
        marked = ("marked",) if self.key(self._rows[number]) in self.marked else ()
        if number == self.cursor:
            return (*marked, "cursor" if self.has_focus else "blurred")
        return marked or (("odd",) if number % 2 else ())

    def _head(self) -> Strip:
        style, parts = self._style("head"), [" " * _MARK_WIDTH]
        for column, width, gap in self._plan:
            title, arrow = plain(column.title, width), ""
            if self.sorted_by is not None and column is self.columns[self.sorted_by]:
                arrow = "↓" if self.descends else "↑"
            if column.right:  # the arrow stands in the gap, so that the title is where it was
                parts.append(_padded(title, width, right=True) + arrow.ljust(gap))
            else:
                parts.append(_padded(title + arrow, width + gap, right=False))
        return Strip([Segment("".join(parts), style)])

    def _line(self, number: int) -> Strip:
        row, ground = self._rows[number], self._ground(number)
        base = self._style(*ground)
        segments = [Segment("▌ " if "marked" in ground else " " * _MARK_WIDTH, base)]
        for column, width, gap in self._plan:
            shown = column.show(row)
            text, tone = shown if isinstance(shown, tuple) else (shown, "")
            style = base + _foreground(self._style(tone)) if tone and "cursor" not in ground else base
            segments.append(Segment(_padded(plain(text, width), width, right=column.right) + " " * gap, style))
        return Strip(segments)

    def watch_has_focus(self, value: bool) -> None:
        """Show by the cursor's colour where keys go."""
        super().watch_has_focus(value)
        self.refresh()


def _gaps(columns: Sequence[Column[Any]]) -> list[int]:
    """Return the cells after each column: one more between what ends and what begins side by side."""
    following = [*columns[1:], None]
    return [
        2 * GAP if column.right and after is not None and not after.right else GAP
        for column, after in zip(columns, following, strict=True)
    ]


def _foreground(style: Style) -> Style:
    return Style(color=style.color, bold=style.bold, italic=style.italic)


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space
