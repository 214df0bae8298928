"""Costs: purposes, price files, bills, estimates that are asked for wrongly, and what meters tell between two snapshots."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import s3queue_admin
from s3queue import InvalidSetting, Queue
from s3queue.core.presence import Presence, decode_presence, encode_presence
from s3queue.core.settings import Settings
from s3queue.presets import MONTH_S
from s3queue.store.metered import from_lines, to_lines
from s3queue.store.port import OVERWRITE, fetch
from s3queue_admin.cost import (
    Flow,
    Load,
    Purpose,
    Rate,
    estimate_usage,
    load_prices,
    measured,
    purpose,
    what_if,
)
from s3queue_admin.cost.bill import bills
from s3queue_admin.cost.fleet import life_of
from s3queue_admin.cost.prices import Origin, parse_prices
from s3queue_admin.snapshot import QueueSnapshot
from tests.admin.conftest import Admin
from tests.admin.test_snapshot import Site
from tests.queue.clocks import eventually
from tests.worker.running import Seen, memory_url, running

SHIPPED = (files("s3queue_admin.cost") / "prices.toml").read_text("utf-8")
PLAIN = re.sub(r"\{ is = ([\d._]+),[^}]*\}", r"\1", SHIPPED)
"""The same with numbers alone, as one's own file may have them."""

# -- meters and purposes --


def test_lines_tell_verb_area_and_outcome_and_come_back() -> None:
    counts = {("PUT", "ledger", "lost"): 2, ("PUT", "ledger", "ok"): 9, ("GET", "queue.json", "unchanged"): 4}
    assert to_lines(counts) == {"GET queue.json unchanged": 4, "PUT ledger": 9, "PUT ledger lost": 2}
    assert from_lines(to_lines(counts)) == counts


def test_an_entry_of_an_older_version_is_read_and_its_purposes_are_untold() -> None:
    entry = decode_presence(encode_presence(Presence("w", "i", 0, 0, 8, requests={"PUT": 3, "GET": 5})), "k")
    counts = from_lines(entry.requests)
    assert counts == {("PUT", "", ""): 3, ("GET", "", ""): 5}
    assert {purpose(*line) for line in counts} == {Purpose.UNTOLD}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("PUT inbox", Purpose.ENQUEUE),
        ("PUT inbox lost", Purpose.ENQUEUE),  # it has met its own object: no race
        ("PUT ledger", Purpose.COMMITS),
        ("PUT ledger lost", Purpose.LOST_RACES),
        ("PUT ledger throttled", Purpose.THROTTLED),
        ("GET ledger unchanged", Purpose.POLLING),
        ("LIST inbox", Purpose.POLLING),
        ("GET queue.json unchanged", Purpose.POLLING),
        ("GET inbox missing", Purpose.READING),
        ("PUT workers", Purpose.HEARTBEATS),
        ("LIST workers", Purpose.HEARTBEATS),
        ("POST inbox", Purpose.DELETES),
        ("LIST settled", Purpose.SWEEPING),
        ("PUT dlq", Purpose.DEAD_LETTERS),
        ("PUT results", Purpose.RESULTS),
        ("PUT probe", Purpose.OTHER),
        ("PUT something new", Purpose.OTHER),
    ],
)
def test_each_line_has_one_purpose(line: str, wanted: Purpose) -> None:
    ((key, _),) = from_lines({line: 1}).items()
    assert purpose(*key) is wanted


def test_a_worker_writes_down_what_its_requests_were_for() -> None:
    with Queue("jobs", url=memory_url(), probe=False) as queue, running(queue, Seen()):
        store, prefix = queue.connect().lane.store, queue.connect().keys.workers
        assert eventually(lambda: bool(store.list(prefix).entries))
        (key,) = [entry.key for entry in store.list(prefix).entries]
        body = fetch(store, key).body
    told = from_lines(decode_presence(body, key).requests)
    assert told["PUT", "queue.json", "ok"] == 1
    assert Purpose.UNTOLD not in {purpose(*line) for line in told}
    assert len(body) < 2000


# -- price files --


