"""Each fault of the proxy does what it says, and the tape has what the server did."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3queue.clock import SystemClock
from s3queue.devserver import MiniStack, wait_until
from s3queue.errors import PreconditionFailed, StoreUnavailable
from s3queue.store.port import CREATE, OVERWRITE, Replace
from s3queue.store.s3 import S3Store
from tests.chaos.proxy import FaultProxy, Faults
from tests.servers import fresh_bucket, open_store


class Way:
    """A bucket, seen directly and through the proxy, and the tape of it."""

    def __init__(self, server: MiniStack, proxy: FaultProxy, tape: Path) -> None:
        bucket = fresh_bucket(server)
        self.direct = open_store(server, bucket)
        self.bucket, self.proxy, self._tape = bucket, proxy, tape
        self.store = S3Store(
            bucket,
            endpoint_url=proxy.endpoint_url,
            region=server.region,
            access_key_id=server.access_key_id,
            secret_access_key=server.secret_access_key,
        )
        proxy.order(tape=str(tape), faults={}, seed=1)

    def injects(self, **faults: float) -> None:
        self.proxy.set(Faults(**faults))

    def tape(self) -> list[dict[str, Any]]:
        self.proxy.order()
        return [json.loads(line) for line in self._tape.read_text().splitlines()]

    def count(self, kind: str) -> int:
        return int(self.proxy.order()["injected"].get(kind, 0))


@pytest.fixture
def way(ministack: MiniStack, proxy: FaultProxy, tmp_path: Path) -> Iterator[Way]:
    found = Way(ministack, proxy, tmp_path / "tape.jsonl")
    yield found
    proxy.set(Faults())
    found.store.close()
    found.direct.close()


def test_without_faults_it_is_not_noticed(way: Way) -> None:
    etag = way.store.put("q/inbox/a", b"{}", CREATE)
    with pytest.raises(PreconditionFailed):
        way.store.put("q/inbox/a", b"[]", CREATE)
    found = way.store.get("q/inbox/a")
    assert found is not None
    assert (found.body, found.etag) == (b"{}", etag)
    assert way.store.get("q/inbox/a", etag) is None
    assert [entry.key for entry in way.store.list("q/").entries] == ["q/inbox/a"]


def test_the_tape_has_every_write_that_succeeded_and_no_other(way: Way) -> None:
    first = way.store.put("q/ledger/0", b'{"n":1}', CREATE)
    second = way.store.put("q/ledger/0", b'{"n":2}', Replace(first))
    with pytest.raises(PreconditionFailed):
        way.store.put("q/ledger/0", b'{"n":3}', Replace(first))
    way.store.put("q/other", b"x", OVERWRITE)
    way.store.delete("q/other")
    way.store.put("q/inbox/ä +", b"{}", CREATE)
    assert way.store.delete_many(["q/inbox/ä +", "q/ledger/0"]) == ()
    tape = way.tape()
    assert [(line["verb"], line["key"]) for line in tape] == [
        ("PUT", "q/ledger/0"), ("PUT", "q/ledger/0"), ("PUT", "q/other"), ("DELETE", "q/other"), ("PUT", "q/inbox/ä +"),
        ("DELETE", "q/inbox/ä +"), ("DELETE", "q/ledger/0"),
    ]  # fmt: skip
    assert [line.get("body") for line in tape[:3]] == ['{"n":1}', '{"n":2}', None]
    assert (tape[0]["create"], tape[0]["if_match"], tape[0]["etag"]) == (True, "", first)
    assert (tape[1]["create"], tape[1]["if_match"], tape[1]["etag"]) == (False, first, second)
    assert all(line["start_ns"] < line["end_ns"] for line in tape)


@pytest.mark.parametrize(
    ("fault", "applied", "throttled", "maybe_applied"),
    [
        ("slow_down", False, True, False),
        ("conflict", False, False, False),
        ("cut", False, False, True),
        ("lost_answer", True, False, True),
        ("error_after", True, False, True),
    ],
)
def test_a_put_meets_a_fault(way: Way, fault: str, applied: bool, throttled: bool, maybe_applied: bool) -> None:
    before = way.count(fault)
    way.injects(**{fault: 1.0})
    with pytest.raises(StoreUnavailable) as raised:
        way.store.put("q/inbox/a", b"{}", CREATE)
    assert (raised.value.throttled, raised.value.maybe_applied) == (throttled, maybe_applied)
    assert way.count(fault) == before + 1
    assert bool(way.direct.list("q/").entries) is applied
    assert [line["key"] for line in way.tape()] == (["q/inbox/a"] if applied else [])


def test_an_answer_is_torn_in_the_middle(way: Way) -> None:
    way.direct.put("a", b"x" * 100_000, CREATE)
    way.injects(torn_answer=1.0)
    with pytest.raises(StoreUnavailable):
        way.store.get("a")
    way.injects()
    found = way.store.get("a")
    assert found is not None
    assert len(found.body) == 100_000


def test_a_late_put_lands_after_its_client_was_told_of_a_cut_connection(way: Way) -> None:
    way.injects(late=1.0, late_s=0.5)
    with pytest.raises(StoreUnavailable):
        way.store.put("q/inbox/a", b"{}", CREATE)
    assert way.proxy.order()["held"] == 1
    assert not way.direct.list("q/").entries
    assert wait_until(lambda: way.proxy.order()["held"] == 0, 10, SystemClock())
    assert way.direct.list("q/").entries
    assert [line["key"] for line in way.tape()] == ["q/inbox/a"]


def test_a_late_put_is_refused_where_its_twin_landed_first(way: Way) -> None:
    landed = way.count("late_landed")
    way.injects(late=1.0, late_s=0.5)
    with pytest.raises(StoreUnavailable):
        way.store.put("q/inbox/a", b"{}", CREATE)
    way.injects()
    way.store.put("q/inbox/a", b"{}", CREATE)
    assert wait_until(lambda: way.proxy.order()["held"] == 0, 10, SystemClock())
    assert way.count("late_landed") == landed
    assert len(way.tape()) == 1


def test_reads_meet_faults_but_are_never_late(way: Way) -> None:
    way.direct.put("a", b"{}", CREATE)
    way.injects(late=1.0)
    assert way.store.get("a") is not None
    for fault in ("slow_down", "cut", "lost_answer", "torn_answer", "error_after"):
        way.injects(**{fault: 1.0})
        with pytest.raises(StoreUnavailable):
            way.store.get("a")


def test_requests_of_one_connection_are_answered_in_turn(way: Way) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", way.proxy.port, timeout=10)
    for body in (b"one", b"two"):
        connection.request("PUT", f"/{way.bucket}/q/inbox/{body.decode()}", body)
        assert connection.getresponse().read() == b""
    connection.request("GET", f"/{way.bucket}/q/inbox/two")
    assert connection.getresponse().read() == b"two"
    connection.close()


def test_latency_delays_an_answer(way: Way) -> None:
    clock = SystemClock()
    way.injects(latency_ms=150)
    started = clock.monotonic()
    way.direct.put("a", b"", CREATE)
    direct_s = clock.monotonic() - started
    way.store.get("a")
    assert clock.monotonic() - started - direct_s > 0.04
