"""Results, history and deduplication keys from the shell."""

from __future__ import annotations

import json
from itertools import count

import pytest

from s3queue import NonRetriable, Queue
from tests.cli.conftest import Run

_numbers = count()


@pytest.fixture
def url() -> str:
    return f"memory://keeping-{next(_numbers)}/emails"


def work(payload: str) -> str:
    if payload == "bad":
        raise NonRetriable("no use for it\nforged \x1b[2J")
    return f"{payload}\nforged \x1b[2J"


@pytest.fixture
def ids(url: str) -> list[str]:
    with Queue.from_url(url, results=True, history=True) as queue:
        ids = [queue.enqueue("good", dedup_id="k"), queue.enqueue("bad"), queue.enqueue("late", delay=3600)]
        queue.process_once(work)
        return ids


def test_a_result(run: Run, url: str, ids: list[str]) -> None:
    shown = run("result", ids[0], "--url", url)
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, work("good"))
    assert "\x1b" not in shown.stdout
    found = json.loads(run("result", ids[0], "--url", url, "--output", "json").stdout)
    assert found == {"id": ids[0], "value": work("good")}


@pytest.mark.parametrize(("number", "why"), [(1, "is dead"), (2, "no result yet")])
def test_no_result(run: Run, url: str, ids: list[str], number: int, why: str) -> None:
    done = run("result", ids[number], "--url", url, "--wait", "0.2")
    assert (done.exit_code, done.stdout) == (1, "")
    assert why in done.stderr


@pytest.mark.parametrize(
    "arguments", [["nobody"], ["0" * 20 + "-0", "--wait", "soon"], ["0" * 20 + "-0", "--wait", "9d"]]
)
def test_bad_questions_for_a_result(run: Run, url: str, ids: list[str], arguments: list[str]) -> None:
    assert ids
    done = run("result", *arguments, "--url", url)
    assert (done.exit_code, done.stdout) == (2, "")


def test_history(run: Run, url: str, ids: list[str]) -> None:
    head, *lines = run("history", "--url", url).stdout.splitlines()
    assert head.split()[:4] == ["ended", "id", "attempt", "outcome"]
    assert {line.split()[1] for line in lines} == set(ids[:2])
    assert r"NonRetriable: no use for it\nforged \x1b[2J" in "".join(lines)
    assert len(run("history", "--url", url, "-n", "1").stdout.splitlines()) == 2
    records = json.loads(run("history", "--url", url, "--since", "2020-01-01", "--output", "json").stdout)
    assert {record["outcome"] for record in records} == {"completed", "dead"}
    assert json.loads(run("history", "--url", url, "--until", "30m", "--output", "json").stdout) == []


@pytest.mark.parametrize("bad", ["yesterday", "5 minutes", "2026-13-01", "", "9999999999d"])
def test_a_time_that_is_none(run: Run, url: str, ids: list[str], bad: str) -> None:
    assert ids
    done = run("history", "--url", url, "--since", bad)
    assert (done.exit_code, done.stdout) == (2, "")


def test_forget(run: Run, url: str, ids: list[str]) -> None:
    refused = run("forget", "--url", url)
    assert (refused.exit_code, refused.stdout) == (6, "")
    assert json.loads(run("forget", "--url", url, "--older-than", "1h", "--output", "json").stdout) == {"forgotten": 0}
    assert json.loads(run("forget", "--url", url, "--yes", "--output", "json").stdout) == {"forgotten": 1}
    with Queue.from_url(url) as queue:
        assert queue.enqueue("again", dedup_id="k") != ids[0]


def test_a_history_that_is_not_kept_is_told(run: Run, url: str, ids: list[str]) -> None:  # noqa: ARG001 - a queue's
    Queue.from_url(url).configure(history=False)
    assert run("history", "--url", url).stderr == ""  # there are old records
    done = run("history", "--url", url, "--until", "30m", "--output", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    assert "keeps no history: `s3queue-admin configure emails history=true`" in done.stderr