def test_each_shipped_figure_is_dated_and_says_where_it_is_from() -> None:
    prices = load_prices()
    assert (prices.bucket("s3").put_list, prices.bucket("s3").get) == (5.00, 0.40)
    for store in prices.stores:
        figures = {item.name for item in fields(store)} - {"name", "title", "note", "origins"}
        assert store.origins.keys() == figures
        assert all(each.source.startswith("https://") and each.as_of.year >= 2026 for each in store.origins.values())
    for name, table in tomllib.loads(SHIPPED).items():
        told = (
            [value for key, value in table.items() if key not in ("kind", "title", "source", "note")]
            if name != "as_of"
            else []
        )
        assert all(each.keys() == {"is", "source", "as_of"} for each in told), "none leans on the table's"
    assert "unordered" in prices.bucket("s3-express").note


@pytest.mark.parametrize(
    ("store", "figure", "unit_usd"),
    [
        ("s3", "put_list", "0.0000050000"),  # Requests-Tier1
        ("s3", "get", "0.0000004000"),  # Requests-Tier2
        ("s3", "storage_gb_month", "0.0230000000"),  # TimedStorage-ByteHrs, the first 50 TB
        ("sqs", "request", "0.0000004000"),  # Requests-RBP, the first 100 thousand million
        ("sqs-fifo", "request", "0.0000005000"),  # Requests-FIFO-RBP, likewise
    ],
)
def test_prices_of_s3_and_sqs_are_those_of_the_price_list_that_aws_publishes(
    store: str, figure: str, unit_usd: str
) -> None:
    listed = next(each for each in load_prices().stores if each.name == store)
    per = 1 if figure == "storage_gb_month" else 1_000_000
    assert getattr(listed, figure) == pytest.approx(float(unit_usd) * per)
    assert listed.origins[figure].source.startswith("https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/")


def test_a_file_of_one_s_own_is_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PLAIN.replace("put_list = 5.00", "put_list = 2.5") + "\n[mine]\n" + _table("r2"))
    prices = load_prices(path)
    assert prices.bucket("s3").put_list == 2.5
    assert prices.bucket("mine").get == 0.36
    assert prices.bucket("mine").origins["get"] == Origin("https://developers.cloudflare.com/r2/pricing/", prices.as_of)
    assert [bill.store for bill in estimate_usage(prices=prices).bills] == [
        "s3", "s3-express", "r2", "mine", "sqs", "sqs-fifo",
    ]  # fmt: skip


def _table(name: str) -> str:
    return PLAIN.partition(f"[{name}]\n")[2].partition("\n\n")[0] + "\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("[r2]", "[r3]"), "lacks r2"),
        (lambda text: text.replace("get = 0.36\n", ""), r"lacks get in \[r2\]"),
        (lambda text: text.replace("get = 0.36", "get = -1"), r"get = -1 in \[r2\]"),
        (lambda text: text.replace("get = 0.36", "get = true"), r"get = True in \[r2\]"),
        (lambda text: text.replace("get = 0.36", "get = nan"), r"get = nan in \[r2\]"),
        (lambda text: text.replace("get = 0.36", "got = 1\nget = 0.36"), r"unknown got in \[r2\]"),
        (lambda text: text.replace("as_of = 2026-06-13", ""), "as_of"),
        (lambda text: text.replace("get = 0.36", 'get = { is = 0.36, source = "" }'), r"get in \[r2\]"),
        (lambda text: text.replace("get = 0.36", "get = { is = 0.36, as_of = 2026 }"), r"get in \[r2\]"),
        (lambda text: text.replace("get = 0.36", "get = { was = 0.36 }"), r"get = None in \[r2\]"),
        (lambda text: text.replace('kind = "service"', 'kind = "bucket"', 1), r"sqs"),
        (lambda text: text.replace("batch = 10", "batch = 0", 1), r"batch = 0 in \[sqs\]"),
        (lambda text: text + "\n[", "is no TOML"),
        (lambda text: "s3 = 4\n" + text.replace("[s3]", "[other]"), "kind"),
    ],
)
def test_a_bad_price_file_is_refused_and_says_what_is_wrong(change: Callable[[str], str], said: str) -> None:
    changed = change(PLAIN)
    assert changed != PLAIN
    with pytest.raises(InvalidSetting, match=said):
        parse_prices(changed, "mine.toml")


