"""A value on a line that is moved by keys and mouse, or typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from textual import on
from textual.binding import Binding, BindingType
from textual.events import Click, Key
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from s3queue.text import cells
from s3queue_admin.text import plain

Value = float | str
LABEL: Final = 13
SHOWN: Final = 11
_MOST_TYPED: Final = 9


class Slider(Widget, can_focus=True):
    """One of ``steps``, in their order; where these are numbers, any between the first and the last can be typed.

    ``show`` writes a value. Left and right move by a step, home and end to the ends, up and down to another slider;
    digits type a value, which counts at once. Posts :class:`Changed` with each other value.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"slider--label", "slider--line", "slider--knob", "slider--value"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", show=False),
        Binding("right,l", "step(1)", show=False),
        Binding("home", "step(-1000)", show=False),
        Binding("end", "step(1000)", show=False),
        Binding("up,k", "app.focus_previous", show=False),
        Binding("down,j", "app.focus_next", show=False),
    ]

    class Changed(Message):
        """Another value was chosen."""

        def __init__(self, slider: Slider) -> None:
            self.slider = slider
            super().__init__()

    def __init__(
        self,
        label: str,
        steps: Sequence[Value],
        value: Value,
        *,
        show: Callable[[Value], str] = str,
        whole: bool = False,
        id: str,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.steps, self.value = tuple(steps), value
        self._label, self._show, self._whole = label, show, whole
        self._typed = ""

    @property
    def is_number(self) -> bool:
        """Whether a value can be typed."""
        return not isinstance(self.steps[0], str)

    def choose(self, value: Value) -> None:
        """Set the value; what is typed is forgotten."""
        self._typed = ""
        self._set(value)

    def _set(self, value: Value) -> None:
        if value != self.value:
            self.value = value
            self.post_message(self.Changed(self))
        self.refresh()

    def _place(self) -> int:
        """Return the number of the step that the value is at, or else of the last one below it."""
        if self.value in self.steps or not self.is_number:
            return self.steps.index(self.value)
        return max((at for at, step in enumerate(self.steps) if step < self.value), default=0)  # type: ignore[operator]

    def action_step(self, by: int) -> None:
        """Move by so many steps; from between two, to the next one."""
        at = self._place()
        if by < 0 and self.value != self.steps[at]:
            at += 1
        self.choose(self.steps[min(max(at + by, 0), len(self.steps) - 1)])

    @on(Key)
    def _type(self, event: Key) -> None:
        if not self.is_number:
            return
        if event.key == "backspace":
            typed = self._typed[:-1]
        elif event.character and (event.character.isdigit() or (event.character == "." and not self._whole)):
            typed = self._typed + event.character
        else:
            return
        event.stop()
        self._typed = typed[:_MOST_TYPED]
        value = _number(self._typed, whole=self._whole)
        if value is not None and self.steps[0] <= value <= self.steps[-1]:  # type: ignore[operator]
            self._set(value)
        self.refresh()

    def on_blur(self) -> None:
        """Forget what is half typed."""
        self._typed = ""
        self.refresh()

    @on(Click)
    def _clicked(self, event: Click) -> None:
        event.stop()
        track = self._track()
        at = event.x - LABEL
        if 0 <= at < track:
            self.choose(self.steps[round(at / max(1, track - 1) * (len(self.steps) - 1))])

    def _track(self) -> int:
        return max(4, self.size.width - LABEL - SHOWN - 1)

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        width, ground = self.size.width, self.rich_style
        if y:
            return Strip.blank(width, ground)
        track = self._track()
        at = round(self._place() / max(1, len(self.steps) - 1) * (track - 1))
        shown = plain(f"{self._typed}▏" if self._typed else self._show(self.value), SHOWN)
        paint = self.get_component_rich_style
        return Strip(
            [
                Segment(
                    f"{'▸' if self.has_focus else ' '}{plain(self._label, LABEL - 2)}".ljust(LABEL),
                    paint("slider--label"),
                ),
                Segment("─" * at, paint("slider--line")),
                Segment("●", paint("slider--knob")),
                Segment("─" * (track - at - 1), paint("slider--line")),
                Segment(" " * (SHOWN + 1 - cells(shown)) + shown, paint("slider--value")),
            ]
        ).adjust_cell_length(width, ground)

    def watch_has_focus(self, value: bool) -> None:
        """Show where keys go."""
        super().watch_has_focus(value)
        self.refresh()


def _number(text: str, *, whole: bool) -> float | None:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None
