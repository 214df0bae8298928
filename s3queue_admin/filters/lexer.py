"""From a filter's text to words: quotes, brackets, and what stands on either side of an operator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from s3queue_admin.filters.errors import FilterError

OPERATORS: Final = ("!=", ">=", "<=", ":", "~", "=", ">", "<")
"""Longer ones first: ``>=`` is not ``>`` and a value that begins with ``=``."""
CONNECTIVES: Final = ("AND", "OR", "NOT")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BARE_END = re.compile(r"[\s()]")
_SEGMENT_END = re.compile(r"[\s().\"':~=<>!]")
_BARE = re.compile(r"[^\s()\"'-][^\s()]*")
_BARE_SEGMENT = re.compile(r"[^\s().\"':~=<>!]+")
_STARTS_TERM = re.compile(r"""(?:[A-Za-z_][A-Za-z0-9_-]*(?:\.[^\s().\"':~=<>!]*)*)?(?:[:~=<>]|!=|(?<=\.)["'])""")


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it was written: ``quoted`` ones are never numbers, and may be empty; ``regex``: it stood between slashes."""

    text: str
    position: int = field(compare=False)
    quoted: bool = False
    regex: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a filter. ``kind``: ``(``, ``)``, ``AND``, ``OR``, ``NOT``, ``-``, ``word`` or ``term``.

    A term has ``name``, ``path`` (what follows it after dots), ``operator`` and ``value``; a word has a ``value``.
    """

    kind: str
    position: int
    value: Literal = Literal("", 0)
    name: str = ""
    path: tuple[str, ...] = ()
    operator: str = ""
    operator_at: int = 0


class Lexer:
    """Reads a filter's text word by word; FilterError where it cannot go on."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def tokens(self) -> list[Token]:
        """Return all words."""
        found: list[Token] = []
        while True:
            self._skip_space()
            if self._at >= len(self._text):
                return found
            found.append(self._token())

    def _skip_space(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _token(self) -> Token:
        start, first = self._at, self._text[self._at]
        if first in "()":
            self._at += 1
            return Token(first, start)
        if first == "-" and self._at + 1 < len(self._text) and not self._text[self._at + 1].isspace():
            self._at += 1
            return Token("-", start)
        if first in "\"'":
            token = Token("word", start, self._quoted())
            self._expect_end()
            return token
        if _STARTS_TERM.match(self._text, start):
            return self._term()
        bare = self._bare()
        if bare.text in CONNECTIVES:
            return Token(bare.text, start)
        if bare.text.upper() in CONNECTIVES:
            raise self._error(
                f"{bare.text!r} may be a word to look for or a connective.",
                start,
                f'Write {bare.text.upper()} to connect, "{bare.text}" in quotes to look for it.',
            )
        return Token("word", start, bare)

    def _term(self) -> Token:
        start = self._at
        match = _NAME.match(self._text, start)
        name = match.group() if match else ""
        self._at += len(name)
        path = []
        while name and self._text.startswith(".", self._at):
            self._at += 1
            path.append(self._segment())
        operator_at = self._at
        operator = next((each for each in OPERATORS if self._text.startswith(each, operator_at)), "")
        if not operator:
            raise self._error(
                f"After {self._text[start:operator_at]!r} an operator is missing.",
                operator_at,
                f"Use one of {' '.join(sorted(OPERATORS))}, or quotes to look for the word itself.",
            )
        if not name:
            raise self._error(
                f"There is no field before {operator!r}.",
                operator_at,
                "Write field, operator and value without spaces: age>10m; quotes look for the text itself.",
            )
        self._at += len(operator)
        return Token("term", start, self._value(operator), name, tuple(path), operator, operator_at)

    def _segment(self) -> str:
        start = self._at
        if self._text[start : start + 1] in ('"', "'"):
            return self._quoted().text
        match = _SEGMENT_END.search(self._text, start)
        self._at = match.start() if match else len(self._text)
        if self._at == start:
            raise self._error("After the dot a name is missing.", start, "Write payload.user.id, payload.list.0.")
        return self._text[start : self._at]

    def _value(self, operator: str) -> Literal:
        start = self._at
        first = self._text[start : start + 1]
        if operator == "~" and first == "/":
            return self._regex()
        if first in ('"', "'"):
            value = self._quoted()
            self._expect_end()
            return value
        if not first or _BARE_END.match(first):
            raise self._error(
                f"After {operator!r} a value is missing.", start, f'Write it without a space; {operator}"" is empty.'
            )
        return self._bare()

    def _bare(self) -> Literal:
        start = self._at
        match = _BARE_END.search(self._text, start)
        self._at = match.start() if match else len(self._text)
        return Literal(self._text[start : self._at], start)

    def _quoted(self) -> Literal:
        start, quote = self._at, self._text[self._at]
        kept: list[str] = []
        self._at = start + 1
        while self._at < len(self._text):
            one = self._text[self._at]
            following = self._text[self._at + 1 : self._at + 2]
            if one == "\\" and following in ("\\", '"', "'"):
                kept.append(following)
                self._at += 2
            elif one == quote:
                self._at += 1
                return Literal("".join(kept), start, quoted=True)
            else:
                kept.append(one)
                self._at += 1
        raise self._error("The quotes that begin here do not end.", start, f"Add {quote}.")

    def _regex(self) -> Literal:
        start = self._at
        kept: list[str] = []
        self._at = start + 1
        while self._at < len(self._text):
            one = self._text[self._at]
            if one == "/":
                self._at += 1
                self._expect_end()
                return Literal("".join(kept), start, regex=True)
            if one == "\\" and self._at + 1 < len(self._text):
                following = self._text[self._at + 1]
                kept.append(following if following == "/" else one + following)
                self._at += 2
            else:
                kept.append(one)
                self._at += 1
        raise self._error("The regular expression that begins here does not end.", start, "Add / at its end.")

    def _expect_end(self) -> None:
        if self._at < len(self._text) and not _BARE_END.match(self._text[self._at]):
            raise self._error("Here a space is missing.", self._at, "Put one between two words of the filter.")

    def _error(self, problem: str, position: int, remedy: str) -> FilterError:
        return FilterError(problem, text=self._text, position=position, remedy=remedy)


def write_word(text: str) -> str:
    """Return a word to look for as it is read back."""
    bare = _BARE.fullmatch(text) and not _STARTS_TERM.match(text) and text.upper() not in CONNECTIVES
    return text if bare else _quote(text)


def write_value(value: Literal) -> str:
    """Return the value of a term as it is read back."""
    if value.regex:
        return "/" + re.sub(r"(\\.)|/", lambda match: match[1] or "\\/", value.text, flags=re.DOTALL) + "/"
    return _quote(value.text) if value.quoted else value.text


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_path(path: tuple[str, ...]) -> str:
    """Return the segments of a path, each after its dot."""
    return "".join("." + (each if _BARE_SEGMENT.fullmatch(each) else _quote(each)) for each in path)