def test_a_price_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"none\.toml"):
        load_prices(tmp_path / "none.toml")
    with pytest.raises(InvalidSetting, match="s3, s3-express, r2"):
        load_prices().bucket("gcs")


# -- bills --


def test_a_bill_is_what_the_requests_cost_at_list_price() -> None:
    rates = [
        Rate("PUT", Purpose.ENQUEUE, 1.0),
        Rate("GET", Purpose.POLLING, 10.0),
        Rate("DELETE", Purpose.DELETES, 5.0),
        Rate("PUT", Purpose.THROTTLED, 5.0),
    ]
    (s3, express, r2, *_) = bills(rates, Flow(2.0, 2.0, stored_gb=100), load_prices(), scope="x", period="y")
    assert s3.usd_an_hour == pytest.approx((1.0 * 5 + 10 * 0.4) * 3600 / 1e6 + 2.3 / 720)
    assert s3.usd_per_million == pytest.approx((s3.usd_a_month) / (2.0 * MONTH_S) * 1e6)
    assert s3.by_purpose() == pytest.approx(
        {
            Purpose.ENQUEUE: 5 * MONTH_S / 1e6,
            Purpose.POLLING: 4 * MONTH_S / 1e6,
            Purpose.DELETES: 0,
            Purpose.THROTTLED: 0,
        }
    )
    assert express.storage_usd_a_month == pytest.approx(11)
    assert r2.free_usd_a_month == pytest.approx(4.5 + 3.6 + 0.15)
    assert r2.usd_a_month == pytest.approx((2.592 - 1) * 4.5 + (25.92 - 10) * 0.36 + 90 * 0.015)


def test_what_is_free_is_not_taken_off_twice() -> None:
    rates = [Rate("PUT", Purpose.ENQUEUE, 0.1), Rate("GET", Purpose.POLLING, 1.0)]
    (small,) = [bill for bill in bills(rates, Flow(0, 0), load_prices(), scope="x", period="y") if bill.store == "r2"]
    assert small.usd_a_month == 0
    assert small.free_usd_a_month == pytest.approx(sum(charge.usd_a_month for charge in small.charges))


def test_bytes_are_billed_where_they_are() -> None:
    flow = Flow(1.0, 1.0, up_bytes=1 << 20, down_bytes=1 << 20)
    (s3, express, *_) = bills([], flow, load_prices(), scope="x", period="y")
    assert s3.transfer_usd_a_month == 0
    assert express.transfer_usd_a_month == pytest.approx((0.0032 + 0.0006) * MONTH_S / 1024)


@pytest.mark.parametrize(
    ("batch", "payload", "usd"), [(1, 1000, 1.20), (10, 1000, 0.12), (1000, 1000, 0.12), (1, 200_000, 3.6)]
)
def test_sqs_is_three_requests_a_message_and_one_for_each_64_kb(batch: int, payload: int, usd: float) -> None:
    found = bills([], Flow(1000.0, 1000.0, batch, payload), load_prices(), scope="x", period="y")
    (sqs,) = [bill for bill in found if bill.store == "sqs"]
    assert sum(charge.usd_per_million or 0 for charge in sqs.charges) == pytest.approx(usd, rel=1e-6)


# -- estimates --


def test_the_public_names_are_those_of_the_package() -> None:
    assert s3queue_admin.estimate_usage is estimate_usage
    assert (s3queue_admin.what_if, s3queue_admin.measured) == (what_if, measured)
    with pytest.raises(AttributeError, match="estimate_cost"):
        _ = s3queue_admin.estimate_cost


def test_a_message_lives_as_often_as_it_is_tried() -> None:
    assert life_of(0.0, 3).attempts == 1
    assert life_of(1.0, 3) == (life := life_of(1.0, 3))
    assert (life.attempts, life.deaths) == (3, 1)
    half = life_of(0.5, 3)
    assert (half.attempts, half.deaths) == (1.75, 0.125)


