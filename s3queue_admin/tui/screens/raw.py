"""An object of the bucket as it is, secrets hidden."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Mount
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from s3queue.errors import S3QueueError
from s3queue.store.metered import Meter
from s3queue.store.port import fetch
from s3queue_admin.text import lines, plain
from s3queue_admin.tui.shown import bytes_text
from s3queue_admin.tui.source import Source

if TYPE_CHECKING:
    from s3queue_admin.text import Redactor

MOST = 200_000
"""Characters that are shown."""


class Raw(ModalScreen[None]):
    """Reads the object at ``key`` in a thread, and shows it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,y,q", "dismiss", show=False)]

    def __init__(self, source: Source, key: str) -> None:
        super().__init__()
        self._source, self._key = source, key

    def compose(self) -> ComposeResult:
        """Make the dialog."""
        with VerticalScroll(classes="dialog -wide"):
            yield Label(plain(self._key), markup=False, classes="dialog--title")
            yield Static("reading …", markup=False, id="object")

    @on(Mount)
    def _begin(self) -> None:
        self.run_worker(self._read, thread=True, exit_on_error=False)

    def _read(self) -> None:
        text = read_object(self._source, self._key)
        self.app.call_from_thread(self._show, text)

    def _show(self, text: str) -> None:
        if self.is_mounted:
            self.query_one("#object", Static).update(text)


def read_object(source: Source, key: str) -> str:
    """Return an object for people: JSON indented, secrets hidden; what is no JSON by its size; or why there is none."""
    meter = Meter()
    try:
        body = fetch(source.bucket.bare(source.bucket.prefix, meter), key).body
    except S3QueueError as error:
        return plain(error)
    finally:
        source.spend(meter.snapshot())
    return object_text(body, source.bucket.redactor)


def object_text(body: bytes, redactor: Redactor) -> str:
    """Return the bytes of an object for people."""
    if body[:2] == b"\x1f\x8b":
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, 20 * MOST)
        except zlib.error:
            return f"{bytes_text(len(body))} that look like gzip, and are not."
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return f"{bytes_text(len(body))}, no JSON: {plain(body[:500])}"
    text = lines(json.dumps(redactor.value(value), indent=2, ensure_ascii=False))
    return text if len(text) <= MOST else f"{text[:MOST]}\n… {len(text) - MOST:,} more characters"
