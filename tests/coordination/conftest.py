"""Real servers for the backends: a Valkey of each test's own, and one MiniStack with SQS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import random
from typing import Any

import boto3
import pytest
import redis

from s3queue.coordination.link import Link
from s3queue.coordination.redis import RedisTransport
from s3queue.coordination.sqs import SqsTransport
from s3queue.devserver import MiniStack
from tests.coordination.backends import Backend, Hub, HubTransport, Told
from tests.coordination.valkey import Valkey

_names = count(1)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server that runs; the test may kill it."""
    server = Valkey(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def sqs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    server = MiniStack(folder=tmp_path_factory.mktemp("sqs"), services="sqs").start()
    yield server
    server.kill()  # it would wait for long polls


@pytest.fixture
def sqs(sqs_server: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    """The server, for whoever goes by AWS's environment variables."""
    point_to(sqs_server, monkeypatch)
    return sqs_server


def point_to(server: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_access_key)
    monkeypatch.setenv("AWS_REGION", server.region)
    monkeypatch.setenv("AWS_DEFAULT_REGION", server.region)


@pytest.fixture(params=["hub", "redis", "sqs"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    opened: list[Link] = []
    told = Told()

    def opener(make: Callable[[], Any]) -> Callable[[], Link]:
        def open_one() -> Link:
            opened.append(Link(make(), tell=told, random=random))
            return opened[-1]

        return open_one

    match request.param:
        case "hub":
            hub = Hub()
            yield Backend(opener(lambda: HubTransport(hub)), hub.spread, True, told)
        case "redis":
            server: Valkey = request.getfixturevalue("valkey")
            with redis.Redis.from_url(server.url) as raw:
                yield Backend(
                    opener(lambda: RedisTransport(server.url, "a")),
                    lambda data: raw.publish("s3queue:a", data),
                    True,
                    told,
                )
        case _:
            request.getfixturevalue("sqs")
            name = f"wake-{next(_names)}"
            client = boto3.client("sqs")
            url = client.create_queue(QueueName=name)["QueueUrl"]

            def forge(data: bytes) -> object:
                return client.send_message(QueueUrl=url, MessageBody=data.decode("latin-1"))

            yield Backend(opener(lambda: SqsTransport(name, region=None, profile=None)), forge, False, told)
    for link in opened:
        link.close()
