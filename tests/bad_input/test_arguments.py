"""What callers get wrong: payloads, names, handlers. Each error names its class and the remedy; nothing is written."""

from __future__ import annotations

import inspect
import math
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3queue import InvalidInput, InvalidName, InvalidPayload, InvalidSetting, Queue, Worker
from s3queue.clock import SystemClock
from s3queue.core.payload import Gzip
from s3queue.ids import SystemIds
from s3queue.runtime.handler import load
from s3queue.store.memory import MemoryStore
from s3queue.telemetry import Providers
from tests.queue.places import keys


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> Queue:
    return Queue("jobs", url=f"memory://{abs(hash(request.node.nodeid))}", probe=False)


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


JSON = "Use dicts with string keys, lists, strings, finite numbers, booleans and None."
PAYLOADS = {
    "nan": (float("nan"), JSON),
    "infinity": ({"a": [float("-inf")]}, JSON),
    "set": ({1, 2}, JSON),
    "bytes": (b"abc", JSON),
    "object": (object(), JSON),
    "class": (Queue, JSON),
    "circular": (circular(), JSON),
    "key-int": ({1: "a"}, "string"),
    "key-none": ({None: "a"}, "string"),
    "key-bool": ({True: "a"}, "string"),
    "key-tuple": ({(1, 2): "a"}, "string"),
    "key-deep": ({"a": [{"b": ({2: 3},)}]}, "string"),
    "surrogate": ("\ud800", JSON),
    "surrogate-key": ({"\udfff": 1}, JSON),
    "deep": (deep(), "Flatten it."),
    "large": ("x" * (1 << 20), "raise max_payload_bytes"),
    "large-in-bytes": ("€" * 400_000, "raise max_payload_bytes"),
}


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("way", ["enqueue", "enqueue_many", "producer"])
def test_a_payload_that_json_cannot_hold(queue: Queue, kind: str, way: str) -> None:
    payload, remedy = PAYLOADS[kind]
    calls: dict[str, Callable[[], object]] = {
        "enqueue": lambda: queue.enqueue(payload),
        "enqueue_many": lambda: queue.enqueue_many([1, payload, 2]),
        "producer": lambda: queue.producer(linger_ms=0).enqueue(payload),
    }
    with pytest.raises(InvalidPayload) as refusal:
        calls[way]()
    assert isinstance(refusal.value, ValueError)
    assert remedy in str(refusal.value)
    assert len(str(refusal.value)) < 2000
    assert keys(queue, "inbox/") == []


@pytest.mark.parametrize("payload", [None, "", {}, [], 0, False])
def test_an_empty_payload_is_a_payload(queue: Queue, payload: Any) -> None:
    queue.enqueue(payload)
    assert queue.receive()[0].payload == payload


def test_a_payload_of_exactly_the_limit_is_taken() -> None:
    queue = Queue("jobs", url="memory://limit", max_payload_bytes=100, probe=False)
    queue.enqueue("x" * 98)
    with pytest.raises(InvalidPayload, match="101 bytes as JSON; the limit is 100"):
        queue.enqueue("x" * 99)


