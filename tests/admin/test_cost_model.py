"""The request model against the engine at work: within a tenth in dollars; the slow ones are all points of the benchmark."""

from __future__ import annotations

import pytest

from benchmarks.costs import HELD_OUT, KNOWN, ORDERS_AND_HINTS, WITHIN, by_line, main, row
from benchmarks.metered import Compared, Run, compare
from s3queue_admin.cost import Load, Purpose, Rate
from tests.simulation.conftest import quiet

__all__ = ["quiet"]  # a fixture


def check(run: Run) -> None:
    found = compare(run)
    assert abs(found.errors()["usd"]) <= WITHIN, f"{row(found)}\n{by_line(found)}"


@pytest.mark.parametrize(
    "run",
    [
        Run(Load(100, 4), seconds=20),
        Run(Load(1000, 4, batch=100), seconds=20),
        Run(Load(50, 10, handler_s=0.5), seconds=30),
        Run(Load(30, 4, failing=0.3)),
        Run(Load(20, 4, groups=40), {"order": "strict-group"}, seconds=30),
        Run(Load(2, 3), {"order": "strict"}),
        Run(Load(20, 2, coordination="sqs"), seconds=30),
    ],
    ids=str,
)
def test_the_estimate_is_what_a_metered_run_asks_for(run: Run) -> None:
    check(run)


@pytest.mark.slow
@pytest.mark.parametrize("run", [*KNOWN, *HELD_OUT, *ORDERS_AND_HINTS], ids=str)
def test_the_estimate_is_what_each_point_of_the_benchmark_asks_for(run: Run) -> None:
    check(run)


def test_a_comparison_is_by_class_and_in_dollars_and_its_misses_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    metered = (Rate("PUT", Purpose.COMMITS, 2.0), Rate("GET", Purpose.POLLING, 10.0))
    said = (Rate("PUT", Purpose.COMMITS, 3.0), Rate("GET", Purpose.POLLING, 10.0))
    found = Compared(Run(Load(1)), metered, said, kept_up=True)
    assert found.errors() == pytest.approx({"put_list": 0.5, "get": 0.0, "usd": 19 / 14 - 1})
    assert "**missed**" in row(found)
    assert by_line(found)[0] == ("PUT", "commits", 2.0, 3.0)
    assert main(["known", "--only", "1 worker, 1/s"]) == 0
    assert "| 1 worker, 1/s |" in capsys.readouterr().out
