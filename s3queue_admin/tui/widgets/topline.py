"""The first line: where the bucket is, which screen this is, of which queue, by which filter."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from s3queue.text import cells, cut
from s3queue_admin.text import plain


class TopLine(Widget):
    """One line; :meth:`tell` paints it anew."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"top--name", "top--place", "top--title", "top--filter"}

    parts: tuple[str, str, str, str] = ("", "", "", "")

    def tell(self, place: str, title: str, queue: str, chosen: str) -> None:
        """Show this: the bucket, the screen, the queue ('' for all) and the filter ('' for none)."""
        self.parts = (place, title, queue, chosen)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        width, ground = self.size.width, self.rich_style
        if y:
            return Strip.blank(width, ground)
        place, title, queue, chosen = (plain(part) for part in self.parts)
        shown = f" {queue} · {title} " if queue else f" {title} "
        filter_text = f" /{chosen} " if chosen else ""
        name = " s3queue "
        room = width - cells(name) - cells(shown) - 1
        filter_text = cut(filter_text, max(1, room)) if filter_text else ""
        room -= cells(filter_text)
        where = cut(place, room) if room > 8 else ""
        segments = [
            Segment(name, self.get_component_rich_style("top--name")),
            Segment(shown, self.get_component_rich_style("top--title")),
            Segment(filter_text, self.get_component_rich_style("top--filter")),
            Segment(" " * max(0, room - cells(where)), ground),
            Segment(where, self.get_component_rich_style("top--place")),
        ]
        return Strip(segments).adjust_cell_length(width, ground)
