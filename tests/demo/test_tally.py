from __future__ import annotations

import json
from dataclasses import replace

import pytest

from s3queue.demo.tally import Requests, Tally, lost

REQUESTS = Requests({"GET": 500, "PUT": 1000}, put_list=1000, get=500, once=70)
TALLY = Tally(
    title="on a folder",
    singles=600,
    bulk=400,
    completed=990,
    retried=12,
    rescued=30,
    dead=10,
    unfinished=0,
    lost=0,
    duplicates=3,
    killed="worker-2",
    killed_holding=30,
    requests=REQUESTS,
    seconds=9.87,
    problems=(),
)


@pytest.mark.parametrize(
    ("greeted", "dead", "unfinished", "books", "expected"),
    [
        ("abcd", "", 0, 4, 0),
        ("abc", "d", 0, 4, 0),
        ("abcc", "d", 0, 4, 0),
        ("abc", "", 0, 4, 1),  # the books say completed, no handler says so
        ("abcd", "", 0, 3, 1),  # all were greeted, the books have one too few
        ("ab", "c", 1, 3, 0),
        ("abcd", "", 1, 3, 0),
    ],
)
def test_what_is_lost(greeted: str, dead: str, unfinished: int, books: int, expected: int) -> None:
    assert lost("abcd", greeted, dead, unfinished, books) == expected


def test_requests_of_all_processes_add_up_without_the_probe() -> None:
    producer = {
        ("PUT", "inbox", "ok"): 100,
        ("PUT", "ledger", "throttled"): 5,
        ("GET", "ledger", "ok"): 10,
        ("PUT", "probe", "ok"): 30,
        ("DELETE", "probe", "ok"): 1,
    }
    reports = [
        {"requests": {"PUT": 7, "LIST": 2, "GET": 4}, "billed": {"put_list": 9, "get": 4, "delete": 0}},
        {},  # a worker that was killed before it reported
    ]
    found = Requests.of(producer, reports)
    assert found == Requests({"GET": 14, "LIST": 2, "PUT": 112}, put_list=109, get=14, once=31)


def test_dollars() -> None:
    assert REQUESTS.usd() == pytest.approx((1000 * 5.00 + 500 * 0.40) / 1_000_000)
    assert TALLY.as_dict()["usd_per_million_messages"] == pytest.approx(5.2)


def test_the_table() -> None:
    lines = dict(line.split(maxsplit=1) for line in TALLY.as_text().splitlines() if not line.startswith(("req", "$")))
    assert lines["enqueued"].split("  ")[0] == "1,000"
    assert lines["rescued"].startswith("30 ")
    assert "worker-2" in lines["rescued"]
    assert lines["lost"].startswith("0 ")
    assert "unfinished" not in lines
    assert "GET 0.500  PUT 1.000" in TALLY.as_text()
    assert "unfinished" in replace(TALLY, unfinished=2).as_text()


def test_the_numbers_are_json() -> None:
    assert json.loads(json.dumps(TALLY.as_dict()))["enqueued"] == 1000
