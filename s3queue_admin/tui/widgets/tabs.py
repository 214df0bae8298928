"""States and how many messages are in each, in one line: one of them is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import on
from textual.events import Click
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from s3queue.text import cells
from s3queue_admin.text import plain
from s3queue_admin.tui.shown import number


class TabsLine(Widget):
    """One line of names with numbers, then a note. Posts :class:`Picked` when another is chosen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tabs--tab", "tabs--chosen", "tabs--note"}

    class Picked(Message):
        """Another tab is chosen."""

        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.names, self.chosen = tuple(names), names[0]
        self.note = ""
        self._counts: Mapping[str, int] = {}

    def tell(self, counts: Mapping[str, int] | None = None, note: str | None = None) -> None:
        """Show these numbers beside the names, and this note on the right; None leaves what is there."""
        self._counts = self._counts if counts is None else counts
        self.note = self.note if note is None else note
        self.refresh()

    def choose(self, name: str) -> None:
        """Choose the tab of that name."""
        if name != self.chosen:
            self.chosen = name
            self.refresh()
            self.post_message(self.Picked(name))

    def step(self, by: int) -> None:
        """Choose the next tab, or the one before."""
        self.choose(self.names[(self.names.index(self.chosen) + by) % len(self.names)])

    def _spots(self) -> list[tuple[int, str, str]]:
        spots, left = [], 0
        for name in self.names:
            count = self._counts.get(name)
            text = f" {name} " if count is None else f" {name} {number(count)} "
            spots.append((left, name, text))
            left += cells(text)
        return spots

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        ground, width = self.rich_style, self.size.width
        if y:
            return Strip.blank(width, ground)
        segments = [
            Segment(text, self.get_component_rich_style("tabs--chosen" if name == self.chosen else "tabs--tab"))
            for _, name, text in self._spots()
        ]
        used = sum(cells(segment.text) for segment in segments)
        note = plain(self.note, max(1, width - used - 2)) if self.note and width - used > 6 else ""
        segments.append(Segment(" " * max(0, width - used - cells(note) - 1), ground))
        segments.append(Segment(note + " ", self.get_component_rich_style("tabs--note")))
        return Strip(segments).adjust_cell_length(width, ground)

    @on(Click)
    def _clicked(self, event: Click) -> None:
        event.stop()
        for left, name, text in self._spots():
            if left <= event.x < left + cells(text):
                self.choose(name)
