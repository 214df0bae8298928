"""The audit trail: two objects an action, create-only, in the queue that it changed.

``audit/{ms}-{id}.json`` is written before anything is changed: what cannot be written down is not done.
``audit/{ms}-{id}.result.json`` tells what came of it. ``audit/{ms}-{id}.part-{number}.json`` name the letters that a
discard is about to delete, up to a thousand each, for :mod:`.undoing`; ``….part-{number}.left.json`` those of them that it
has left alone. All are bounded: texts are cut, lists end with a count.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from s3queue.clock import to_datetime, to_ms
from s3queue.core.document import dump, is_a, read
from s3queue.core.message import clip, storable
from s3queue.errors import CorruptObject, NotFound, S3QueueError
from s3queue.protocol.lane import Lane
from s3queue.queue import Queue
from s3queue.store.port import CREATE, fetch, walk
from s3queue_admin.actions.model import AuditEntry, Result
from s3queue_admin.bucket import Bucket
from s3queue_admin.text import Redactor

LOOKED_AT: Final = 50_000
MAX_REASON: Final = 2_000
MAX_WHERE: Final = 10_000
MAX_IDS: Final = 1_000
MAX_REFUSALS: Final = 200
MAX_OPTIONS: Final = 20_000
PART: Final = 1_000
LEFT: Final = ".left.json"
_NAME = re.compile(r"([0-9]{13}-[0-9a-z]{20})(\.result|\.part-[0-9]{6}(?:\.left)?)?\.json")


def whoami() -> str:
    """Return user and host of this process, as far as they are known."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "?"
    return f"{user}@{socket.gethostname()}"


def clean(text: object, limit: int) -> str:
    """Return a text as it can be stored: without what UTF-8 cannot hold, and cut."""
    return clip(storable(str(text)), limit)


