"""A bucket as it was: read from the versions its objects had at a time, or from a copy of it in a folder."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from s3queue.clock import Clock, to_datetime, to_ms
from s3queue.core.codec import decode_ledger, decode_settings
from s3queue.core.keys import Keys, ObjectName, parse_letter
from s3queue.core.ledger import Ledger
from s3queue.core.presence import decode_presence
from s3queue.errors import CorruptObject, InvalidSetting, NotFound, S3QueueError, StoreRefused
from s3queue.ids import Ids, made_at_ms
from s3queue.store.file import FileStore
from s3queue.store.port import Entry, Object, Page, Store, fetch, walk
from s3queue.store.versions import ObjectVersion, Place, versioned, walk_versions
from s3queue_admin.grouping import LATEST_MS
from s3queue_admin.readonly import ReadOnly

KEPT: Final = 100_000
"""How many keys' versions are remembered, so that what was listed is read without another LIST: some 30 MiB."""
_LEDGER = re.compile(r"ledger/[0-9]{4}\.json")
_PARTS = re.compile(r".*?([A-Za-z0-9][A-Za-z0-9_-]*)/(ledger|workers|dlq|inbox/[0-9]{4})/(.+)\.json", re.DOTALL)


def check_at(at: datetime | None) -> int | None:
    """Return the time in ms; InvalidSetting for one that is naive, or no time at all."""
    if at is None:
        return None
    try:
        return to_ms(at)
    except (ValueError, AttributeError, OverflowError) as error:
        raise InvalidSetting(
            f"at is {at!r}: {error}.", remedy="Use an aware datetime: datetime.now(UTC) - timedelta(hours=1)."
        ) from None


