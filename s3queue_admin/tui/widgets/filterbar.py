"""The filter of a list: typed with completion, judged as it is typed, kept when the line is closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.message import Message

from s3queue_admin.filters import Filter, FilterError, completions, parse, word_start
from s3queue_admin.tui.widgets.prompt import Prompt


class FilterBar(Prompt):
    """Posts :class:`Changed` with each filter that is right. ``known``: values of fields, for completion."""

    class Changed(Message):
        """There is another filter; ``final``: Enter was hit, else it is still being typed."""

        def __init__(self, chosen: Filter, *, final: bool) -> None:
            self.chosen, self.final = chosen, final
            super().__init__()

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__("/", hint="state:dead error~timeout age>10m payload.user.id=42", id=id)
        self.known: Mapping[str, Iterable[str]] = {}
        self.chosen = self._kept = parse("")

    def candidates(self, text: str, cursor: int) -> tuple[int, list[str]]:
        """Return what may stand where the cursor is."""
        return word_start(text, cursor), completions(text, cursor, values=self.known)

    def judge(self, text: str) -> tuple[int, str] | None:
        """Return what is wrong with the filter, and where."""
        try:
            parse(text)
        except FilterError as error:
            return error.position, f"{error.problem} {error.remedy}".strip()
        return None

    def open(self, text: str = "") -> None:
        """Show the line with the filter that there is."""
        self._kept = parse(text)
        super().open(text)

    def left(self) -> None:
        """Take back what was only tried."""
        self.choose(self._kept)

    def typed(self, text: str) -> None:
        """Try the filter while it is typed."""
        self._choose(text, final=False)

    def said(self, text: str) -> bool:
        """Keep the filter."""
        self._choose(text, final=True)
        return True

    def choose(self, chosen: Filter) -> None:
        """Set the filter, as if it had been typed."""
        self._choose(str(chosen), final=True)

    def _choose(self, text: str, *, final: bool) -> None:
        self.chosen = parse(text)
        self.post_message(self.Changed(self.chosen, final=final))
