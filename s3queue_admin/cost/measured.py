"""What a queue does cost, by the meters that its workers write into the registry.

A worker's meter is as old as its last heartbeat, which comes every twenty seconds or, from an idle worker, in ten minutes.
So each worker is measured between two heartbeats of its own, and the rates are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from s3queue.clock import to_datetime
from s3queue.core.presence import Presence
from s3queue.errors import InvalidSetting
from s3queue.store.metered import Counts, from_lines
from s3queue.text import counted
from s3queue_admin.cost.bill import Bill, Flow, Rate, bills, merge
from s3queue_admin.cost.estimate import find_bill
from s3queue_admin.cost.prices import PriceList, load_prices
from s3queue_admin.cost.purposes import Purpose, purpose
from s3queue_admin.snapshot import QueueSnapshot, rates_between

Rates = dict[tuple[str, str, str], float]
_SOONEST_S = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """How many workers are in the measurement, and how.

    ``between``: by two heartbeats; ``new``: since their start, within the time; ``lifetime``: since their start, long
    before, as no other heartbeat is known. ``silent``: no heartbeat with a meter yet, or dead; ``gone``: in the first
    snapshot alone. What the latter two asked for is not in it.
    """

    between: int = 0
    new: int = 0
    lifetime: int = 0
    silent: int = 0
    gone: int = 0

    @property
    def workers(self) -> int:
        """How many are in it."""
        return self.between + self.new + self.lifetime


@dataclass(frozen=True, slots=True)
class Measured:
    """What a queue cost between ``from_at`` and ``to_at``, and would cost a month if it went on like that.

    ``rates`` are requests a second by verb and purpose: the workers' by their meters, the operator's own looks as purpose
    *watching*, and ``producers`` (in ``rates`` too), which is an estimate: processes that only enqueue write no meter.
    ``bills`` are of what the queue asked for; the operator's looks are not its costs: ``watching`` are their bills.
    ``messages_per_s``: those that were completed or died; None in a first snapshot, which cannot tell.
    """

    scope: str
    period: str
    from_at: datetime
    to_at: datetime
    heard: Heard
    messages_per_s: float | None
    rates: tuple[Rate, ...]
    producers: Rate | None
    bills: tuple[Bill, ...]
    watching: tuple[Bill, ...]
    notes: tuple[str, ...]

    @property
    def is_metered(self) -> bool:
        """Whether any worker has told what it asked for: if not, nothing is known of what the queue costs."""
        return self.heard.workers > 0

    def bill(self, store: str = "s3") -> Bill:
        """Return the bill of a store or service; InvalidSetting if the price file has none of that name."""
        return find_bill(self.bills, store)


def measured(
    before: QueueSnapshot,
    after: QueueSnapshot | None = None,
    *,
    watching: Counts | None = None,
    prices: PriceList | None = None,
) -> Measured:
    """Return what a queue cost between two snapshots, or, given one, since its workers started.

    ``watching``: the operator's own requests between the two, by (verb, area, outcome); by default those of taking
    ``after``. InvalidSetting if the snapshots are of different queues, or not one after the other.
    """
    if after is not None:
        _check(before, after)
    last = after or before
    workers = list(_by_worker(before if after is not None else None, last))
    heard, rates, from_at = _add_up(before if after is not None else None, last, workers)
    made = [Rate(verb, purpose(verb, area, outcome), each) for (verb, area, outcome), each in rates.items()]
    activity = rates_between(before, after) if after is not None else None
    producers = _producers(before, after, rates) if after is not None else None
    seconds = max(_SOONEST_S, (last.taken_at - from_at).total_seconds())
    looked = (last.requests if watching is None else watching) if after is not None else {}
    looks = merge(Rate(verb, Purpose.WATCHING, count / seconds) for (verb, _, _), count in looked.items())
    lines = merge([*made, *([producers] if producers else [])])
    done = activity.completed + activity.died if activity else None
    flow = _flow(done or 0.0, activity.completed + activity.failed if activity else 0.0, producers, heard)
    scope = f"queue {last.queue!r}, {heard.workers} of {counted(heard.workers + heard.silent + heard.gone, 'worker')}"
    period = f"{from_at:%Y-%m-%d %H:%M:%S} to {last.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    prices = prices or load_prices()
    watched = bills(looks, Flow(0.0, 0.0), prices, scope="the operator's own looks", period=period)
    return Measured(
        scope,
        period,
        from_at,
        last.taken_at,
        heard,
        done,
        merge([*lines, *looks]),
        producers,
        bills(lines, flow, prices, scope=scope, period=period),
        tuple(bill for bill in watched if bill.store in prices.buckets),
        tuple(_notes(heard, producers, activity is not None, lines)),
    )


def _check(before: QueueSnapshot, after: QueueSnapshot) -> None:
    if (before.location, before.root) != (after.location, after.root):
        raise InvalidSetting(
            f"The snapshots are of {before.queue!r} and {after.queue!r}.", remedy="Give two of one queue."
        )
    if after.taken_at <= before.taken_at:
        raise InvalidSetting(
            f"The second snapshot ({after.taken_at}) is not later than the first ({before.taken_at}).",
            remedy="Give the earlier one first, and let time pass between them.",
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """What one worker adds: how it was measured, its requests, and in how many seconds; ``share`` of the time it was there."""

    how: str
    counts: Mapping[tuple[str, str, str], int]
    seconds: float
    share: float
    from_ms: int


def _by_worker(before: QueueSnapshot | None, after: QueueSnapshot) -> Iterator[_Part]:
    """Yield what each worker's heartbeats tell; instances are matched, as a worker that starts again begins at nothing."""
    was = {entry.instance: entry for entry in _present(before)} if before is not None else {}
    began_ms = round(before.taken_at.timestamp() * 1000) if before is not None else 0
    ended_ms = round(after.taken_at.timestamp() * 1000)
    for worker in after.workers:
        entry = worker.presence
        if worker.state not in ("alive", "late") or entry is None or not entry.requests:
            yield _Part("silent", {}, 0.0, 0.0, 0)
            continue
        old, counts = was.get(entry.instance), from_lines(entry.requests)
        if old is not None and entry.beat_at_ms > old.beat_at_ms:
            grown = _grown(from_lines(old.requests), counts)
            yield _Part("between", grown, (entry.beat_at_ms - old.beat_at_ms) / 1000, 1.0, old.beat_at_ms)
        elif entry.started_at_ms and entry.beat_at_ms - entry.started_at_ms >= _SOONEST_S * 1000:
            lived_s = (entry.beat_at_ms - entry.started_at_ms) / 1000
            is_new = before is not None and old is None and entry.started_at_ms >= began_ms
            share = (ended_ms - entry.started_at_ms) / max(1, ended_ms - began_ms) if is_new else 1.0
            yield _Part("new" if is_new else "lifetime", counts, lived_s, min(1.0, share), entry.started_at_ms)
        else:
            yield _Part("silent", {}, 0.0, 0.0, 0)


