"""All queues of the bucket: how much waits, for how long, how fast it goes, who leads, what it costs, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from s3queue_admin.filters import Filter
from s3queue_admin.filters.nodes import And, Word
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot
from s3queue_admin.text import plain
from s3queue_admin.tui.acting import Acting
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.shown import dollars, number, rate, short
from s3queue_admin.tui.trail import Point
from s3queue_admin.tui.trouble import elsewhere, findings_of, tally
from s3queue_admin.tui.widgets.chart import Chart, sparkline
from s3queue_admin.tui.widgets.table import Cell, Column, Table

SPARK = 10
"""Cells of the line that shows the throughput of a queue."""


class Line:
    """A queue in a row: what costs something to find out is found out once a look."""

    def __init__(self, name: str, queue: QueueSnapshot | None, *, stale: bool, usd: float | None, growth: int) -> None:
        self.name, self.queue, self.stale, self.usd, self.growth = name, queue, stale, usd, growth
        self.spark = ""

    def count(self, state: str) -> int:
        """Return how many messages are in a state; -1 if nothing is known of the queue."""
        return int(getattr(self.queue.stats, state)) if self.queue is not None else -1


class Overview(Acting):
    """All queues, one a row, with charts of the one under the cursor."""

    NAME = "overview"
    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")

    def body(self) -> ComposeResult:
        """Make the table, the charts, and the line of what needs attention."""
        yield Table[Line](COLUMNS, key=lambda line: line.name, empty="Nothing was seen yet.")
        yield Static(id="attention")
        with Horizontal(id="charts"):
            yield Chart("done a second", id="throughput")
            yield Chart("waiting and at work", unit=number, id="depth")
            yield Chart("p99 of the last look", unit=lambda ms: short(ms / 1000), id="latency")
            yield Chart("requests a second", id="requests")

    def title_text(self) -> str:
        """Return how many queues there are."""
        seen = self.board.feed.snapshot
        return "queues" if seen is None else f"{len(seen.queues)} {'queue' if len(seen.queues) == 1 else 'queues'}"

    def queues_meant(self) -> list[str]:
        """Return the queues that are marked, else the one under the cursor."""
        return [line.name for line in self.rows_meant()]

    def show(self, snapshot: BucketSnapshot) -> None:
        """Show the queues; one that could not be read as it was, and marked."""
        feed, failed = self.board.feed, set(self.board.feed.standing.partly)
        names = sorted({*snapshot.queues, *snapshot.failed})
        lines = []
        for name in names:
            queue = snapshot.queues.get(name)
            growth = feed.trail.dead_growth(name)
            line = Line(name, queue, stale=name in failed, usd=feed.usd_an_hour.get(name), growth=growth)
            line.spark = sparkline(feed.trail.series(name, lambda point: point.completed)[-SPARK:], SPARK)
            lines.append(line)
        self._table.set_rows(lines)
        self._draw()

    @property
    def _table(self) -> Table[Line]:
        return self.query_one(Table)

    def tell(self) -> None:
        """Paint the lines anew; while the bucket does not answer, with what is wrong."""
        super().tell()
        standing = self.board.feed.standing
        if self.is_made and not standing.is_good:
            self._table.empty = "Nothing was seen yet."
            if standing.trouble:
                trouble = self.board.source.bucket.redactor.text(standing.trouble, "error")
                self.query_one("#attention", Static).update(Text(f" ▲ {plain(trouble)}", "bold", overflow="fold"))
        elif self.is_made:
            self._table.empty = "There are no queues in this bucket."

    # -- the queue under the cursor --

    @on(Table.Moved)
    def _moved(self) -> None:
        self._draw()

    @on(Table.Chosen)
    def _chosen(self) -> None:
        self.do_enter()

    def _draw(self) -> None:
        """Paint the charts and what needs attention, of the queue under the cursor."""
        line = self._table.current
        points = self.board.feed.trail.points(line.name) if line is not None else []
        name = plain(line.name, 24) if line is not None else ""
        for id_, title, values in _series(points):
            self.query_one(f"#{id_}", Chart).set_values(values, title=f"{name}: {title}" if name else title)
        self.query_one("#attention", Static).update(attention(line, self.board.feed.snapshot))

    def do_series(self) -> None:
        """Show or hide the charts."""
        charts = self.query_one("#charts")
        charts.display = not charts.display

    def do_enter(self) -> None:
        """Show the messages of the queue under the cursor."""
        line = self._table.current
        if line is not None:
            self.board.go("messages", line.name)

    # -- filter --

    def use_filter(self, chosen: Filter, *, final: bool) -> None:  # noqa: ARG002 - queues are few
        """Show the queues whose messages may match; words are looked for in their names."""
        self._table.filter_rows(None if chosen.is_everything else lambda line: admits(chosen, line.name))
        self._draw()


def admits(chosen: Filter, name: str) -> bool:
    """Whether a filter may match messages of a queue; words that stand alone are looked for in its name."""
    parts = chosen.root.parts if isinstance(chosen.root, And) else [chosen.root]
    words = [part.text.lower() for part in parts if isinstance(part, Word)]
    return chosen.admits(name) and all(word in name.lower() for word in words)


def _series(points: Sequence[Point]) -> Iterator[tuple[str, str, list[float]]]:
    yield "throughput", "done/s", [point.completed for point in points if point.completed is not None]
    yield "depth", "waiting + at work", [float(point.depth) for point in points]
    yield "latency", "p99", [float(point.p99_ms) for point in points if point.completed is not None]
    yield "requests", "requests/s", [point.requests for point in points if point.requests is not None]


def attention(line: Line | None, snapshot: BucketSnapshot | None) -> Text:
    """Return what needs attention in a queue, the worst first, in two lines: what it is, and what to do about it."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if line is None or snapshot is None:
        return text
    if line.name in snapshot.failed:
        return text.append(f" ▲ {plain(line.name)} cannot be read: {plain(snapshot.failed[line.name])}", "bold")
    if line.queue is None:
        return text
    told = findings_of(line.queue)
    if not told:
        problems, others = line.queue.problems, elsewhere(snapshot, line.name)
        if problems:
            return text.append(f" ▲ {plain(problems[0].error)}", "bold")
        text.append(f" ✓ {plain(line.name)}: nothing needs attention", "dim")
        return text.append(f"\n ▲ {plain(others)}: go there, or :doctor" if others else "", "bold")
    worst, more = told[0], len(told) - 1
    text.append(f" ▲ {plain(worst.title)}", "bold").append(f"  {plain(worst.evidence)}")
    text.append(f"  (+{more} more: :doctor)" if more else "", "dim")
    return text.append(f"\n   {plain(worst.remedy)}", "dim")


