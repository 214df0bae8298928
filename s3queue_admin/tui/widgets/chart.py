"""Series of numbers as bars of a few cells, or as a plot with its scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from s3queue.text import cells
from s3queue_admin.text import plain
from s3queue_admin.tui.shown import rate

BARS: Final = " ▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int, *, top: float | None = None) -> str:
    """Return the last values in one line of ``width`` cells, the newest on the right.

    ``top`` is a full cell (default: the greatest). With more values than cells, a cell shows the greatest of its own.
    """
    return columns(values, width, 1, top=top)[0]


def columns(values: Sequence[float], width: int, height: int, *, top: float | None = None) -> list[str]:
    """Return the values as upright bars in ``height`` lines of ``width`` cells, the uppermost first."""
    shown = squeezed(values, width)
    most = max(shown, default=0.0) if top is None else top
    steps = len(BARS) - 1
    eighths = [
        max(1, min(height * steps, round(value / most * height * steps))) if value > 0 and most > 0 else 0
        for value in shown
    ]
    return [
        "".join(BARS[min(max(each - line * steps, 0), steps)] for each in eighths).rjust(width)
        for line in range(height - 1, -1, -1)
    ]


def squeezed(values: Sequence[float], width: int) -> list[float]:
    """Return ``width`` values at most: the greatest of each of as many equal stretches, which end with the newest."""
    if len(values) <= width or width <= 0:
        return list(values)[: max(width, 0)]
    step = -(-len(values) // width)
    first = len(values) % step
    stretches = [values[:first]] if first else []
    stretches += [values[at : at + step] for at in range(first, len(values), step)]
    return [max(stretch) for stretch in stretches][-width:]


class Chart(Widget):
    """A plot of one series in a box of its own: its title and newest value above, its scale on the left.

    ``unit`` writes a value. It takes whatever size the theme gives it, three lines at least.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--title", "chart--bars", "chart--scale"}

    def __init__(self, title: str, *, unit: Callable[[float], str] = rate, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title, self._unit = title, unit
        self._values: list[float] = []

    def set_values(self, values: Sequence[float], *, title: str | None = None) -> None:
        """Show these, oldest first."""
        self._values = list(values)
        self._title = self._title if title is None else title
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        width, height = self.size.width, self.size.height
        if y == 0:
            return self._head(width)
        most = max(self._values, default=0.0)
        labels = [self._unit(most) if most > 0 else "", self._unit(0)]
        margin = max(map(cells, labels))
        bars = columns(self._values, max(1, width - margin - 1), max(1, height - 1))
        label = labels[0] if y == 1 else labels[1] if y == height - 1 else ""
        if y > len(bars):
            return Strip.blank(width, self.rich_style)
        return Strip(
            [
                Segment(label.rjust(margin) + "│", self._paint("scale")),
                Segment(bars[y - 1], self._paint("bars")),
            ]
        ).adjust_cell_length(width, self.rich_style)

    def _head(self, width: int) -> Strip:
        now = self._unit(self._values[-1]) if self._values else "–"
        title = plain(self._title, max(1, width - cells(now) - 1))
        space = " " * max(1, width - cells(title) - cells(now))
        return Strip(
            [Segment(title + space, self._paint("title")), Segment(now, self._paint("bars"))]
        ).adjust_cell_length(width, self.rich_style)

    def _paint(self, name: str) -> Style:
        return self.get_component_rich_style(f"chart--{name}")
