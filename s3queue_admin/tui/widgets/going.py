"""What is under way: what is meant being looked for, or an action being done, with how far it is and how to stop it."""

from __future__ import annotations

from threading import Event
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import ScreenResume
from textual.screen import ModalScreen
from textual.widgets import Label, ProgressBar, Static


class Going(ModalScreen[None]):
    """Keeps keys from the screen below until :meth:`end`. ``stopping`` is set when Escape is hit; threads may look at it.

    ``total``: of how many, None if that is not known. ``leaves``: Escape closes it at once, as nothing is written yet.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "stop", show=False)]

    def __init__(self, title: str, *, total: int | None = None, leaves: bool = False) -> None:
        super().__init__()
        self._words, self._total, self._leaves = title, total, leaves
        self._ended = False
        self.stopping = Event()

    def compose(self) -> ComposeResult:
        """Make the dialog."""
        with Vertical(classes="dialog"):
            yield Label(self._words, classes="dialog--title", markup=False)
            yield ProgressBar(total=self._total or None, show_eta=False)
            yield Static("esc stops", classes="dim", id="told", markup=False)

    def tell(self, done: int, total: int | None = None) -> None:
        """Show how far it is."""
        if self.is_mounted and not self.stopping.is_set():
            if total:
                self.query_one(ProgressBar).update(total=total, progress=done)
            self.query_one("#told", Static).update(f"{done:,}{f' of {total:,}' if total else ' looked at'}; esc stops")

    def action_stop(self) -> None:
        """Stop after what is under way."""
        self.stopping.set()
        if self._leaves:
            self.end()
        else:
            self.query_one("#told", Static).update("stopping after what is under way …")

    def end(self) -> None:
        """Close it, at once or as soon as nothing lies above it."""
        self._ended = True
        self._close()

    @on(ScreenResume)
    def _resumed(self) -> None:
        self.call_later(self._close)

    def _close(self) -> None:
        if self._ended and self.is_current:
            self.dismiss()
