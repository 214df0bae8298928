"""The benchmark prints what it promises, and counts every request of those who are measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.drain import main
from benchmarks.figures import Goal, judge, per_message, percentile
from benchmarks.run import Counts, Run

PROMISED = {
    "case",
    "messages_per_s",
    "put_list_per_message",
    "get_per_message",
    "lost_races_per_message",
    "start_p50_ms",
    "start_p99_ms",
    "usd_per_million",
    "goal",
    "met",
}


def drain(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    assert main([*argv, "--json"]) == 0
    printed: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return printed


@pytest.mark.parametrize("store", ["memory", "file"])
def test_it_prints_the_promised_figures(capsys: pytest.CaptureFixture[str], store: str) -> None:
    bulk, singles = drain(capsys, "--store", store, "--messages", "500", "--workers", "2")
    assert bulk.keys() >= PROMISED
    assert singles.keys() >= PROMISED
    assert bulk["requests"]["PUT inbox ok"] == 5
    assert singles["requests"]["PUT inbox ok"] == 500
    assert singles["requests"]["GET inbox ok"] >= 500
    assert bulk["attempts"] == singles["attempts"] == 500
    assert bulk["messages_per_s"] == pytest.approx(500 / bulk["seconds"], rel=0.01)
    assert singles["met"] is None, "goals are for four workers at a server 20 ms away"


def test_at_a_server_the_workers_are_processes_and_their_requests_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (figures,) = drain(capsys, "--cases", "singles", "--messages", "60", "--workers", "2", "--latency-ms", "5")
    requests = figures["requests"]
    assert requests["PUT inbox ok"] == requests["GET inbox ok"] == 60
    assert requests["PUT ledger ok"] >= 2
    assert figures["put_list_per_message"] > 1
    assert figures["cpu_s"].keys() == {"workers", "server", "proxy"}
    assert sum(figures["by_worker"]) == 60


def test_messages_that_fail_three_times_are_counted_with_all_they_cost(capsys: pytest.CaptureFixture[str]) -> None:
    (figures,) = drain(capsys, "--store", "memory", "--cases", "failing", "--messages", "20", "--workers", "1")
    assert figures["attempts"] == 60
    assert figures["dead_letters"] == figures["requests"]["PUT dlq ok"] == 20
    assert figures["billed_per_dying_message"] >= 7


def test_a_table_names_each_case_and_its_goals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", "memory", "--cases", "bulk", "--messages", "200", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "bulk" in printed
    assert "goal not comparable: messages_per_s ≥ 5000" in printed


def test_an_unknown_case_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--cases", "bulk,fast"])
    assert exit_.value.code == 2
    assert "'fast'" in capsys.readouterr().err


def test_requests_are_priced_as_they_are_billed() -> None:
    counts: Counts = {
        ("PUT", "inbox", "ok"): 10,
        ("PUT", "ledger", "lost"): 2,  # billed, for all it was refused
        ("PUT", "ledger", "throttled"): 7,  # a 503 is free
        ("LIST", "inbox", "ok"): 3,
        ("POST", "inbox", "ok"): 1,
        ("GET", "inbox", "ok"): 20,
        ("DELETE", "dlq", "ok"): 5,
    }
    assert per_message(counts, 10) == {
        "put_list_per_message": 1.6,
        "get_per_message": 2.0,
        "lost_races_per_message": 0.2,
        "usd_per_million": 8.8,
    }


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([7], 0.99) == 7
    assert percentile(list(range(100)), 0.5) == 50
    assert percentile(list(range(100)), 0.99) == 99


@pytest.mark.parametrize(("value", "met"), [(399.0, False), (400.0, True)])
def test_a_goal_is_met_at_its_bound(value: float, met: bool) -> None:
    figures = {"messages_per_s": value, "put_list_per_message": 1.1, "get_per_message": 1.0}
    assert judge("singles", figures, comparable=True)["met"] is met
    assert judge("singles", figures, comparable=False)["met"] is None
    assert str(Goal("messages_per_s", "≥", 400)) == "messages_per_s ≥ 400"


def test_the_time_of_handling_spans_all_workers_that_did_anything() -> None:
    def report(first_ms: int, last_ms: int) -> dict[str, Any]:
        return {"kind": "worker", "first_start_ms": first_ms, "last_end_ms": last_ms, "waits_ms": []}

    run = Run(1, reports=[report(1000, 1500), report(0, 0), report(1200, 3000), {"kind": "producer"}])
    assert run.handling_s == 2.0
    assert Run(1, reports=[report(0, 0)]).handling_s == 0.0
