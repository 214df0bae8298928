"""Which backend a caller means, and what is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3queue import InvalidSetting, Queue
from s3queue.coordination import Choice, NoHints, open_hints, parse
from s3queue.coordination.opening import REDIS_URL
from s3queue.coordination.redis import shown_url
from tests.coordination.backends import Told


@pytest.mark.parametrize(
    ("spec", "choice"),
    [
        (None, Choice("s3")),
        ("s3", Choice("s3")),
        ("redis", Choice("redis", "redis://localhost:6379")),
        ("redis://user:secret@cache:6380/2", Choice("redis", "redis://user:secret@cache:6380/2")),
        ("rediss://cache", Choice("redis", "rediss://cache")),
        ("unix:///run/redis.sock", Choice("redis", "unix:///run/redis.sock")),
        ("sqs", Choice("sqs")),
        ("sqs://wake-ups_1", Choice("sqs", "wake-ups_1")),
        ("https://sqs.eu-west-1.amazonaws.com/123/wake", Choice("sqs", "https://sqs.eu-west-1.amazonaws.com/123/wake")),
    ],
)
def test_what_is_meant(spec: str | None, choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REDIS_URL, raising=False)
    assert parse(spec) == choice


@pytest.mark.parametrize(
    "spec",
    [
        *("", "Redis", "kafka", "redis:", "redis://", "redis://host:port", "redis://host:99999", "redis://host/emails"),
        *(
            "unix:x",
            "sqs:",
            "sqs://",
            "sqs://a/b",
            "sqs://a.fifo",
            "sqs://ä",
            "https://",
            "https://host/",
            "memory://x",
            7,
        ),
    ],
)
def test_what_is_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="coordination is"):
        Queue("jobs", url=tmp_path.as_uri(), coordination=spec)
    assert list(tmp_path.iterdir()) == []


def test_an_option_that_redis_does_not_know(tmp_path: Path) -> None:
    queue = Queue("jobs", url=tmp_path.as_uri(), coordination="redis://localhost?sockets=many")
    with pytest.raises(InvalidSetting, match="sockets"):
        queue.connect()


def test_redis_may_come_from_the_environment_and_its_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REDIS_URL, "redis://:secret@cache:1234/1")
    assert parse("redis").target == "redis://:secret@cache:1234/1"
    assert shown_url("redis://me:secret@cache:1234/1?a=b") == "redis://cache:1234/1"
    monkeypatch.setenv(REDIS_URL, "http://:secret@cache")
    with pytest.raises(InvalidSetting, match=REDIS_URL) as caught:
        parse("redis")
    assert "secret" not in str(caught.value)


def test_without_a_backend_nothing_is_heard_and_nothing_fails() -> None:
    hints = open_hints(Choice("s3"), scope="a", tell=Told(), random=lambda: 0)
    assert isinstance(hints, NoHints)
    hints.present("me", {}, 1)()
    hints.listen(lambda hint: None)()
    assert (hints.up, hints.presence()) == (False, None)
    hints.close()
