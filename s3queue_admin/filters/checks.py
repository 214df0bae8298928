"""From a term of a filter to the question that is asked of each message."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, Final

from s3queue_admin.filters.errors import FilterError
from s3queue_admin.filters.fields import FIELDS, ORDERED, OTHER_NAMES, STALLED, STATE_WORDS, Field
from s3queue_admin.filters.lexer import Literal, Token, write_path
from s3queue_admin.filters.subject import Known, Subject, members
from s3queue_admin.filters.values import Moment, duration_ms, glob, moment, number, regex, size_bytes
from s3queue_admin.text import json_text

Check = Callable[[Known], bool | None]
"""Whether a message matches; None: not known yet."""
Test = Callable[[Any], bool]
_FULL_DIGEST: Final = 8


def check_of(token: Token, text: str) -> Check:
    """Return the check that a term stands for; FilterError, with its position in ``text``, if it makes no sense."""
    field = FIELDS.get(token.name)
    if field is None:
        raise FilterError(
            f"There is no field {token.name!r}.", text=text, position=token.position, remedy=_suggest(token)
        )
    if token.path and field.kind not in ("payload", "headers"):
        raise FilterError(
            f"{token.name} has nothing below it, {write_path(token.path)!r} cannot follow.",
            text=text,
            position=token.position + len(token.name),
            remedy="Paths are for payload and headers.",
        )
    if token.operator not in field.operators:
        raise FilterError(
            f"{token.operator!r} cannot be asked of {token.name}.",
            text=text,
            position=token.operator_at,
            remedy=f"Use one of {' '.join(field.operators)}.",
        )
    try:
        if field.kind == "state":
            return _state(token)
        return _guarded(field, _test(field, token), token, text)
    except ValueError as error:
        raise FilterError(str(error), text=text, position=token.value.position) from None


def _suggest(token: Token) -> str:
    found = OTHER_NAMES.get(token.name.lower()) or next(iter(difflib.get_close_matches(token.name, FIELDS, 1)), "")
    payload = "" if token.name.lower() in OTHER_NAMES else f"What is in a payload is payload.{token.name}. "
    rest = f"{payload}Quotes look for the text itself."
    if found:
        return f"Did you mean {found}{write_path(token.path)}{token.operator}? {rest}"
    return f"Use one of {', '.join(FIELDS)}. {rest}"


def _state(token: Token) -> Check:
    word, negated = token.value.text.lower(), token.operator == "!="
    if word not in STATE_WORDS:
        near = difflib.get_close_matches(word, STATE_WORDS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(STATE_WORDS)}."
        raise ValueError(f"There is no state {token.value.text!r}. {hint}")

    def check(known: Known) -> bool | None:
        if word != STALLED:
            found: bool | None = known.state == word
        elif known.state != "processing":
            found = False
        else:
            found = known.is_stalled if isinstance(known, Subject) else None
        return found if found is None or not negated else not found

    return check


def _guarded(field: Field, test: Test, token: Token, text: str) -> Check:
    """Return the check of a test: not known without the message, negated for ``!=``, an error if a pattern takes too long."""
    negated = token.operator == "!="

    def check(known: Known) -> bool | None:
        if not isinstance(known, Subject) and not (field.kind == "queue" and known.queue):
            return None
        try:
            # A queue is all that is read of a message that is not there yet.
            found = test(known.queue if field.kind == "queue" else field.read(known))  # type: ignore[arg-type]
        except TimeoutError:
            raise FilterError(
                "This regular expression takes too long on one of the texts.",
                text=text,
                position=token.value.position,
                remedy="Write it without repetitions inside repetitions.",
            ) from None
        return found != negated

    return check


def _test(field: Field, token: Token) -> Test:
    """Return what is asked of the field's value; ValueError says why nothing can be."""
    value, operator = token.value, ":" if token.operator == "=" else token.operator
    exact = token.operator != ":"
    match field.kind:
        case "queue" | "text":
            matches = _text(value, token.operator)
            return lambda found: matches(found) if isinstance(found, str) else any(map(matches, found))
        case "digest":
            return _digest(value.text.lower(), exact=exact)
        case "number":
            return _compared(_parsed(value, number, "a number, such as 3"), operator)
        case "duration":
            return _compared(_parsed(value, duration_ms, "a duration, such as 10m, 1h30m or 2d"), operator)
        case "size":
            return _compared(_parsed(value, size_bytes, "a size, such as 4096, 10kb or 1MiB"), operator)
        case "time":
            wanted = _parsed(
                value, moment, "a time, such as 2026-01-31, 2026-01-31T07:15Z, or -10m for ten minutes ago"
            )
            return _timed(wanted, operator)
        case _:
            ask = _scalar(value, token.operator)
            path = token.path
            return lambda found: any(map(ask, members(found, path)))


def _parsed(value: Literal, read: Callable[[str], Any], what: str) -> Any:
    found = read(value.text)
    if found is None:
        raise ValueError(f"{value.text!r} is not {what}.")
    return found


def _text(value: Literal, operator: str) -> Callable[[str], bool]:
    if value.regex:
        try:
            return regex(value.text)
        except ValueError as error:
            raise ValueError(f"This regular expression cannot be used: {error}.") from None
    if operator == "~":
        part = value.text.casefold()
        return lambda text: part in text.casefold()
    return glob(value.text) if operator == ":" else value.text.__eq__


def _digest(digits: str, *, exact: bool) -> Test:
    if not re.fullmatch(r"[0-9a-f]{0,8}", digits) or (exact and 0 < len(digits) < _FULL_DIGEST):
        raise ValueError(f"{digits!r} is not {'eight' if exact else 'the first of eight'} hex digits.")
    if exact or not digits:
        return digits.__eq__
    return lambda found: found.startswith(digits)


def _compared(wanted: Any, operator: str) -> Test:
    def test(found: Any) -> bool:
        match operator:
            case "<":
                return bool(found < wanted)
            case "<=":
                return bool(found <= wanted)
            case ">":
                return bool(found > wanted)
            case ">=":
                return bool(found >= wanted)
        return bool(found == wanted)

    return test


def _timed(wanted: Moment, operator: str) -> Test:
    """Return the test of (time, now): of a whole day, ``>`` is after its end and ``<=`` before its end; no time is never."""

    def test(found: tuple[int, int]) -> bool:
        at_ms, now_ms = found
        start_ms, end_ms = wanted.span(now_ms)
        match operator:
            case "<":
                return 0 < at_ms < start_ms
            case "<=":
                return 0 < at_ms < end_ms
            case ">":
                return at_ms >= end_ms
            case ">=":
                return 0 < at_ms >= start_ms
        return start_ms <= at_ms < end_ms

    return test


def _scalar(value: Literal, operator: str) -> Test:
    """Return what is asked of a value inside a payload: numbers as numbers, texts as texts, the rest as JSON."""
    if operator in ORDERED:
        return _ordered(value, operator)
    matches = _text(value, operator)
    wanted = None if value.quoted or operator == "~" else number(value.text)

    def test(found: Any) -> bool:
        if isinstance(found, str):
            return matches(found)
        if value.quoted and operator != "~":
            return False
        if wanted is not None and isinstance(found, int | float) and not isinstance(found, bool):
            return found == wanted
        return matches(json_text(found))

    return test


def _ordered(value: Literal, operator: str) -> Test:
    wanted = None if value.quoted else number(value.text)

    def test(found: Any) -> bool:
        if wanted is not None:
            is_number = isinstance(found, int | float) and not isinstance(found, bool)
            return is_number and _compared(wanted, operator)(found)
        return isinstance(found, str) and _compared(value.text, operator)(found)

    return test
