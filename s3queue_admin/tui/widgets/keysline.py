"""The keys of the screen, in one line: what can be done here and now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import on
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from s3queue.text import cells
from s3queue_admin.tui.actions import Action


class KeysLine(Widget):
    """Shows the actions that have a hint, as many as fit; a click does what it is on. Writes are left out if not allowed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key", "keys--danger", "keys--title"}

    def __init__(self, actions: Sequence[Action], *, write: bool) -> None:
        super().__init__()
        self._actions = [action for action in actions if action.hint and (write or not action.write)]

    def _spots(self) -> list[tuple[int, int, Action]]:
        """Return from where to where each action stands."""
        spots, left = [], 1
        for action in self._actions:
            width = cells(action.shown_key) + 1 + cells(action.title)
            if left + width > self.size.width:
                break
            spots.append((left, left + width, action))
            left += width + 2
        return spots

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        ground = self.rich_style
        segments = [Segment(" ", ground)]
        for _, _, action in self._spots() if y == 0 else ():
            tone = "danger" if action.destructive else "key"
            segments.append(Segment(action.shown_key, self.get_component_rich_style(f"keys--{tone}")))
            segments.append(Segment(f" {action.title}", self.get_component_rich_style("keys--title")))
            segments.append(Segment("  ", ground))
        return Strip(segments).adjust_cell_length(self.size.width, ground)

    @on(Click)
    async def _clicked(self, event: Click) -> None:
        event.stop()
        for start, end, action in self._spots():
            if start <= event.x < end:
                await self.screen.run_action(f"do('{action.name}')")