# -- columns ----------------------------------------------------------------------------------------------------------


def _state(line: Line) -> Cell:
    if line.queue is None or line.stale:
        return ("unread" if line.queue is None else "stale"), "bad"
    if line.queue.stats.paused:
        return "PAUSED", "warn"
    errors, warnings = tally([line.queue])
    if errors:
        return f"{errors} err", "bad"
    if line.queue.stats.stalled:
        return "stalled", "bad"
    if warnings:
        return f"{warnings} warn", "warn"
    return ("busy", "good") if line.queue.stats.processing else ("ok", "good")


def _count(state: str, tone: str = "") -> Column[Line]:
    title = {"scheduled": "sched", "processing": "proc", "pending": "pend", "stalled": "stall"}.get(state, state)

    def show(line: Line) -> Cell:
        count = line.count(state)
        if count < 0:
            return "–", "dim"
        return number(count), "dim" if not count else tone

    return Column(
        title, show, 6, right=True, order=lambda line: line.count(state), need=90 if state == "stalled" else 0
    )


def _dead(line: Line) -> Cell:
    count = line.count("dead")
    if count < 0:
        return "–", "dim"
    grown = f"{line.growth:+d} " if line.growth else ""
    return f"{grown}{number(count)}", "bad" if line.growth > 0 else "" if count else "dim"


