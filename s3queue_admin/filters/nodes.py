"""A filter as a tree: what it matches, in three values, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from s3queue_admin.filters.checks import Check
from s3queue_admin.filters.lexer import Literal, write_path, write_value, write_word
from s3queue_admin.filters.subject import Known, Subject


@dataclass(frozen=True, slots=True)
class Word:
    """A text to look for, upper and lower case alike, in id, reason, errors and payload."""

    text: str

    def test(self, known: Known) -> bool | None:
        """Whether it is there; None: not known yet."""
        return self.text.casefold() in known.everything if isinstance(known, Subject) else None

    def __str__(self) -> str:
        return write_word(self.text)


@dataclass(frozen=True, slots=True)
class Term:
    """A field, an operator and a value; ``check`` is what is asked of a message."""

    name: str
    path: tuple[str, ...]
    operator: str
    value: Literal
    check: Check = field(compare=False, repr=False)

    def test(self, known: Known) -> bool | None:
        """Whether it is true; None: not known yet."""
        return self.check(known)

    def __str__(self) -> str:
        return f"{self.name}{write_path(self.path)}{self.operator}{write_value(self.value)}"


@dataclass(frozen=True, slots=True)
class Not:
    """What the part does not match."""

    part: Node

    def test(self, known: Known) -> bool | None:
        """Whether the part does not match; None: not known yet."""
        found = self.part.test(known)
        return None if found is None else not found

    def __str__(self) -> str:
        if isinstance(self.part, Word | Term):
            return f"-{self.part}"
        return f"NOT {self.part}" if isinstance(self.part, Not) else f"NOT ({self.part})"


@dataclass(frozen=True, slots=True)
class And:
    """What all parts match; everything, if there are none."""

    parts: tuple[Node, ...]

    def test(self, known: Known) -> bool | None:
        """Whether all match; None: not known yet."""
        return _settle((part.test(known) for part in self.parts), decisive=False)

    def __str__(self) -> str:
        return " ".join(f"({part})" if isinstance(part, Or) else str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """What one of the parts matches."""

    parts: tuple[Node, ...]

    def test(self, known: Known) -> bool | None:
        """Whether one matches; None: not known yet."""
        return _settle((part.test(known) for part in self.parts), decisive=True)

    def __str__(self) -> str:
        return " OR ".join(map(str, self.parts))


Node = Word | Term | Not | And | Or


def _settle(found: Iterable[bool | None], *, decisive: bool) -> bool | None:
    """Return ``decisive`` as soon as a part is that; None if one is not known, else the other."""
    is_open = False
    for each in found:
        if each is decisive:
            return decisive
        is_open = is_open or each is None
    return None if is_open else not decisive


def joined(kind: Callable[[tuple[Node, ...]], And | Or], parts: list[Node]) -> Node:
    """Return the parts under one connective: one alone as it is, those of the same connective side by side."""
    flat: list[Node] = []
    for part in parts:
        flat += part.parts if isinstance(part, And | Or) and type(part) is kind else [part]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))
