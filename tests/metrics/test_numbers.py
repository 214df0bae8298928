"""The numbers of a worker: arithmetic on ledgers and time, then those of a real worker against what it did."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from s3queue import Queue
from s3queue.core.ledger import Leader, Ledger, Part, Ticket
from s3queue.metrics import BUCKETS_S, Fleet, Histogram, Leadership, Rates, Seen, Snapshot, fleet_of
from s3queue.prometheus import expose
from tests.queue.clocks import eventually
from tests.queue.places import heard
from tests.worker.running import memory_url, running

NOW = 1_000_000
PART = Part("9/0000000000001-a-5", ((0, 5),))


def ticket(id_: str, worker: str = "", expires_in_ms: int = 0) -> Ticket:
    return Ticket(id_, (PART,), worker, int(bool(worker)), NOW - 10, NOW + expires_in_ms if worker else 0)


def look(*ledgers: Ledger, instance: str = "i") -> Fleet:
    seen = [Seen(lane, ledger, NOW) for lane, ledger in enumerate(ledgers)]
    return fleet_of(seen, worker="me", instances=frozenset({instance}))


def test_tickets_are_available_claimed_or_stalled() -> None:
    tickets = [
        ticket("a"),
        ticket("b"),
        ticket("c", "x", 1),
        ticket("d", "y", 0),
        ticket("e", "y", -1),
        ticket("f", "z", -9),
    ]
    fleet = look(Ledger(tickets={one.id: one for one in tickets}), Ledger(tickets={"g": ticket("g", "x", 5)}))
    assert (fleet.tickets_available, fleet.tickets_claimed, fleet.tickets_stalled) == (2, 3, 2)
    assert fleet.active_workers == 3, "x, y and this one; z has not been heard of since its lease ended"


def test_the_coordinator_is_told_until_its_term_ends_or_it_resigns() -> None:
    led = Ledger(leader=Leader("boss", "i", 7, NOW + 1, fleet=40), rooms={"boss": 1, "other": 2})
    fleet = look(led, Ledger(paused=True), Ledger(leader=Leader("them", "j", 3, NOW + 1)))
    assert fleet.leaders == (Leadership(0, "boss", 7, True), Leadership(1), Leadership(2, "them", 3))
    assert (fleet.active_workers, fleet.paused) == (40, True)
    assert look(replace(led, leader=Leader("boss", "i", 7, 0))).leaders == (Leadership(0, epoch=7),)
    assert look(replace(led, leader=Leader("boss", "i", 7, NOW))).leaders == (Leadership(0, epoch=7),)
    assert look(replace(led, leader=None)).active_workers == 3


def test_rates_look_back_a_minute() -> None:
    rates = Rates()
    for second in range(0, 200, 10):
        rates.note(second, {"processed": second * 2})
    assert rates.per_second(200, {"processed": 400, "LIST": 7}) == {"processed": 2.0, "LIST": round(7 / 70, 3)}
    for second in range(200, 270, 10):
        rates.note(second, {"processed": 400})
    assert rates.per_second(270, {"processed": 400}) == {"processed": 0.0}


def test_a_rate_of_no_time_is_no_burst() -> None:
    rates = Rates()
    assert rates.per_second(5.0, {"processed": 9}) == {"processed": 0.0}
    rates.note(5.0, {"processed": 9})
    rates.note(5.1, {"processed": 500})
    assert rates.per_second(5.2, {"processed": 19}) == {"processed": 10.0}, "over a second at least"


@pytest.mark.parametrize(("seconds", "index"), [(0, 0), (0.005, 0), (0.0051, 1), (3600, 15), (3601, 16)])
def test_a_histogram_counts_up_to_its_bounds(seconds: float, index: int) -> None:
    counts = Histogram().with_more([seconds]).counts
    assert (counts[index], sum(counts), len(counts)) == (1, 1, len(BUCKETS_S) + 1)


def samples(snapshot: Snapshot, accept: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the samples of a scrape as Prometheus' own parser reads them, without the labels queue and worker."""
    found = {}
    _, body = expose(snapshot, accept)
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name not in ("queue", "worker")}
            found[sample.name, tuple(sorted(labels.items()))] = sample.value
            assert sample.labels["queue"] == snapshot.queue
            assert sample.labels["worker"] == snapshot.worker
    return found


