"""What a queue costs by its workers' meters, and what it would cost otherwise: sliders, reckoned as they move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from s3queue.core.settings import Settings
from s3queue.text import counted
from s3queue_admin.cost import (
    Bill,
    Case,
    Estimate,
    Load,
    Measured,
    PriceList,
    estimate_usage,
    load_prices,
    measured,
    what_if,
)
from s3queue_admin.cost.prices import STORES
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot
from s3queue_admin.tui.actions import bindings
from s3queue_admin.tui.screens.view import Stop, View
from s3queue_admin.tui.shown import bytes_text, dollars, rate, short
from s3queue_admin.tui.widgets.chart import Chart
from s3queue_admin.tui.widgets.detail import Told
from s3queue_admin.tui.widgets.slider import Slider, Value

_COUNTS: Final = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 80, 100, 150, 200, 300, 500, 1000)
_RATES: Final = (0, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_POLLS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_LONG_POLLS: Final = (0.25, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_BATCHES: Final = (1, 2, 3, 5, 8, 10, 20, 30, 50, 100, 200, 500, 1000)
_SIZES: Final = (128, 512, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
_LANES: Final = tuple(range(1, 17))
_SERVICES: Final = ("sqs", "sqs-fifo")
_BAR: Final = 24
_BRIEF_BAR: Final = 8
_PURPOSES: Final = 8


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What was made in a thread: the bills of now, those of the sliders, and the requests of those in one store."""

    base: Estimate
    changed: Estimate
    cases: tuple[Case, ...]


def sliders() -> tuple[Slider, ...]:
    """Return the sliders, each with the name of what it sets as its id."""
    return (
        Slider("store", STORES, "s3", id="store"),
        Slider("messages/s", _RATES, 1, show=lambda value: rate(_float(value)), id="messages_per_s"),
        Slider("workers", _COUNTS, 1, whole=True, id="workers"),
        Slider("batch", _BATCHES, 1, whole=True, id="batch"),
        Slider("poll", _POLLS, 0.25, show=_seconds, id="poll_interval_s"),
        Slider("idle poll", _LONG_POLLS, 5, show=_seconds, id="max_poll_interval_s"),
        Slider("concurrency", _COUNTS, 8, whole=True, id="concurrency"),
        Slider("lanes", _LANES, 1, whole=True, id="lanes"),
        Slider("payload", _SIZES, 1024, show=lambda value: bytes_text(int(value)), whole=True, id="payload_bytes"),
    )


class Cost(View):
    """Measured above, what if below. What is measured is over the last ten minutes or so that this dashboard watched."""

    NAME = "cost"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("cost"),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]
    AUTO_FOCUS = "Slider"

    def __init__(self, queue: str = "") -> None:
        super().__init__(queue)
        self._measured: Measured | None = None
        self._base: tuple[Settings, Load] | None = None
        self._price_list: PriceList | None = None

    def title_text(self) -> str:
        """Return what is shown."""
        return f"cost, at prices of {self._measured.bills[0].as_of}" if self._measured is not None else "cost"

    def body(self) -> ComposeResult:
        """Make what is measured, the charts, the sliders and what they come to."""
        with VerticalScroll(id="cost", can_focus=False):
            yield Static("Nothing was seen yet.", id="measured")
            charts = [
                Chart("requests a second", unit=rate, id="chart-0"),
                Chart("done a second", unit=rate, id="chart-1"),
            ]
            yield Horizontal(*charts, classes="charts")
            yield Static("What if", classes="heading")
            with Horizontal(id="what-if"):
                yield Vertical(*sliders(), id="sliders")
                yield Static("…", id="would")
            yield Static("", id="notes", classes="dim")

    def action_page(self, by: int) -> None:
        """Scroll by a screenful."""
        scroll = self.query_one("#cost", VerticalScroll)
        scroll.scroll_relative(y=by * max(1, scroll.size.height - 2), animate=False)

    # -- measured --

    def show(self, snapshot: BucketSnapshot) -> None:
        """Measure from an earlier look to this one, in a thread."""
        seen = snapshot.queues.get(self.queue)
        if seen is None:
            self.query_one("#measured", Static).update(
                Told().line(f"There is no queue {self.queue} in the bucket.").content()
            )
            return
        since = self.board.feed.chronicle.since(self.queue)
        trail = self.board.feed.trail
        self.query_one("#chart-0", Chart).set_values(trail.series(self.queue, lambda point: point.requests))
        self.query_one("#chart-1", Chart).set_values(trail.series(self.queue, lambda point: point.completed))

        def call(_stop: Stop) -> Measured:
            if since is None or since[0].taken_at >= seen.taken_at:
                return measured(seen, prices=self._prices())
            return measured(since[0], seen, watching=since[1], prices=self._prices())

        self.ask("cost", call, lambda found: self._take_measured(seen, found))

    def _prices(self) -> PriceList:
        if self._price_list is None:
            self._price_list = load_prices()
        return self._price_list

    def _take_measured(self, seen: QueueSnapshot, found: Measured) -> None:
        is_first, self._measured = self._measured is None, found
        self._base = seen.settings, load_of(seen, found)
        if is_first:
            self.do_as_measured()
        self._tell_measured()
        self._reckon()
        self.tell()

    @property
    def store(self) -> str:
        """The store whose bill is told by purpose."""
        return str(self._slider("store").value)

    def _tell_measured(self) -> None:
        found = self._measured
        if found is not None:
            self.query_one("#measured", Static).update(measured_text(found, self.store).content())

    # -- what if --

    def _slider(self, name: str) -> Slider:
        return self.query_one(f"#{name}", Slider)

    def do_as_measured(self) -> None:
        """Set the sliders to what the queue is."""
        if self._base is None:
            self.notify("Nothing was measured yet.", severity="warning")
            return
        settings, load = self._base
        for slider in self.query(Slider):
            if slider.id != "store":
                value = settings.lanes if slider.id == "lanes" else getattr(load, str(slider.id))
                slider.choose(value)

    @on(Slider.Changed)
    def _moved(self, event: Slider.Changed) -> None:
        event.stop()
        if event.slider.id == "store":
            self._tell_measured()
        self._reckon()

    def _changes(self, settings: Settings, load: Load) -> dict[str, Any]:
        """Return what the sliders say otherwise than the queue is."""
        values = {str(slider.id): slider.value for slider in self.query(Slider) if slider.id != "store"}
        now = {name: settings.lanes if name == "lanes" else getattr(load, name) for name in values}
        return {name: value for name, value in values.items() if value != now[name]}

    def _reckon(self) -> None:
        if self._base is None:
            return
        settings, load = self._base
        changes, prices = self._changes(settings, load), self._prices()

        def call(_stop: Stop) -> Reckoned:
            base = estimate_usage(settings, load, prices=prices)
            found = what_if(base, stores=[bill.store for bill in base.bills], **changes)
            return Reckoned(base, estimate_usage(settings, load, prices=prices, **changes), found.cases)

        self.ask("what if", call, lambda found: self._take_reckoned(found, changes))

    def _take_reckoned(self, found: Reckoned, changes: Mapping[str, Any]) -> None:
        self.query_one("#would", Static).update(what_if_text(found, self.store, changes).content())
        notes = Told().line((f"Reckoned for {found.changed.scope}.", "dim"))
        for note in found.changed.notes:
            notes.line((note, "dim" if note.startswith("Not in it") else "warn"))
        self.query_one("#notes", Static).update(notes.content())

    def refused(self, what: str, error: Exception) -> None:
        """Say beside the sliders that it cannot be so."""
        if what == "what if":
            self.query_one("#would", Static).update(Told().line((str(error), "bad")).content())
        else:
            super().refused(what, error)


