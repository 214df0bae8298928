"""Reads what a report tells: a snapshot, the names of dead letters, some of these themselves, the history. Writes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s3queue.batches import batched
from s3queue.clock import to_datetime, to_ms
from s3queue.core.codec import decode_letter
from s3queue.core.keys import parse_letter
from s3queue.core.message import DeadLetter
from s3queue.errors import CorruptObject, InvalidSetting, NotFound, S3QueueError
from s3queue.queue import Queue
from s3queue.store.metered import usd
from s3queue.store.port import fetch
from s3queue.text import counted
from s3queue_admin.bucket import Bucket
from s3queue_admin.cost import measured
from s3queue_admin.grouping import ErrorGroup, Failed, fingerprint, group_errors
from s3queue_admin.reports.facts import Activity, Deaths, ErrorKind, Facts, Percentiles, QueueFacts, Sample, Window
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot
from s3queue_admin.text import Redactor, json_text

DAY: Final = timedelta(days=1)
MAX_LETTERS: Final = 10_000
"""Of so many dead letters, the newest of the window, the errors are told by kind: a GET each, less than a cent."""
MAX_RECORDS: Final = 1_000_000
"""So many records of history are read of a queue: a GET a thousand."""
_AT_ONCE: Final = 64
_SHARES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_OUTCOMES: Final = ("completed", "retry", "dead")
_ERRORS: Final = 100


def gather(
    bucket: Bucket,
    names: str | Iterable[str] | None = None,
    *,
    since: datetime | None = None,
    watch_s: float = 0.0,
    max_letters: int = MAX_LETTERS,
    max_records: int = MAX_RECORDS,
) -> Facts:
    """Return what a report on these queues (None: all) tells; ``since`` begins its window, by default a day ago.

    ``watch_s``: look twice, so many seconds apart, to tell rates and what is spent now. Memory holds the letters' names of
    a window (``max_letters`` at most) and numbers. Raises InvalidSetting for a window that is none, InvalidName or NoQueue
    for a queue that was asked for and is not there.
    """
    wanted = [names] if isinstance(names, str) else list(names) if names is not None else None
    for name in wanted or ():
        bucket.inspector(name)
    if watch_s and bucket.at is not None:
        raise InvalidSetting(
            f"watch_s is {watch_s}, and {bucket.location} does not change.", remedy="Leave watch_s out."
        )
    made_at = to_datetime(bucket.clock.now_ms())
    spent = bucket.requests()
    before = bucket.snapshot(wanted) if watch_s else None
    if watch_s:
        bucket.clock.sleep(watch_s)
    now = bucket.snapshot(wanted, fresh=True)
    window = _window(since, now.taken_at)
    opened = {name: bucket.queue(name) for name in now.queues}
    task = _Task(bucket, before, window, max_letters, max_records)
    queues = {name: _queue(task, opened[name], each) for name, each in now.queues.items()}
    counts = {line: count - spent.get(line, 0) for line, count in bucket.requests().items()}
    for queue in opened.values():
        for line, count in queue.meter.snapshot().items():
            counts[line] = counts.get(line, 0) + count
    return Facts(now, window, queues, made_at, sum(counts.values()), usd(counts), bucket.at)


def _window(since: datetime | None, until: datetime) -> Window:
    if since is None:
        return Window.of(until - DAY, until)
    try:
        begins = to_datetime(to_ms(since))
    except (ValueError, AttributeError, OverflowError) as error:
        raise InvalidSetting(
            f"since is {since!r}: {error}.", remedy="Use an aware datetime: datetime.now(UTC) - timedelta(hours=6)."
        ) from None
    if begins >= until:
        raise InvalidSetting(f"since is {since}, the queues are shown at {until}.", remedy="Use an earlier time.")
    return Window.of(begins, until)


@dataclass(frozen=True, slots=True)
class _Task:
    bucket: Bucket
    before: BucketSnapshot | None
    window: Window
    max_letters: int
    max_records: int


def _queue(task: _Task, queue: Queue, now: QueueSnapshot) -> QueueFacts:
    bucket, window = task.bucket, task.window
    notes: list[str] = []
    deaths = Deaths(now.stats.dead, 0, 0, (0,) * window.spans, None, None, 0, 0, ())
    activity = cost = None
    try:
        deaths = _deaths(bucket, queue, window, task.max_letters)
        if deaths.read + deaths.unread < deaths.within:
            notes.append(
                f"Errors by kind: of the newest {deaths.read:,} of {counted(deaths.within, 'dead letter')} of the window."
            )
        if deaths.unread:
            notes.append(f"{counted(deaths.unread, 'dead letter')} of the window could not be read, or went meanwhile.")
        if deaths.after:
            notes.append(f"Later than this window, by their names: {counted(deaths.after, 'dead letter')}.")
        activity = _activity(queue, window, task.max_records, bucket.redactor)
        if activity is not None and activity.cut:
            notes.append(f"History: the first {counted(activity.records, 'record')} of the window; there are more.")
    except S3QueueError as error:
        notes.append(f"Not read: {bucket.redactor.text(str(error), 'error')}")
    earlier = task.before.queues.get(now.queue) if task.before is not None else None
    if any(worker.presence is not None and worker.presence.requests for worker in now.workers):
        cost = measured(earlier, now) if earlier is not None and earlier.taken_at < now.taken_at else measured(now)
    return QueueFacts(now, deaths, activity, cost, tuple(notes))


# -- dead letters --


def _deaths(bucket: Bucket, queue: Queue, window: Window, max_letters: int) -> Deaths:
    total = before = after = 0
    spans, ends = [0] * window.spans, [0, 0]
    newest: deque[str] = deque(maxlen=max_letters)
    for name in queue.dlq.names():
        at_ms = (parse_letter(name) or (0, ""))[0]
        total += 1
        span = window.index(at_ms)
        if span is not None:
            spans[span] += 1
            ends = [min(ends[0] or at_ms, at_ms), max(ends[1], at_ms)]
            newest.append(name)
        elif at_ms < window.first_ms or at_ms < to_ms(window.since):
            before += 1
        else:
            after += 1
    letters = _Letters(bucket, queue, newest, window)
    kinds = tuple(letters.kind(group) for group in group_errors(letters))
    first_at, last_at = (to_datetime(at_ms) if at_ms else None for at_ms in ends)
    return Deaths(total, before, after, tuple(spans), first_at, last_at, letters.read, letters.unread, kinds)


class _Letters:
    """Letters, read as they are iterated; counted by kind and span on the way."""

    def __init__(self, bucket: Bucket, queue: Queue, names: Iterable[str], window: Window) -> None:
        self._bucket, self._queue, self._names, self._window = bucket, queue, names, window
        self._spans: dict[str, list[int]] = {}
        self.read = self.unread = 0

    def __iter__(self) -> Iterator[Failed]:
        for some in batched(self._names, _AT_ONCE):
            for letter in self._bucket.spread(self._one, some):
                if letter is None:
                    self.unread += 1
                    continue
                self.read += 1
                span = self._window.index(letter.dead_at_ms)
                if span is not None:
                    self._spans.setdefault(fingerprint(letter), [0] * self._window.spans)[span] += 1
                yield letter

    def _one(self, name: str) -> DeadLetter | None:
        lane = self._queue.connect().lane
        key = lane.keys.letter(name)
        try:
            return decode_letter(fetch(lane.store, key).body, key, lane.seal)
        except (NotFound, CorruptObject):
            return None

    def kind(self, group: ErrorGroup) -> ErrorKind:
        """Return a group of them as it may be shown."""
        redactor = self._bucket.redactor
        spans = self._spans.get(group.fingerprint, [0] * self._window.spans)
        return ErrorKind(
            group.fingerprint,
            redactor.text(group.title, "error"),
            group.count,
            group.first_at,
            group.last_at,
            tuple(spans),
            _sample(group, redactor),
        )


def _sample(group: ErrorGroup, redactor: Redactor) -> Sample:
    letter = group.sample
    assert isinstance(letter, DeadLetter)  # noqa: S101 - no others were grouped
    message = redactor.message(letter.message)
    last = message.errors[-1] if message.errors else None
    return Sample(
        letter.id,
        message.attempts,
        last.worker if last else "",
        group.last_at,
        redactor.text(letter.reason, "reason"),
        f"{last.type}: {last.message}" if last else "",
        last.traceback if last else "",
        json_text(message.payload),
    )


# -- history --


def _activity(queue: Queue, window: Window, max_records: int, redactor: Redactor) -> Activity | None:
    """Return what history tells of the window; None if it has nothing."""
    outcomes = {outcome: [0] * window.spans for outcome in _OUTCOMES}
    wait, run = Percentiles(window.spans), Percentiles(window.spans)
    errors: dict[str, int] = {}
    records, until_ms, cut = 0, to_ms(window.until), False
    for record in queue.history(since=window.since, until=window.until):
        if records == max_records:
            cut = True
            break
        span = window.index(record.ended_at_ms)
        if span is None:
            continue
        records, until_ms = records + 1, record.ended_at_ms
        outcomes.setdefault(record.outcome if record.outcome in _OUTCOMES else "other", [0] * window.spans)[span] += 1
        wait.add(span, record.wait_ms)
        run.add(span, record.run_ms)
        if record.error_type and (record.error_type in errors or len(errors) < _ERRORS):
            errors[record.error_type] = errors.get(record.error_type, 0) + 1
    if not records:
        return None
    return Activity(
        records,
        to_datetime(until_ms) if cut else window.until,
        cut,
        {outcome: tuple(counts) for outcome, counts in outcomes.items()},
        {name: wait.at(share) for name, share in _SHARES.items()},
        {name: run.at(share) for name, share in _SHARES.items()},
        {redactor.text(name, "error_type"): count for name, count in errors.items()},
    )
