"""What the S3 adapter sends, and what it makes of good answers: one request a call, by the letter, on one connection."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from urllib.parse import parse_qs

import boto3
import pytest
from moto import mock_aws

from s3queue.clock import SystemClock
from s3queue.devserver import MiniStack
from s3queue.errors import NotFound, PreconditionFailed, StoreRefused, StoreUnavailable
from s3queue.store.port import CREATE, OVERWRITE, Entry, Object, Page, Replace
from s3queue.store.s3 import S3Store, create_bucket
from tests.servers import fresh_bucket, open_store
from tests.store.stub_s3 import Reply, StubS3, error, running


class FixedClock(SystemClock):
    """A wall clock that stands at ``at_ms``."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


@pytest.fixture(scope="module")
def server() -> Iterator[StubS3]:
    with running() as stub:
        yield stub


@pytest.fixture
def stub(server: StubS3) -> StubS3:
    server.seen.clear()
    server.connections = 0
    return server


@pytest.fixture(scope="module")
def store(server: StubS3) -> Iterator[S3Store]:
    opened = server.store()
    yield opened
    opened.close()


def listing(*keys: str, truncated: bool = False, encoding: str = "") -> Reply:
    lines = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-24T03:39:44.000Z</LastModified><Size>{len(key)}</Size></Contents>"
        for key in keys
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{encoding}{lines}</ListBucketResult>"
    )
    return Reply(200, xml.encode())


def test_conditions_are_sent_without_quotes_and_bodies_without_asking(stub: StubS3, store: S3Store) -> None:
    stub.says(Reply(200, headers={"ETag": '"new"'}))
    assert store.put("a/b c+d", b"body", Replace("old")) == "new"
    assert store.put("a/b", b"body", CREATE) == "new"
    assert store.put("a/b", b"", OVERWRITE) == "new"
    replaced, created, overwritten = stub.seen
    assert (replaced.method, replaced.path, replaced.body) == ("PUT", "/bucket/a/b%20c%2Bd", b"body")
    assert replaced.headers["if-match"] == "old"
    assert created.headers["if-none-match"] == "*"
    assert {"if-match", "if-none-match"}.isdisjoint(overwritten.headers)
    for seen in stub.seen:
        assert "expect" not in seen.headers  # it would cost a round trip more
        assert seen.headers["x-amz-content-sha256"] == hashlib.sha256(seen.body).hexdigest()
        assert "Signature=" in seen.headers["authorization"]
        assert seen.headers["user-agent"].startswith("s3queue")


def test_reads(stub: StubS3, store: S3Store) -> None:
    stub.says(Reply(200, b"body", {"ETag": '"etag"'}))
    assert store.get("key") == Object(b"body", "etag")
    assert "if-none-match" not in stub.seen[0].headers
    stub.says(Reply(304, headers={"ETag": '"etag"'}))
    assert store.get("key", "etag") is None
    assert stub.seen[1].headers["if-none-match"] == "etag"


@pytest.mark.parametrize("reply", [Reply(200), Reply(200, b"body"), Reply(201, b"body"), Reply(204)])
def test_an_object_without_an_etag_is_not_s3(stub: StubS3, store: S3Store, reply: Reply) -> None:
    stub.says(reply)
    with pytest.raises(StoreRefused, match="Check endpoint_url") as caught:
        store.get("key")
    assert caught.value.reason == "not-s3"


@pytest.mark.parametrize("reply", [Reply(200), Reply(204), Reply(200, headers={"ETag": '"012'})])
def test_a_write_without_a_whole_etag_may_have_happened(stub: StubS3, store: S3Store, reply: Reply) -> None:
    stub.says(reply)
    with pytest.raises(StoreUnavailable, match="without an ETag") as caught:
        store.put("key", b"", CREATE)
    assert caught.value.maybe_applied


def test_every_answer_gives_its_connection_back(stub: StubS3) -> None:
    store = stub.store(max_connections=1)
    stub.says(
        Reply(200, b"x" * 100_000, {"ETag": '"1"'}),
        error(404, "NoSuchKey"),
        error(503, "SlowDown"),
        Reply(304),
        Reply(204),
        listing("prefix/1"),
        Reply(200, headers={"ETag": '"1"'}),
    )
    store.get("key")
    for refusal in (NotFound, StoreUnavailable):
        with pytest.raises(refusal):
            store.get("key")
    store.get("key", "1")
    store.delete("key")
    store.list("prefix/")
    for _ in range(3):
        store.put("key", b"", OVERWRITE)
    store.close()
    assert (len(stub.seen), stub.connections) == (9, 1)


def test_a_listing_is_asked_for_in_one_request(stub: StubS3, store: S3Store) -> None:
    stub.says(listing("p/1", "p/2", truncated=True))
    assert store.list("p/", after="p/0", limit=2) == Page((Entry("p/1", 3), Entry("p/2", 3)), more=True)
    path, _, query = stub.seen[0].path.partition("?")
    assert (stub.seen[0].method, path, len(stub.seen)) == ("GET", "/bucket", 1)
    assert parse_qs(query) == {
        "list-type": ["2"],
        "prefix": ["p/"],
        "max-keys": ["2"],
        "start-after": ["p/0"],
        "encoding-type": ["url"],
    }
    stub.says(listing())
    assert store.list("p/") == Page((), more=False)
    assert "start-after" not in stub.seen[1].path


def test_keys_of_a_listing_are_decoded_if_the_server_encoded_them(stub: StubS3, store: S3Store) -> None:
    stub.says(listing("p/a+b%2Bc%25", encoding="<EncodingType>url</EncodingType>"))
    assert [entry.key for entry in store.list("p/").entries] == ["p/a b+c%"]
    stub.says(listing("p/a+b%2Bc&amp;"))
    assert [entry.key for entry in store.list("p/").entries] == ["p/a+b%2Bc&"]