def load_of(seen: QueueSnapshot, found: Measured) -> Load:
    """Return the load that is closest to what was measured; what cannot be known is as a worker's default."""
    per_s = found.messages_per_s or 0.0
    made = found.producers.per_second if found.producers is not None else 0.0
    batch = min(1000, max(1, round(per_s / made))) if made else 1
    return Load(messages_per_s=float(f"{per_s:.3g}"), workers=max(1, len(seen.living)), batch=batch)


def measured_text(found: Measured, store: str) -> Told:
    """Return what was measured: each store's bill, then what the requests of one were for."""
    seconds = (found.to_at - found.from_at).total_seconds()
    heard = found.heard
    told = Told().head("Measured", (f"  over {short(seconds)}, {counted(heard.workers, 'worker')} heard", "dim"))
    if found.messages_per_s is not None:
        told.line(("messages    ", "dim"), f"{rate(found.messages_per_s)}/s completed or dead")
    for bill in found.bills:
        if bill.store not in _SERVICES or bill.messages_per_s:
            told.line((f"{bill.store:<12}", "accent" if bill.store == store else "dim"), _bill(bill))
    for look in found.watching:
        if look.store == store and look.charges:
            told.line((f"{'your looks':<12}", "dim"), f"{_bill(look)}, beside it")
    if not found.is_metered:
        told.line(("Nothing has been metered: no worker reports.", "warn"))
    chosen = found.bill(store)
    return by_purpose(told, chosen)


def by_purpose(told: Told, bill: Bill, *, brief: bool = False) -> Told:
    """Tell what the requests of a bill are for, dearest first; ``brief``: without how many there are."""
    often: dict[str, float] = {}
    for charge in bill.charges:
        often[charge.purpose] = often.get(charge.purpose, 0.0) + charge.requests_per_s
    rows = [
        (purpose.value, usd, f"{dollars(usd)}/month" + ("" if brief else f", {rate(often[purpose])}/s"))
        for purpose, usd in list(bill.by_purpose().items())[:_PURPOSES]
    ]
    if rows:
        told.head(bill.title, ("" if brief else "  by purpose, at list price", "dim"))
    return told.bars(rows, _BRIEF_BAR if brief else _BAR)


def what_if_text(found: Reckoned, store: str, changes: Mapping[str, Any]) -> Told:
    """Return what it would cost in each store, and what the requests in the one chosen would be for."""
    told = Told()
    if not changes:
        told.line(("as it is now; move a slider", "dim"))
    told.line((f"{'store':<11}{'$/month':>10}{'$/million':>10} {'to now':>7}", "dim"))
    cases = {case.store: case for case in found.cases}
    for bill in found.base.bills:
        case = cases[bill.store]
        ratio = f"×{case.ratio:.2f}" if case.ratio is not None else "–"
        tone = "dim" if case.ratio is None or ratio == "×1.00" else "good" if case.ratio < 1 else "bad"
        per_million = dollars(case.usd_per_million) or "–"
        told.line(
            (f"{case.store:<11}", "accent" if case.store == store else ""),
            f"{dollars(case.usd_a_month):>10}{per_million:>10} ",
            (f"{ratio:>7}", tone),
        )
    told.line((f"{rate(found.changed.requests_per_s)} requests a second", "dim"))
    return by_purpose(told, found.changed.bill(store), brief=True)


def _bill(bill: Bill) -> str:
    million = f", {dollars(bill.usd_per_million)}/million" if bill.usd_per_million is not None else ""
    return f"{dollars(bill.usd_an_hour)}/hour, {dollars(bill.usd_a_month)}/month{million}"


def _float(value: Value) -> float:
    return cast("float", value)


def _seconds(value: Value) -> str:
    seconds = _float(value)
    return f"{seconds:g} s"
