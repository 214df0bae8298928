"""What needs attention in a queue, judged from a snapshot alone: pure, so it can be judged again from a recorded one.

Thresholds are constants here, each with its reason. What a check means and what to do stands in :mod:`.catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from s3queue.clock import to_ms
from s3queue.core.cron import Timetable
from s3queue.core.lane_count import CROWDED
from s3queue.errors import InvalidSetting
from s3queue.text import counted
from s3queue_admin.catalogue import KINDS
from s3queue_admin.phrases import ago, days, few, messages_are, moment
from s3queue_admin.snapshot import Finding, LaneView, QueueSnapshot, Severity, TicketView, WorkerView

__all__ = ["Finding", "findings", "in_order"]

WAITED_S = 300.0
"""How long a pending message may wait before somebody should know."""
ALONE_S = 60.0
"""Bursts and functions that run now and then leave messages alone for so long."""
DRAIN_S = 3600.0
"""A backlog that the present pace clears within this is no finding, however old its head."""
HELD = timedelta(minutes=5)
"""How long a message may be in the hands of living workers before it is long; and ten visibility timeouts, if that is more."""
SWEPT_MS = 300_000
"""A sweep is due every half minute."""
DYING, DIED = timedelta(minutes=1), timedelta(hours=1)
"""A letter younger than the first says that messages are dying now; younger than the second, that somebody should look."""
OUTBOX_MS = 60_000
"""Moves are carried out at once, or by a sweep within half a minute."""
SETTLED_MS = 600_000
"""Settled objects are deleted within seconds, or by a sweep after two minutes."""
HELD_MUCH = 1_000
LEDGER_BYTES = 1 << 20
"""A commit of so much takes S3 a quarter of a second and more; a busy ledger has a tenth of it."""
TICKETS, SETTLED = 2_000, 5_000
RESCUED_SHARE, FAILED_SHARE, ENOUGH = 0.01, 0.2, 100
"""Shares mean something from so many messages on."""
COMMITS = 50
VISIBILITY_S = 10.0
"""S3's stragglers take over ten seconds; claims are extended at half their time."""
SKEW_MS = 2_000
"""Leases leave clocks as much."""
TERMS_A_MINUTE = 2.0
READS_S, WRITES_S = 4_000.0, 2_500.0
"""Three quarters of what S3 takes on a prefix."""
LATE_TICK_MS = 120_000

_WORST: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class _Look:
    """The snapshot that is judged, and an earlier one to see what changes; None if there is none."""

    now: QueueSnapshot
    before: QueueSnapshot | None

    @property
    def at_ms(self) -> int:
        return to_ms(self.now.taken_at)

    def found(self, code: str, evidence: str, keys: Iterable[str] = ()) -> Finding:
        return KINDS[code].found(evidence, keys, self.now.queue)


Check = Callable[[_Look], Iterator[Finding]]


