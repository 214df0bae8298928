"""``s3queue-admin cost``: what queues cost, would cost, and at which prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import click
from click.shell_completion import CompletionItem

from s3queue.cli.keeping import span as span_option
from s3queue.cli.options import Command, setting
from s3queue.core.settings import Settings
from s3queue_admin.cli.arguments import queue_argument
from s3queue_admin.cli.messages import emit_some
from s3queue_admin.cli.options import Common, with_bucket, with_manners, with_place
from s3queue_admin.cli.render import TABLE, data, dollars, emit, emit_rows, table
from s3queue_admin.cli.telling import wrapped
from s3queue_admin.cost import Bill, Estimate, Load, Measured, PriceList, estimate_usage, load_prices, measured, what_if
from s3queue_admin.frames import costs

_ALL = 1_000_000
_NAMES = [item.name for model in (Load, Settings) for item in fields(model) if item.name not in ("latency", "retry")]


@click.group(short_help="Measure, estimate and compare what queues cost.")
def cost() -> None:
    """Say what queues cost, measured by their workers' meters; what they would cost, by the engine's request model; where."""


with_prices = setting(
    "--prices", "price_file", type=click.Path(dir_okay=False), help="Price file in place of the shipped one."
)
with_store = click.option("--store", default="s3", show_default=True, help="Whose bill is told by purpose.")


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(f"{name}=") for name in _NAMES if name.startswith(incomplete)]


def with_changes(function: Command) -> Command:
    """Decorate a command with NAME=VALUE arguments: fields of a load, and settings of a queue."""
    argument = click.argument("changes", metavar="[NAME=VALUE]...", nargs=-1, shell_complete=_complete)
    like = click.option("--like", metavar="QUEUE", help="With the settings of this queue.")
    return argument(like(function))


@cost.command("measured", short_help="Say what a queue costs, by its workers' meters.")
@queue_argument
@click.option(
    "--over",
    callback=span_option,
    default="60",
    show_default=True,
    help="How long to look: 10m. 0: since workers started.",
)
@with_store
@with_prices
@with_bucket
def measured_command(common: Common, queue: str, over: float, store: str, price_file: str | None) -> None:
    """Say what a queue costs, by the meters that its workers write down with each heartbeat, looked at twice.

    Ten minutes make it exact: idle workers write theirs as seldom.
    """
    prices = load_prices(price_file)
    with common.open(queue) as bucket:
        before = bucket.inspect(queue)
        after = None
        if over > 0 and bucket.at is None:  # the past does not change
            click.echo(f"Looking again in {over:g} s …", err=True)
            bucket.clock.sleep(over)
            after = bucket.inspect(queue)
        found = measured(before, after, prices=prices)
    _emit(common.output, found, store)


@cost.command(short_help="Reckon what a queue would cost.")
@with_changes
@with_store
@with_prices
@with_place
def estimate(common: Common, changes: tuple[str, ...], like: str | None, store: str, price_file: str | None) -> None:
    """Reckon what a queue would cost, workers and producers together; nothing is asked of a store, unless --like.

    \b
    s3queue-admin cost estimate messages_per_s=100 workers=10 batch=10 lanes=2
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    chosen = {name: _single(name, values) for name, values in _changes(changes).items()}
    _emit(common.output, _estimate(common, chosen, like, price_file), store)


def _estimate(common: Common, changes: Mapping[str, Any], like: str | None, price_file: str | None) -> Estimate:
    settings = None
    if like is not None:
        with common.open(like) as bucket:
            settings = bucket.inspect(like).settings
    return estimate_usage(settings, prices=load_prices(price_file), **changes)


