"""Earlier versions of objects, over two real servers, moto, and the model in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from s3queue.clock import SystemClock
from s3queue.devserver import MiniStack
from s3queue.errors import NotFound, StoreRefused
from s3queue.ids import SystemIds
from s3queue.store.memory import MemoryStore
from s3queue.store.metered import Meter
from s3queue.store.opening import dress
from s3queue.store.port import CREATE, Replace
from s3queue.store.s3 import S3Store
from s3queue.store.versions import versioned, walk_versions
from s3queue_admin.readonly import ReadOnly
from tests.servers import SeaweedFS, Server, fresh_bucket, open_store
from tests.store.stub_s3 import Reply, running
from tests.store.versioned import VersionedMemory


def turn_on(bucket: str, **where: Any) -> None:
    client = boto3.client("s3", region_name="us-east-1", **where)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.close()


def on(server: Server) -> Iterator[S3Store]:
    bucket = fresh_bucket(server)
    keys = {"aws_access_key_id": server.access_key_id, "aws_secret_access_key": server.secret_access_key}
    turn_on(bucket, endpoint_url=server.endpoint_url, **keys)
    store = open_store(server, bucket)
    yield store
    store.close()


@pytest.fixture(params=["memory", "ministack", "seaweedfs", "moto"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield VersionedMemory()
    elif request.param == "moto":
        with mock_aws():
            boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="kept")
            turn_on("kept")
            yield S3Store("kept", region="us-east-1", access_key_id="k", secret_access_key="s")
    else:
        server: MiniStack | SeaweedFS = request.getfixturevalue(request.param)
        yield from on(server)


def test_what_was_written_over_and_deleted_is_still_there(store: Any) -> None:
    dressed = versioned(dress(ReadOnly(store), "", clock=SystemClock(), ids=SystemIds(), meter=Meter()))
    before_ms = store.now_ms()
    first = store.put("a/x y&z", b"one", CREATE)
    store.put("a/x y&z", b"two", Replace(first))
    store.delete_many(["a/x y&z"])
    store.put("a/z", b"other", CREATE)
    store.put("b", b"elsewhere", CREATE)
    assert dressed.keeps_versions()
    found = list(walk_versions(dressed, "a/"))
    assert [(each.key, each.is_deletion, each.is_latest) for each in found] == [
        ("a/x y&z", True, True),
        ("a/x y&z", False, False),
        ("a/x y&z", False, False),
        ("a/z", False, True),
    ]
    bodies = [dressed.get_version(each.key, each.id).body for each in found if not each.is_deletion]
    assert sorted(bodies[:2]) == [b"one", b"two"]  # S3 dates them to the second, but lists the newest first
    assert bodies[2] == b"other"
    assert all(abs(each.written_at_ms - before_ms) < 60_000 for each in found)
    with pytest.raises(NotFound):
        dressed.get_version("a/none", found[1].id)


def test_pages_of_versions_follow_each_other(store: Any) -> None:
    for number in range(3):
        etag = store.put(f"p/{number}", b"a", CREATE)
        store.put(f"p/{number}", b"b", Replace(etag))
    seen, after = [], None
    for _ in range(10):
        page = store.versions("p/", after, 2)
        assert len(page.versions) <= 2
        seen += [(each.key, each.id) for each in page.versions]
        after = page.after
        if after is None:
            break
    assert [key for key, _ in seen] == ["p/0", "p/0", "p/1", "p/1", "p/2", "p/2"]
    assert len(set(seen)) == 6
    behind = [each.key for each in store.versions("p/", ("p/0", "")).versions if each.key > "p/0"]
    assert behind == ["p/1", "p/1", "p/2", "p/2"]  # moto tells one of the marker's own as well


@pytest.mark.parametrize("store", ["memory", "ministack", "seaweedfs"], indirect=True)  # moto leaves one out
def test_a_page_may_begin_behind_a_key_that_is_not_there(store: Any) -> None:
    for key in ("p/0/a", "p/1", "p/2"):
        store.put(key, b"a", CREATE)
    for marker in ("p/0/b", "p/0/\U0010ffff"):
        assert [each.key for each in store.versions("p/", (marker, "")).versions] == ["p/1", "p/2"]


def test_a_bucket_without_versions_says_so(ministack: MiniStack) -> None:
    store = open_store(ministack, fresh_bucket(ministack))
    store.put("k", b"x", CREATE)
    assert not store.keeps_versions()
    assert [(each.key, each.is_latest) for each in walk_versions(store, "")] == [("k", True)]
    store.close()
    with pytest.raises(StoreRefused, match="keeps no earlier versions"):
        versioned(ReadOnly(MemoryStore())).versions("")


def test_an_answer_that_makes_no_sense_is_refused() -> None:
    begin, end = b'<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">', b"</ListVersionsResult>"
    line = b"<Version><Key>k</Key><VersionId>1</VersionId><LastModified>yesterday</LastModified></Version>"
    endless = (
        b"<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>"
    )
    with running() as stub:
        store = stub.store()
        stub.says(Reply(200, begin + line + end))
        with pytest.raises(StoreRefused, match="yesterday"):
            store.versions("")
        stub.says(Reply(200, begin + endless + end))
        with pytest.raises(StoreRefused, match="again"):
            list(walk_versions(store, ""))
        store.close()
