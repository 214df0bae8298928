"""A payload changed as JSON: what is typed is judged at once, and only what a queue takes can be saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Mount
from textual.screen import ModalScreen
from textual.widgets import Button, Label, Static, TextArea

from s3queue.core.payload import check_payload
from s3queue.errors import InvalidInput
from s3queue_admin.text import plain


@dataclass(frozen=True, slots=True)
class Edited:
    """A payload that was changed; a class, as any JSON value is one, null included."""

    payload: Any


class Editor(ModalScreen[Edited | None]):
    """Edits the payload of the message with this id, secrets included; None if it is left. ``limit``: bytes it may have."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", show=False, priority=True),
        Binding("escape", "leave", show=False, priority=True),
    ]

    def __init__(self, id_: str, payload: Any, limit: int) -> None:
        super().__init__()
        self._of, self._before, self._limit = id_, payload, limit
        self._asked = False

    def compose(self) -> ComposeResult:
        """Make the dialog."""
        with Vertical(classes="dialog editor"):
            yield Label(f"Payload of {plain(self._of, 60)}, secrets included", classes="dialog--title", markup=False)
            yield TextArea(json_lines(self._before), soft_wrap=True, show_line_numbers=True, tab_behavior="indent")
            yield Static(id="verdict")
            with Horizontal(classes="dialog--buttons"):
                yield Button("Leave (esc)", id="leave", compact=True)
                yield Button("Replay with this … (^s)", id="save", variant="primary", compact=True)

    @on(Mount)
    def _begin(self) -> None:
        self.query_one(TextArea).focus()
        self._judge()

    @on(TextArea.Changed)
    def _changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._asked = False
        self._judge()

    def _judge(self) -> Edited | None:
        """Tell whether what is typed can be saved, and return it if so."""
        verdict, save = self.query_one("#verdict", Static), self.query_one("#save", Button)
        try:
            payload = read_json(self.query_one(TextArea).text, self._limit)
        except InvalidInput as error:
            save.disabled = True
            verdict.update(Text(f"▲ {plain(error, 300)}"))
            verdict.set_classes("wrong")
            return None
        same = json.dumps(payload) == json.dumps(self._before)
        save.disabled = same
        verdict.update("nothing is changed yet" if same else "this is a payload")
        verdict.set_classes("dim" if same else "right")
        return None if same else Edited(payload)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "save":
            self.action_save()
        else:
            self.action_leave()

    def action_save(self) -> None:
        """Take what is typed, if it is a payload."""
        edited = self._judge()
        if edited is not None:
            self.dismiss(edited)

    def action_leave(self) -> None:
        """Leave; at the second time, if something was changed."""
        if self._asked or self.query_one(TextArea).text == json_lines(self._before):
            self.dismiss(None)
            return
        self._asked = True
        self.query_one("#verdict", Static).update("What you typed will be lost: esc again to leave.")


def json_lines(value: Any) -> str:
    r"""Return a value as JSON for people, what does not print written as ``\u202e``: reading it gives the same value."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        letter if letter == "\n" or letter.isprintable() else json.dumps(letter).strip('"') for letter in text
    )


def read_json(text: str, limit: int) -> Any:
    """Return the payload that is written; InvalidInput, with where, if it is none that a queue takes."""
    try:
        payload = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise InvalidInput("It is nested too deeply.") from None
    except InvalidInput:
        raise
    except ValueError as error:  # a number that has more digits than Python reads
        raise InvalidInput(f"{error}.") from None
    check_payload(payload, limit)
    return payload


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise InvalidInput(f"The key {key!r} stands twice in an object.")
        made[key] = value
    return made
