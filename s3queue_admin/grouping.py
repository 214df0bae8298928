"""Errors of a kind: what they have in common when numbers, ids and names are left out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from s3queue.clock import to_datetime
from s3queue.core.message import AttemptError

LOOKED_AT: Final = 1000
"""How many characters of an error's message count: the engine keeps no more."""
LATEST_MS: Final = 253_402_300_799_000
"""The end of the year 9999: a stranger's letter may name a time that no calendar has."""
_RULES: Final = (
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]+", re.IGNORECASE), "<url>"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "<email>"),
    (re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"|`[^`\n]*`|«[^»\n]*»|“[^”\n]*”"), "<…>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b0x[0-9a-f]+\b", re.IGNORECASE), "<id>"),
    (re.compile(r"(?<![\w./\\-])(?:[A-Za-z]:)?(?:[/\\][\w.@+-]+){2,}[/\\]?"), "<path>"),
    (re.compile(r"\b(?=[0-9a-z_-]{0,80}\d)(?=[0-9a-z_-]{0,80}[a-z])[0-9a-z_-]{12,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"[+-]?\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?"), "<n>"),
    (re.compile(r"<n>(?:[\s,;:./-]{1,3}<n>)+"), "<n>"),
    (re.compile(r"\s+"), " "),
)


class Failed(Protocol):
    """A message with its errors: :class:`~s3queue.protocol.viewing.MessageView`, :class:`~s3queue.core.message.DeadLetter`."""

    @property
    def id(self) -> str:
        """The id of the message."""
        ...

    @property
    def errors(self) -> tuple[AttemptError, ...]:
        """Every attempt's error that was kept, oldest first."""
        ...

    @property
    def reason(self) -> str:
        """Why it is dead, '' if it is not."""
        ...

    @property
    def dead_at_ms(self) -> int:
        """When it died, 0 if it has not."""
        ...


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Messages whose last errors are of a kind. ``sample`` is the one that failed last.

    ``first_at`` and ``last_at``: when the first and the last of them failed, or died. ``title`` and ``type`` are a
    stranger's text: see :mod:`s3queue_admin.text`.
    """

    fingerprint: str
    title: str
    type: str
    count: int
    first_at: datetime
    last_at: datetime
    sample: Failed


def title(view: Failed) -> str:
    """Return the last error's type and its message without numbers, ids, paths and what stood in quotes.

    Of a message without errors the reason why it is dead; '' if it is not.
    """
    last = view.errors[-1] if view.errors else None
    kind, text = (last.type, last.message) if last else ("", view.reason)
    return ": ".join(part for part in (kind[:LOOKED_AT], _general(text)) if part)


def fingerprint(view: Failed) -> str:
    """Return eight hex digits that errors of a kind share: those whose :func:`title` is the same; '' without an error."""
    return fingerprint_of(title(view))


def fingerprint_of(found: str) -> str:
    """Return the fingerprint of a :func:`title`; '' for none."""
    return _digest(found) if found else ""


def group_errors(views: Iterable[Failed]) -> list[ErrorGroup]:
    """Return the messages that have an error or are dead by kind of error, the most frequent first; keeps one of each kind."""
    grouping = Grouping()
    for view in views:
        grouping.add(view, title(view))
    return grouping.groups()


class Grouping:
    """Messages by kind of error, as they come."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, view: Failed, found: str) -> None:
        """Count a message whose :func:`title` is ``found``; one without a title is left out."""
        if found:
            self._groups.setdefault(found, _Group(view)).add(view)

    def groups(self) -> list[ErrorGroup]:
        """Return the groups, the most frequent first."""
        made = [group.close(found) for found, group in self._groups.items()]
        return sorted(made, key=lambda group: (-group.count, group.fingerprint))


class _Group:
    def __init__(self, sample: Failed) -> None:
        self.sample, self.count = sample, 0
        self.first_ms = self.last_ms = _failed_at_ms(sample)

    def add(self, view: Failed) -> None:
        at_ms = _failed_at_ms(view)
        if at_ms >= self.last_ms:
            self.sample, self.last_ms = view, at_ms
        self.first_ms = min(self.first_ms, at_ms)
        self.count += 1

    def close(self, found: str) -> ErrorGroup:
        kind = self.sample.errors[-1].type if self.sample.errors else ""
        first_at, last_at = _at(self.first_ms), _at(self.last_ms)
        return ErrorGroup(_digest(found), found, kind, self.count, first_at, last_at, self.sample)


def _at(at_ms: int) -> datetime:
    return to_datetime(min(max(at_ms, 0), LATEST_MS))


def _failed_at_ms(view: Failed) -> int:
    return view.dead_at_ms or (view.errors[-1].at_ms if view.errors else 0)


def _general(text: str) -> str:
    text = text[:LOOKED_AT]
    for pattern, stands_for in _RULES:
        text = pattern.sub(stands_for, text)
    return text.strip()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:8]