def test_every_number_has_its_scope_and_time_and_cannot_be_changed() -> None:
    found = estimate_usage(messages_per_s=5, workers=2, idle_share=0.5, lanes=2)
    assert (
        found.scope
        == "one queue, 2 workers, 2 lanes, 5 messages a second, one at a time, 50% of the time idle; producers included"
    )
    assert all((bill.scope, bill.period) == (found.scope, found.period) for bill in found.bills)
    assert "thirty days" in found.period
    with pytest.raises(FrozenInstanceError):
        found.scope = "?"  # type: ignore[misc]


def test_time_without_messages_costs_what_an_idle_queue_costs() -> None:
    usd = [estimate_usage(messages_per_s=100, idle_share=share).bill().usd_a_month for share in (0.0, 0.25, 1.0)]
    assert usd[1] == pytest.approx(0.75 * usd[0] + 0.25 * usd[2])
    assert usd[2] == pytest.approx(estimate_usage().bill().usd_a_month)


def test_what_is_asked_for_is_in_the_estimate() -> None:
    plain = {rate.purpose for rate in estimate_usage(messages_per_s=10).rates}
    assert not plain & {Purpose.RESULTS, Purpose.DEAD_LETTERS, Purpose.HINTS, Purpose.LOST_RACES}
    full = estimate_usage(
        Settings(results=True, history=True),
        Load(10, failing=0.2, deduplicated=0.5, coordination="sqs", workers=20, handler_s=5.0),
    )
    assert {rate.purpose for rate in full.rates} >= {
        Purpose.RESULTS, Purpose.DEAD_LETTERS, Purpose.HINTS, Purpose.LOST_RACES,
    }  # fmt: skip
    assert any("does not keep up" in note for note in estimate_usage(messages_per_s=10, handler_s=5.0).notes)
    assert any(
        note.startswith("Crowded") for note in estimate_usage(messages_per_s=100, handler_s=0.5, workers=30).notes
    )


def test_keys_results_and_history_are_reckoned_as_the_engine_asks_for_them() -> None:
    site, count = Site(), 40
    queue = site.queue(results=True, history=True)
    queue.connect()
    before = queue.meter.snapshot()
    for number in range(count):
        queue.enqueue(number, dedup_id=str(number))
    queue.process_once(lambda payload: payload, max_messages=count)
    site.clock.advance(4000)  # until the ledger may forget them, and their keys must be marked
    queue.process_once(lambda payload: payload)
    queue.close()
    metered: dict[tuple[str, Purpose], float] = {}
    for line, each in queue.meter.snapshot().items():
        key = (line[0], purpose(*line))
        metered[key] = metered.get(key, 0.0) + (each - before.get(line, 0)) / count
    load = Load(1.0, deduplicated=1.0)
    said = by_line(estimate_usage(Settings(results=True), load).rates)
    assert said["PUT", Purpose.ENQUEUE] == pytest.approx(metered["PUT", Purpose.ENQUEUE], rel=0.01)
    forgetting = 4  # and what forgetting a key asks for, a day later
    assert said["GET", Purpose.ENQUEUE] - forgetting == pytest.approx(metered["GET", Purpose.ENQUEUE])
    assert said["PUT", Purpose.RESULTS] == 1
    assert metered["PUT", Purpose.RESULTS] == 1 + 1 / count  # the last: an object of history
    busy = by_line(estimate_usage(Settings(history=True), Load(1000.0, batch=100)).rates)
    assert busy["PUT", Purpose.RESULTS] == pytest.approx(1.0)  # a thousand attempts an object


@pytest.mark.parametrize(
    "changes",
    [
        {"messages_per_s": -1},
        {"workers": 0},
        {"workers": 1.5},
        {"batch": 1001},
        {"failing": 1.1},
        {"idle_share": float("nan")},
        {"coordination": "kafka"},
        {"deduplicated": 0.5, "batch": 10},
        {"lanes": 0},
        {"wrokers": 3},
        {"workers": True},
    ],
    ids=str,
)
def test_a_load_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=r"Use "):
        estimate_usage(**changes)


