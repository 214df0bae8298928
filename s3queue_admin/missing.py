"""Queues that are not where they are looked for: what is there instead, and what to say in its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from s3queue.core.codec import decode_settings
from s3queue.errors import CorruptObject, InvalidInput, NewerFormat, NotFound, S3QueueError, StoreError, StoreRefused
from s3queue.store.opening import Location
from s3queue.store.port import Store, fetch

SETTINGS: Final = "queue.json"
"""What each queue has in its folder."""
SHOWN: Final = 5


class NoQueue(NotFound, InvalidInput):
    """There is no queue of that name; ``near``: the name that was perhaps meant, or ''."""

    def __init__(self, name: str, place: str, key: str, names: Sequence[str]) -> None:
        near = [each for each in difflib.get_close_matches(name, names, 1) if each != name]
        if name in names:  # there is what only queues have
            remedy = (
                f"Its folder is there, and {key} is not: restore that from a version or a copy. Whoever opens the queue to "
                "work makes it anew, with settings of its own."
            )
        elif near:
            remedy = f"Did you mean {near[0]!r}?"
        elif names:
            some = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
            remedy = f"There are {some}: correct the name, or where the queues are (bucket, prefix, URL)."
        else:
            remedy = "There are no queues at all: correct bucket, prefix or URL; the URL ends before the queue's name."
        StoreError.__init__(self, f"There is no queue {name!r} in {place}.", key=key, remedy=remedy)
        self.near = near[0] if near else ""


def no_queue(name: str, place: str, key: str, names: Callable[[], Sequence[str]]) -> NoQueue:
    """Return the error for a queue that is not there; ``names`` reads which are, as far as that may be known."""
    try:
        known = names()
    except S3QueueError:
        known = ()
    return NoQueue(name, place, key, known)


def refuse_queue(store: Store, where: Location, prefix: str) -> None:
    """Raise InvalidInput if ``prefix``, below which queues are looked for, is a queue itself: one GET.

    A role that may not look there is not held up by that.
    """
    above = _above(where, prefix)
    if above is None:
        return
    try:
        decode_settings(fetch(store, f"{prefix}{SETTINGS}").body, SETTINGS)
    except NewerFormat:
        pass
    except (NotFound, StoreRefused, CorruptObject):
        return
    place, name = above
    raise InvalidInput(
        f"{_url(where, prefix)} is a queue itself.",
        remedy=f"Leave its name off the URL (url=, --url, S3QUEUE_URL), which is then {place}, and name the queue: {name}.",
    )


def _above(where: Location, prefix: str) -> tuple[str, str] | None:
    """Return the URL of what holds the folder, and the folder's name; None for a whole bucket, which is no queue's."""
    head, _, name = prefix.rstrip("/").rpartition("/")
    if name:
        return _url(where, head), name
    if where.kind == "file":
        folder = Path(where.place)
        return folder.parent.as_uri(), folder.name
    return None


def _url(where: Location, prefix: str) -> str:
    below = prefix.strip("/")
    if where.kind == "file":
        return (Path(where.place) / below).as_uri()
    return f"{where.kind}://{where.place}/{below}".rstrip("/")
