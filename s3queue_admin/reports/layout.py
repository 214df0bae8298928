"""From facts to a page: which tables and figures a report has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from s3queue.text import counted
from s3queue_admin.cost import Measured
from s3queue_admin.reports.facts import Activity, Deaths, ErrorKind, Facts, QueueFacts, Window
from s3queue_admin.reports.page import Block, Cell, Code, Figure, Note, Page, Section, Table, Tone, table
from s3queue_admin.reports.plots import Plot, RankPlot, Series, TimePlot
from s3queue_admin.reports.plots import Tone as Colour
from s3queue_admin.snapshot import QueueSnapshot, Span, WorkerView, percentile
from s3queue_admin.text import plain

KINDS_SHOWN = 5
"""Of so many kinds of error the last letter is shown, and when they died."""
_COUNTERS = ("completed", "failed", "retried", "died", "rescued", "replayed", "discarded", "missing")
_UNITS = ((7_200_000, "hours"), (120_000, "minutes"), (2_000, "seconds"), (1, "ms"))
_COLOURS: dict[str, Colour] = {"completed": "s1", "retry": "s3", "dead": "bad", "other": "s4"}


def lay_out(facts: Facts, title: str) -> Page:
    """Return the page of a report."""
    bucket, window = facts.bucket, facts.window
    scope = (
        f"{bucket.location}, queues below {bucket.prefix!r}" if bucket.prefix else bucket.location,
        f"Taken at {_time(bucket.taken_at)} (store time); window: {_window(window)}.",
        f"Made at {_time(facts.made_at)} by {counted(facts.requests, 'request')}, about ${facts.usd:.4f} at list prices of S3.",
    )
    sections = [_overview(facts), _attention(facts), *(_queue(each, window) for each in facts.queues.values())]
    return Page(title, scope, tuple(section for section in sections if section.blocks))


def _section(title: str, blocks: Iterable[Block | None]) -> Section:
    return Section(title, tuple(block for block in blocks if block is not None))


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""


def _window(window: Window) -> str:
    return f"{_time(window.since)} to {_time(window.until)}"


def _lasted(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _ms(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"{ms:,.0f} ms" if ms < 10_000 else _lasted(ms / 1000)


# -- all queues --


def _overview(facts: Facts) -> Section:
    bucket = facts.bucket
    rows: list[tuple[Cell, ...]] = []
    for name, each in bucket.queues.items():
        stats = each.stats
        found = [sum(finding.severity == severity for finding in each.findings) for severity in ("error", "warning")]
        rows.append(
            (
                *(name + (" (paused)" if stats.paused else ""), stats.pending, stats.scheduled, stats.processing),
                *(stats.stalled, stats.dead, _lasted(stats.oldest_age_s) if stats.pending else "", len(each.living)),
                *(f"{found[0]} / {found[1]}", each.taken_at),
            )
        )
    columns = (
        *("queue", "pending", "scheduled", "processing", "of these stalled", "dead", "oldest waits", "workers"),
        *("errors / warnings", "as of"),
    )
    scope = f"{bucket.location}: {counted(len(bucket.queues), 'queue')}, each at its time in the last column"
    failed = [(name, why) for name, why in bucket.failed.items()]
    blocks: list[Block | None] = [
        table("Messages by state", scope, columns, rows),
        table("Queues that could not be read", f"at {_time(bucket.taken_at)}", ("queue", "why"), [*failed]),
    ]
    if not rows and not failed:
        blocks.append(Note(f"There was no queue below {bucket.prefix!r} at {_time(bucket.taken_at)}."))
    return _section("Queues", blocks)


def _attention(facts: Facts) -> Section:
    found = [finding for each in facts.bucket.queues.values() for finding in each.findings]
    rank = {"error": 0, "warning": 1, "info": 2}
    found.sort(key=lambda finding: rank[finding.severity])
    rows: list[tuple[Cell, ...]] = [
        (each.queue, each.severity, each.title, each.evidence, each.remedy, ", ".join(each.keys[:3])) for each in found
    ]
    tones: tuple[Tone, ...] = tuple(each.severity for each in found)
    scope = f"judged from the snapshots of {_time(facts.bucket.taken_at)}"
    columns = ("queue", "severity", "what is the matter", "seen", "what to do", "keys")
    judged = table("Findings", scope, columns, rows, tones)
    return _section("What needs attention", [judged or Note(f"Nothing was found, {scope}.")])


# -- one queue --


def _queue(facts: QueueFacts, window: Window) -> Section:
    now = facts.now
    scope = f"queue {now.queue} at {_time(now.taken_at)}"
    when = f"queue {now.queue}, {_window(window)}"
    blocks: list[Block | None] = [
        _states(now, scope),
        _counters(now, scope),
        _latency(now, scope),
        *_deaths(facts.deaths, window, now.queue),
        *_activity(facts.activity, window, when),
        _workers(now, scope),
        _coordinators(now, scope),
        _locks(now, scope),
        _schedules(now, scope),
        *_cost(facts.cost),
        _problems(now, scope),
        *(Note(note) for note in facts.notes),
    ]
    if facts.activity is None:
        off = f"it is off: `s3queue-admin configure {now.queue} history=true`"
        kept = "it kept none of this window" if now.settings.history else off
        blocks.append(Note(f"No throughput and latency over time: they take the queue's history, and {kept}."))
    return _section(f"Queue {now.queue}", blocks)


def _states(now: QueueSnapshot, scope: str) -> Table | None:
    rows: list[tuple[Cell, ...]] = [
        (state, span.count, span.oldest_at, _age(span, now.taken_at), span.newest_at)
        for state, span in now.spans.items()
    ]
    listed = f"{scope}, inbox and dead letters as listed at {_time(now.listed_at)}"
    return table("Messages by state", listed, ("state", "messages", "oldest", "its age", "newest"), rows)


def _age(span: Span, at: datetime) -> str:
    if span.oldest_at is None or not span.count:
        return ""
    seconds = (at - span.oldest_at).total_seconds()
    return _lasted(seconds) if seconds >= 0 else f"in {_lasted(-seconds)}"


def _counters(now: QueueSnapshot, scope: str) -> Table | None:
    rates = now.rates
    per_s = {"completed": rates.completed, "failed": rates.failed, "died": rates.died} if rates is not None else {}
    rows: list[tuple[Cell, ...]] = [
        (name, getattr(now.stats, name), per_s.get(name) if rates is not None else None) for name in _COUNTERS
    ]
    if rates is None:
        rows = [row[:2] for row in rows]
        return table("Outcomes", f"{scope}, since the queue was made", ("outcome", "count"), rows)
    columns = ("outcome", "count", f"a second, in the {rates.seconds:.0f} s before")
    return table("Outcomes", f"{scope}, counts since the queue was made", columns, rows)


def _latency(now: QueueSnapshot, scope: str) -> Figure | None:
    histogram = now.stats.latency_ms
    if not sum(histogram.values()):
        return None
    known = sorted(bound for bound in histogram if histogram[bound])
    plot = RankPlot(
        "messages", tuple(f"up to {_ms(bound)}" for bound in known), tuple(float(histogram[bound]) for bound in known)
    )
    p50, p99 = (_ms(percentile(histogram, share)) for share in (0.5, 0.99))
    told = f"{scope}, since the queue was made: half within {p50}, 99 % within {p99}"
    return Figure("From enqueue to completion", told, plot)


def _time_plot(window: Window, kind: str, unit: str, series: Iterable[Series]) -> TimePlot:
    start = window.starts()[0]
    return TimePlot("bars" if kind == "bars" else "lines", unit, start, window.width_s, tuple(series))


def _deaths(deaths: Deaths, window: Window, queue: str) -> Iterator[Block | None]:
    if not deaths.total:
        return
    scope = f"queue {queue}, {_window(window)}"
    if not deaths.within:
        yield Note(f"Of {counted(deaths.total, 'dead letter')} of {queue} none died in this window, {_window(window)}.")
        return
    began = f"the first died at {_time(deaths.first_at)}, the last at {_time(deaths.last_at)}"
    told = f"{scope}: {deaths.within:,} of {counted(deaths.total, 'letter')}, {deaths.before:,} died before; {began}"
    plot = _time_plot(window, "bars", "deaths", [Series("deaths", deaths.spans, "bad")])
    yield Figure("When it began: deaths over time", told, plot)
    rows: list[tuple[Cell, ...]] = [
        (kind.fingerprint, kind.count, kind.title, kind.first_at, kind.last_at, kind.sample.id) for kind in deaths.kinds
    ]
    columns = ("fingerprint", "letters", "error", "first", "last", "the last one's id")
    yield table("Dead letters by error", f"{scope}, {counted(deaths.read, 'letter')} read", columns, rows)
    for kind in deaths.kinds[:KINDS_SHOWN]:
        if len(deaths.kinds) > 1:
            bars = _time_plot(window, "bars", "deaths", [Series("deaths", kind.spans, "bad")])
            yield Figure(
                f"Deaths of {kind.fingerprint}",
                f"{scope}: {counted(kind.count, 'letter')}: {plain(kind.title, 120)}",
                bars,
            )
        yield _sample(kind, queue)


def _sample(kind: ErrorKind, queue: str) -> Code:
    sample = kind.sample
    text = "\n".join(
        part
        for part in (
            f"reason: {plain(sample.reason, 300)}" if sample.reason else "",
            f"error: {plain(sample.error, 600)}",
            f"payload: {plain(sample.payload, 600)}",
            end_of(sample.traceback),
        )
        if part
    )
    worker = f" at worker {plain(sample.worker, 60)}" if sample.worker else ""
    scope = f"queue {queue}: message {sample.id} died at {_time(sample.dead_at)}, attempt {sample.attempts}{worker}"
    return Code(f"The last letter of {kind.fingerprint}", scope, text)


def end_of(traceback: str, lines: int = 20, chars: int = 4000) -> str:
    """Return the end of a traceback, where the error stands."""
    kept = traceback[-chars:].splitlines()[-lines:]
    return "\n".join(line[:300] for line in kept)


def _activity(activity: Activity | None, window: Window, scope: str) -> Iterator[Block | None]:
    if activity is None:
        return
    told = f"{scope}: {counted(activity.records, 'attempt')}, as history has them up to {_time(activity.until)}"
    outcomes = [Series(name, spans, _COLOURS[name]) for name, spans in activity.outcomes.items()]
    yield Figure("Attempts over time", told, _time_plot(window, "bars", "attempts", outcomes))
    colours: dict[str, Colour] = {"p50": "s1", "p95": "s3", "p99": "bad"}
    times = (
        ("How long messages waited once visible", activity.wait_ms),
        ("How long handlers ran", activity.run_ms),
    )
    for title, percentiles in times:
        most = max((ms for spans in percentiles.values() for ms in spans if ms is not None), default=0.0)
        unit, divisor = next((name, ms) for ms, name in _UNITS if most >= ms or ms == 1)
        lines = [
            Series(name, tuple(None if ms is None else ms / divisor for ms in spans), colours[name])
            for name, spans in percentiles.items()
        ]
        measured_as = f"{told}; {unit}, upper bounds, at most a fifth too high"
        yield Figure(title, measured_as, _time_plot(window, "lines", unit, lines))
    rows: list[tuple[Cell, ...]] = [*sorted(activity.errors.items(), key=lambda item: (-item[1], item[0]))]
    yield table("Errors of attempts", told, ("error", "attempts"), rows)


# -- who works, and what it costs --


def _workers(now: QueueSnapshot, scope: str) -> Table | None:
    columns = (
        *("worker", "state", "host", "version", "holds, by the ledgers", "processed", "failed", "lost races"),
        *("commits", "heartbeat"),
    )
    return table("Workers", scope, columns, [_worker(each) for each in now.workers])


def _worker(view: WorkerView) -> tuple[Cell, ...]:
    own = view.presence
    if own is None:
        return (view.worker, view.state, "", "", view.claimed, None, None, None, None, None)
    counts = (own.processed, own.failed, own.lost_races, own.commits)
    return (view.worker, view.state, own.host, own.version, view.claimed, *counts, view.beat_at)


def _coordinators(now: QueueSnapshot, scope: str) -> Table | None:
    rows: list[tuple[Cell, ...]] = []
    for lane in now.lanes:
        leader = lane.coordinator
        state = lane.error or ("none" if leader is None else "leads" if leader.leads else "has ended")
        who = (
            (leader.worker, leader.epoch, leader.until, leader.fleet) if leader is not None else ("", None, None, None)
        )
        rows.append((lane.number, state, *who, len(lane.tickets), lane.bytes))
    columns = ("lane", "coordinator", "worker", "term", "until", "workers it knows", "tickets", "ledger, bytes")
    return table("Coordinators", scope, columns, rows)


def _locks(now: QueueSnapshot, scope: str) -> Table | None:
    rows: list[tuple[Cell, ...]] = [
        (each.name, each.holder, each.token, each.acquired_at, each.expires_at, "yes" if each.expired else "no")
        for each in now.locks
    ]
    listed = f"{scope}, as listed at {_time(now.listed_at)}"
    return table("Locks", listed, ("lock", "holder", "token", "acquired", "ends", "expired"), rows)


def _schedules(now: QueueSnapshot, scope: str) -> Table | None:
    rows: list[tuple[Cell, ...]] = [
        (each.name, each.cron, each.timezone, each.last_at, each.next_at) for each in now.schedules
    ]
    listed = f"{scope}, as listed at {_time(now.listed_at)}"
    return table("Schedules", listed, ("schedule", "cron", "time zone", "last tick", "next"), rows)


def _cost(cost: Measured | None) -> Iterator[Block | None]:
    if cost is None:
        return
    bill = cost.bill("s3")
    scope = f"{cost.scope}, {cost.period}; {bill.title}, list prices of {bill.as_of:%Y-%m-%d}"
    rows: list[tuple[Cell, ...]] = [
        (each.purpose.value, each.verb, each.requests_per_s, each.usd_an_hour, each.usd_a_month)
        for each in bill.charges
    ]
    rows.append(("all", "", sum(each.requests_per_s for each in bill.charges), bill.usd_an_hour, bill.usd_a_month))
    for look in cost.watching[:1]:
        asked = sum(each.requests_per_s for each in look.charges)
        rows.append(("beside it: the operator's looks", "", asked, look.usd_an_hour, look.usd_a_month))
    columns = ("purpose", "verb", "requests a second", "$ an hour", "$ a month")
    yield table("Cost, as measured", scope, columns, rows)
    purposes = {name.value: usd for name, usd in bill.by_purpose().items() if usd > 0}
    if purposes:
        plot: Plot = RankPlot("$", tuple(purposes), tuple(purposes.values()), "s2")
        yield Figure("Dollars a month by purpose", scope, plot)
    if bill.usd_per_million is not None:
        yield Note(f"${bill.usd_per_million:,.2f} a million messages ({scope}).")
    for note in cost.notes:
        yield Note(note)


def _problems(now: QueueSnapshot, scope: str) -> Table | None:
    rows: list[tuple[Cell, ...]] = [(each.part, each.key, each.error) for each in now.problems]
    return table("What could not be read", scope, ("part", "key", "why"), rows)