def test_what_if_is_every_combination_cheapest_first_against_the_base() -> None:
    base = estimate_usage(messages_per_s=100, workers=10)
    table = what_if(base, workers=[10, 100], batch=[1, 100], lanes=1, stores=["s3", "r2"])
    assert table.columns[:4] == ("workers", "batch", "lanes", "store")
    assert len(table.rows()) == 8
    costs = [case.usd_a_month for case in table.cases]
    assert costs == sorted(costs)
    (same,) = [
        case for case in table.cases if (case.changes["workers"], case.changes["batch"], case.store) == (10, 1, "s3")
    ]
    assert same.ratio == 1
    assert same.usd_a_month == base.bill().usd_a_month
    with pytest.raises(InvalidSetting, match="combinations"):
        what_if(base, workers=range(1, 2000))
    with pytest.raises(InvalidSetting, match="gcs"):
        what_if(base, stores=["gcs"])
    with pytest.raises(InvalidSetting, match="wrokers"):
        what_if(base, wrokers=[1])


# -- measured --


class Meters:
    """A queue whose workers beat when they are told to, and an operator who looks."""

    def __init__(self) -> None:
        self.site = Site()
        self.queue = self.site.queue()
        self.queue.connect()

    def beat(self, worker: str, instance: str, requests: dict[str, int], *, started_s_ago: float = 600) -> None:
        """Write a worker's entry as of now."""
        now = self.site.clock.now_ms()
        entry = Presence(
            worker, instance, now, 40_000, 8, started_at_ms=round(now - started_s_ago * 1000), requests=requests
        )
        key = self.queue.connect().keys.worker(worker)
        self.site.store.put(key, encode_presence(entry), OVERWRITE)

    def look(self) -> QueueSnapshot:
        return self.site.bucket.inspect("jobs", fresh=True)


def by_line(rates: Any) -> dict[tuple[str, Purpose], float]:
    return {(rate.verb, rate.purpose): rate.per_second for rate in rates}


def test_requests_are_told_between_heartbeats_by_verb_and_purpose() -> None:
    meters = Meters()
    meters.beat("a", "a1", {"PUT ledger": 100, "PUT ledger lost": 10, "GET inbox": 50}, started_s_ago=1000)
    meters.site.clock.advance(10)
    before = meters.look()
    meters.site.clock.advance(90)
    meters.beat("a", "a1", {"PUT ledger": 700, "PUT ledger lost": 40, "GET inbox": 650}, started_s_ago=1100)
    meters.site.clock.advance(10)
    found = measured(before, meters.look())
    lines = by_line(found.rates)
    assert lines["PUT", Purpose.COMMITS] == pytest.approx(600 / 100)  # between its heartbeats, not between the looks
    assert lines["PUT", Purpose.LOST_RACES] == pytest.approx(30 / 100)
    assert found.heard.between == 1
    assert ("GET", Purpose.WATCHING) in lines
    assert found.bill().by_purpose()[Purpose.COMMITS] == pytest.approx(6 * 5 * MONTH_S / 1e6)
    assert Purpose.WATCHING not in found.bill().by_purpose(), "the operator's looks are not what the queue costs"
    assert {charge.purpose for bill in found.watching for charge in bill.charges} == {Purpose.WATCHING}
    assert [bill.store for bill in found.watching] == ["s3", "s3-express", "r2"]
    assert found.period.endswith("UTC")
    assert found.bill("sqs").scope == found.scope == "queue 'jobs', 1 of 1 worker"


def test_workers_come_and_go_and_start_again_at_nothing() -> None:
    meters = Meters()
    meters.beat("stays", "s1", {"PUT ledger": 1000})
    meters.beat("restarts", "r1", {"PUT ledger": 5000})
    meters.beat("leaves", "l1", {"PUT ledger": 5000})
    meters.beat("quiet", "q1", {"PUT ledger": 60})
    before = meters.look()
    meters.site.clock.advance(100)
    meters.site.store.delete(meters.queue.connect().keys.worker("leaves"))
    meters.beat("stays", "s1", {"PUT ledger": 1100})
    meters.beat("restarts", "r2", {"PUT ledger": 25}, started_s_ago=50)
    meters.beat("old", "o1", {"PUT": 10}, started_s_ago=50)
    meters.beat("dumb", "d1", {}, started_s_ago=50)
    found = measured(before, meters.look())
    # 1 a second, half a second for half of the time, and 60 in the 600 s before
    assert by_line(found.rates)["PUT", Purpose.COMMITS] == pytest.approx(1.0 + 0.25 + 0.1)
    assert by_line(found.rates)["PUT", Purpose.UNTOLD] == pytest.approx(0.1)
    heard = found.heard
    assert (heard.between, heard.new, heard.lifetime, heard.silent, heard.gone) == (1, 2, 1, 1, 2)
    assert any("2 workers that left" in note for note in found.notes)
    assert any("untold" in note for note in found.notes)


