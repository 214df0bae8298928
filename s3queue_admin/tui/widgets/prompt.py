"""A line that is typed into at the foot of a screen, with what can be completed, or what is wrong, right below it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from s3queue.text import cells, cut
from s3queue_admin.text import plain


class _Line(Input):
    """The line itself: Tab takes the first completion, Escape leaves, keys of the screen are letters here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "take", show=False, priority=True),
        Binding("escape", "leave", show=False, priority=True),
    ]

    def action_take(self) -> None:
        """Complete the word."""
        self.post_message(Prompt.Take())

    def action_leave(self) -> None:
        """Leave the line."""
        self.post_message(Prompt.Leave())


class Prompt(Vertical):
    """A prompt that is opened and closed; subclasses say what completes, what is wrong, and what is done."""

    class Take(Message):
        """The first completion is wanted."""

    class Leave(Message):
        """The operator leaves without a word."""

    class Closed(Message):
        """The prompt is closed; the screen may have the keys back."""

    def __init__(self, sign: str, *, hint: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._sign, self._hint = sign, hint
        self.display = False

    def compose(self) -> ComposeResult:
        """Make the line and what stands below it."""
        with Horizontal(classes="prompt--row"):
            yield Label(self._sign, classes="prompt--sign")
            yield _Line(placeholder=self._hint, compact=True, select_on_focus=False)
        yield Static(classes="prompt--note")

    # -- for subclasses --

    def candidates(self, text: str, cursor: int) -> tuple[int, list[str]]:  # noqa: ARG002 - for subclasses
        """Return where the word begins that ends at the cursor, and what may stand in its place, best first."""
        return cursor, []

    def judge(self, text: str) -> tuple[int, str] | None:  # noqa: ARG002 - for subclasses
        """Return at which character what is wrong with the text, None if nothing is."""
        return None

    def typed(self, text: str) -> None:
        """Take note of a text that was typed and is right."""

    def said(self, text: str) -> bool:  # noqa: ARG002 - for subclasses
        """Do what the text says, which is right; return whether to close the prompt."""
        return True

    def left(self) -> None:
        """Take note that the operator leaves without a word."""

    # -- opening and closing --

    @property
    def line(self) -> Input:
        """The line that is typed into."""
        return self.query_one(_Line)

    def open(self, text: str = "") -> None:
        """Show the prompt with this text, and give it the keys."""
        self.display = True
        self.line.value = text
        self.line.cursor_position = len(text)
        self.screen.set_focus(self.line)  # at once, unlike focus(): the next key may be here already
        self._note(text)

    def close(self) -> None:
        """Hide it; the keys go back to the screen."""
        self.display = False
        self.post_message(self.Closed())

    @on(Leave)
    def _left(self, event: Leave) -> None:
        event.stop()
        self.left()
        self.close()

    # -- typing --

    @on(Take)
    def _complete(self, event: Take) -> None:
        event.stop()
        line = self.line
        start, found = self.candidates(line.value, line.cursor_position)
        if found:
            rest = line.value[line.cursor_position :]
            line.value = line.value[:start] + found[0] + rest
            line.cursor_position = start + len(found[0])

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display and self._note(event.value):
            self.typed(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.judge(event.value) is not None:
            self._note(event.value, final=True)
        elif self.said(event.value):
            self.close()

    def _note(self, text: str, *, final: bool = False) -> bool:
        """Show what is wrong, or what may come next; return whether the text is right.

        While a word is being typed that can be completed, it is not called wrong.
        """
        note, wrong = self.query_one(".prompt--note", Static), self.judge(text)
        _, found = self.candidates(text, self.line.cursor_position)
        note.set_class(wrong is not None and (final or not found), "-wrong")
        if wrong is not None and (final or not found):
            note.update(_pointing(text, *wrong, indent=cells(self._sign) + 1, width=max(20, self.size.width - 2)))
        else:
            note.update(Text(cut("  ".join(plain(each, 40) for each in found[:20]), max(20, self.size.width - 4))))
        return wrong is None


def _pointing(text: str, position: int, problem: str, *, indent: int, width: int) -> Text:
    """Return a caret below the character, and the problem beside it, or below it if there is no room."""
    before = min(indent + cells(plain(text[:position])), width - 2)
    problem = plain(problem)
    if before + 2 + cells(problem) <= width:
        return Text(f"{' ' * before}^ {problem}")
    return Text(f"{' ' * before}^\n{problem}")
