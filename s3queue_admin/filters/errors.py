"""The one error of filters."""

from __future__ import annotations

from s3queue.errors import InvalidInput
from s3queue.text import cells, clean

_AROUND = 60
"""How many characters of a long filter are shown on each side of the place."""


class FilterError(InvalidInput):
    """A filter that cannot be read, or whose pattern takes too long: ``position`` (from 0) of ``text`` is where.

    ``problem`` and ``remedy`` say what is wrong; the message has a line that points at the place as well.
    """

    def __init__(self, problem: str, *, text: str, position: int, remedy: str = "") -> None:
        self.problem, self.text, self.position = problem, text, min(max(position, 0), len(text))
        super().__init__(problem, remedy=remedy)
        self.args = (f"{problem} {remedy}".strip() + "\n" + _pointed(text, self.position),)


def _pointed(text: str, position: int) -> str:
    """Return the text around the place, on one line, and a caret below it."""
    start, end = max(0, position - _AROUND), position + _AROUND
    before = ("…" if start else "") + clean(text[start:position])
    after = clean(text[position:end]) + ("…" if end < len(text) else "")
    return f"  {before}{after}\n  {' ' * cells(before)}^"
