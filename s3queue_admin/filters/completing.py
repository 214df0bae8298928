"""What can stand where the cursor is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from s3queue_admin.filters.fields import FIELDS, STATE_WORDS, Field
from s3queue_admin.filters.lexer import CONNECTIVES, Literal, write_value

_TERM = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(!=|>=|<=|[:~=<>])(.*)", re.DOTALL)
_EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "duration": ("1m", "10m", "1h", "1d"),
    "size": ("1kb", "100kb", "1mb"),
    "time": ("-10m", "-1h", "-1d"),
    "number": ("1", "3", "5"),
}


def word_start(text: str, cursor: int | None = None) -> int:
    """Return where the word begins that ends at the cursor (default: the end), without a ``-`` before it."""
    upto, start, quote = text[:cursor], 0, ""
    for at, one in enumerate(upto):
        if quote:
            quote = "" if one == quote else quote
        elif one in "\"'" and (at == start or upto[at - 1] in ":~=<>.-"):
            quote = one
        elif one.isspace() or one in "()":
            start = at + 1
    return start + upto.startswith("-", start)


def completions(
    text: str, cursor: int | None = None, *, values: Mapping[str, Iterable[str]] | None = None
) -> list[str]:
    """Return what may stand in place of the word at the cursor, from :func:`word_start` to the cursor; best first.

    ``values``: what is known of fields whose values are free, such as ``{"queue": ["emails"], "worker": […]}``.
    """
    word = text[word_start(text, cursor) : cursor]
    match = _TERM.fullmatch(word)
    if match is None:
        return _names(word)
    field = FIELDS.get(match[1])
    if field is None:
        return []
    begun = match[3].strip("\"'").lower()
    found = [each for each in _values(field, values or {}) if each.lower().startswith(begun)]
    return [f"{match[1]}{match[2]}{_written(each)}" for each in found]


def _names(word: str) -> list[str]:
    found = [name + _operator(field) for name, field in FIELDS.items() if name.startswith(word.lower())]
    return found + [each for each in CONNECTIVES if word and each.startswith(word)]


def _operator(field: Field) -> str:
    if field.kind in ("payload", "headers"):
        return "."
    if field.name in ("error", "traceback", "reason"):
        return "~"
    return ">" if field.kind in ("duration", "size", "time") else ">=" if field.kind == "number" else ":"


def _values(field: Field, values: Mapping[str, Iterable[str]]) -> Iterable[str]:
    if field.kind == "state":
        return STATE_WORDS
    return values.get(field.name) or _EXAMPLES.get(field.kind, ())


def _written(value: str) -> str:
    return write_value(Literal(value, 0, quoted=re.search(r"[\s()\"']", value) is not None or not value))
