"""What a queue would cost: an estimate from the engine's own request model, and what if it were run otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from math import ceil
from typing import Any

from s3queue.core.settings import Settings
from s3queue.errors import InvalidSetting
from s3queue.text import counted
from s3queue_admin.cost.bill import HINT, Bill, Flow, Rate, bills, merge
from s3queue_admin.cost.fleet import CROWDED, MOST_PLAYED, crew_of, demand, idle, life_of
from s3queue_admin.cost.load import Load
from s3queue_admin.cost.prices import PriceList, load_prices
from s3queue_admin.cost.purposes import Purpose

MAX_CASES = 1000
"""How many combinations :func:`what_if` reckons at most."""
_GB = 1 << 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a queue asks of its store a second, on average, and what that costs where.

    ``scope`` and ``period`` say of what and of which time; ``bills`` are by store, queue services beside them for the same
    messages. ``notes`` say where the estimate is weak, and what is not in it.
    """

    scope: str
    period: str
    settings: Settings
    load: Load
    rates: tuple[Rate, ...]
    flow: Flow
    bills: tuple[Bill, ...]
    prices: PriceList
    notes: tuple[str, ...] = ()

    @property
    def requests_per_s(self) -> float:
        """All requests to the store a second."""
        return sum(rate.per_second for rate in self.rates if rate.verb != HINT)

    def bill(self, store: str = "s3") -> Bill:
        """Return the bill of a store or service; InvalidSetting if the price file has none of that name."""
        return find_bill(self.bills, store)


def find_bill(found: Sequence[Bill], store: str) -> Bill:
    """Return the bill of that store; InvalidSetting if there is none."""
    for each in found:
        if each.store == store:
            return each
    raise InvalidSetting(
        f"There are no prices of {store!r}.", remedy=f"Use one of {', '.join(b.store for b in found)}."
    )


def estimate_usage(
    settings: Settings | None = None, load: Load | None = None, *, prices: PriceList | None = None, **changes: Any
) -> Estimate:
    """Return what a queue of these settings costs under this load, workers and producers together.

    ``changes`` are fields of :class:`Load` or :class:`~s3queue.core.settings.Settings` by name, in place of those in
    ``load`` and ``settings`` (default: an idle queue with one worker). InvalidSetting for one that is unknown or out of
    range. Nothing is asked of a store.
    """
    settings, load = _changed(settings or Settings(), load or Load(), changes)
    prices = prices or load_prices()
    share = load.idle_share if load.messages_per_s else 0.0
    found = [Rate(rate.verb, rate.purpose, rate.per_second * (1 - share)) for rate in demand(load, settings)]
    if share:
        found += [Rate(rate.verb, rate.purpose, rate.per_second * share) for rate in demand(idle(load), settings)]
    rates = merge(found)
    flow = _flow(load, settings, rates)
    scope, period = _scope(load, settings), "steady state, a month of thirty days"
    billed = bills(rates, flow, prices, scope=scope, period=period)
    return Estimate(scope, period, settings, load, rates, flow, billed, prices, tuple(_notes(load, settings)))


def _changed(settings: Settings, load: Load, changes: Mapping[str, Any]) -> tuple[Settings, Load]:
    of_load, of_settings = {item.name for item in fields(Load)}, {item.name for item in fields(Settings)}
    unknown = sorted(changes.keys() - of_load - of_settings)
    if unknown:
        raise InvalidSetting(
            f"There is no {', '.join(unknown)} in a load or in settings.",
            remedy=f"Use {', '.join(sorted(of_load))}, or a setting of the queue.",
        )
    return (
        replace(settings, **{name: value for name, value in changes.items() if name in of_settings}),
        replace(load, **{name: value for name, value in changes.items() if name in of_load}),
    )


def _flow(load: Load, settings: Settings, rates: Sequence[Rate]) -> Flow:
    life, mean = life_of(load.failing, settings.max_attempts), load.mean_messages_per_s
    commits = sum(rate.per_second for rate in rates if rate.purpose in (Purpose.COMMITS, Purpose.LOST_RACES))
    looks = sum(rate.per_second for rate in rates if (rate.verb, rate.purpose) == ("GET", Purpose.POLLING))
    results = mean * settings.result_ttl_s * load.payload_bytes / _GB if settings.results else 0.0
    return Flow(
        messages=mean,
        attempts=mean * life.attempts,
        batch=load.batch,
        payload_bytes=load.payload_bytes,
        polling_workers=load.workers * (load.idle_share if load.messages_per_s else 1.0),
        up_bytes=mean * life.attempts * load.payload_bytes + commits * load.ledger_bytes,
        down_bytes=mean * life.attempts * load.payload_bytes + looks * load.ledger_bytes,
        stored_gb=load.stored_gb + results,
    )


