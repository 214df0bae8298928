"""From text to filter: ``NOT`` and ``-`` bind tightest, then standing side by side (or ``AND``), then ``OR``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from s3queue.protocol.census import STATES
from s3queue.protocol.viewing import MessageView
from s3queue_admin.filters.checks import check_of
from s3queue_admin.filters.errors import FilterError
from s3queue_admin.filters.lexer import Lexer, Token
from s3queue_admin.filters.nodes import And, Node, Not, Or, Term, Word, joined
from s3queue_admin.filters.subject import Known, Subject

MAX_CHARS: Final = 10_000
MAX_DEPTH: Final = 50
"""How deep brackets and NOT may stand inside one another."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are meant. ``str`` of it is the filter in words again; two are equal that say the same in the same order."""

    root: Node
    text: str = field(default="", compare=False)

    def matches(self, view: MessageView, now_ms: int) -> bool:
        """Whether the message is meant, at ``now_ms`` (store time, in ms).

        Raises FilterError if a regular expression takes too long on it.
        """
        return self.root.test(Subject(view, now_ms)) is True

    @property
    def states(self) -> tuple[str, ...]:
        """The states that messages which match can be in: those in others need not be read."""
        return tuple(state for state in STATES if self.root.test(Known(state)) is not False)

    def admits(self, queue: str) -> bool:
        """Whether messages of the queue of that name can match: others need not be read."""
        return any(self.root.test(Known(state, queue)) is not False for state in STATES)

    @property
    def is_everything(self) -> bool:
        """Whether it is the empty filter, which matches every message."""
        return self.root == And(())

    def __and__(self, other: Filter) -> Filter:
        """Return what both match."""
        return _filter(joined(And, [self.root, other.root]))

    def __str__(self) -> str:
        return str(self.root)


def _filter(root: Node) -> Filter:
    return Filter(root, str(root))


def parse(text: str) -> Filter:
    """Return the filter that ``text`` writes, see docs/operator.md; the empty text matches every message.

    Raises FilterError, which says where and why, and nothing else whatever the text.
    """
    if not isinstance(text, str):
        raise FilterError(f"A filter is a text, not {type(text).__name__}.", text="", position=0)
    if len(text) > MAX_CHARS:
        raise FilterError(
            f"The filter has {len(text):,} characters, the limit is {MAX_CHARS:,}.", text=text, position=MAX_CHARS
        )
    return Filter(_Parser(text).parse(), text)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = Lexer(text).tokens()
        self._at = 0

    def parse(self) -> Node:
        if not self._tokens:
            return And(())
        root = self._either(0)
        if self._kind == ")":
            raise self._error("This bracket closes none.", "Remove it, or put ( where it begins.")
        return root

    @property
    def _kind(self) -> str:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else "end"

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _error(self, problem: str, remedy: str = "", token: Token | None = None) -> FilterError:
        here = self._tokens[self._at].position if self._at < len(self._tokens) else len(self._text)
        return FilterError(problem, text=self._text, position=token.position if token else here, remedy=remedy)

    def _either(self, depth: int) -> Node:
        parts = [self._both(depth)]
        while self._kind == "OR":
            self._next()
            parts.append(self._both(depth))
        return joined(Or, parts)

    def _both(self, depth: int) -> Node:
        parts = [self._one(depth)]
        while self._kind not in ("end", ")", "OR"):
            if self._kind == "AND":
                self._next()
            parts.append(self._one(depth))
        return joined(And, parts)

    def _one(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(f"More than {MAX_DEPTH} levels of brackets and NOT stand inside one another.")
        match self._kind:
            case "word":
                return Word(self._next().value.text)
            case "term":
                token = self._next()
                return Term(token.name, token.path, token.operator, token.value, check_of(token, self._text))
            case "NOT" | "-":
                self._next()
                return Not(self._one(depth + 1))
            case "(":
                return self._bracket(depth)
            case "AND" | "OR":
                raise self._error(f"There is nothing before {self._kind}.", "Put what it connects on both sides.")
        raise self._error("Here something is missing.", "Write a field, an operator and a value, or a word.")

    def _bracket(self, depth: int) -> Node:
        opening = self._next()
        if self._kind == ")":
            raise self._error("There is nothing in the brackets.", "Remove them.", opening)
        inner = self._either(depth + 1)
        if self._kind != ")":
            raise self._error("The bracket that opens here does not close.", "Add ) where it ends.", opening)
        self._next()
        return inner
