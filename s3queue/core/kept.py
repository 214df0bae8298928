"""What is kept beside the books, and for a while only: results, history, and the notice of keys being forgotten."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from s3queue.core.document import Wire, dump, is_a, read
from s3queue.errors import CorruptObject

HOUR_MS: Final = 3_600_000
MAX_HISTORY_BYTES: Final = 64 << 20
"""What a history object may unpack to: a thousand records have less than three MiB."""

_HISTORY = re.compile(r"(\d{4}-\d\d-\d\d/\d\d)/(\d{13})-[0-9a-z]{20}", re.ASCII)
_RESERVATION = re.compile(r"[0-9a-v]{32}")
_EPOCH = datetime.fromtimestamp(0, UTC)


# -- results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What a handler returned, and under which claim: ``lane``, ``token``, and when it was made (store time)."""

    id: str
    value: Any
    completed_at_ms: int
    lane: int = 0
    token: int = 0
    claimed_at_ms: int = 0

    def gives_way_to(self, other: Result) -> bool:
        """Whether ``other`` is of a later claim of the message.

        Tokens of one lane only grow. A message gets into another lane as a dead letter that is replayed, long after the
        claim before: there, times tell.
        """
        if self.lane == other.lane:
            return self.token < other.token
        return self.claimed_at_ms < other.claimed_at_ms


def encode_result(result: Result) -> bytes:
    """Return a result's bytes."""
    return dump("result", {item.name: getattr(result, item.name) for item in fields(Result)})


def decode_result(body: bytes, key: str) -> Result:
    """Return the result in ``body``; CorruptObject or NewerFormat if it is none."""

    def build(wire: Wire) -> Result:
        numbers = (is_a(wire[name], int) for name in ("completed_at_ms", "lane", "token", "claimed_at_ms"))
        return Result(is_a(wire["id"], str), wire["value"], *numbers)

    return read("result", body, key, build)


# -- history ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """One attempt whose outcome was recorded. Times are store time.

    ``outcome``: completed, retry or dead. ``object``: the name of the object that held the message. ``wait_ms``: from
    when the message was visible until its handler began; ``run_ms``: how long that ran. ``error_type`` and ``error``
    are '' for an attempt that ended well; of a message whose workers vanished they tell of the last one.
    """

    id: str
    object: str
    attempt: int
    outcome: str
    enqueued_at_ms: int
    claimed_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    wait_ms: int
    run_ms: int
    error_type: str
    error: str
    worker: str
    group: str | None
    priority: int


_NUMBERS = {item.name for item in fields(HistoryRecord) if item.type == "int"}


def history_name(ended_at_ms: int, id_: str) -> str:
    """Return the name, below ``history/``, of an object whose first record is of an attempt that ended then."""
    return f"{hour_name(ended_at_ms)}{max(ended_at_ms, 0):013d}-{id_}"


def hour_name(at_ms: int) -> str:
    """Return the folder of an hour, ``2026-01-31/07/``; names sort as their hours do."""
    return (_EPOCH + timedelta(hours=max(at_ms, 0) // HOUR_MS)).strftime("%Y-%m-%d/%H/")


def parse_history(name: str) -> int | None:
    """Return when the first attempt in the object of this name ended; None for a foreign name."""
    match = _HISTORY.fullmatch(name)
    return int(match[2]) if match and hour_name(int(match[2])) == match[1] + "/" else None


def encode_history(records: Sequence[HistoryRecord]) -> bytes:
    """Return a history object's bytes: JSON lines, a document each, packed by gzip."""
    lines = b"\n".join(dump("attempt", asdict(record)) for record in records)
    packer = zlib.compressobj(wbits=31)
    return packer.compress(lines) + packer.flush()


def decode_history(body: bytes, key: str) -> list[HistoryRecord]:
    """Return the records in a history object; CorruptObject or NewerFormat if one of them cannot be read."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        lines = unpacker.decompress(body, MAX_HISTORY_BYTES)
    except zlib.error as error:
        raise CorruptObject(key, f"it is not packed by gzip ({error})") from None
    if not unpacker.eof or unpacker.unused_data:
        raise CorruptObject(
            key, f"it is cut off, has something behind its end, or unpacks to over {MAX_HISTORY_BYTES} bytes"
        )
    return [read("attempt", line, key, _record) for line in lines.split(b"\n")]


def _record(wire: Wire) -> HistoryRecord:
    values: dict[str, Any] = {}
    for item in fields(HistoryRecord):
        kinds: tuple[type, ...] = (int,) if item.name in _NUMBERS else (str,)
        values[item.name] = is_a(wire[item.name], *(kinds if item.name != "group" else (str, type(None))))
    return HistoryRecord(**values)


# -- deduplication keys being forgotten -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The notice that reservations are being deleted: nobody relies on ``names`` (below ``dedup/``) until it is over.

    It is over when it is taken back, and at ``until_ms`` (store time) at the latest. ``id`` tells one from another.
    """

    id: str = ""
    names: frozenset[str] = frozenset()
    until_ms: int = 0


def is_reservation(name: str) -> bool:
    """Whether a name below ``dedup/`` is that of a reservation."""
    return _RESERVATION.fullmatch(name) is not None


def encode_forgetting(notice: Forgetting) -> bytes:
    """Return the notice's bytes."""
    return dump("forgetting", {"id": notice.id, "names": sorted(notice.names), "until_ms": notice.until_ms})


def decode_forgetting(body: bytes, key: str) -> Forgetting:
    """Return the notice in ``body``; CorruptObject or NewerFormat if it is none."""

    def build(wire: Wire) -> Forgetting:
        names = frozenset(is_a(name, str) for name in is_a(wire["names"], list))
        return Forgetting(is_a(wire["id"], str), names, is_a(wire["until_ms"], int))

    return read("forgetting", body, key, build)
