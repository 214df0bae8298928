"""A worker's numbers for Prometheus. Needs the extra ``prometheus``.

Every scrape has a registry of its own, made from one snapshot: nothing is added to the process' global registry, and two
workers in one process do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from s3queue.errors import InvalidSetting
from s3queue.metrics import BUCKETS_S, Histogram, Snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def expose(snapshot: Snapshot, accept: str = "") -> tuple[str, bytes]:
    """Return (content type, body) of a scrape whose ``Accept`` header is given; InvalidSetting without the extra."""
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise InvalidSetting(
            "prometheus-client is not installed.", remedy="Install it: pip install 's3queue[prometheus]'."
        ) from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(snapshot))
    encode, kind = choose_encoder(accept)
    return kind, encode(registry)


class Collector:
    """Turns a snapshot into metrics ``s3queue_…`` with the labels ``queue`` and ``worker``; for a registry of one's own."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._labels = {"queue": snapshot.queue, "worker": snapshot.worker}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._counters()
        yield from self._gauges()
        yield from self._fleet()
        yield self._histogram("s3queue_message_latency_seconds", "From enqueue to completion.", self._snapshot.latency)
        yield self._histogram("s3queue_handler_duration_seconds", "Time of handlers.", self._snapshot.handling)

    def _counters(self) -> Iterator[Metric]:
        snap = self._snapshot
        for name, text, value in (
            ("s3queue_messages_processed", "Attempts that ended.", snap.processed),
            ("s3queue_messages_failed", "Attempts that failed.", snap.failed),
            ("s3queue_ledger_commits", "Ledger writes that landed.", snap.commits),
            ("s3queue_ledger_lost_races", "Ledger writes that lost a race.", snap.lost_races),
            ("s3queue_s3_throttled", "Requests that the store refused, asking to slow down.", snap.throttled),
        ):
            yield self._family("counter", name, text, [({}, value)])
        requests = [
            ({"verb": verb, "area": area, "outcome": outcome}, count)
            for (verb, area, outcome), count in sorted(snap.requests.items())
        ]
        yield self._family("counter", "s3queue_s3_requests", "Requests to the store, every attempt.", requests)

    def _gauges(self) -> Iterator[Metric]:
        snap = self._snapshot
        for name, text, value in (
            ("s3queue_uptime_seconds", "Since the worker was made.", snap.uptime_s),
            ("s3queue_messages_processed_per_second", "Over the last minute.", snap.processed_per_s),
            ("s3queue_messages_in_flight", "Handlers at work.", snap.running),
            ("s3queue_messages_held", "Claimed messages without an outcome.", snap.held),
        ):
            yield self._family("gauge", name, text, [({}, value)])
        rates = [({"verb": verb}, rate) for verb, rate in sorted(snap.requests_per_s.items())]
        yield self._family("gauge", "s3queue_s3_requests_per_second", "Over the last minute.", rates)

    def _fleet(self) -> Iterator[Metric]:
        fleet = self._snapshot.fleet
        tickets = [
            ({"state": "available"}, fleet.tickets_available),
            ({"state": "claimed"}, fleet.tickets_claimed),
            ({"state": "stalled"}, fleet.tickets_stalled),
        ]
        yield self._family("gauge", "s3queue_tickets", "Tickets in the ledgers, as this worker last saw them.", tickets)
        yield self._family("gauge", "s3queue_active_workers", "Workers on the queue.", [({}, fleet.active_workers)])
        yield self._family("gauge", "s3queue_queue_paused", "1 while claims are refused.", [({}, fleet.paused)])
        for name, text, values in (
            (
                "s3queue_coordinator_known",
                "1 if the lane has a coordinator.",
                [bool(led.worker) for led in fleet.leaders],
            ),
            ("s3queue_coordinator_self", "1 if this worker is it.", [led.mine for led in fleet.leaders]),
            ("s3queue_coordinator_epoch", "The term of the last coordinator.", [led.epoch for led in fleet.leaders]),
        ):
            lanes = [{"lane": str(led.lane)} for led in fleet.leaders]
            yield self._family("gauge", name, text, list(zip(lanes, values, strict=True)))

    def _family(self, kind: str, name: str, text: str, samples: list[tuple[dict[str, str], Any]]) -> Metric:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        names = [*self._labels, *(samples[0][0] if samples else ())]
        family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, text, labels=names)
        for labels, value in samples:
            family.add_metric([*self._labels.values(), *labels.values()], float(value))
        return family

    def _histogram(self, name: str, text: str, histogram: Histogram) -> Metric:
        from prometheus_client.core import HistogramMetricFamily
        from prometheus_client.utils import floatToGoString

        family = HistogramMetricFamily(name, text, labels=list(self._labels))
        total, buckets = 0, []
        for bound, count in zip((*BUCKETS_S, float("inf")), histogram.counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
        family.add_metric(list(self._labels.values()), buckets, histogram.sum_s)
        return family
