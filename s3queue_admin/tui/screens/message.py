"""All about one message: its payload, its attempts and errors, where it lies, and why it is where it is."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from s3queue.protocol.viewing import MessageView
from s3queue_admin.actions import Result
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.stalls import Explanation, explain
from s3queue_admin.tui.acting import Acting, Where
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens import told
from s3queue_admin.tui.widgets.payload import PayloadTree


class MessageScreen(Acting):
    """One message: as it was read (``view``), or to be looked up by its id.

    Why it is where it is, is asked when the screen opens, and again by r.
    """

    NAME = "message"
    BINDINGS: ClassVar[list[BindingType]] = bindings("message")
    AUTO_FOCUS = "PayloadTree"

    def __init__(self, queue: str, *, view: MessageView | None = None, message_id: str = "") -> None:
        super().__init__(queue)
        self._of = view.id if view is not None else message_id
        self._view = view
        self._told: Explanation | None = None

    def body(self) -> ComposeResult:
        """Make the panes: what it is on the left, what happened to it on the right; below each other where it is narrow.

        Each begins with what is looked for first: the payload, and the last error.
        """
        yield Static(id="state", markup=False)
        with Horizontal(id="panes"):
            with VerticalScroll(id="what", can_focus=False):
                yield PayloadTree(id="payload")
                yield Static(id="headers", markup=False)
                yield Static(id="why", markup=False)
                yield Static(id="facts", markup=False)
            with VerticalScroll(id="past"):
                yield Static(id="last", markup=False)
                yield Static(id="timeline", markup=False)
                yield Static(id="errors", markup=False)

    def on_mount(self) -> None:
        """Show what is known, and ask for the rest."""
        if self._view is not None:
            self._show_view(self._view)
        self._explain()

    def title_text(self) -> str:
        """Return which message it is."""
        return f"message {self._of}"

    def show(self, snapshot: BucketSnapshot) -> None:
        """Leave the message as it was read."""

    def _explain(self) -> None:
        self.query_one("#why", Static).update(Content("why: asking …"))
        source, id_ = self.board.source, self._of
        self.ask("explain", lambda stop: explain(source.queue(self.queue), id_), self._show_told)  # noqa: ARG005

    def _show_told(self, found: Explanation) -> None:
        self._told = found
        redactor = self.board.source.bucket.redactor
        self.query_one("#why", Static).update(told.why(found, redactor))
        if found.view is not None:
            self._show_view(found.view)
        else:
            facts = self.query_one("#facts", Static)
            redacted = redactor.view(self._view) if self._view is not None else None
            self.query_one("#state", Static).update(
                Content.assemble((f"{found.state}, not there any more", "bold $warning"))
            )
            facts.update(told.missing(self._of, found, redacted, self.board.source.now()))

    def refused(self, what: str, error: Exception) -> None:
        """Say beside what is known that the rest could not be found out."""
        self.query_one("#why", Static).update(told.unknown(error))
        super().refused(what, error)

    def _show_view(self, view: MessageView) -> None:
        self._view = view
        shown = self.board.source.bucket.redactor.view(view)
        now = self.board.source.now()
        self.query_one("#state", Static).update(told.state(shown, now))
        self.query_one("#facts", Static).update(told.facts(shown, now))
        self.query_one(PayloadTree).set_value(shown.payload)
        self.query_one("#headers", Static).update(told.headers(shown))
        last, lines = self.query_one("#last", Static), told.last_error(shown)
        last.update(lines)
        last.display = bool(lines)
        self.query_one("#timeline", Static).update(told.timeline(shown, now))
        self.query_one("#errors", Static).update(told.errors(shown))

    # -- actions --

    def chosen(self) -> Where:
        """Return the message."""
        return [self._of]

    def acted(self, result: Result) -> None:
        """Ask anew where it is."""
        super().acted(result)
        self._explain()

    def do_raw(self) -> None:
        """Show the object in which it lies."""
        if self._view is not None:
            self.board.show_object(self._view.key)

    def do_refresh(self) -> None:
        """Ask anew where it is, and look at the bucket."""
        self.board.do_refresh()
        self._explain()

    def do_pane(self) -> None:
        """Give the other pane the keys."""
        tree, past = self.query_one(PayloadTree), self.query_one("#past")
        (past if tree.has_focus else tree).focus()
