"""Stores that cannot be used as they were named, and clocks that are hours off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3queue import Queue, StoreRefused, StoreUnavailable
from s3queue.clock import SystemClock
from s3queue.devserver import MiniStack, free_ports
from s3queue.store.memory import MemoryStore
from tests.queue.clocks import ManualClock, as_time_passes, eventually
from tests.queue.places import collect, heard
from tests.servers import fresh_bucket
from tests.store import stub_s3
from tests.store.faulty import Wrapper
from tests.store.stub_s3 import Reply, StubS3, error
from tests.worker.running import Seen, running

HOUR_MS = 3_600_000

pytestmark = pytest.mark.usefixtures("aws_keys")


@pytest.fixture
def stub() -> Iterator[StubS3]:
    with stub_s3.running() as server:
        yield server


def open_stub(stub: StubS3, **options: Any) -> Queue:
    return Queue(
        "jobs", bucket=stub_s3.BUCKET, endpoint_url=f"http://127.0.0.1:{stub.port}", region="us-east-1",
        clock=ManualClock(), probe=False, **options,
    )  # fmt: skip


def refused(call: Callable[[], object]) -> StoreRefused:
    with pytest.raises(StoreRefused) as refusal:
        call()
    assert refusal.value.remedy
    assert str(refusal.value).endswith(refusal.value.remedy)
    return refusal.value


def test_a_bucket_that_does_not_exist(ministack: MiniStack) -> None:
    queue = Queue("jobs", bucket="no-such-bucket", endpoint_url=ministack.endpoint_url, region=ministack.region)
    for call in (lambda: queue.enqueue("a"), queue.receive, queue.stats, queue.exists):
        found = refused(call)
        assert found.reason == "bucket-missing"
        assert "no-such-bucket" in str(found)
        assert "aws s3 mb s3://no-such-bucket" in found.remedy


def test_a_worker_says_at_the_start_that_there_is_no_bucket(ministack: MiniStack) -> None:
    queue = Queue("jobs", bucket="no-such-bucket", endpoint_url=ministack.endpoint_url, region=ministack.region)
    with running(queue, Seen()) as run:
        assert run.ended.wait(20)
    assert isinstance(run.error, StoreRefused)
    assert run.error.reason == "bucket-missing"


def test_the_wrong_region(stub: StubS3) -> None:
    stub.says(error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-central-1"}))
    found = refused(open_stub(stub).connect)
    assert found.reason == "wrong-region"
    assert "'us-east-1'" in str(found)
    assert "AWS_REGION to 'eu-central-1'" in found.remedy


def test_no_credentials(stub: StubS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    found = refused(open_stub(stub).connect)
    assert found.reason == "no-credentials"
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in found.remedy
    assert stub.seen == []


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_credentials_that_are_not_accepted(stub: StubS3, code: str) -> None:
    stub.says(error(403, code))
    found = refused(open_stub(stub).connect)
    assert found.reason == "bad-credentials"
    assert code in str(found)
    assert "renew them" in found.remedy


MISSING = error(404, "NoSuchKey")
DENIED = error(403, "AccessDenied")


@pytest.mark.parametrize(
    ("answers", "action", "resource"),
    [
        ([DENIED], "s3:GetObject", "arn:aws:s3:::bucket/*"),
        ([MISSING, MISSING, DENIED], "s3:PutObject", "arn:aws:s3:::bucket/*"),
        ([MISSING, MISSING, Reply(headers={"ETag": '"e"'}), DENIED], "s3:ListBucket", "arn:aws:s3:::bucket "),
    ],
)
def test_an_action_that_is_denied(stub: StubS3, answers: list[Reply], action: str, resource: str) -> None:
    stub.says(*answers)
    found = refused(open_stub(stub).stats)
    assert found.reason == "access-denied"
    assert f"Allow {action} on {resource}" in found.remedy


def test_nothing_is_lost_if_deleting_is_denied(stub: StubS3) -> None:
    clock = ManualClock()

    class NoDelete(Wrapper):
        def delete_many(self, keys: Any) -> tuple[str, ...]:
            return stub.store().delete_many(keys)

    stub.says(DENIED)
    queue = Queue("jobs", url="memory://unused", store=NoDelete(MemoryStore(clock)), clock=clock, probe=False)
    told = heard(queue, "error")
    queue.enqueue("a")
    seen = Seen()
    with running(queue, seen):
        assert eventually(lambda: seen.payloads == ["a"])
        assert eventually(as_time_passes(clock, 1, lambda: bool(told)))
    assert told[0].error.reason == "access-denied"
    assert "s3:DeleteObject" in told[0].error.remedy
    assert queue.stats().completed == 1
    assert queue.receive() == []


def test_an_endpoint_that_is_down() -> None:
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    queue = Queue("jobs", bucket="prod", endpoint_url=endpoint, region="us-east-1", clock=ManualClock())
    with pytest.raises(StoreUnavailable) as refusal:
        queue.enqueue("a")
    assert endpoint in str(refusal.value)
    assert "right and running" in refusal.value.remedy


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>Welcome to nginx!</html>", {"Content-Type": "text/html"}),
        Reply(404, b"<html>Not Found</html>", {"Content-Type": "text/html"}),
        Reply(404, b'{"message": "no such route"}', {"Content-Type": "application/json"}),
        Reply(302, b"", {"Location": "http://127.0.0.1/login"}),
        Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
    ],
    ids=["page", "not found", "api", "login", "ssh"],
)
def test_an_endpoint_that_is_not_s3(stub: StubS3, reply: Reply) -> None:
    stub.says(reply)
    found = refused(lambda: open_stub(stub).enqueue("a"))
    assert found.reason == "not-s3"
    assert f"http://127.0.0.1:{stub.port}" in str(found)
    assert "Check endpoint_url" in found.remedy


def test_a_clock_that_s3_refuses(stub: StubS3) -> None:
    ours, theirs = "20300101T000000Z", "2025-01-01T00:00:00Z"
    stub.says(error(403, "RequestTimeTooSkewed", RequestTime=ours, ServerTime=theirs))
    found = refused(open_stub(stub).connect)
    assert found.reason == "clock-skew"
    assert ours in str(found)
    assert theirs in str(found)
    assert "NTP" in found.remedy


class Skewed(SystemClock):
    """The clock of a machine that is hours off."""

    def __init__(self, hours: float) -> None:
        self._off_ms = int(hours * HOUR_MS)

    def now_ms(self) -> int:
        return super().now_ms() + self._off_ms


@pytest.fixture(params=[-7, 7], ids=["behind", "ahead"])
def pair(ministack: MiniStack, request: pytest.FixtureRequest) -> tuple[Queue, Queue]:
    """One queue as a machine sees it whose clock is hours off, and as one sees it whose clock is right."""
    bucket = fresh_bucket(ministack)

    def open_queue(**options: Any) -> Queue:
        return Queue("jobs", bucket=bucket, endpoint_url=ministack.endpoint_url, region=ministack.region, **options)

    return open_queue(clock=Skewed(request.param), visibility_timeout=1), open_queue()


@pytest.mark.parametrize("way", ["off to right", "right to off"])
def test_delays_are_right_though_a_clock_is_hours_off(pair: tuple[Queue, Queue], way: str) -> None:
    producer, consumer = pair if way == "off to right" else pair[::-1]
    pair[0].connect()
    producer.enqueue_many(["now"])
    producer.enqueue("in an hour", delay=3600)
    (message,) = consumer.receive(wait=5)  # dates of answers are whole seconds: store time is known to one second
    producer.enqueue("soon", delay=1.5)
    assert message.payload == "now"
    assert abs(message.enqueued_at.timestamp() * 1000 - SystemClock().now_ms()) < 5000
    message.ack()
    found: list[Any] = []
    assert eventually(lambda: collect(consumer, found))
    assert [message.payload for message in found] == ["soon"]
    stats = consumer.stats()
    assert (stats.scheduled, stats.processing) == (1, 1)
    assert abs(stats.at_ms - SystemClock().now_ms()) < 5000


def test_leases_are_right_though_a_clock_is_hours_off(pair: tuple[Queue, Queue]) -> None:
    holder, rival = pair
    holder.enqueue("a")
    (message,) = holder.receive(wait=5)
    (ticket,) = holder.connect().lane.committer.ledger.tickets.values()
    assert ticket.expires_at_ms - ticket.claimed_at_ms == 1000
    assert abs(ticket.claimed_at_ms - SystemClock().now_ms()) < 5000
    assert rival.receive() == []
    found: list[Any] = []
    assert eventually(lambda: collect(rival, found))
    assert (found[0].payload, found[0].attempt) == ("a", 2)
    found[0].ack()
    assert holder.stats().completed == 1
    assert message.id == found[0].id


def test_workers_on_both_sides_process_everything_once(pair: tuple[Queue, Queue]) -> None:
    off, right = pair
    off.configure(visibility_timeout=60)
    seen = Seen()
    with running(off, seen, concurrency=2), running(right, seen, concurrency=2):
        for number in range(15):
            off.enqueue(number)
            right.enqueue(100 + number)
        assert eventually(lambda: right.count("completed") == 30, 40)
    assert sorted(seen.payloads) == [*range(15), *range(100, 115)]
    assert right.stats().rescued == 0
