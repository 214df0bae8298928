"""A small fleet in virtual time keeps up, and what each prefix has to bear is counted by the prefix it is in."""

from __future__ import annotations

from collections import Counter

from benchmarks.fleet import Fleet, Load, judge
from benchmarks.played import place_of


def test_a_small_fleet_keeps_up_on_two_lanes_and_starts_messages_soon() -> None:
    fleet = Fleet(workers=8, rate=200, lanes=2)
    bill = fleet.run(6, settle_s=12)
    assert bill.enqueued >= 1_100
    assert [goal for goal, met in judge(bill) if not met] == []
    assert bill.start_p99_ms < 2_000, "nothing waits for a worker that is asleep"
    assert sum(bill.billed.values()) > bill.enqueued * 2
    each = bill.enqueued / 2 / bill.seconds
    assert 1.6 * each < bill.load.writes_per_s < 3 * each, "half of the messages, each put and deleted"
    assert bill.load.written_most in {"inbox/0000/", "inbox/0001/"}
    assert 1 < bill.load.ledger_puts_per_s < 20


def test_the_ledger_stays_small_where_one_worker_keeps_up_for_long() -> None:
    """What is settled is deleted within seconds, so the cursor must pass names that no listing shows any more."""
    fleet = Fleet(workers=1, rate=10)
    bill = fleet.run(200, settle_s=100)
    ledger = fleet.ledger(0)
    assert ledger.cursors
    assert len(ledger.settled) < 0.4 * bill.enqueued, "names are journaled and forgotten after a minute"


def test_load_is_that_of_the_busiest_prefix_wherever_it_is() -> None:
    traffic = Counter({
        ("inbox", "0000", "PUT"): 100,
        ("inbox", "0000", "DELETE"): 90,
        ("inbox", "0001", "PUT"): 110,
        ("inbox", "0001", "POST"): 2,
        ("inbox", "0001", "GET"): 50,
        ("ledger", "0000", "GET"): 40,
        ("ledger", "0001", "GET"): 30,
        ("ledger", "0000", "PUT"): 20,
        ("ledger", "0001", "PUT"): 30,
        ("workers", "", "GET"): 60,
    })  # fmt: skip
    assert Load.of(traffic, 10.0) == Load(19.0, "inbox/0000/", 7.0, "ledger/", 3.0)


def test_every_key_is_counted_where_it_lies() -> None:
    assert place_of("fleet/inbox/0003/9/1700000000000-x-1.json") == ("inbox", "0003")
    assert place_of("fleet/ledger/0003.json") == ("ledger", "0003")
    assert place_of("fleet/settled/0003/1700000000000-x.json") == ("settled", "0003")
    assert place_of("fleet/workers/w1.json") == ("workers", "")
    assert place_of("fleet/queue.json") == ("queue.json", "")