class Trail:
    """Writes the entry of one action. ``redactor`` is asked about what people wrote."""

    def __init__(self, lane: Lane, redactor: Redactor) -> None:
        self._lane, self._redactor = lane, redactor
        self._root = lane.keys.root + "audit/"
        self._parts = 0
        self.id = ""

    def begin(
        self, verb: str, queue: str, *, who: str, reason: str, where: str, options: Mapping[str, Any], planned: int
    ) -> str:
        """Write down what is about to be done and return the entry's id."""
        now = self._lane.now_ms()
        self.id = f"{now:013d}-{self._lane.ids.new(now)}"
        fields = {
            "at_ms": now,
            "queue": queue,
            "verb": verb,
            "who": self._text(who, 200, "who"),
            "reason": self._text(reason, MAX_REASON, "reason"),
            "where": self._text(where, MAX_WHERE, "where"),
            "options": _bounded(self._redactor.value(dict(options))),
            "planned": planned,
        }
        self._write("", fields)
        return self.id

    def part(self, names: Sequence[str]) -> int:
        """Write down letters (up to :data:`PART`) that are about to be deleted, and return the number of that part."""
        self._parts += 1
        self._write(f".part-{self._parts:06}", {"at_ms": self._lane.now_ms(), "letters": list(names)})
        return self._parts

    def left(self, part: int, names: Sequence[str]) -> None:
        """Write down which letters of a part were left alone."""
        self._write(f".part-{part:06}.left", {"at_ms": self._lane.now_ms(), "letters": list(names)})

    def end(self, result: Result) -> None:
        """Write down what came of it."""
        requests: dict[str, int] = {}
        for (verb, _, _), count in result.requests.items():
            requests[verb] = requests.get(verb, 0) + count
        some = islice(result.refused.items(), MAX_REFUSALS)
        refused = {clean(id_, 200): self._text(why, 200, "refused") for id_, why in some}
        self._write(
            ".result",
            {
                "at_ms": self._lane.now_ms(),
                "count": len(result.done),
                "ids": list(result.done[:MAX_IDS]),
                "refused": refused,
                "refusals": len(result.refused),
                "unknown": len(result.unknown),
                "error": self._text(result.error, MAX_REASON, "error"),
                "stopped": result.stopped,
                "before": _bounded(self._redactor.value(dict(result.before))),
                "after": _bounded(self._redactor.value(dict(result.after))),
                "requests": requests,
            },
        )

    def _text(self, text: str, limit: int, name: str) -> str:
        """Return a text without its secrets, and cut: in this order, so that no half of a secret is taken for none."""
        return clean(self._redactor.text(clean(text, LOOKED_AT), name), limit)

    def _write(self, suffix: str, fields: dict[str, Any]) -> None:
        self._lane.store.put(f"{self._root}{self.id}{suffix}.json", dump("audit", fields), CREATE)


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields that JSON can hold, and in bounds: what is too long is left out, and said to be."""
    text = json.dumps(fields, default=repr, ensure_ascii=True)
    if len(text) <= MAX_OPTIONS:
        found: dict[str, Any] = json.loads(text)
        return found
    return {"left out": f"{len(text)} characters", "names": sorted(map(str, fields))[:100]}


def audit(
    place: Bucket | Queue,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Iterator[AuditEntry]:
    """Yield what operators did to a queue, or to all queues of a bucket, from ``since`` to ``until``, oldest first.

    A LIST per thousand objects, and up to two GETs an entry, made as they are iterated. What cannot be read is told as
    an error event of its queue and left out. Queues follow each other by name.
    """
    queues = [place] if isinstance(place, Queue) else (place.queue(name) for name in place.queue_names())
    return islice((entry for queue in queues for entry in _entries(queue, since, until)), limit)


def entry_of(queue: Queue, id_: str) -> AuditEntry:
    """Return one entry by its id; NotFound if there is none."""
    root = queue.connect().keys.root + "audit/"
    return _read(queue.connect().lane, root, id_, has_result=None)


def parts_of(queue: Queue, id_: str) -> Iterator[tuple[int, list[str]]]:
    """Yield when (store time in ms), and which letters an action was about to delete, without those that it left alone."""
    lane = queue.connect().lane
    prefix = f"{lane.keys.root}audit/{id_}.part-"
    keys = dict.fromkeys(walk(lane.store, prefix))

    def letters(key: str) -> tuple[int, list[str]]:
        body = fetch(lane.store, key).body
        return read(
            "audit", body, key, lambda wire: (int(wire.get("at_ms", 0)), list(map(str, is_a(wire["letters"], list))))
        )

    for key in keys:
        if not key.endswith(LEFT):
            left = key.removesuffix(".json") + LEFT
            at_ms, names = letters(key)
            alone = set(letters(left)[1]) if left in keys else set()
            yield at_ms, [name for name in names if name not in alone]


def _entries(queue: Queue, since: datetime | None, until: datetime | None) -> Iterator[AuditEntry]:
    lane = queue.connect().lane
    root = lane.keys.root + "audit/"
    after = f"{root}{to_ms(since):013d}" if since is not None else root
    last_ms = to_ms(until) if until is not None else None
    ids: dict[str, bool] = {}
    for key in walk(lane.store, root, after):
        match = _NAME.fullmatch(key[len(root) :])
        if match is None:
            lane.events.emit("error", error=CorruptObject(key, "it is foreign"), doing="reading the audit trail")
            continue
        if last_ms is not None and int(match[1][:13]) > last_ms:
            break
        ids[match[1]] = ids.get(match[1], False) or match[2] == ".result"
    for id_, has_result in ids.items():
        try:
            yield _read(lane, root, id_, has_result=has_result)
        except S3QueueError as error:
            lane.events.emit("error", error=error, doing="reading the audit trail")


def _read(lane: Lane, root: str, id_: str, *, has_result: bool | None) -> AuditEntry:
    key = f"{root}{id_}.json"
    entry = read("audit", fetch(lane.store, key).body, key, lambda wire: _begun(id_, wire))
    if has_result is False:
        return entry
    key = f"{root}{id_}.result.json"
    try:
        return read("audit", fetch(lane.store, key).body, key, lambda wire: _ended(entry, wire))
    except NotFound:
        return entry


def _begun(id_: str, wire: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=id_,
        at=to_datetime(int(wire["at_ms"])),
        **{name: is_a(wire[name], str) for name in ("queue", "verb", "who", "reason", "where")},
        options=is_a(wire["options"], dict),
        planned=int(wire["planned"]),
    )


def _ended(entry: AuditEntry, wire: dict[str, Any]) -> AuditEntry:
    return replace(
        entry,
        ended_at=to_datetime(int(wire["at_ms"])),
        count=int(wire["count"]),
        ids=tuple(map(str, wire["ids"])),
        refused={str(id_): str(why) for id_, why in is_a(wire["refused"], dict).items()},
        refusals=int(wire["refusals"]),
        unknown=int(wire["unknown"]),
        error=is_a(wire["error"], str),
        stopped=bool(wire["stopped"]),
        before=is_a(wire["before"], dict),
        after=is_a(wire["after"], dict),
        requests={str(verb): int(count) for verb, count in is_a(wire["requests"], dict).items()},
    )