def test_every_number_reaches_prometheus() -> None:
    fleet = Fleet(12, (Leadership(0, "w", 7, True), Leadership(1)), 1, 2, 3, True)
    latency = Histogram().with_more([0.3, 0.4, 9000])
    requests = {("PUT", "ledger", "ok"): 5, ("PUT", "ledger", "lost"): 2, ("GET", "inbox", "throttled"): 4}
    snap = Snapshot(
        "w", "jobs", NOW, 60.5, 11, 6, 0.25, 8, 9, 10, 13, requests, {"PUT": 0.5}, fleet, latency, Histogram()
    )
    found = samples(snap)
    flat = {name: value for (name, labels), value in found.items() if not labels}
    assert flat == {
        "s3queue_messages_processed_total": 11, "s3queue_messages_failed_total": 6, "s3queue_ledger_commits_total": 10,
        "s3queue_ledger_lost_races_total": 13, "s3queue_s3_throttled_total": 4, "s3queue_uptime_seconds": 60.5,
        "s3queue_messages_processed_per_second": 0.25, "s3queue_messages_in_flight": 8, "s3queue_messages_held": 9,
        "s3queue_active_workers": 12, "s3queue_queue_paused": 1, "s3queue_message_latency_seconds_count": 3,
        "s3queue_message_latency_seconds_sum": 9000.7, "s3queue_handler_duration_seconds_count": 0,
        "s3queue_handler_duration_seconds_sum": 0,
    }  # fmt: skip
    assert found["s3queue_s3_requests_total", (("area", "ledger"), ("outcome", "lost"), ("verb", "PUT"))] == 2
    assert found["s3queue_s3_requests_per_second", (("verb", "PUT"),)] == 0.5
    assert [found["s3queue_tickets", (("state", state),)] for state in ("available", "claimed", "stalled")] == [1, 2, 3]
    for name, values in (("known", [1, 0]), ("self", [1, 0]), ("epoch", [7, 0])):
        assert [found[f"s3queue_coordinator_{name}", (("lane", lane),)] for lane in "01"] == values
    buckets = [
        found["s3queue_message_latency_seconds_bucket", (("le", le),)] for le in ("0.25", "0.5", "3600.0", "+Inf")
    ]
    assert buckets == [0, 2, 2, 3]


def test_a_worker_that_has_done_nothing_can_be_scraped_in_both_formats() -> None:
    assert samples(Snapshot("w", "jobs", NOW))["s3queue_messages_processed_total", ()] == 0
    kind, body = expose(Snapshot("w", "jobs", NOW), "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_the_metrics_event_tells_what_a_worker_did() -> None:
    queue, hold = Queue("jobs", url=memory_url(), worker_id="me", max_attempts=1), Event()
    events = heard(queue, "metrics")
    queue.enqueue_many(["good", "bad", "slow"])

    def handler(payload: str) -> None:
        if payload == "bad":
            raise ValueError(payload)
        if payload == "slow":
            hold.wait(20)

    def reported(**wanted: Any) -> bool:
        return bool(events) and wanted.items() <= events[-1].fields.items()

    with running(queue, handler, report_interval=0.01, concurrency=3, health_port=0) as run:
        assert eventually(lambda: reported(processed=2, failed=1, running=1, held=1, tickets_claimed=1))
        assert json.loads(json.dumps(run.worker.metrics()))["worker"] == "me"
        hold.set()
    last = events[-1].fields
    assert (last["processed"], last["failed"], last["held"], last["throttled"]) == (3, 1, 0, 0)
    assert (last["queue"], last["active_workers"], last["paused"]) == ("jobs", 1, False)
    assert last["latency"]["count"] == 2, "of those completed"
    assert last["handling"]["count"] == 3
    assert last["requests"]["PUT"] >= 2
    assert last["commits"] >= 2
    assert last["processed_per_s"] > 0
    assert last["s3_operations_per_s"] == pytest.approx(sum(last["requests_per_s"].values()), abs=0.01)
    assert not [name for name in REGISTRY._names_to_collectors if name.startswith("s3queue")]
