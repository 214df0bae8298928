"""The workers of a queue: what they do, when they were last heard of, how fast they are, what they ask for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from s3queue.clock import to_datetime, to_ms
from s3queue.protocol.viewing import MessageView
from s3queue.store.metered import from_lines
from s3queue.text import counted
from s3queue_admin.cost.purposes import purpose
from s3queue_admin.snapshot import BucketSnapshot, WorkerView
from s3queue_admin.tui.acting import Where
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.chronicle import Beats
from s3queue_admin.tui.screens.listing import Listing, named
from s3queue_admin.tui.shown import ago, number, rate, short, until
from s3queue_admin.tui.sought import exactly, sought
from s3queue_admin.tui.widgets.chart import Chart
from s3queue_admin.tui.widgets.detail import Told
from s3queue_admin.tui.widgets.table import Cell, Column

_TONES: Final = {"dead": "bad", "late": "warn", "unlisted": "dim", "alive": "good"}
_ORDER: Final = tuple(_TONES)
_MEANINGS: Final = {
    "dead": "its heartbeat has stopped; its claims are rescued",
    "late": "its heartbeat is overdue",
    "unlisted": "it holds messages without a heartbeat, as receive() and bursts do",
    "alive": "",
}
_BAR: Final = 20


class Workers(Listing[WorkerView]):
    """One worker a row, those that need attention first; charts of the queue where there is room."""

    NAME = "workers"
    BINDINGS: ClassVar[list[BindingType]] = bindings("workers")
    EMPTY = "There are no workers: nobody has a heartbeat, and nobody holds a message."

    def title_text(self) -> str:
        """Return what is shown."""
        seen = self.seen
        return "workers" if seen is None else f"workers ({len(seen.living)} alive of {len(seen.workers)})"

    def columns(self) -> Sequence[Column[WorkerView]]:
        """Return the columns."""
        return (
            Column("worker", lambda row: row.worker, 12, grow=1, order=lambda row: row.worker),
            Column("state", _state, 8, order=lambda row: _ORDER.index(row.state)),
            Column("beat", self._beat, 5, right=True, order=lambda row: to_ms(row.beat_at) if row.beat_at else 0),
            Column("holds", lambda row: number(row.claimed), 5, right=True, order=lambda row: row.claimed),
            Column("done/s", lambda row: rate(self._of(row, "processed_per_s")), 6, right=True,
                   order=lambda row: self._of(row, "processed_per_s") or 0.0),
            Column("fail/s", self._fails, 6, right=True, order=lambda row: self._of(row, "failed_per_s") or 0.0),
            Column("req/s", lambda row: rate(self._of(row, "requests_per_s")), 6, right=True,
                   order=lambda row: self._of(row, "requests_per_s") or 0.0),
            Column("lost", _lost, 5, right=True, need=100, order=_lost_share),
            Column("leads", lambda row: (named(map(str, row.leads), 4), "accent"), 6, order=lambda row: row.leads),
            Column("runs", lambda row: named(row.presence.running, 3) if row.presence else "", 14, grow=2),
            Column("host", _host, 16, grow=1, need=130, order=_host),
            Column("version", lambda row: row.presence.version if row.presence else "", 9, need=150),
        )  # fmt: skip

    def extra(self) -> Iterable[Widget]:
        """Return the charts."""
        with_units = (("done a second", rate), ("p99", _ms), ("requests a second", rate))
        charts = [Chart(title, unit=unit, id=f"chart-{at}") for at, (title, unit) in enumerate(with_units)]
        return [Horizontal(*charts, classes="charts")]

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show the workers, and what the queue did as far as it was watched."""
        super().show(snapshot)
        trail = self.board.feed.trail
        self.query_one("#chart-0", Chart).set_values(trail.series(self.queue, lambda point: point.completed))
        self.query_one("#chart-1", Chart).set_values(trail.series(self.queue, lambda point: point.p99_ms))
        self.query_one("#chart-2", Chart).set_values(trail.series(self.queue, lambda point: point.requests))

    def key(self, row: WorkerView) -> Hashable:
        """Return the worker's id."""
        return row.worker

    def rows(self, snapshot: BucketSnapshot) -> Iterable[WorkerView]:
        """Return the workers, what needs attention first."""
        return sorted(snapshot.queues[self.queue].workers, key=lambda row: (_ORDER.index(row.state), row.worker))

    def sought(self, row: WorkerView) -> MessageView:
        """Return the worker as filters see it."""
        entry = row.presence
        facts = (
            {"state": row.state, "runs": entry.running, "host": entry.host, "version": entry.version} if entry else {}
        )
        state = "dead" if row.state == "dead" else "processing" if row.claimed else "pending"
        at_ms = to_ms(row.beat_at) if row.beat_at else 0
        return sought(
            row.worker, facts or {"state": row.state}, state=state, at_ms=at_ms, queue=self.queue, worker=row.worker
        )

    def about(self, row: WorkerView) -> Told:
        """Return all about the worker."""
        told = Told().head(f"{row.worker}  ", (row.state, _TONES[row.state]), (f"  {_MEANINGS[row.state]}", "dim"))
        entry, beats = row.presence, self._beats(row)
        now = self.seen.taken_at if self.seen is not None else None
        if entry is None or beats is None or now is None:
            return told.facts(("holds", f"{counted(row.claimed, 'message')} by the ledgers"))
        late = row.state in ("late", "dead")
        told.facts(
            ("heartbeat", f"{ago(row.beat_at, now)} ago, next {_due(row, now)}", _TONES[row.state] if late else ""),
            ("holds", (f"{counted(row.claimed, 'message')} by the ledgers, {entry.held:,} by its own account; "
                      f"room for {entry.capacity:,}")),
            ("runs", named(entry.running) or "no handler", "" if entry.running else "dim"),
            ("ever", (f"{entry.processed:,} completed, {entry.failed:,} failed; {counted(entry.commits, 'commit')}, "
                     f"{entry.lost_races:,} lost races")),
            ("leads", f"lane {named(map(str, row.leads))}" if row.leads else ""),
            ("process", f"{_host(row)}, lanes {named(map(str, entry.lanes))}, {_up(row)}"),
        )  # fmt: skip
        over = short(beats.seconds) if beats.seconds else "no time"
        since = "between heartbeats" if beats.before else "since its start"
        told.head("requests by purpose", (f"  a second over {over}, {since}; in all", "dim"))
        return told.bars(list(by_purpose(beats)), _BAR) if entry.requests else told.line(("none told yet", "dim"))

    # -- actions --

    def chosen(self) -> Where:
        """Return the messages that the workers hold that are marked, else the one under the cursor."""
        rows = self.rows_meant()
        return exactly("worker", [row.worker for row in rows]) if rows else []

    def do_held(self) -> None:
        """Show the messages that the worker holds."""
        row = self.grid.current
        if row is not None:
            self.board.go("messages", self.queue, state="processing", chosen=exactly("worker", [row.worker]))

    # -- what is known of one --

    def _beats(self, row: WorkerView) -> Beats | None:
        return self.board.feed.chronicle.beats(self.queue, row.worker)

    def _of(self, row: WorkerView, name: str) -> float | None:
        beats = self._beats(row)
        value: float | None = getattr(beats, name) if beats is not None and row.state != "dead" else None
        return value

    def _fails(self, row: WorkerView) -> Cell:
        value = self._of(row, "failed_per_s")
        return (rate(value), "warn") if value else rate(value)

    def _beat(self, row: WorkerView) -> Cell:
        text = ago(row.beat_at, self.seen.taken_at) if self.seen is not None else ""
        return (text or "–", _TONES[row.state] if row.state in ("late", "dead") else "")