def test_a_listing_is_put_right_where_a_server_lists_otherwise(stub: StubS3, store: S3Store) -> None:
    stub.says(listing("p/3", "p/1", "other", "p/2", "p/4"))
    assert store.list("p/", after="p/1", limit=2) == Page((Entry("p/2", 3), Entry("p/3", 3)), more=True)


def test_a_server_that_cannot_start_after_a_key_is_refused(stub: StubS3, store: S3Store) -> None:
    stub.says(listing("p/1", "p/2", truncated=True))
    with pytest.raises(StoreRefused, match=r"start-after.*use another store") as caught:
        store.list("p/", after="p/2", limit=2)
    assert caught.value.reason == "rejected"


def test_what_could_not_be_deleted_is_returned(stub: StubS3, store: S3Store) -> None:
    def errors(**codes: str) -> Reply:
        lines = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in codes.items())
        return Reply(
            200, f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{lines}</DeleteResult>'.encode()
        )

    stub.says(errors())
    assert store.delete_many(["a", "b", "c"]) == ()
    assert b"<Quiet>true</Quiet>" in stub.seen[0].body
    stub.says(errors(b="InternalError", c="NoSuchKey", a="AccessDenied"))
    assert store.delete_many(["a", "b", "c"]) == ("a", "b")
    stub.says(errors(a="AccessDenied", b="AccessDenied"))
    with pytest.raises(StoreRefused, match="Allow s3:DeleteObject") as caught:
        store.delete_many(["a", "b"])
    assert caught.value.reason == "access-denied"
    stub.seen.clear()
    assert store.delete_many([]) == ()
    assert stub.seen == []


def test_a_delete_of_nothing_is_fine_whatever_the_server_says(stub: StubS3, store: S3Store) -> None:
    for reply in (Reply(204), Reply(200), error(404, "NoSuchKey")):
        stub.says(reply)
        store.delete("key")


@pytest.mark.parametrize("status", [200, 404, 503])
def test_store_time_is_learnt_from_every_answer(stub: StubS3, status: int) -> None:
    here, there = 1_800_000_000_000, 1_800_003_600_000
    date = {"Date": formatdate(there // 1000, usegmt=True), "ETag": '"1"'}
    store = S3Store(
        "bucket",
        endpoint_url=f"http://127.0.0.1:{stub.port}",
        access_key_id="key",
        secret_access_key="secret",
        clock=FixedClock(here),
    )
    assert store.now_ms() == here
    stub.says(Reply(200, b"", date) if status == 200 else error(status, "NoSuchKey", headers=date))
    with suppress(NotFound, StoreUnavailable):
        store.get("key")
    store.close()
    assert store.now_ms() == there  # of the second in which it was, the end nearest to our own clock


def test_the_location_names_bucket_and_endpoint(stub: StubS3, store: S3Store) -> None:
    assert store.location == f"s3://bucket (http://127.0.0.1:{stub.port})"
    aws = S3Store("prod", region="eu-west-1", access_key_id="key", secret_access_key="secret")
    assert aws.location == "s3://prod (https://s3.eu-west-1.amazonaws.com)"
    aws.close()


def test_many_threads_share_a_store(ministack: MiniStack) -> None:
    store = open_store(ministack, fresh_bucket(ministack), max_connections=16)

    def work(number: int) -> bytes:
        key = f"{number:03}"
        etag = store.put(key, key.encode(), CREATE)
        store.put(key, key.encode() * 2, Replace(etag))
        found = store.get(key)
        assert found is not None
        return found.body

    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(work, range(100)))
    assert bodies == [f"{number:03}".encode() * 2 for number in range(100)]
    store.close()


def test_store_time_of_a_server_on_this_machine_is_this_machines(ministack: MiniStack) -> None:
    store = open_store(ministack, fresh_bucket(ministack))
    for _ in range(10):
        store.list("")
    assert store._time.offset_ms == 0
    store.close()


def test_a_bucket_is_created_once(ministack: MiniStack) -> None:
    name = fresh_bucket(ministack)
    store = open_store(ministack, name)
    store.put("key", b"body", CREATE)
    assert ministack.create_bucket(name) == name
    assert store.get("key") is not None
    store.close()
    with pytest.raises(StoreRefused, match="InvalidBucketName") as caught:
        ministack.create_bucket("x")
    assert caught.value.reason == "rejected"


@pytest.mark.usefixtures("aws_keys")
def test_against_motos_mock_of_aws() -> None:
    with mock_aws():
        create_bucket("prod", region="eu-west-1")
        place = boto3.client("s3", region_name="eu-west-1").get_bucket_location(Bucket="prod")
        assert place["LocationConstraint"] == "eu-west-1"
        store = S3Store("prod", region="eu-west-1")
        first = store.put("q/1", b"first", CREATE)
        second = store.put("q/1", b"second", Replace(first))
        with pytest.raises(PreconditionFailed):
            store.put("q/1", b"third", Replace(first))
        with pytest.raises(PreconditionFailed):
            store.put("q/1", b"third", CREATE)
        assert store.get("q/1") == Object(b"second", second)
        assert store.get("q/1", second) is None
        assert store.list("q/") == Page((Entry("q/1", 6),), more=False)
        assert store.delete_many(["q/1"]) == ()
        with pytest.raises(NotFound):
            store.get("q/1")
        store.close()


def test_the_port_is_cheap_to_import() -> None:
    code = "import sys, s3queue.store.port; print('boto3' in sys.modules, 'botocore' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.split() == ["False", "False"]