NAMES: list[Any] = [
    "", ".", "..", "a..b", "../a", "a/b", "/a", "a/", "a\\b", "a b", " a", "a\n", "\na", "a\0b", "ä", "名", "a😀", "-a",
    "_a", "a" * 81, "a.b", "a:b", "a%2Fb", "a*", None, 7, b"a", ["a"],
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_name_a_queue(name: Any) -> None:
    with pytest.raises(InvalidName, match="1 to 80 ASCII letters, digits, '-' and '_'"):
        Queue(name, url="memory://names")


@pytest.mark.parametrize("name", ["a", "A-1_b", "0", "a" * 80])
def test_a_name_that_can(name: str) -> None:
    assert Queue(name, url="memory://names").name == name


@pytest.mark.parametrize("url", ["ftp://x/y", "", "s3://", "file://", 5])
def test_a_url_of_no_store(url: Any) -> None:
    with pytest.raises(InvalidSetting, match="is not a URL of a store"):
        Queue("jobs", url=url)


@pytest.mark.parametrize("prefix", ["..", "a/../b", "/a", "a//b", "a\nb", "ä/", " a", "a" * 101 + "/", ".hidden/", 5])
def test_a_prefix_that_cannot_begin_a_key(prefix: Any) -> None:
    with pytest.raises(InvalidName, match=r"folders of ASCII letters, digits and '-_.='"):
        Queue("jobs", bucket="prod", prefix=prefix)


@pytest.mark.parametrize("bucket", ["", "s3://prod", "prod/folder", "prüf", " prod", "prod\n", 7, b"prod"])
def test_a_bucket_that_cannot_be_one(bucket: Any) -> None:
    with pytest.raises(InvalidName, match="Use the bare name"):
        Queue("jobs", bucket=bucket)


class Nameless:
    """Packs nothing, and is to be found again by nothing."""

    encode = decode = staticmethod(bytes)


OPTIONS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "endpoint_url": (
        "http:// or https://",
        (5, "localhost:9000", "127.0.0.1", "ftp://x", "http://", "http://x:port", b"x"),
    ),
    "region": ("'eu-central-1'", (5, "us east", "us\n", "a" * 64, b"us-east-1", ["us-east-1"])),
    "profile": ("a profile of AWS's", (5, "a\nb", [], b"prod")),
    "max_connections": ("1 to 10000 connections", ("x", "8", 0, -1, True, 2.5, 10_001, None)),
    "codec": ("encode, decode|a `name` attribute", ("gzip", None, 5, Gzip, Nameless(), object())),
    "probe": ("True or False", ("yes", None, 1, 0)),
    "telemetry": ("True, False or s3queue.telemetry.Providers", ("x", None, 1, object())),
    "store": ("get, put, delete", ("memory://x", 5, MemoryStore, object())),
    "clock": ("now_ms, monotonic, sleep", ("x", 0, SystemClock, time)),
    "ids": ("new, random", ("x", 0, SystemIds, random)),
    "worker_id": ("printable characters", (5, "", "a\nb", "x" * 201)),
    "coordination": ("Use 's3', 'redis'", (5, "", "kafka")),
    "preset": ("high-throughput", (5, "", "none")),
    "visibility_timeout": ("seconds", ("x", 0, True, math.nan, math.inf)),
    "max_attempts": ("attempts", ("x", 0, True, 1.5)),
    "retry": ("RetryPolicy", ("x", 5)),
    "failure": ("hybrid", ("x", 5)),
    "lanes": ("lanes", ("x", 0, True, 1.5)),
    "order": ("fifo", ("x", 5)),
    "results": ("True or False", ("x", 1, 0)),
    "result_ttl": ("seconds", ("x", -1, math.nan)),
    "history": ("True or False", ("no", 1)),
    "history_ttl": ("seconds", ("x", 0)),
    "dedup_ttl": ("seconds", ("x", 0, True)),
    "max_payload_bytes": ("bytes", ("x", 0, True, 1.5)),
}
"""What the constructor may be given beside name and place, what the remedy says, and what cannot be used."""


def test_every_option_of_the_constructor_is_checked() -> None:
    assert OPTIONS.keys() == inspect.signature(Queue).parameters.keys() - {"name", "bucket", "url", "prefix"}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, (_, values) in OPTIONS.items() for value in values]
)
def test_an_option_that_cannot_be_used_is_refused_by_name_at_once(option: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=option.replace("_id", " id")) as refused:
        Queue("jobs", bucket="prod", **{option: value})
    assert re.search(OPTIONS[option][0], str(refused.value))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("region", ""), ("endpoint_url", ""), ("endpoint_url", "https://s3.example.net:9000/x"), ("profile", "a b")),
        *(("max_connections", 10_000), ("codec", Gzip()), ("telemetry", Providers()), ("region", "eu-central-1")),
    ],
)
def test_an_option_that_can_be_used(option: str, value: Any) -> None:
    assert Queue("jobs", bucket="prod", **{option: value}).name == "jobs"