class Seen:
    """Which version each key had, as far as it is known; None: there was none. Safe to share between threads."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._by_key: OrderedDict[str, ObjectVersion | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def note(self, key: str, version: ObjectVersion | None) -> None:
        """Remember it; of what is remembered too long, the oldest is forgotten."""
        with self._lock:
            self._by_key[key] = version
            self._by_key.move_to_end(key)
            if len(self._by_key) > self._most:
                self._by_key.popitem(last=False)

    def find(self, key: str) -> tuple[ObjectVersion | None] | None:
        """Return the version as the only item of a tuple; None if nothing is known of the key."""
        with self._lock:
            return (self._by_key[key],) if key in self._by_key else None


class Past(ReadOnly):
    """A bucket as it was at ``at_ms`` (store time in ms), which is what its clock says; it cannot be written.

    ``store`` tells of versions (:mod:`s3queue.store.versions`). S3 dates them to the second: what was written in the
    second of ``at_ms`` counts. A key that was not listed before costs a LIST a thousand of its versions that are newer,
    then a GET; a listing costs a LIST a thousand versions, those of what was deleted since and before included. Memory
    holds a page, and what is ``seen``.
    """

    def __init__(self, store: Store, at_ms: int, seen: Seen | None = None) -> None:
        super().__init__(store)
        self._kept = versioned(store)
        self._at_ms = at_ms
        self._seen = seen if seen is not None else Seen()

    @property
    def location(self) -> str:
        return f"{super().location} as of {_time(self._at_ms)}"

    def now_ms(self) -> int:
        return self._at_ms

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        """Return the object as it was, its version as the ETag; StoreRefused if its books were kept, but not from then."""
        version = self._version(key)
        if version is None:
            raise NotFound(key)
        etag = f"{version.id}-{version.written_at_ms}"  # objects from before versioning was on share the id null
        return None if etag == if_none_match else Object(self._kept.get_version(key, version.id).body, etag)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        """Return what there was; ``more`` says that there may have been, as the versions that follow may all be newer."""
        entries: list[Entry] = []
        place: Place | None = (after, "") if after else None
        decided = after  # some servers tell of the marker's own versions again
        while True:
            page = self._kept.versions(prefix, place)
            for number, version in enumerate(page.versions, 1):
                if version.key <= decided or version.written_at_ms > self._at_ms:
                    continue
                decided = version.key
                self._seen.note(version.key, None if version.is_deletion else version)
                if version.is_deletion:
                    continue
                entries.append(Entry(version.key, version.size))
                if len(entries) == limit:
                    return Page(tuple(entries), more=page.after is not None or number < len(page.versions))
            place = page.after
            if place is None:
                return Page(tuple(entries), more=False)

    def _version(self, key: str) -> ObjectVersion | None:
        known = self._seen.find(key)
        if known is not None:
            return known[0]
        oldest = None
        for version in walk_versions(self._kept, key):
            if version.key != key:
                break
            if version.written_at_ms <= self._at_ms:
                return self._noted(key, None if version.is_deletion else version)
            oldest = version
        if oldest is not None:
            self._check_kept(key, oldest)
        return self._noted(key, None)

    def _noted(self, key: str, version: ObjectVersion | None) -> ObjectVersion | None:
        self._seen.note(key, version)
        return version

    def _check_kept(self, key: str, oldest: ObjectVersion) -> None:
        """Raise StoreRefused if ``oldest``, which is newer than the time, is of books that there were before."""
        if _LEDGER.search(key):
            if not oldest.is_deletion:
                found = self._kept.get_version(key, oldest.id)
                with suppress(CorruptObject):
                    if decode_ledger(found.body, key).revision <= 1:
                        return  # the first that there ever was
        elif not key.endswith("/queue.json"):
            return
        raise StoreRefused(
            f"No version of {key!r} is as old as {_time(self._at_ms)}: the oldest was written at "
            f"{_time(oldest.written_at_ms)}. The queue was made then, or earlier versions are not kept any more.",
            reason="no-versions",
            key=key,
            remedy="Use a time from then on.",
        )

    def check(self, root: str) -> None:
        """Raise StoreRefused if the books of the queue at ``root`` are not kept from as early as that."""
        keys = Keys(root)
        with suppress(NotFound, CorruptObject):
            settings = decode_settings(fetch(self, keys.settings).body, keys.settings)
            for number in range(settings.lanes_served):
                self._version(keys.ledger(number))


def open_past(store: Store, at_ms: int) -> None:
    """Look whether a bucket can be read as it was then.

    Raises InvalidSetting for a time to come, StoreRefused (``no-versions``) if it keeps no versions. Who may not ask
    (s3:GetBucketVersioning) is not refused: the ledgers' versions tell.
    """
    try:
        keeps = versioned(store).keeps_versions()
    except StoreRefused as error:
        if error.reason != "access-denied":
            raise
        keeps = True
    if not keeps:
        raise StoreRefused(
            f"{store.location} keeps no earlier versions of objects: its versioning is off, or suspended.",
            reason="no-versions",
            remedy="Look at a copy of the bucket, if there is one; for the future, turn versioning on "
            "(aws s3api put-bucket-versioning), and let a rule end old versions (`s3queue-admin deploy lifecycle`).",
        )
    _refuse_future(store, at_ms)


def _refuse_future(store: Store, at_ms: int) -> None:
    if at_ms > store.now_ms() + 1000:
        raise InvalidSetting(
            f"at is {_time(at_ms)}, and the store's time is {_time(store.now_ms())}.",
            remedy="Use a time that is past; one without a zone is UTC on the command line.",
        )


# -- copies --


class Copy(ReadOnly):
    """A copy of a bucket in a folder, a file for each object (``aws s3 sync``); its clock stands still at ``at_ms``."""

    def __init__(self, store: Store, at_ms: int) -> None:
        super().__init__(store)
        self._at_ms = at_ms

    @property
    def location(self) -> str:
        return f"{super().location} (a copy, as of {_time(self._at_ms)})"

    def now_ms(self) -> int:
        return self._at_ms


def is_copy(folder: str) -> bool:
    """Whether no queue was ever opened in this folder: the embedded store leaves one of its own in it."""
    return not (Path(folder) / ".locks").is_dir()


def open_copy(folder: str, at_ms: int | None, *, clock: Clock, ids: Ids) -> Copy:
    """Return the copy in ``folder``, which is not changed; without ``at_ms`` the time is the newest that is found in it.

    To find that reads all ledgers and heartbeats, and the names of all objects. StoreRefused if there is no such folder;
    ``no-versions`` if queues live in it, or it was copied after ``at_ms``: it has each object once, as it was last.
    InvalidSetting for a time to come.
    """
    if not Path(folder).is_dir():
        raise StoreRefused(f"There is no folder {folder!r}.", reason="bucket-missing", remedy="Correct the URL.")
    store = FileStore(Path(folder), clock=clock, ids=ids, read_only=True)
    if at_ms is None:
        return Copy(store, newest_ms(store))
    if not is_copy(folder):
        raise StoreRefused(
            f"{store.location} is in use, and keeps no earlier versions of objects.",
            reason="no-versions",
            remedy="Leave the time out (at=, --at). To keep how it is now, copy the folder without .locks and .tmp in it.",
        )
    _refuse_future(store, at_ms)
    newest = newest_ms(store)
    if at_ms < newest:
        raise StoreRefused(
            f"{store.location} is a copy as of {_time(newest)} or later, and keeps no versions from {_time(at_ms)}.",
            reason="no-versions",
            remedy="Use a time from then on, or none; or look at the bucket that it is a copy of.",
        )
    return Copy(store, at_ms)


def newest_ms(store: Store) -> int:
    """Return the newest time that queues have left in their ledgers, heartbeats and names; the clock's if there is none.

    Times to come are passed over: a copy is of the past, and strangers write what they like.
    """
    now = store.now_ms()
    times = (at_ms for key in walk(store, "") for at_ms in _times(store, key))
    return max((at_ms for at_ms in times if 0 < at_ms <= now), default=now)


def _times(store: Store, key: str) -> Iterator[int]:
    parts = _PARTS.fullmatch(key)
    if parts is None:
        return
    area, name = parts[2].partition("/")[0], parts[3]
    if area == "inbox":
        parsed = ObjectName.parse(name)
        yield made_at_ms(parsed.id) or 0 if parsed is not None else 0
    elif area == "dlq":
        letter = parse_letter(name)
        yield letter[0] if letter is not None else 0
    else:
        with suppress(S3QueueError):
            body = fetch(store, key).body
            if area == "workers":
                yield decode_presence(body, key).beat_at_ms
            else:
                yield from _ledger_times(decode_ledger(body, key))


def _ledger_times(ledger: Ledger) -> Iterator[int]:
    yield ledger.swept_at_ms
    yield from (at_ms for _, at_ms in ledger.writers.values())
    yield from ledger.settled.values()
    yield from (ticket.claimed_at_ms for ticket in ledger.tickets.values())
    yield from (line.decided_at_ms for line in ledger.outbox.values())


def _time(at_ms: int) -> str:
    return f"{to_datetime(min(max(at_ms, 0), LATEST_MS)):%Y-%m-%d %H:%M:%S} UTC"