def _scope(load: Load, settings: Settings) -> str:
    workers = counted(load.workers, "worker")
    lanes = counted(settings.lanes, "lane")
    if not load.messages_per_s:
        return f"one queue, {workers}, {lanes}, idle"
    batch = "one at a time" if load.batch == 1 else f"{load.batch} at a time"
    idle_for = f", {load.idle_share:.0%} of the time idle" if load.idle_share else ""
    return f"one queue, {workers}, {lanes}, {load.messages_per_s:g} messages a second, {batch}{idle_for}; producers included"


def _notes(load: Load, settings: Settings) -> list[str]:
    notes = ["Not in it: schedules, locks, replays, purges, operators who look, and workers that come and go."]
    life = life_of(load.failing, settings.max_attempts)
    lanes = settings.lanes
    objects = load.messages_per_s * (1 / load.batch + life.retries) / lanes
    crew = crew_of(load, settings, objects, load.messages_per_s * life.attempts / lanes)
    rhythm = crew.rhythm
    if not crew.keeps_up:
        why = "an ordered group takes one message at a time, and a commit for each"
        if crew.needed > crew.workers:
            why = f"it takes {counted(ceil(crew.needed * lanes), 'worker')} to do what comes"
        elif settings.order != "strict":
            why = "its workers wait for each other's commits and reads: use more lanes, larger batches"
        notes.append(f"It does not keep up: {why}.")
    if rhythm.commits > CROWDED:
        notes.append(
            f"Crowded: {rhythm.busy:.0f} busy workers write a ledger {rhythm.commits:.0f} times a second and lose "
            f"{rhythm.lost:.0f} races; how many is a matter of chance, so dollars are, by a tenth and more. Use more lanes, or "
            "more concurrency in fewer workers."
        )
    if crew.played < crew.workers and crew.played == MOST_PLAYED:
        notes.append(f"Of the workers of a lane {MOST_PLAYED} are reckoned as at work, the others as idle.")
    if settings.strict and load.failing:
        notes.append("That a retry holds its group back is not modelled: it counts as one more message.")
    if settings.lanes_auto:
        notes.append(f"lanes='auto' is reckoned as {lanes}, what it is now.")
    if load.coordination != "s3":
        notes.append(
            "A Redis server is not in it." if load.coordination == "redis" else "Hints by SQS are billed by SQS."
        )
    return notes


@dataclass(frozen=True, slots=True)
class Case:
    """One combination: what was changed, in which store, what it asks and costs; ``ratio`` to the base in the same store."""

    changes: Mapping[str, Any]
    store: str
    requests_per_s: float
    usd_an_hour: float
    usd_a_month: float
    usd_per_million: float | None
    ratio: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A table of cases, cheapest first; ``base`` is what they are compared with."""

    base: Estimate
    columns: tuple[str, ...]
    cases: tuple[Case, ...]

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the cases as rows of :attr:`columns`: the changes, then store, requests, dollars, ratio."""
        names = self.columns[: -len(_FIGURES)]
        return [
            (*(case.changes[name] for name in names), *(getattr(case, figure) for figure in _FIGURES))
            for case in self.cases
        ]


_FIGURES = ("store", "requests_per_s", "usd_an_hour", "usd_a_month", "usd_per_million", "ratio")


def what_if(base: Estimate, *, stores: Sequence[str] = ("s3",), **changes: Any) -> WhatIf:
    """Return every combination of the changes in every store: ``what_if(base, workers=[10, 100], batch=[1, 100])``.

    Names are those that :func:`estimate_usage` takes; each has a value or a list of values. InvalidSetting for one that is
    unknown or out of range, and for more than :data:`MAX_CASES` combinations.
    """
    lists = {
        name: list(value) if isinstance(value, list | tuple | range) else [value] for name, value in changes.items()
    }
    count = len(stores)
    for values in lists.values():
        count *= len(values)
    if not 0 < count <= MAX_CASES:
        raise InvalidSetting(f"These are {count:,} combinations.", remedy=f"Use 1 to {MAX_CASES:,}.")
    standard = {store: base.bill(store).usd_a_month for store in stores}
    cases = []
    for combination in product(*lists.values()):
        chosen = dict(zip(lists, combination, strict=True))
        found = estimate_usage(base.settings, base.load, prices=base.prices, **chosen)
        cases += [_case(found, chosen, store, standard[store]) for store in stores]
    cases.sort(key=lambda case: case.usd_a_month)
    return WhatIf(base, (*lists, *_FIGURES), tuple(cases))


def _case(found: Estimate, changes: Mapping[str, Any], store: str, standard: float) -> Case:
    bill = found.bill(store)
    return Case(
        changes,
        store,
        found.requests_per_s,
        bill.usd_an_hour,
        bill.usd_a_month,
        bill.usd_per_million,
        bill.usd_a_month / standard if standard else None,
        found.notes,
    )
