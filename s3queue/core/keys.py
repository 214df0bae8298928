"""Where everything lies in the bucket, and which names may become part of a key.

Segments are of fixed width wherever their order matters, so that every store lists them in the order of time
(some list ``a/b`` before ``a-b``; nothing here depends on it).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote

from s3queue.errors import InvalidName, InvalidSetting

MAX_PRIORITY = 9
MAX_LANES = 256
MAX_MESSAGES_PER_OBJECT = 1000

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_PREFIX = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.=-]{0,99}/)*")
_OBJECT = re.compile(r"([0-9])/([0-9]{13})-([0-9a-z]{20})-([1-9][0-9]{0,3})(?:\.([0-9a-z]{32}))?(?:\.([0-9a-z]{8}))?")
_MESSAGE_ID = re.compile(r"[0-9a-z]{20}-[0-9]{1,3}")
_LETTER = re.compile(r"([0-9]{13})-([0-9a-z]{20}-[0-9]{1,3})(?:\.([0-9]{4}))?")
_LOCK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=@+-]{0,199}")
_SCHEDULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_LEDGER = re.compile(r"(.*/)ledger/([0-9]{4})\.json")
_SUFFIX = ".json"


def check_queue_name(name: str) -> str:
    """Return ``name`` if it can name a queue; raise InvalidName otherwise."""
    return _check_name("queue", name, _QUEUE, "1 to 80 ASCII letters, digits, '-' and '_'")


def check_schedule_name(name: str) -> str:
    """Return ``name`` if it can name a schedule; raise InvalidName otherwise."""
    return _check_name("schedule", name, _SCHEDULE, "1 to 80 ASCII letters, digits, '.', '-' and '_'")


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` with a slash at its end (or ''); raise InvalidName if it cannot begin a key."""
    whole = f"{prefix}/" if prefix and not str(prefix).endswith("/") else prefix
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(whole) or ".." in whole:
        raise InvalidName(
            f"{prefix!r} cannot be the prefix of a queue's keys.",
            remedy="Use folders of ASCII letters, digits and '-_.=' separated by '/', without '..' or a leading '/'.",
        )
    return whole


def check_label(what: str, text: str | None, limit: int = 200) -> str | None:
    """Return ``text`` if it is None or 1 to ``limit`` printable characters; raise InvalidName otherwise."""
    if text is not None and (not isinstance(text, str) or not 0 < len(text) <= limit or not text.isprintable()):
        raise InvalidName(f"{text!r} cannot be a {what}.", remedy=f"Use 1 to {limit} printable characters.")
    return text


def check_lock_name(name: str) -> str:
    """Return ``name`` if it can name a lock; raise InvalidName otherwise."""
    return _check_name("lock", name, _LOCK, "1 to 200 ASCII letters, digits and '_-.:=@+'")


def _check_name(what: str, name: str, pattern: re.Pattern[str], of: str) -> str:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise InvalidName(f"{name!r:.100} cannot name a {what}.", remedy=f"Use {of}, beginning with a letter or digit.")
    return name