def _oldest(line: Line) -> Cell:
    if line.queue is None or not line.queue.stats.pending:
        return "", ""
    age = line.queue.stats.oldest_age_s
    return short(age), "warn" if age > 300 else ""


def _age_of(line: Line) -> float:
    return line.queue.stats.oldest_age_s if line.queue is not None and line.queue.stats.pending else -1.0


def _rate(title: str, name: str, need: int = 0) -> Column[Line]:
    def value(line: Line) -> float | None:
        rates = line.queue.rates if line.queue is not None else None
        return float(getattr(rates, name)) if rates is not None else None

    def show(line: Line) -> Cell:
        found = value(line)
        return rate(found), "bad" if found and name == "failed" else "" if found else "dim"

    return Column(title, show, 6, right=True, need=need, order=lambda line: value(line) or 0.0)


def _latency(title: str, name: str, need: int) -> Column[Line]:
    def value(line: Line) -> int:
        rates = line.queue.rates if line.queue is not None else None
        return int(getattr(rates, name)) if rates is not None else 0

    return Column(
        title, lambda line: short(value(line) / 1000) if value(line) else "", 6, right=True, need=need, order=value
    )


def _leader(line: Line) -> Cell:
    lanes = line.queue.lanes if line.queue is not None else ()
    leads = [lane.coordinator for lane in lanes if lane.coordinator is not None and lane.coordinator.leads]
    if not leads:
        return "none", "dim"
    more = f" +{len(leads) - 1}" if len(leads) > 1 else ""
    return f"{plain(leads[0].worker, 12)} e{leads[0].epoch}{more}"


def _workers(line: Line) -> Cell:
    if line.queue is None:
        return "–", "dim"
    living, gone = len(line.queue.living), sum(worker.state == "dead" for worker in line.queue.workers)
    return (f"{living} (†{gone})", "warn") if gone else (str(living), "" if living else "dim")


def _races(line: Line) -> Cell:
    """Return the share of ledger writes that were lost to others, since the workers that live began."""
    living = line.queue.living if line.queue is not None else ()
    lost = sum(worker.presence.lost_races for worker in living if worker.presence)
    commits = sum(worker.presence.commits for worker in living if worker.presence)
    if not lost + commits:
        return "", ""
    share = lost / (lost + commits)
    return f"{share:.0%}", "warn" if share > 0.2 else ""


def _usd(line: Line) -> Cell:
    return ("–", "dim") if line.usd is None else (dollars(line.usd), "" if line.usd else "dim")


def _attention(line: Line) -> Cell:
    if line.queue is None:
        return "", ""
    return ", ".join(finding.code for finding in findings_of(line.queue)), "warn"


COLUMNS = (
    Column[Line]("queue", lambda line: line.name, 10, grow=2, order=lambda line: line.name),
    Column[Line]("state", _state, 7),
    _count("pending"),
    _count("scheduled"),
    _count("processing"),
    _count("stalled", "bad"),
    Column[Line]("dead", _dead, 8, right=True, order=lambda line: line.count("dead")),
    Column[Line]("oldest", _oldest, 6, right=True, order=_age_of),
    _rate("done/s", "completed"),
    _rate("fail/s", "failed", need=114),
    Column[Line]("", lambda line: (line.spark, "accent"), SPARK),
    _latency("p50", "p50_ms", need=116),
    _latency("p99", "p99_ms", need=100),
    Column[Line](
        "workers", _workers, 8, right=True, need=128, order=lambda line: len(line.queue.living) if line.queue else 0
    ),
    Column[Line]("leader", _leader, 14, need=142),
    Column[Line]("lost", _races, 5, right=True, need=134),
    Column[Line]("$/hour", _usd, 9, right=True, need=90, order=lambda line: line.usd or 0.0),
    Column[Line]("attention", _attention, 20, grow=1, need=165),
)
