"""Dead letters from the shell: looked at, put back, thrown away."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from s3queue import NonRetriable, Queue
from tests.cli.conftest import Run

_numbers = count()


def die(payload: Any) -> None:
    raise NonRetriable(f"no use for {payload}\nforged \x1b[2J")


@pytest.fixture
def url() -> str:
    return f"memory://dead-{next(_numbers)}/emails"


@pytest.fixture
def ids(url: str) -> list[str]:
    with Queue.from_url(url) as queue:
        ids = queue.enqueue_many(["one", "two", "three"])
        queue.process_once(die)
        return ids


@pytest.mark.parametrize("command", [["peek", "--dead"], ["dlq", "list"]])
def test_dead_letters_are_shown(run: Run, url: str, ids: list[str], command: list[str]) -> None:
    head, *lines = run(*command, "--url", url).stdout.splitlines()
    assert head.split() == ["id", "died", "attempts", "reason", "last", "error", "payload"]
    assert {line.split()[0] for line in lines} == set(ids)
    assert r"NonRetriable: no use for one\nforged \x1b[2J" in "".join(lines)
    assert len(run(*command, "--url", url, "-n", "2").stdout.splitlines()) == 3
    shown = json.loads(run(*command, "--url", url, "--output", "json").stdout)
    assert {one["payload"] for one in shown} == {"one", "two", "three"}
    assert all(one["dead_at"].endswith("Z") and one["attempts"] == 1 for one in shown)
    assert all("in die\n" in one["errors"][0]["traceback"] for one in shown)


def test_one_dead_letter(run: Run, url: str, ids: list[str]) -> None:
    text = run("dlq", "show", ids[1], "--url", url).stdout
    assert "Traceback (most recent call last):" in text
    assert r"NonRetriable: no use for two\nforged" in text
    assert text.replace("\n", "").isprintable()
    assert json.loads(run("dlq", "show", ids[1], "--url", url, "--output", "json").stdout)["payload"] == "two"
    result = run("dlq", "show", "nobody", "--url", url)
    assert (result.exit_code, result.stdout) == (1, "")


def test_replay(run: Run, url: str, ids: list[str]) -> None:
    result = run("dlq", "replay", ids[0], "nobody", "--url", url)
    assert (result.exit_code, result.stdout) == (5, f"{ids[0]}\n")
    assert "1 replayed, 1 refused: nobody: there is no letter of it" in result.stderr
    assert run("dlq", "replay", "--all", "--url", url).exit_code == 0
    stats = Queue.from_url(url).stats()
    assert (stats.pending, stats.dead, stats.replayed) == (3, 0, 3)


def test_of_many_refusals_a_few_are_told(run: Run, url: str, ids: list[str]) -> None:
    unknown = [f"nobody-{number}" for number in range(1, 41)]
    result = run("dlq", "replay", *unknown, ids[0], "--url", url)
    assert (result.exit_code, result.stdout) == (5, f"{ids[0]}\n")
    assert "nobody-5: there is no letter of it, or none that can be read; and 35 more (--output json" in result.stderr
    assert "nobody-6" not in result.stderr
    result = run("dlq", "replay", *unknown, "--url", url, "--output", "json")
    assert set(json.loads(result.stdout)["refused"]) == set(unknown)


def test_discard(run: Run, url: str, ids: list[str]) -> None:
    result = run("dlq", "discard", ids[0], "nobody", "--url", url)
    assert (result.exit_code, result.stdout.split()) == (5, ["discarded", "1"])
    assert "there is no dead letter of the other 1" in result.stderr
    refused = run("dlq", "discard", "--all", "--url", url)
    assert (refused.exit_code, Queue.from_url(url).stats().dead) == (6, 2)
    assert run("dlq", "discard", "--all", "--yes", "--url", url).stdout.split() == ["discarded", "2"]
    assert Queue.from_url(url).stats().dead == 0


@pytest.mark.parametrize("choice", [[], ["--all", "some-id"]])
@pytest.mark.parametrize("command", ["replay", "discard"])
def test_a_choice_must_be_clear(run: Run, url: str, ids: list[str], command: str, choice: list[str]) -> None:
    assert run("dlq", command, *choice, "--url", url).exit_code == 2
    assert Queue.from_url(url).stats().dead == len(ids)


def test_the_settings_file_is_for_commands_of_a_group_too(run: Run, folder: Path, url: str, ids: list[str]) -> None:
    (folder / "s3queue.toml").write_text(f'[dlq]\nurl = "{url}"\nnumber = 2\n')
    assert len(run("dlq", "list").stdout.splitlines()) == len(ids)
