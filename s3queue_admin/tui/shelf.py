"""The dead letters of a queue as the screens have them: each read once, as letters never change, and by kind of error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from s3queue.core.keys import parse_letter
from s3queue.protocol.viewing import MessageView, find
from s3queue_admin.filters import Filter
from s3queue_admin.grouping import ErrorGroup, Grouping, fingerprint_of, title
from s3queue_admin.snapshot import QueueSnapshot
from s3queue_admin.text import Redactor
from s3queue_admin.tui.screens.messages import Entry
from s3queue_admin.tui.screens.view import Stop
from s3queue_admin.tui.sought import is_meant
from s3queue_admin.tui.source import Source

MOST: Final = 100_000
"""Letters that are kept."""
FEW: Final = 1_000
"""Up to so many new ones are looked for by their names; more are read with all others."""
_STOP_EACH: Final = 200
Sign = tuple[int, int, int]
"""Numbers of a queue that change whenever its letters do."""


class Letter(Entry):
    """A dead letter in a row, with its kind: ``title`` is a stranger's text, secrets hidden."""

    __slots__ = ("fingerprint", "found", "title")

    def __init__(self, view: MessageView, redactor: Redactor, now_ms: int) -> None:
        super().__init__(view, redactor, now_ms)
        self.found = title(view)
        self.fingerprint = fingerprint_of(self.found)
        self.title = redactor.text(self.found, "error")

    @property
    def reason(self) -> str:
        """Why it died."""
        return self._redactor.text(self.view.reason, "reason")

    @property
    def traceback(self) -> list[str]:
        """The last error's traceback, line by line."""
        last = self.view.errors[-1] if self.view.errors else None
        return self._redactor.text(last.traceback, "traceback").splitlines() if last is not None else []


@dataclass(frozen=True, slots=True)
class Kind:
    """Letters whose last errors are of a kind; ``sample`` is the one that died last, ``share`` of all that are shown."""

    group: ErrorGroup
    sample: Letter
    share: float

    @property
    def fingerprint(self) -> str:
        """The kind's name."""
        return self.group.fingerprint


class Shelf:
    """Keeps letters by name. :meth:`fresh` is for a thread; all else is for the screen's, which hands over what comes of it."""

    def __init__(self, source: Source, queue: str) -> None:
        self._source, self._queue = source, queue
        self.letters: dict[str, Letter] = {}
        self.version = 0
        self.sign: Sign | None = None
        self.read_at_s: float | None = None
        self._listed: frozenset[str] = frozenset()
        self._now_ms = 0

    def fresh(self, stop: Stop) -> Iterator[Letter]:
        """Yield the letters that are not kept yet: a LIST a thousand and a GET each."""
        queue = self._source.queue(self._queue)
        lanes = [agents.lane for agents in queue.connect().lanes.all()]
        self._now_ms = lanes[0].now_ms()
        names = list(islice(queue.dlq.names(), MOST))
        self._listed = frozenset(names)
        new = {name for name in names if name not in self.letters}
        if not new:
            return
        views: Iterable[MessageView]
        if len(new) <= FEW:
            ids = [parsed[1] for name in sorted(new) if (parsed := parse_letter(name)) is not None]
            views = find(lanes, ids, ("dead",)).values()
        else:
            views = queue.messages("dead")
        for view in views:
            if stop():
                return
            if view.name in new:
                yield Letter(view, self._source.bucket.redactor, self._now_ms)

    def add(self, letters: Iterable[Letter]) -> None:
        """Keep these, too."""
        self.letters.update((letter.view.name, letter) for letter in letters)
        self.version += 1

    def end(self) -> None:
        """Forget what was not listed any more: all that is there is read."""
        for name in [name for name in self.letters if name not in self._listed]:
            del self.letters[name]
        self.version += 1
        self.read_at_s = self._source.monotonic()

    @property
    def now_ms(self) -> int:
        """The store's time, in ms."""
        passed = self._source.monotonic() - self.read_at_s if self.read_at_s is not None else 0.0
        return self._now_ms + int(passed * 1000)


def sign_of(seen: QueueSnapshot | None) -> Sign | None:
    """Return the numbers that change whenever the letters of a queue do."""
    return None if seen is None else (seen.stats.dead, seen.stats.died, seen.stats.replayed)


def sift(letters: Iterable[Letter], chosen: Filter, now_ms: int, stop: Stop) -> list[Letter]:
    """Return those that the filter matches; in a thread."""
    found = []
    for number, letter in enumerate(letters):
        if number % _STOP_EACH == 0 and stop():
            break
        if chosen.is_everything or is_meant(chosen, letter.view, now_ms):
            found.append(letter)
    return found


def kinds_of(letters: list[Letter]) -> list[Kind]:
    """Return the letters by kind, the most frequent first."""
    grouping, by_id = Grouping(), {letter.view.id: letter for letter in letters}
    for letter in letters:
        grouping.add(letter.view, letter.found)
    total = len(letters) or 1
    return [Kind(group, by_id[group.sample.id], group.count / total) for group in grouping.groups()]
