"""Flag before environment before file before default; a file with a mistake is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def make_queues(run: Run, *names: str) -> None:
    for name in names:
        assert run("enqueue", "--url", "memory://config", "-q", name, "1").exit_code == 0


def queue_shown(run: Run, *arguments: str) -> str:
    result = run("stats", "--output", "json", *arguments)
    assert result.exit_code == 0, result.stderr
    return str(json.loads(result.stdout)["queue"])


def test_flag_beats_environment_beats_file(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_queues(run, "by-flag", "by-env", "by-table", "by-file")
    (folder / "s3queue.toml").write_text('url = "memory://config"\nqueue = "by-file"\n')
    assert queue_shown(run) == "by-file"
    (folder / "s3queue.toml").write_text('url = "memory://config"\nqueue = "by-file"\n[stats]\nqueue = "by-table"\n')
    assert queue_shown(run) == "by-table"
    monkeypatch.setenv("S3QUEUE_QUEUE", "by-env")
    assert queue_shown(run) == "by-env"
    assert queue_shown(run, "-q", "by-flag") == "by-flag"


def test_an_empty_variable_is_none(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_queues(run, "by-file")
    (folder / "s3queue.toml").write_text('url = "memory://config"\nqueue = "by-file"\n')
    monkeypatch.setenv("S3QUEUE_QUEUE", "")
    assert queue_shown(run) == "by-file"


def test_the_table_of_another_command_is_not_for_this_one(run: Run, folder: Path) -> None:
    make_queues(run, "by-file")
    (folder / "s3queue.toml").write_text(
        'url = "memory://config"\nqueue = "by-file"\nconcurrency = 3\n[peek]\nqueue = "no"\n'
    )
    assert queue_shown(run) == "by-file"


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_another_file(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    make_queues(run, "elsewhere")
    (folder / "s3queue.toml").write_text('queue = "not-this"\n')
    (folder / "other.toml").write_text('url = "memory://config"\nqueue = "elsewhere"\n')
    if how == "flag":
        assert queue_shown(run, "--config", "other.toml") == "elsewhere"
    else:
        monkeypatch.setenv("S3QUEUE_CONFIG", "other.toml")
        assert queue_shown(run) == "elsewhere"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('bukket = "x"', "sets 'bukket', which is no setting. Did you mean 'bucket'?"),
        ("[worker]\nconcurency = 3", "sets 'worker.concurency', which is no setting. Did you mean 'concurrency'?"),
        ("[stats]\nconcurrency = 3", "sets 'stats.concurrency', which is no setting"),
        ("[wrker]\nconcurrency = 3", "sets 'wrker', which is no setting. Did you mean 'worker'?"),
        ("worker = 3", "Write a table: [worker]."),
        ('yes = "true"', "sets 'yes', which is no setting"),
        ('bucket = ["a"]', "sets 'bucket' to a list"),
        ("bucket = ", "is not TOML"),
        ("connect_timeout = true", "True is not a valid"),
        ('output = "xml"', "'xml' is not one of"),
    ],
)
def test_a_mistake_in_the_file_is_told(run: Run, folder: Path, content: str, message: str) -> None:
    (folder / "s3queue.toml").write_text(content)
    result = run("stats", "--url", "memory://config", "-q", "any")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_fraction_is_no_whole_number(run: Run, folder: Path) -> None:
    (folder / "s3queue.toml").write_text("concurrency = 1.5")
    result = run("worker", "json:loads", "--url", "memory://config", "-q", "any")
    assert (result.exit_code, "1.5 is not a valid integer" in result.stderr) == (2, True)


def test_a_file_that_is_not_there(run: Run) -> None:
    result = run("stats", "--config", "nowhere.toml", "-q", "any")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'nowhere.toml' cannot be read: No such file" in result.stderr


def test_bytes_that_are_no_text(run: Run, folder: Path) -> None:
    (folder / "s3queue.toml").write_bytes(b'bucket = "\xff"')
    assert "is not TOML" in run("stats", "-q", "any").stderr


def test_a_variable_of_the_wrong_type(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3QUEUE_CONCURRENCY", "many")
    result = run("worker", "json:loads", "-q", "any")
    assert result.exit_code == 2
    assert "'many' is not a valid integer" in result.stderr