def rank_of(priority: int) -> int:
    """Return the key segment of a priority: 0 for the most urgent (9), 9 for the ordinary (0)."""
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= MAX_PRIORITY:
        raise InvalidSetting(
            f"priority is {priority!r}.", remedy="Use a whole number from 0 (ordinary) to 9 (most urgent)."
        )
    return MAX_PRIORITY - priority


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The name of a message object below ``inbox/{lane}/``, taken apart.

    ``group``: the :func:`group_mark` of the group whose order its messages keep; '' if they keep none. ``dedup``: the
    :func:`dedup_mark` of the key that its one message was reserved for; '' if it was for none.
    """

    rank: int
    visible_at_ms: int
    id: str
    count: int
    group: str = ""
    dedup: str = ""

    def __str__(self) -> str:
        marks = "".join(f".{mark}" for mark in (self.dedup, self.group) if mark)
        return f"{self.rank}/{self.visible_at_ms:013d}-{self.id}-{self.count}{marks}"

    @classmethod
    def parse(cls, name: str) -> ObjectName | None:
        """Return the parts of ``name``; None for a foreign one."""
        match = _OBJECT.fullmatch(name)
        if match is None or int(match[4]) > MAX_MESSAGES_PER_OBJECT:
            return None
        return cls(int(match[1]), int(match[2]), match[3], int(match[4]), match[6] or "", match[5] or "")


def group_mark(group: str) -> str:
    """Return what names the group in the names of objects; two groups that share one are merely ordered as one."""
    return _mark(group, 5)


def dedup_mark(dedup_id: str) -> str:
    """Return what names a deduplication key in the names of objects and reservations: 160 bits, so no two share one."""
    return _mark(dedup_id, 20)


def _mark(text: str, size: int) -> str:
    return base64.b32hexencode(hashlib.sha256(text.encode()).digest()[:size]).decode().lower()


def dedup_of(name: str) -> str:
    """Return the mark of the deduplication key that the object of this (valid) name was reserved for; '' for none."""
    mark = name[:-9] if name[-9] == "." else name
    return mark[-32:] if mark[-33] == "." else ""


def group_of(name: str) -> str:
    """Return the mark of the group whose order the object of this (valid) name keeps; '' for none."""
    return name[-8:] if name[-9] == "." else ""


def count_of(name: str) -> int:
    """Return how many messages the object of this (valid) name holds."""
    return int(name[name.rindex("-") + 1 :].partition(".")[0])


def visible_at_ms_of(name: str) -> int:
    """Return when the messages of this (valid) name become visible."""
    return int(name[2:15])


def rank_in(name: str) -> int:
    """Return the rank of this (valid) name."""
    return int(name[0])


def bound_name(rank: int, at_ms: int) -> str:
    """Return a name that sorts before every object of ``rank`` visible at ``at_ms`` or later, after all earlier ones."""
    return f"{rank}/{max(at_ms, 0):013d}"


def message_id_at(object_id: str, index: int) -> str:
    """Return the id of the message born as number ``index`` of an object."""
    return f"{object_id}-{index}"


def is_message_id(text: str) -> bool:
    """Whether this can be the id of a message."""
    return isinstance(text, str) and _MESSAGE_ID.fullmatch(text) is not None


def letter_name(dead_at_ms: int, message_id: str, lane: int = 0) -> str:
    """Return the name of a dead letter below ``dlq/``; one that is not of the first lane says of which."""
    return f"{dead_at_ms:013d}-{message_id}" + (f".{lane:04d}" if lane else "")


def lane_of_letter(name: str) -> int:
    """Return the lane in whose ledger the moves of this (valid) letter are written down."""
    return int(name.rpartition(".")[2]) if "." in name else 0


def parse_letter(name: str) -> tuple[int, str] | None:
    """Return (dead_at_ms, message id) of a dead letter's name; None for a foreign one."""
    match = _LETTER.fullmatch(name)
    if match is not None and match[3] is not None and not 0 < int(match[3]) < MAX_LANES:
        return None
    return (int(match[1]), match[2]) if match else None


def parse_ledger_key(key: str) -> tuple[str, int] | None:
    """Return (root, lane) of the queue whose ledger has this key; None for another key."""
    match = _LEDGER.fullmatch(key)
    return (match[1], int(match[2])) if match is not None and int(match[2]) < MAX_LANES else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one queue; ``root`` is ``{prefix}{queue}/``."""

    root: str

    @property
    def settings(self) -> str:
        return self.root + "queue.json"

    @property
    def dlq(self) -> str:
        return self.root + "dlq/"

    @property
    def letter_journal(self) -> str:
        return self.root + "settled/dlq/"

    @property
    def workers(self) -> str:
        return self.root + "workers/"

    def worker(self, worker: str) -> str:
        """Return the key of a worker's entry: ids hold what people like, so what keys cannot hold is escaped."""
        escaped = quote(worker, safe="~@:+=,")
        return self.workers + (escaped if len(escaped) <= 200 else _digest(worker)) + _SUFFIX

    @property
    def locks(self) -> str:
        return self.root + "locks/"

    def lock(self, name: str) -> str:
        return self.locks + name + _SUFFIX

    def ledger(self, lane: int) -> str:
        return f"{self.root}ledger/{lane:04d}.json"

    def inbox(self, lane: int) -> str:
        return f"{self.root}inbox/{lane:04d}/"

    def message(self, lane: int, name: str) -> str:
        return self.inbox(lane) + name + _SUFFIX

    def letter(self, name: str) -> str:
        return self.dlq + name + _SUFFIX

    def staged(self, lane: int) -> str:
        """Return the folder of what is made ready for the replays that stand in a lane's ledger."""
        return f"{self.root}staged/{lane:04d}/"

    def journal(self, lane: int) -> str:
        return f"{self.root}settled/{lane:04d}/"

    @property
    def results(self) -> str:
        return self.root + "results/"

    @property
    def schedules(self) -> str:
        return self.root + "schedules/"

    def schedule(self, name: str) -> str:
        return self.schedules + name + _SUFFIX

    def result(self, message_id: str) -> str:
        return f"{self.results}{message_id}{_SUFFIX}"

    @property
    def history(self) -> str:
        return self.root + "history/"

    @property
    def dedup(self) -> str:
        return self.root + "dedup/"

    def reservation(self, mark: str) -> str:
        """Return the key of what reserves a deduplication key, by its :func:`dedup_mark`."""
        return f"{self.dedup}{mark}{_SUFFIX}"

    @property
    def forgetting(self) -> str:
        return self.root + "forgetting.json"

    def name_in(self, prefix: str, key: str) -> str:
        """Return what ``key`` is called below ``prefix``: without prefix and suffix; '' for a foreign one without suffix."""
        return key[len(prefix) : -len(_SUFFIX)] if key.endswith(_SUFFIX) else ""
