"""Looks at the bucket again and again, in a thread, and keeps the last good snapshot whatever happens to the bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from textual.message import Message

from s3queue.errors import NotFound, S3QueueError, StoreRefused, StoreUnavailable
from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.tui.books import only_read
from s3queue_admin.tui.chronicle import Chronicle
from s3queue_admin.tui.pace import Pace
from s3queue_admin.tui.source import Source
from s3queue_admin.tui.trail import Trail

if TYPE_CHECKING:
    from textual.app import App
    from textual.timer import Timer

Condition = Literal["starting", "live", "slow", "throttled", "unreachable", "forbidden", "vanished", "failing"]
"""How it stands with the bucket. *slow*: a look has been under way for long. The last five: the last look failed, see
:func:`condition_of`.
"""
BLUR_FACTOR: Final = 5
"""How many times longer it is between looks while nobody looks at the terminal."""
PATIENCE_S: Final = 30.0
"""Between looks at a bucket that fails, at most, if the interval is not longer."""
SLOW_S: Final = 3.0
"""A look that takes longer than this, and than the interval, is slow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the bucket: what a screen shows besides the snapshot.

    ``good_at_s``: when the last good snapshot came, in seconds of the monotonic clock; ``began_at_s``: when the look began
    that is under way. ``failures``: looks in a row that failed. ``partly``: queues that could not be read, though others
    were. ``looks``: how many ended well.
    """

    condition: Condition = "starting"
    trouble: str = ""
    failures: int = 0
    good_at: datetime | None = None
    good_at_s: float = 0.0
    began_at_s: float | None = None
    paused: bool = False
    blurred: bool = False
    partly: tuple[str, ...] = ()
    looks: int = 0
    look_requests: int = 0

    @property
    def is_good(self) -> bool:
        """Whether what is shown is what there is, as far as the last look tells."""
        return self.condition in ("live", "slow")

    def age_s(self, monotonic: float) -> float | None:
        """Return how old the last good snapshot is, None if there is none."""
        return None if self.good_at is None else max(0.0, monotonic - self.good_at_s)


def condition_of(error: S3QueueError) -> Condition:
    """Return what an error says of the bucket."""
    if isinstance(error, StoreUnavailable):
        return "throttled" if error.throttled else "unreachable"
    if isinstance(error, NotFound):
        return "vanished"
    if isinstance(error, StoreRefused):
        return "vanished" if error.reason == "bucket-missing" else "forbidden"
    return "failing"


class Feed:
    """Takes snapshots of the bucket at an interval, one at a time, and tells the application of each.

    ``interval`` seconds pass between the beginnings of looks; more while the terminal has no focus, or the bucket fails.
    All methods are for the screen's thread. The snapshots of a bucket may only be taken here: an inspector is no thread's
    but its own.
    """

    class Looked(Message):
        """A look has ended: with a snapshot, or an error."""

        def __init__(
            self,
            seen: BucketSnapshot | None,
            error: S3QueueError | None = None,
            usd_an_hour: Mapping[str, float] | None = None,
        ) -> None:
            self.seen, self.error, self.usd_an_hour = seen, error, usd_an_hour or {}
            super().__init__()

    def __init__(self, app: App[None], source: Source, *, interval: float) -> None:
        self._app, self._source, self.interval = app, source, interval
        self.standing = Standing()
        self.snapshot: BucketSnapshot | None = None
        self.trail = Trail()
        self.chronicle = Chronicle()
        self.usd_an_hour: Mapping[str, float] = {}
        self._pace = Pace()
        self._timer: Timer | None = None
        self._again: bool | None = None

    # -- looking --

    def look(self, *, fresh: bool = False) -> None:
        """Look now, or, if a look is under way, once more when it ends; ``fresh``: with everything listed anew."""
        if self._timer is not None:
            self._timer.stop()
        if self.standing.began_at_s is not None:
            self._again = fresh or bool(self._again)
            return
        self.standing = replace(self.standing, began_at_s=self._source.monotonic())
        self._app.run_worker(lambda: self._take(fresh), thread=True, group="feed", exit_on_error=False)

    def _take(self, fresh: bool) -> None:
        """Take a snapshot; whatever comes of it is posted, so that the next look is made in any case."""
        try:
            seen = only_read(self._source.bucket.snapshot(fresh=fresh))
            costs = self._pace.measure(seen)
        except S3QueueError as error:
            self._app.post_message(self.Looked(None, error))
        except Exception as error:  # noqa: BLE001 - a bug must show as a state of the screen, not end the dashboard
            self._app.post_message(self.Looked(None, S3QueueError(f"{type(error).__name__}: {error}")))
        else:
            self._app.post_message(self.Looked(seen, None, costs))

    def take_in(self, looked: Looked) -> bool:
        """Take note of a look that has ended, and plan the next; return whether there is a new snapshot."""
        began = self.standing.began_at_s or 0.0
        self.standing = replace(self.standing, began_at_s=None)
        error, seen = looked.error, looked.seen
        if seen is not None and seen.failed and not seen.queues:
            error = next(iter(seen.causes.values()))
        if error is not None or seen is None:
            self._note_failure(error)
        else:
            self.usd_an_hour = looked.usd_an_hour
            self._note_success(seen)
        if self._again is not None:
            fresh, self._again = self._again, None
            self.look(fresh=fresh)
        else:
            self._plan(began)
        return error is None

    def _note_failure(self, error: S3QueueError | None) -> None:
        self.standing = replace(
            self.standing,
            condition=condition_of(error) if error is not None else "failing",
            trouble=str(error),
            failures=self.standing.failures + 1,
        )

    def _note_success(self, seen: BucketSnapshot) -> None:
        kept = {
            name: self.snapshot.queues[name] for name in seen.failed if self.snapshot and name in self.snapshot.queues
        }
        self.snapshot = replace(seen, queues=dict(sorted({**seen.queues, **kept}.items())))
        self.trail.add(self.snapshot)
        self.chronicle.add(self.snapshot)
        self.standing = replace(
            self.standing,
            condition="live",
            trouble="",
            failures=0,
            good_at=seen.taken_at,
            good_at_s=self._source.monotonic(),
            partly=tuple(sorted(seen.failed)),
            looks=self.standing.looks + 1,
            look_requests=sum(seen.requests.values()),
        )

    # -- rhythm --

    def wait_s(self) -> float:
        """Return how many seconds are to pass from the beginning of one look to that of the next."""
        standing, wait = self.standing, self.interval
        if standing.blurred:
            wait *= BLUR_FACTOR
        if standing.failures:
            wait = max(wait, min(PATIENCE_S, wait * 2 ** min(standing.failures - 1, 6)))
        return wait

    def _plan(self, began: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        if not self.standing.paused:
            # A look at a bucket that fails has waited long already, again and again: it is left in peace after it.
            passed = 0.0 if self.standing.failures else self._source.monotonic() - began
            self._timer = self._app.set_timer(max(0.05, self.wait_s() - passed), self.look)

    def pause(self, *, paused: bool) -> None:
        """Stop looking, or go on at once."""
        self.standing = replace(self.standing, paused=paused)
        if not paused:
            self.look()
        elif self._timer is not None:
            self._timer.stop()

    def blur(self, *, blurred: bool) -> None:
        """Look less often while nobody looks at the terminal; look at once when somebody does again."""
        was, self.standing = self.standing.blurred, replace(self.standing, blurred=blurred)
        if was and not blurred and not self.standing.paused:
            self.look()

    def tick(self) -> None:
        """Take note of time that passes: a look that takes long is a state, too."""
        standing = self.standing
        if standing.began_at_s is None or not standing.is_good:
            return
        if self._source.monotonic() - standing.began_at_s > max(SLOW_S, self.interval):
            self.standing = replace(standing, condition="slow")