def test_producers_are_reckoned_from_what_was_ticketed_and_said_to_be() -> None:
    meters = Meters()
    meters.beat("w", "w1", {"GET inbox": 0, "GET ledger": 1})
    before = meters.look()
    for _ in range(5):
        meters.queue.enqueue_many(range(20))
    meters.queue.process_once(print, max_messages=100)
    meters.site.clock.advance(100)
    meters.beat("w", "w1", {"GET inbox": 5, "GET ledger": 2})
    found = measured(before, meters.look())
    assert found.producers is not None
    assert (found.producers.verb, found.producers.purpose) == ("PUT", Purpose.ENQUEUE)
    assert found.producers.per_second == pytest.approx(5 / 100)
    assert found.messages_per_s == pytest.approx(1.0)
    assert found.bill().usd_per_million is not None
    assert any("Producers" in note and "estimated" in note for note in found.notes)


def test_one_snapshot_tells_what_workers_cost_since_they_started() -> None:
    meters = Meters()
    meters.beat("w", "w1", {"PUT ledger": 1200}, started_s_ago=600)
    seen = meters.look()
    found = measured(seen)
    assert by_line(found.rates) == {("PUT", Purpose.COMMITS): pytest.approx(2.0)}
    assert (found.messages_per_s, found.bill().usd_per_million, found.producers) == (None, None, None)
    assert found.to_at - found.from_at == timedelta(seconds=600)
    assert any("One snapshot" in note for note in found.notes)


def test_where_no_worker_reports_nothing_is_metered_and_only_the_operator_s_looks_cost() -> None:
    meters = Meters()
    before = meters.look()
    meters.site.clock.advance(100)
    found = measured(before, meters.look(), watching={("GET", "ledger", "unchanged"): 200, ("LIST", "inbox", "ok"): 50})
    assert by_line(found.rates) == {("GET", Purpose.WATCHING): 2.0, ("LIST", Purpose.WATCHING): 0.5}
    assert not found.is_metered
    assert found.notes[0].startswith("Nothing has been metered: no worker reports.")
    assert found.bill().charges == ()
    assert found.bill().usd_a_month == 0
    (watching, *_) = found.watching
    assert watching.usd_an_hour == pytest.approx((2.0 * 0.4 + 0.5 * 5) * 3600 / 1e6)


def test_snapshots_in_the_wrong_order_or_of_two_queues_are_refused() -> None:
    meters = Meters()
    before = meters.look()
    meters.site.clock.advance(1)
    after = meters.look()
    with pytest.raises(InvalidSetting, match="earlier one first"):
        measured(after, before)
    with pytest.raises(InvalidSetting, match="of one queue"):
        measured(before, replace(after, queue="other", root="s3queue/other/"))


def test_the_command_line_says_that_nothing_was_metered_and_bills_nothing(admin: Admin, url: str) -> None:
    with Queue("quiet", url=url, probe=False) as queue:
        queue.enqueue(1)
    told = admin("cost", "measured", "quiet", "--url", url, "--over", "0.05").stdout
    assert "Nothing has been metered: no worker reports." in told
    assert "your own looks, beside it" in told
    assert "S3 Standard" not in told, "no dollars that look like the queue's"
    found = json.loads(admin("cost", "measured", "quiet", "--url", url, "--over", "0.05", "-o", "json").stdout)
    assert not found["is_metered"]
    assert found["watching"][0]["usd_an_hour"] > 0


def test_the_command_line_compares_with_the_first_of_each_and_remarks_on_stores(admin: Admin) -> None:
    told = admin(
        "cost", "what-if", "messages_per_s=100", "workers=10,50", "--store", "s3", "--store", "s3-express"
    ).stdout
    assert "Compared with workers=10 in the same store (×1)" in told
    assert "directory buckets list unordered" in told.replace("\n", " ")
    assert max(map(len, told.splitlines())) <= 100
