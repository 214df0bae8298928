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
    assert " ERROR s3queue: message-dead id=" in line
    assert "reason=non-retriable" in line


def test_why_an_attempt_failed_is_told(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(payload: Any) -> None:
        raise ValueError(f"no {payload}\x1b[2J\nforged")

    logs.configure(verbose=False)
    logs.follow(queue)
    queue.enqueue(1)
    queue.process_once(fail)
    queue.events.emit("message-dead", id="a-0", attempt=3, reason="max-attempts", error="KeyError: 'to'")
    retry, dead = capsys.readouterr().err.splitlines()
    assert " WARNING s3queue: message-retry id=" in retry
    assert retry.endswith(r"error=ValueError: no 1\x1b[2J\nforged")
    assert dead.endswith("ERROR s3queue: message-dead id=a-0 attempt=3 reason=max-attempts error=KeyError: 'to'")


class Ticking:
    """The store's clock, set by hand."""

    now = 1_700_000_000_000


@pytest.fixture
def followed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(queue.events, "_now_ms", lambda: Ticking.now)
    logs.configure(verbose=False)
    logs.follow(queue)
    return queue


@pytest.mark.parametrize("name", ["message-retry", "message-dead", "lease-lost"])
@pytest.mark.parametrize("end", ["later", "stop", "metrics", "clock set back"])
def test_a_flood_is_folded(followed: Queue, capsys: pytest.CaptureFixture[str], name: str, end: str) -> None:
    for number in range(1000):
        followed.events.emit(name, id=f"{number}")
    followed.events.emit("message-recovered", worker="w", count=1)
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" ")[2] for line in told] == [*(f"id={number}" for number in range(5)), "count=1"]
    before = Ticking.now
    if end == "stop":
        followed.events.emit("workers-stopped", worker="w", processed=1000, failed=1000)
    else:
        Ticking.now += -5000 if end == "clock set back" else 1000
        followed.events.emit(*(("metrics",) if end == "metrics" else (name,)))
    Ticking.now = before
    more = capsys.readouterr().err.splitlines()
    assert more[0].endswith(f"s3queue: … and 995 more {name}")
    assert len(more) == (1 if end == "metrics" else 2)


def test_kinds_are_folded_apart_and_few_not_at_all(followed: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("message-retry", "message-dead") * 5:
        followed.events.emit(name, id="x")
    followed.events.emit("workers-stopped", worker="w", processed=5, failed=5)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11
    assert told[-1].endswith("workers-stopped worker=w processed=5 failed=5")


def test_verbose_folds_nothing(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=True)
    logs.follow(queue)
    for _ in range(100):
        queue.events.emit("message-retry", id="x")
    assert len(capsys.readouterr().err.splitlines()) == 100


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
    assert {"time", "level", "logger", "message", "event", "queue", "id", "attempt", "reason"} <= line.keys()
    assert (line["level"], line["logger"], line["event"]) == ("error", "s3queue", "message-dead")
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
