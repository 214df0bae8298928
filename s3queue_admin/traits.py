"""What messages of a kind have in common and others have not: workers, groups, fields of payloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from s3queue.protocol.frames import Schema, to_dataframe
from s3queue_admin.text import plain

if TYPE_CHECKING:
    import pandas as pd

TRAITS: Final[Schema] = {
    "kind": "str",
    "trait": "str",
    "value": "str",
    "letters": "Int64",
    "share": "float64",
    "elsewhere": "float64",
}
"""A row a trait: how many of the kind have it, which share of the kind that is, and which share of all the others has it."""
MISSING: Final = "(missing)"
"""The value of a field that others have."""
MAX_DEPTH: Final = 3
MAX_VALUES: Final = 200
"""A field with more values than this tells nothing: it is an id, a time, or a text."""
_CHARS: Final = 80
_COLUMNS: Final = ("worker", "group", "priority", "lane")
_Found = tuple[str, str]


def traits(
    rows: Iterable[Mapping[str, Any]], *, by: str = "fingerprint", most: int = 5, least: float = 0.2
) -> pd.DataFrame:
    """Return a frame of :data:`TRAITS`: what is more frequent among rows of one kind than among all others, by kind.

    ``rows`` are those of :func:`s3queue_admin.frames.letters` or ``messages`` (iterate them, or give a frame's
    ``to_dict("records")``); ``by`` is the column that names the kind. Of each kind up to ``most`` traits whose shares differ by
    ``least`` or more, the clearest first. Only what is unfinished or dead is known: payloads of completed messages are gone, so
    a trait that all messages of the queue have can be in it. Needs pandas, and memory for counts alone.
    """
    counted = _Counted()
    for row in rows:
        counted.add(str(row[by]), dict(_of(row)))
    return to_dataframe(TRAITS, [row for kind in counted.kinds() for row in counted.clearest(kind, most, least)])


class _Counted:
    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._seen: dict[str, dict[str, Counter[str]]] = {}  # by field, by value, by kind
        self._useless: set[str] = set()

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self._rows.most_common()]

    def add(self, kind: str, found: Mapping[str, str]) -> None:
        self._rows[kind] += 1
        for field, value in found.items():
            if field in self._useless:
                continue
            values = self._seen.setdefault(field, {})
            values.setdefault(value, Counter())[kind] += 1
            if len(values) > MAX_VALUES:
                self._useless.add(field)
                del self._seen[field]

    def clearest(self, kind: str, most: int, least: float) -> list[dict[str, Any]]:
        """Return the rows of a kind, those first whose shares differ most."""
        here, all_rows = self._rows[kind], self._rows.total()
        made = []
        for field, values in self._seen.items():
            for value, by_kind in (*values.items(), (MISSING, self._without(values))):
                share = by_kind[kind] / here
                others = (by_kind.total() - by_kind[kind]) / (all_rows - here) if all_rows > here else 0.0
                if share - others >= least:
                    made.append((share - others, field, value, by_kind[kind], share, others))
        made.sort(key=lambda each: (-each[0], each[1], each[2]))
        names = tuple(TRAITS)
        return [dict(zip(names, (kind, *each[1:]), strict=True)) for each in made[:most]]

    def _without(self, values: Mapping[str, Counter[str]]) -> Counter[str]:
        """Return how many rows of each kind do not have the field at all."""
        having: Counter[str] = Counter()
        for by_kind in values.values():
            having.update(by_kind)
        return self._rows - having


def _of(row: Mapping[str, Any]) -> Iterator[_Found]:
    for name in _COLUMNS:
        value = row.get(name)
        if value is not None and value != "":
            yield name, plain(value, _CHARS)
    yield from _fields("payload", row.get("payload"), MAX_DEPTH)
    yield from _fields("headers", row.get("headers"), 1)


def _fields(path: str, value: Any, depth: int) -> Iterator[_Found]:
    """Yield the fields of a JSON value that are no objects or lists."""
    if isinstance(value, Mapping):
        if depth:
            for key, item in value.items():
                yield from _fields(f"{path}.{plain(key, _CHARS)}", item, depth - 1)
    elif not isinstance(value, list | tuple):
        yield path, plain("null" if value is None else value, _CHARS)
