"""From requests a second to dollars: an hour, a month, a million messages, by verb and by purpose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil
from typing import TypeVar

from s3queue.presets import MONTH_S
from s3queue_admin.cost.prices import BucketPrices, PriceList, ServicePrices
from s3queue_admin.cost.purposes import Purpose

K = TypeVar("K", bound=str)

HOUR_S = 3600
_MILLION = 1_000_000
_GB = 1 << 30
_READS = ("GET", "HEAD")
_FREE = ("DELETE", "CANCEL")
HINT = "SQS"
"""The verb of requests to the SQS queue that carries hints: SQS bills them, whatever store the queue is in."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a kind of request is made."""

    verb: str
    purpose: Purpose
    per_second: float


@dataclass(frozen=True, slots=True)
class Flow:
    """What a queue carries, whatever it is made of: per second, on average over all of the time.

    ``messages``: enqueued and ended; ``attempts``: handler runs, retries included. ``batch``: messages enqueued at once.
    ``polling_workers``: how many wait for messages. ``up_bytes`` and ``down_bytes`` are sent to the store and back;
    ``stored_gb`` lies there. What is not known is 0.
    """

    messages: float
    attempts: float
    batch: float = 1.0
    payload_bytes: float = 0.0
    polling_workers: float = 0.0
    up_bytes: float = 0.0
    down_bytes: float = 0.0
    stored_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Charge:
    """What one kind of request costs at list price, free requests not counted; ``usd_per_million`` None without messages."""

    verb: str
    purpose: Purpose
    requests_per_s: float
    usd_an_hour: float
    usd_a_month: float
    usd_per_million: float | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What something costs in one store, in US dollars. A month has thirty days.

    ``scope`` says what is billed and ``period`` of which time; ``as_of`` is the day of the prices. ``free_usd_a_month`` is
    what free requests and gigabytes take off: an account has them once, so nothing else in it may have used them. ``note``:
    what else must be known of the store, or ''.
    """

    store: str
    title: str
    as_of: date
    scope: str
    period: str
    messages_per_s: float
    charges: tuple[Charge, ...]
    storage_usd_a_month: float = 0.0
    transfer_usd_a_month: float = 0.0
    free_usd_a_month: float = 0.0
    note: str = ""

    @property
    def usd_a_month(self) -> float:
        """All of it, for thirty days."""
        requests = sum(charge.usd_a_month for charge in self.charges)
        return max(0.0, requests + self.storage_usd_a_month + self.transfer_usd_a_month - self.free_usd_a_month)

    @property
    def usd_an_hour(self) -> float:
        """All of it, on average of a month."""
        return self.usd_a_month * HOUR_S / MONTH_S

    @property
    def usd_per_million(self) -> float | None:
        """All of it by the messages of a month, times a million; None if there are none."""
        return self.usd_a_month / (self.messages_per_s * MONTH_S) * _MILLION if self.messages_per_s else None

    def by_purpose(self) -> dict[Purpose, float]:
        """Return dollars a month at list price by purpose, dearest first."""
        return _sums((charge.purpose, charge.usd_a_month) for charge in self.charges)

    def by_verb(self) -> dict[str, float]:
        """Return dollars a month at list price by verb, dearest first."""
        return _sums((charge.verb, charge.usd_a_month) for charge in self.charges)


def _sums(items: Iterable[tuple[K, float]]) -> dict[K, float]:
    sums: dict[K, float] = {}
    for name, usd in items:
        sums[name] = sums.get(name, 0.0) + usd
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def merge(rates: Iterable[Rate]) -> tuple[Rate, ...]:
    """Return the rates with one line for each verb and purpose, most frequent first; without those that are 0."""
    sums: dict[tuple[str, Purpose], float] = {}
    for rate in rates:
        line = (rate.verb, rate.purpose)
        sums[line] = sums.get(line, 0.0) + rate.per_second
    lines = [Rate(verb, purpose, each) for (verb, purpose), each in sums.items() if each > 0]
    return tuple(sorted(lines, key=lambda rate: (-rate.per_second, rate.verb, rate.purpose)))


def price_class(rate: Rate) -> str:
    """Return ``put_list``, ``get`` or ``free``: a throttled request and a DELETE cost nothing; an unknown verb is dear."""
    if rate.purpose is Purpose.THROTTLED or rate.verb in _FREE:
        return "free"
    return "get" if rate.verb in _READS else "put_list"


def bills(rates: Sequence[Rate], flow: Flow, prices: PriceList, *, scope: str, period: str) -> tuple[Bill, ...]:
    """Return the bill of these requests in each store, and beside them that of the same messages in each queue service."""
    head = _Head(prices.as_of, scope, period, flow)
    hint_usd = prices.services["sqs"].request
    buckets = [_bucket(rates, head, each, hint_usd) for each in prices.buckets.values()]
    return (*buckets, *(_service(head, each) for each in prices.services.values()))


@dataclass(frozen=True, slots=True)
class _Head:
    """What the bills have in common."""

    as_of: date
    scope: str
    period: str
    flow: Flow


def _bucket(rates: Sequence[Rate], head: _Head, prices: BucketPrices, hint_usd: float) -> Bill:
    flow = head.flow
    each = {"put_list": prices.put_list, "get": prices.get, "free": 0.0}
    charges, months = [], {"put_list": 0.0, "get": 0.0, "free": 0.0}
    for rate in rates:
        if rate.verb == HINT:
            charges.append(_charge(rate, hint_usd, flow.messages))
        else:
            kind = price_class(rate)
            charges.append(_charge(rate, each[kind], flow.messages))
            months[kind] += rate.per_second * MONTH_S
    free = (
        min(months["put_list"], prices.free_put_list) * prices.put_list
        + min(months["get"], prices.free_get) * prices.get
    )
    stored_free = min(flow.stored_gb, prices.free_storage_gb) * prices.storage_gb_month
    transfer = flow.up_bytes * prices.upload_gb + flow.down_bytes * prices.download_gb
    return Bill(
        prices.name,
        prices.title,
        head.as_of,
        head.scope,
        head.period,
        flow.messages,
        tuple(charges),
        storage_usd_a_month=flow.stored_gb * prices.storage_gb_month,
        transfer_usd_a_month=transfer * MONTH_S / _GB,
        free_usd_a_month=free / _MILLION + stored_free,
        note=prices.note,
    )


def _service(head: _Head, prices: ServicePrices) -> Bill:
    """Return what the messages cost in a queue service: sent, received and deleted in batches, and waited for."""
    flow = head.flow
    batch = max(1.0, min(flow.batch, prices.batch))
    chunks = max(1, ceil(batch * flow.payload_bytes / prices.chunk_bytes))
    rates = [
        Rate("SendMessage", Purpose.ENQUEUE, flow.messages / batch * chunks),
        Rate("ReceiveMessage", Purpose.READING, flow.attempts / batch * chunks),
        Rate("DeleteMessage", Purpose.DELETES, flow.messages / batch),
        Rate("ReceiveMessage", Purpose.POLLING, flow.polling_workers / prices.long_poll_s),
    ]
    lines = merge(rates)
    month = sum(rate.per_second for rate in lines) * MONTH_S
    return Bill(
        prices.name,
        prices.title,
        head.as_of,
        head.scope,
        head.period,
        flow.messages,
        tuple(_charge(rate, prices.request, flow.messages) for rate in lines),
        free_usd_a_month=min(month, prices.free_requests) * prices.request / _MILLION,
        note=prices.note,
    )


def _charge(rate: Rate, usd_a_million: float, messages_per_s: float) -> Charge:
    usd_a_second = rate.per_second * usd_a_million / _MILLION
    return Charge(
        rate.verb,
        rate.purpose,
        rate.per_second,
        usd_a_second * HOUR_S,
        usd_a_second * MONTH_S,
        usd_a_second / messages_per_s * _MILLION if messages_per_s else None,
    )
