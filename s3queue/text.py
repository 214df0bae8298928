"""Text from strangers (payloads, errors, names) made fit for a terminal and for one line."""

from __future__ import annotations

import unicodedata


def clean(text: str) -> str:
    r"""Return ``text`` with each character that does not print written as an escape (``\x1b``, ``\n``, ``\u202e``).

    What is left can neither move the cursor, nor colour or reorder what stands around it, nor forge a line.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def cells(text: str) -> int:
    """Return how many columns of a terminal printable ``text`` takes (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what there is of it: ``1 message``, ``2 messages``; ``many`` where an s is not enough."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cut(text: str, width: int) -> str:
    """Return ``text``, or as much of its beginning as fits into ``width`` columns with a mark where it was cut."""
    if cells(text) <= width and len(text) <= 4 * width:  # the second: combining marks take no column, but stack
        return text
    kept, room = [], width - 1
    for one in text[: 4 * width]:
        room -= cells(one)
        if room < 0:
            break
        kept.append(one)
    return "".join(kept) + "…"