def _present(snapshot: QueueSnapshot | None) -> list[Presence]:
    return [worker.presence for worker in snapshot.workers if worker.presence] if snapshot is not None else []


def _grown(before: Counts, after: Counts) -> dict[tuple[str, str, str], int]:
    """Return what was added; lines by verb alone, of a version that told no more, do not count what is told in full."""
    return {line: count - before.get(line, 0) for line, count in after.items() if count > before.get(line, 0)}


def _add_up(
    before: QueueSnapshot | None, after: QueueSnapshot, parts: Iterable[_Part]
) -> tuple[Heard, Rates, datetime]:
    rates: Rates = {}
    kinds = {"between": 0, "new": 0, "lifetime": 0, "silent": 0}
    first_ms = round(after.taken_at.timestamp() * 1000)
    for part in parts:
        kinds[part.how] += 1
        if part.how != "silent":
            first_ms = min(first_ms, part.from_ms)
        for line, count in part.counts.items():
            rates[line] = rates.get(line, 0.0) + count / part.seconds * part.share
    now = {entry.instance for entry in _present(after)}
    gone = sum(1 for entry in _present(before) if entry.instance not in now)
    from_at = before.taken_at if before is not None else to_datetime(first_ms)
    return Heard(**kinds, gone=gone), rates, from_at


def _producers(before: QueueSnapshot, after: QueueSnapshot, rates: Rates) -> Rate | None:
    """Return how often those who only enqueue write an object, from what was ticketed and how many objects were read for it.

    What the workers wrote into the inbox themselves, retries above all, is in their meters.
    """
    seconds = (after.taken_at - before.taken_at).total_seconds()
    ticketed = max(0, _counter(after, "ticketed") - _counter(before, "ticketed")) / seconds
    read = sum(each for (verb, area, outcome), each in rates.items() if (verb, area, outcome) == ("GET", "inbox", "ok"))
    own = sum(each for (verb, area, _), each in rates.items() if (verb, area) == ("PUT", "inbox"))
    objects = min(read, ticketed) if read else ticketed
    return Rate("PUT", Purpose.ENQUEUE, objects - own) if objects > own else None


def _counter(snapshot: QueueSnapshot, name: str) -> int:
    return sum(lane.ledger.counters.get(name, 0) for lane in snapshot.lanes)


def _flow(messages: float, attempts: float, producers: Rate | None, heard: Heard) -> Flow:
    batch = max(1.0, messages / producers.per_second) if producers else 1.0
    return Flow(messages, max(attempts, messages), batch=batch, polling_workers=0.0 if messages else heard.workers)


def _notes(heard: Heard, producers: Rate | None, pair: bool, rates: Iterable[Rate]) -> list[str]:
    notes = []
    if not heard.workers:
        notes.append("Nothing has been metered: no worker reports. What the workers cost is not known.")
    if producers:
        notes.append(
            "Producers that are no workers write no meter: their PUTs are estimated from what was ticketed and read "
            "meanwhile; their deduplication, settings and looks at results are not in it."
        )
    elif not pair:
        notes.append("One snapshot: producers, the operator's looks and dollars a message take a second one.")
    if heard.gone or heard.silent:
        notes.append(
            f"Not in it: {counted(heard.gone, 'worker')} that left; told nothing yet, or dead: {heard.silent}."
        )
    if heard.lifetime:
        notes.append(
            f"{counted(heard.lifetime, 'worker is', 'workers are')} measured since their start, not over this time: no newer "
            "heartbeat is known."
        )
    if any(rate.purpose is Purpose.UNTOLD for rate in rates):
        notes.append("Workers of an older version tell verbs alone: those requests are 'untold'.")
    notes.append("Requests alone: storage and bytes sent are not in the workers' meters.")
    return notes