@pytest.mark.parametrize("bucket", ["a", "ab", "a b", "a" * 256, "a?b"])
def test_a_bucket_that_s3_would_refuse(bucket: str) -> None:
    with pytest.raises(InvalidName, match="3 to 63"):
        Queue("jobs", bucket=bucket, endpoint_url="http://127.0.0.1:9", region="us-east-1").connect()


def test_a_profile_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(InvalidSetting, match="nobody"):
        Queue("jobs", bucket="prod", profile="nobody").connect()


HANDLERS: dict[str, tuple[str, str]] = {
    "": ("names no handler", "Write module:function"),
    "app": ("names no handler", "Write module:function"),
    ":handler": ("names no handler", "Write module:function"),
    "app:": ("names no handler", "Write module:function"),
    "no_such_module:handler": ("No module named 'no_such_module'", "PYTHONPATH"),
    "..:handler": ("cannot be imported", "PYTHONPATH"),
    "app:missing": ("has no 'missing'", "Write module:function"),
    "app:VALUE": ("is a int, not callable", "Give a function of the payload"),
    "app:coroutine": ("is a coroutine function", "asyncio.run"),
    "app:no_parameters": ("does not take (payload)", "one parameter"),
    "app:three_parameters": ("does not take (payload)", "one parameter"),
    "app:keyword_only": ("does not take (payload)", "one parameter"),
    "broken:handler": ("ZeroDivisionError", "can be imported"),
    "quits:handler": ("SystemExit", "can be imported"),
    "syntax:handler": ("SyntaxError", "can be imported"),
}
MODULES = {
    "app": """
VALUE = 7
async def coroutine(payload): ...
def no_parameters(): ...
def three_parameters(payload, ctx, more): ...
def keyword_only(payload, *, must): ...
def good(payload): ...
""",
    "broken": "1 / 0",
    "quits": "raise SystemExit(3)",
    "syntax": "def handler(:",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in MODULES:
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("spec", HANDLERS)
def test_a_handler_that_cannot_be_used(spec: str) -> None:
    says, remedy = HANDLERS[spec]
    with pytest.raises(InvalidSetting) as refusal:
        load(spec)
    assert says in str(refusal.value)
    assert remedy in refusal.value.remedy


@pytest.mark.usefixtures("modules")
def test_a_handler_that_can() -> None:
    assert load("app:good").__name__ == "good"


@pytest.mark.parametrize("handler", [None, 7, "app:handler", lambda: None, lambda _a, _b, _c: None])
def test_a_worker_refuses_such_a_handler_when_it_is_made(queue: Queue, handler: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"[Gg]ive"):
        Worker(queue, handler)


@pytest.mark.parametrize(
    "value", [{1, 2}, float("nan"), b"bytes", object(), circular(), "\ud800", {"a": {(1, 2): 3}}],
    ids=["set", "nan", "bytes", "object", "circular", "surrogate", "tuple-key"],
)  # fmt: skip
def test_a_handler_that_returns_what_json_cannot_hold(value: Any) -> None:
    queue = Queue("jobs", url=f"memory://results-{id(value)}", results=True, probe=False)
    bad, good = queue.enqueue_many(["bad", "good"])
    queue.process_once(lambda payload: value if payload == "bad" else payload)
    letter = queue.dlq.get(bad)
    assert (letter.reason, letter.errors[0].type) == ("non-retriable", "InvalidPayload")
    assert f"returned a {type(value).__name__} that JSON cannot hold" in letter.errors[0].message
    assert "results=False" in letter.errors[0].message
    assert queue.result(good) == "good"


def test_what_a_handler_returns_does_not_matter_without_results(queue: Queue) -> None:
    queue.enqueue("a")
    queue.process_once(lambda payload: {payload})
    assert queue.stats().completed == 1


def test_every_refusal_is_one_class_to_catch() -> None:
    assert issubclass(InvalidPayload, InvalidInput)
    assert issubclass(InvalidName, InvalidInput)
    assert issubclass(InvalidSetting, InvalidInput)
