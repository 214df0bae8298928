"""Schedules from the shell."""

from __future__ import annotations

import json
from itertools import count

import pytest

from s3queue import Queue
from tests.cli.conftest import Run

_numbers = count()


@pytest.fixture
def url() -> str:
    return f"memory://scheduling-{next(_numbers)}/reports"


def test_a_schedule_is_made_shown_and_removed(run: Run, url: str) -> None:
    made = run("schedule", "add", "nightly", "0 3 * * *", '{"a": 1}', "--timezone", "Asia/Tokyo", "--url", url)
    assert made.exit_code == 0
    assert made.stdout.splitlines()[:3] == ["name      nightly", "cron      0 3 * * *", "timezone  Asia/Tokyo"]
    head, line = run("schedule", "list", "--url", url).stdout.splitlines()
    assert head.split() == ["name", "cron", "timezone", "next", "last", "catch", "up", "payload"]
    assert "T18:00:00Z" in line
    assert line.endswith('{"a": 1}')
    (shown,) = json.loads(run("schedule", "list", "--url", url, "--output", "json").stdout)
    assert (shown["name"], shown["payload"], shown["last_at"]) == ("nightly", {"a": 1}, None)
    assert shown["next_at"].endswith("T18:00:00Z")
    assert run("schedule", "remove", "nightly", "--url", url).exit_code == 0
    assert json.loads(run("schedule", "list", "--url", url, "--output", "json").stdout) == []


def test_options_reach_the_schedule(run: Run, url: str) -> None:
    options = ("--priority", "3", "--group", "g", "--max-attempts", "2", "--header", "a=b", "--catch-up", "all")
    assert run("schedule", "add", "job", "* * * * *", *options, "--url", url).exit_code == 0
    with Queue.from_url(url) as queue:
        (found,) = queue.schedules()
    assert (found.priority, found.group, found.max_attempts, found.headers) == (3, "g", 2, {"a": "b"})
    assert (found.catch_up, found.payload) == ("all", None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("job", "0 3 30 2 *"), "cron is '0 3 30 2 *'"),
        (("a/b", "0 3 * * *"), "cannot name a schedule"),
        (("job", "0 3 * * *", "{"), "is not JSON"),
        (("job", "0 3 * * *", "--timezone", "Mars"), "timezone is 'Mars'"),
    ],
)
def test_bad_input_is_told(run: Run, url: str, arguments: tuple[str, ...], told: str) -> None:
    result = run("schedule", "add", *arguments, "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_removing_what_is_not_there_is_told(run: Run, url: str) -> None:
    with Queue.from_url(url) as queue:
        queue.enqueue(1)
    result = run("schedule", "remove", "job", "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no schedule 'job'" in result.stderr