def findings(snapshot: QueueSnapshot, before: QueueSnapshot | None = None) -> tuple[Finding, ...]:
    """Return what needs attention, the worst first; ``before`` is a snapshot of a minute or so ago, for what changes."""
    look = _Look(snapshot, before)
    return in_order(finding for check in _CHECKS for finding in check(look))


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, the worst first, otherwise as they came."""
    return tuple(sorted(found, key=lambda finding: _WORST[finding.severity]))


# -- is anything done at all? --


def _work(look: _Look) -> Iterator[Finding]:
    stats, span = look.now.stats, look.now.spans.get("pending")
    holders = [worker for worker in look.now.workers if worker.claimed]
    nobody = not look.now.living and not holders and not stats.paused
    if stats.pending and nobody and stats.oldest_age_s > ALONE_S:
        yield look.found("no-workers", f"{messages_are(stats.pending, 'pending')}, no worker has a heartbeat.")
    if stats.paused and stats.pending:
        since = f", the oldest since {moment(span.oldest_at)}" if span is not None and span.oldest_at else ""
        yield look.found("paused-backlog", f"{messages_are(stats.pending, 'pending')}{since}.")
    if stats.scheduled and not stats.pending and not stats.processing:
        later = look.now.spans.get("scheduled")
        first = f"; the first becomes visible at {moment(later.oldest_at)}" if later is not None else ""
        yield look.found("not-visible", f"{messages_are(stats.scheduled, 'scheduled')}, none is pending{first}.")


def _pace(look: _Look) -> Iterator[Finding]:
    stats = look.now.stats
    if stats.oldest_age_s < WAITED_S or stats.paused or not look.now.living:
        return
    pace = _completed_per_s(look)
    if pace and stats.pending / pace <= DRAIN_S:
        return
    age = timedelta(seconds=round(stats.oldest_age_s))
    told = f"The oldest of {counted(stats.pending, 'pending message')} is {age} old"
    yield look.found("backlog-old", f"{told}; {pace:.2g} messages a second are completed.")


def _completed_per_s(look: _Look) -> float:
    """Return the pace since the earlier snapshot, or the last one, or else since the workers began, by their own account."""
    if look.before is not None:
        seconds = (look.now.taken_at - look.before.taken_at).total_seconds()
        return max(0, look.now.stats.completed - look.before.stats.completed) / max(seconds, 0.001)
    if look.now.rates is not None:
        return look.now.rates.completed
    entries = [worker.presence for worker in look.now.living if worker.presence is not None]
    return sum(1000 * each.processed / max(each.beat_at_ms - each.started_at_ms, 1000) for each in entries)


def _lanes(look: _Look) -> Iterator[Finding]:
    for lane in look.now.lanes:
        if lane.error or not look.now.living:
            continue
        leader = lane.coordinator
        if look.now.stats.unfinished and (leader is None or not leader.leads):
            was = f"; {leader.worker} was, in term {leader.epoch}" if leader is not None else ""
            yield look.found("no-coordinator", f"Lane {lane.number} has none{was}.", [lane.key])
        swept_ms = look.at_ms - lane.ledger.swept_at_ms
        if lane.ledger.swept_at_ms and swept_ms > SWEPT_MS:
            yield look.found("not-swept", f"Lane {lane.number} was swept {ago(swept_ms)}.", [lane.key])
        yield from _churn(look, lane)


def _churn(look: _Look, lane: LaneView) -> Iterator[Finding]:
    earlier = next((each for each in look.before.lanes if each.number == lane.number), None) if look.before else None
    if earlier is None or earlier.coordinator is None or lane.coordinator is None or look.before is None:
        return
    terms = lane.coordinator.epoch - earlier.coordinator.epoch
    minutes = (look.now.taken_at - look.before.taken_at).total_seconds() / 60
    if terms >= 2 and terms > TERMS_A_MINUTE * minutes:
        told = (
            f"Lane {lane.number} began {terms} terms in {minutes * 60:.0f} s, the last with {lane.coordinator.worker}."
        )
        yield look.found("coordinator-churn", told, [lane.key])


# -- claims and workers --


def _claims(look: _Look) -> Iterator[Finding]:
    stalled = [ticket for ticket in look.now.tickets if ticket.state == "stalled"]
    if stalled:
        oldest = min(ticket.expires_at for ticket in stalled if ticket.expires_at is not None)
        told = f"{_messages(stalled)} of {few({ticket.worker for ticket in stalled})}"
        yield look.found("stalled", f"{told}; the first claim ran out at {moment(oldest)}.", _lane_keys(look, stalled))
    living = {worker.worker for worker in look.now.living}
    limit = max(HELD, 10 * timedelta(seconds=look.now.settings.visibility_timeout_s))
    long = [
        ticket
        for ticket in look.now.tickets
        if ticket.state == "claimed" and ticket.worker in living and ticket.claimed_at is not None
        and look.now.taken_at - ticket.claimed_at > limit
    ]  # fmt: skip
    if long:
        oldest = min(ticket.claimed_at for ticket in long if ticket.claimed_at is not None)
        told = f"{_messages(long)} of {few({ticket.worker for ticket in long})}"
        yield look.found("held-long", f"{told}, the first since {moment(oldest)}.", _lane_keys(look, long))


def _messages(tickets: Iterable[TicketView]) -> str:
    return counted(sum(ticket.size for ticket in tickets), "message")


def _lane_keys(look: _Look, tickets: Iterable[object]) -> list[str]:
    numbers = {getattr(ticket, "lane", 0) for ticket in tickets}
    return [lane.key for lane in look.now.lanes if lane.number in numbers]


def _workers(look: _Look) -> Iterator[Finding]:
    for state, code in (("dead", "worker-dead"), ("late", "worker-late"), ("unlisted", "worker-unlisted")):
        some = [worker for worker in look.now.workers if worker.state == state]
        if some:
            holding = sum(worker.claimed for worker in some)
            beats = [worker.beat_at for worker in some if worker.beat_at is not None]
            last = f"; last heartbeat {moment(max(beats))}" if beats else ""
            names = few(worker.worker for worker in some)
            yield look.found(code, f"{names}: {counted(holding, 'message')} in the books{last}.")
    much = [worker for worker in look.now.living if worker.presence is not None and worker.presence.held >= HELD_MUCH]
    if much:
        most = max(worker.presence.held for worker in much if worker.presence is not None)
        limit = look.now.settings.max_payload_bytes
        told = f"{few(worker.worker for worker in much)}: up to {most:,} messages, of {limit:,} bytes at most each."
        yield look.found("held-much", told)


def _clocks(look: _Look) -> Iterator[Finding]:
    ahead = [
        (worker.worker, worker.presence.beat_at_ms - look.at_ms)
        for worker in look.now.workers
        if worker.presence is not None and worker.presence.beat_at_ms - look.at_ms > SKEW_MS
    ]
    if ahead:
        worst = max(ms for _, ms in ahead)
        told = f"Heartbeats of {few(name for name, _ in ahead)} are dated up to {worst / 1000:.1f} s in the future."
        yield look.found("clock-skew", told)
    versions = {worker.presence.version for worker in look.now.living if worker.presence is not None}
    if len(versions) > 1:
        yield look.found("versions-mixed", f"Versions at work: {', '.join(sorted(versions))}.")


# -- outcomes --


def _outcomes(look: _Look) -> Iterator[Finding]:
    stats = look.now.stats
    ended = stats.completed + stats.failed
    if stats.rescued >= ENOUGH / 10 and stats.rescued > RESCUED_SHARE * max(ended, 1):
        told = f"{counted(stats.rescued, 'claim was', 'claims were')} rescued, {counted(ended, 'attempt')} ended."
        yield look.found("duplicates", told)
    if ended >= ENOUGH and stats.failed > FAILED_SHARE * ended:
        yield look.found("failing", f"{stats.failed:,} of {ended:,} attempts failed ({stats.failed / ended:.0%}).")
    if stats.missing:
        told = counted(stats.missing, "message was gone when it was", "messages were gone when they were")
        yield look.found("missing", f"{told} claimed.")
    yield from _rescues(look)


def _rescues(look: _Look) -> Iterator[Finding]:
    """Tell of what stands in the books of claims that ran out: by living workers, or by several."""
    began = {worker.worker: worker.presence.started_at_ms for worker in look.now.living if worker.presence is not None}
    slow: set[str] = set()
    poison: list[str] = []
    for lane in look.now.lanes:
        for part in (part for ticket in lane.ledger.tickets.values() for part in ticket.parts):
            slow.update(r.worker for r in part.rescues if began.get(r.worker, r.claimed_at_ms + 1) <= r.claimed_at_ms)
            if len({rescue.worker for rescue in part.rescues}) > 1:
                poison.append(f"{look.now.root}inbox/{lane.number:04d}/{part.name}.json")
    if slow:
        yield look.found("lease-lost-alive", f"Claims of {few(slow)} ran out since those workers began.")
    if poison:
        told = f"{counted(len(poison), 'object has', 'objects have')} been with two or more vanished workers."
        yield look.found("poison", told, poison)


def _letters(look: _Look) -> Iterator[Finding]:
    stats, span = look.now.stats, look.now.spans.get("dead")
    if not stats.dead or span is None:
        return
    newest = span.newest_at
    age = look.now.taken_at - newest if newest is not None else None
    grown = stats.died - look.before.stats.died if look.before is not None else 0
    told = f"{counted(stats.dead, 'dead letter')}, the first of {moment(span.oldest_at)}, the last of {moment(newest)}"
    told += f" ({ago(age / timedelta(milliseconds=1))})" if age is not None else ""
    told += f"; {grown:,} more since {moment(_taken(look))}." if grown > 0 else "."
    if grown > 0 or (age is not None and age < DYING):
        yield look.found("dlq-growing", told)
    else:
        yield look.found("dlq-grown" if age is not None and age < DIED else "dead-letters", told)


def _taken(look: _Look) -> datetime | None:
    return look.before.taken_at if look.before is not None else None


# -- books and requests --


def _books(look: _Look) -> Iterator[Finding]:
    for lane in look.now.lanes:
        ledger, keys = lane.ledger, [lane.key]
        if lane.bytes > LEDGER_BYTES or len(ledger.tickets) > TICKETS or len(ledger.settled) > SETTLED:
            told = (
                f"{counted(len(ledger.tickets), 'ticket')}, {counted(len(ledger.settled), 'settled name')}, "
                f"{counted(len(ledger.outbox), 'move')}"
            )
            yield look.found("ledger-large", f"Lane {lane.number}: {lane.bytes:,} bytes with {told}.", keys)
        old = [line for line in ledger.outbox.values() if look.at_ms - line.decided_at_ms > OUTBOX_MS]
        if old:
            first = look.at_ms - min(line.decided_at_ms for line in old)
            kinds = few({line.kind for line in old})
            yield look.found(
                "outbox-old",
                f"Lane {lane.number}: {counted(len(old), 'move')} ({kinds}), the first {ago(first)}.",
                keys,
            )
        cursors = {rank: ledger.cursor(rank) for rank in ledger.cursors}
        left = [
            at_ms
            for name, at_ms in ledger.settled.items()
            if look.at_ms - at_ms > SETTLED_MS and name <= cursors.get(int(name[0]), "")
        ]
        if left:
            first = look.at_ms - min(left)
            yield look.found(
                "settled-left", f"Lane {lane.number}: {counted(len(left), 'name')}, the first {ago(first)}.", keys
            )


def _requests(look: _Look) -> Iterator[Finding]:
    presences = [worker.presence for worker in look.now.living if worker.presence is not None]
    commits, lost = (sum(getattr(entry, name) for entry in presences) for name in ("commits", "lost_races"))
    if commits + lost >= COMMITS and lost > CROWDED * (commits + lost):
        told = f"{lost:,} of {commits + lost:,} ledger writes lost ({lost / (commits + lost):.0%})"
        where = f"on {counted(look.now.settings.lanes, 'lane')} by {counted(len(presences), 'worker')}"
        yield look.found("lost-races", f"{told}, {where}.")
    throttled = {worker.worker: _throttled(worker) for worker in look.now.living if _throttled(worker)}
    if throttled:
        told = f"{counted(sum(throttled.values()), 'request')} of {few(throttled)}"
        yield look.found("throttled", f"{told} answered by 503 or 429 since those workers began.")
    rates = look.now.rates.requests if look.now.rates is not None else {}
    reads = sum(rate for line, rate in rates.items() if line.split()[0] == "GET")
    writes = sum(rate for line, rate in rates.items() if line.split()[0] in ("PUT", "DELETE", "POST"))
    if reads > READS_S or writes > WRITES_S:
        yield look.found("requests-near-limit", f"{reads:,.0f} reads and {writes:,.0f} writes a second.")


def _throttled(worker: WorkerView) -> int:
    requests = worker.presence.requests if worker.presence is not None else {}
    return sum(count for line, count in requests.items() if line.endswith(" throttled"))


# -- settings, locks, schedules --


def _settings(look: _Look) -> Iterator[Finding]:
    settings, living = look.now.settings, len(look.now.living)
    if settings.visibility_timeout_s < VISIBILITY_S:
        yield look.found("visibility-short", f"visibility_timeout is {settings.visibility_timeout_s:g} s.")
    if 0 < living < settings.lanes_served:
        yield look.found("lanes-many", f"{settings.lanes_served} lanes are served by {counted(living, 'worker')}.")
    if settings.order == "strict" and living > 2:
        yield look.found("strict-idle", f"order is 'strict', and there are {living} workers.")
    if not settings.probed_at_ms:
        yield look.found("unprobed", "queue.json has no verdict of a probe.", [look.now.root + "queue.json"])
    if settings.results:
        yield look.found("results-on", f"results=True, kept for {days(settings.result_ttl_s)}.")
    if settings.history:
        yield look.found("history-on", f"history=True, kept for {days(settings.history_ttl_s)}.")


def _locks(look: _Look) -> Iterator[Finding]:
    for lock in look.now.locks:
        if lock.expired or lock.expires_at < look.now.taken_at:
            key = f"{look.now.root}locks/{lock.name}.json"
            told = f"{lock.name!r} of {lock.holder!r} ran out at {moment(lock.expires_at)}."
            yield look.found("lock-expired", told, [key])


def _schedules(look: _Look) -> Iterator[Finding]:
    for each in look.now.schedules:
        key = f"{look.now.root}schedules/{each.name}.json"
        if each.next_at is None:
            yield look.found("schedule-never", f"{each.name!r}: {each.cron!r} has no tick to come.", [key])
        if each.last_at is None:
            continue
        try:
            due_ms = Timetable(each.cron, each.timezone).after(to_ms(each.last_at))
        except InvalidSetting:
            continue  # a time zone that this machine does not know
        if due_ms is not None and look.at_ms - due_ms > LATE_TICK_MS:
            told = f"{each.name!r}: after {moment(each.last_at)} it was due {ago(look.at_ms - due_ms)}"
            yield look.found("schedule-missed", f"{told} (unless its cron line was changed since).", [key])


def _problems(look: _Look) -> Iterator[Finding]:
    codes = {"NewerFormat": "newer-format", "CorruptObject": "corrupt"}
    by_code: dict[str, list[tuple[str, str]]] = {}
    for problem in look.now.problems:
        code = "foreign" if problem.part == "foreign" else codes.get(problem.kind, "unread")
        by_code.setdefault(code, []).append((problem.key, problem.error))
    for code, some in by_code.items():
        told = some[0][1] if code != "foreign" else f"{some[0][0]!r}"
        more = f" And {len(some) - 1:,} more." if len(some) > 1 else ""
        yield look.found(code, f"{told}{more}", [key for key, _ in some])


_CHECKS: Sequence[Check] = (
    _problems,
    _work,
    _pace,
    _lanes,
    _claims,
    _workers,
    _clocks,
    _outcomes,
    _letters,
    _books,
    _requests,
    _settings,
    _locks,
    _schedules,
)