def by_purpose(beats: Beats) -> Iterable[tuple[str, float, str]]:
    """Yield what a worker asks for, most frequent first: the purpose, how often a second, and that with the sum in words."""
    last, before = from_lines(beats.last.requests), from_lines(beats.before.requests) if beats.before else {}
    sums: dict[str, tuple[int, int]] = {}
    for line, count in last.items():
        grown, whole = sums.get(purpose(*line).value, (0, 0))
        sums[purpose(*line).value] = (grown + max(0, count - before.get(line, 0)), whole + count)
    for name, (grown, whole) in sorted(sums.items(), key=lambda item: (-item[1][0], -item[1][1], item[0])):
        per_s = grown / beats.seconds if beats.seconds else 0.0
        yield name, per_s, f"{rate(per_s) if beats.seconds else '–'}/s, {number(whole)}"


def _state(row: WorkerView) -> Cell:
    return row.state, _TONES[row.state]


def _host(row: WorkerView) -> str:
    return f"{row.presence.host}:{row.presence.pid}" if row.presence is not None else ""


def _up(row: WorkerView) -> str:
    entry = row.presence
    if entry is None or not entry.started_at_ms:
        return ""
    version = f"version {entry.version}, " if entry.version else ""
    return f"{version}started {to_datetime(entry.started_at_ms):%Y-%m-%d %H:%M:%S}Z"


def _due(row: WorkerView, now: datetime) -> str:
    text = until(row.due_at, now)
    return f"was due {text[1:]} ago" if text.startswith("-") else f"due in {text}"


def _lost_share(row: WorkerView) -> float:
    entry = row.presence
    tried = entry.commits + entry.lost_races if entry is not None else 0
    return entry.lost_races / tried if entry is not None and tried else 0.0


def _lost(row: WorkerView) -> Cell:
    share = _lost_share(row)
    return (f"{share:.0%}", "warn") if share >= 0.1 else f"{share:.0%}" if share else ""


def _ms(value: float) -> str:
    return short(value / 1000)
