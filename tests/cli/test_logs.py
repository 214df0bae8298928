from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from s3queue import NonRetriable, Queue, logs

_numbers = count()


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue.from_url(f"memory://logs-{next(_numbers)}/emails") as queue:
        yield queue


def die(payload: Any) -> None:
    raise NonRetriable(f"no use: {payload}")


def run_one(queue: Queue, payload: Any) -> None:
    logs.follow(queue)
    queue.enqueue(payload)
    queue.process_once(die)


def test_only_what_a_person_should_know_is_told(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=False)
    run_one(queue, 1)
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    assert " WARNING s3queue: message-dead id=" in line
    assert line.endswith("reason=non-retriable")


def test_verbose_tells_every_event(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=True)
    run_one(queue, 1)
    told = capsys.readouterr().err
    for name in ("message-enqueued", "message-claimed", "message-processing", "message-dead"):
        assert f"s3queue: {name} " in told


def test_json_lines_carry_the_event(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=False, style=logs.JSON)
    run_one(queue, 1)
    (line,) = (json.loads(text) for text in capsys.readouterr().err.splitlines())
    assert {"time", "level", "logger", "message", "event", "queue", "id", "attempt", "reason"} == line.keys()
    assert (line["level"], line["logger"], line["event"]) == ("warning", "s3queue", "message-dead")
    assert (line["queue"], line["attempt"], line["reason"]) == ("emails", 1, "non-retriable")
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("style", logs.FORMATS)
def test_hostile_text_forges_no_line(capsys: pytest.CaptureFixture[str], style: str) -> None:
    logs.configure(verbose=False, style=style)
    error = ValueError("\x1b[2J\nforged")
    logging.getLogger("s3queue").error("failed: %s", "\x1b[31m\nforged\u202e", exc_info=error)
    told = capsys.readouterr().err
    assert told.replace("\n", "").isprintable()
    assert not any(line.startswith("forged") for line in told.splitlines())
    assert "ValueError: " in told


def test_to_configure_twice_is_to_configure_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=True)
    logs.configure(verbose=False)
    logging.getLogger("s3queue").info("once")
    logging.getLogger("s3queue").debug("not told")
    logging.getLogger("app").info("an application's own line")
    logging.getLogger("botocore.auth").debug("a signature")
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "once",
        "an application's own line",
    ]


def test_a_long_field_is_cut(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=True)
    logs.follow(queue)
    queue.enqueue_many(range(1000))
    assert max(map(len, capsys.readouterr().err.splitlines())) < 500