@cost.command("what-if", short_help="Compare what it would cost otherwise.")
@with_changes
@click.option("--store", "stores", multiple=True, default=["s3"], show_default=True, help="May be repeated.")
@with_prices
@with_place
def what_if_command(
    common: Common, changes: tuple[str, ...], like: str | None, stores: tuple[str, ...], price_file: str | None
) -> None:
    """Compare every combination of the lists of values with what the first of each costs, cheapest first.

    \b
    s3queue-admin cost what-if messages_per_s=100 workers=10,100 batch=1,100 --store s3 --store r2
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    chosen = _changes(changes)
    base = _estimate(common, {name: values[0] for name, values in chosen.items()}, like, price_file)
    lists = {name: values for name, values in chosen.items() if len(values) > 1}
    found = what_if(base, stores=stores, **lists)
    facts = [dict(zip(found.columns, row, strict=True)) for row in found.rows()]
    remarks = [f"{bill.store}: {bill.note}" for bill in base.bills if bill.store in stores and bill.note]
    notes = list(dict.fromkeys([*remarks, *(note for case in found.cases for note in case.notes)]))
    first = ", ".join(f"{name}={values[0]}" for name, values in lists.items())

    def text() -> str:
        titles = {"requests_per_s": "req/s", "usd_an_hour": "$/hour", "usd_a_month": "$/month",
                  "usd_per_million": "$/million"}  # fmt: skip
        rows = [[_shown(name, value) for name, value in row.items()] for row in facts]
        lines = table([titles.get(name, name) for name in found.columns], rows)
        told = [f"Compared with {first} in the same store (×1): {base.scope}."] if first else [base.scope]
        return "\n\n".join([*map(wrapped, told), lines, *map(wrapped, notes)])

    emit_rows(common.output, facts, text, columns=found.columns)


def _shown(name: str, value: Any) -> Any:
    if name == "ratio":
        return f"×{value:.3g}" if value is not None else ""
    return dollars(value) if name.startswith("usd") else value


@cost.command(short_help="Show the prices that are reckoned with.")
@with_prices
@with_manners
def prices(output: str, log_format: str, verbose: bool, price_file: str | None) -> None:  # noqa: ARG001
    """Show the list prices, the day they are of, and where they are from; US dollars, a million requests, a GB-month."""
    found = load_prices(price_file)
    facts = [
        {"store": each.name, "title": each.title, "figure": name, "is": getattr(each, name), **data(origin)}
        for each in found.stores
        for name, origin in each.origins.items()
    ]
    emit_rows(output, facts, lambda: _prices(found), columns=["store", "title", "figure", "is", "source", "as_of"])


def _prices(found: PriceList) -> str:
    buckets = [
        (each.name, each.title, each.put_list, each.get, each.storage_gb_month, each.upload_gb, each.download_gb)
        for each in found.buckets.values()
    ]
    services = [
        (each.name, each.title, each.request, int(each.batch), int(each.chunk_bytes))
        for each in found.services.values()
    ]
    return "\n\n".join([
        f"US dollars as of {found.as_of}, by {found.origin}",
        table(("store", "", "PUT, LIST", "GET", "GB-month", "GB up", "GB down"), buckets, wide=("",)),
        table(("service", "", "request", "batch", "bytes each"), services, wide=("",)),
        table(("from", "as of", "source"), _sources(found), wide=("source",)),
        *(wrapped(f"{each.name}: {each.note}") for each in found.buckets.values() if each.note),
    ])  # fmt: skip


def _sources(found: PriceList) -> list[tuple[str, str, str]]:
    dollar = ("put_list", "get", "storage_gb_month", "upload_gb", "download_gb", "request")
    lines = [(each.name, each.origins[name]) for each in found.stores for name in dollar if name in each.origins]
    return list(dict.fromkeys((name, str(origin.as_of), origin.source) for name, origin in lines))


# -- arguments and bills ----------------------------------------------------------------------------------------------


def _changes(pairs: Sequence[str]) -> dict[str, list[Any]]:
    """Return NAME=VALUE,VALUE as lists of values by name."""
    found: dict[str, list[Any]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.replace("-", "_")
        if not equals or not text or name in found:
            raise click.UsageError(f"{pair!r} is not a new NAME=VALUE: {', '.join(_NAMES)}.")
        found[name] = [_value(each) for each in text.split(",")]
    return found


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _single(name: str, values: Sequence[Any]) -> Any:
    if len(values) > 1:
        raise click.UsageError(f"{name} has several values: cost what-if compares them.")
    return values[0]


def _emit(output: str, found: Estimate | Measured, store: str) -> None:
    found.bill(store)  # an unknown store is told before anything is written
    if output in (TABLE, "json"):
        names = ("scope", "period", "rates", "notes")
        facts = {name: getattr(found, name) for name in names} | {"bills": list(map(_bill, found.bills))}
        if isinstance(found, Measured):
            facts |= {"is_metered": found.is_metered, "watching": list(map(_bill, found.watching))}
        emit(output, facts, lambda: _bills(found, store))
        return
    emit_some(output, costs(found.bills), _ALL, lambda _: "")


def _bill(bill: Bill) -> dict[str, Any]:
    sums = {name: getattr(bill, name) for name in ("usd_an_hour", "usd_a_month", "usd_per_million")}
    return {**data(bill), **sums}


def _row(bill: Bill, title: str = "") -> tuple[str, ...]:
    sums = (bill.usd_an_hour, bill.usd_a_month, bill.usd_per_million)
    return (bill.store, title or bill.title, *map(dollars, sums))


def _bills(found: Estimate | Measured, store: str) -> str:
    chosen = found.bill(store)
    known = not isinstance(found, Measured) or found.is_metered or found.producers is not None
    rows = [_row(bill) for bill in found.bills] if known else []
    if isinstance(found, Measured):
        rows += [
            _row(bill, "your own looks, beside it") for bill in found.watching if bill.store == store and bill.charges
        ]
    charges = [
        (
            charge.purpose.value,
            charge.verb,
            charge.requests_per_s,
            dollars(charge.usd_a_month),
            dollars(charge.usd_per_million),
        )
        for charge in chosen.charges
    ]
    parts = [
        wrapped(f"{found.scope}; {found.period}; prices of {chosen.as_of}"),
        *([] if known else [wrapped(found.notes[0])]),
        *([table(("store", "", "$/hour", "$/month", "$/million"), rows, wide=("",))] if rows else []),
    ]
    if charges:
        parts.append(table((f"in {chosen.store}, for", "verb", "req/s", "$/month", "$/million"), charges))
    notes = [note for note in (chosen.note, *found.notes[0 if known else 1 :]) if note]
    return "\n\n".join([*parts, *map(wrapped, notes)])
