"""What each answer, or its absence, becomes: the table of s3queue/store/s3_errors.py, over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from s3queue.devserver import MiniStack, free_ports
from s3queue.errors import (
    InvalidName,
    InvalidSetting,
    NotFound,
    PreconditionFailed,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from s3queue.store.port import CREATE, OVERWRITE, Replace
from s3queue.store.s3 import S3Store
from tests.servers import SeaweedFS, open_store
from tests.store.stub_s3 import BUCKET, Reply, StubS3, error, running

Action = Callable[[S3Store], object]
Answered = Callable[[Action, Reply], StoreError]

HTML = b"<!DOCTYPE html><html><head><title>Sign in<br></head><body>Please sign in</body></html>"
XHTML = b"<html><body>Please sign in</body></html>"


def get(store: S3Store) -> object:
    return store.get("key")


def create(store: S3Store) -> object:
    return store.put("key", b"body", CREATE)


def replace(store: S3Store) -> object:
    return store.put("key", b"body", Replace("0123"))


def overwrite(store: S3Store) -> object:
    return store.put("key", b"body", OVERWRITE)


def delete(store: S3Store) -> object:
    store.delete("key")
    return None


def delete_many(store: S3Store) -> object:
    return store.delete_many(["a", "b"])


def listing(store: S3Store) -> object:
    return store.list("prefix/")


ALL = [get, create, replace, overwrite, delete, delete_many, listing]


@pytest.fixture(scope="module")
def server() -> Iterator[StubS3]:
    with running() as stub:
        yield stub


@pytest.fixture(scope="module")
def opened(server: StubS3) -> Iterator[S3Store]:
    """One store for all: making a client takes a tenth of a second."""
    store = server.store()
    yield store
    store.close()


@pytest.fixture
def stub(server: StubS3) -> StubS3:
    server.seen.clear()
    return server


@pytest.fixture
def answered(stub: StubS3, opened: S3Store) -> Answered:
    """Return a function: what does an action raise at this answer to its one request?"""

    def call(action: Action, reply: Reply) -> StoreError:
        stub.says(reply)
        found = failure(action, opened)
        assert len(stub.seen) == 1
        return found

    return call


def failure(action: Action, store: S3Store) -> StoreError:
    with pytest.raises(StoreError) as caught:
        action(store)
    return caught.value


def facts(found: StoreError) -> Any:
    """Return class and facts of an error, to compare."""
    match found:
        case StoreUnavailable():
            assert found.remedy in str(found)
            assert found.remedy
            return (
                StoreUnavailable,
                "throttled" if found.throttled else "",
                "maybe applied" if found.maybe_applied else "",
            )
        case StoreRefused():
            assert found.remedy in str(found)
            assert found.remedy
            return StoreRefused, found.reason
        case PreconditionFailed():
            return PreconditionFailed, found.expected, found.found
        case _:
            return (type(found),)


UNAVAILABLE = (StoreUnavailable, "", "")
UNCLEAR = (StoreUnavailable, "", "maybe applied")
THROTTLED = (StoreUnavailable, "throttled", "")
THROTTLED_UNCLEAR = (StoreUnavailable, "throttled", "maybe applied")


@pytest.mark.parametrize(
    ("action", "reply", "expected"),
    [
        (get, error(404, "NoSuchKey"), (NotFound,)),
        (create, error(412, "PreconditionFailed"), (PreconditionFailed, "absent", "something else")),
        (create, Reply(412), (PreconditionFailed, "absent", "something else")),
        (replace, error(412, "PreconditionFailed"), (PreconditionFailed, "at ETag 0123", "something else")),
        (replace, error(404, "NoSuchKey"), (PreconditionFailed, "at ETag 0123", "nothing")),
        (create, error(409, "ConditionalRequestConflict"), UNAVAILABLE),
        (replace, error(409, "ConditionalRequestConflict"), UNAVAILABLE),
        (replace, Reply(409), UNAVAILABLE),
        (overwrite, error(409, "OperationAborted"), UNAVAILABLE),
        (get, error(503, "SlowDown"), THROTTLED),
        (replace, error(503, "SlowDown"), THROTTLED),
        (replace, error(429, "TooManyRequests"), THROTTLED),
        (replace, Reply(429, HTML), THROTTLED),
        (replace, error(503, "SlowDownWrite"), THROTTLED_UNCLEAR),
        (replace, error(503, "ServiceUnavailable"), THROTTLED_UNCLEAR),
        (replace, Reply(503, HTML), THROTTLED_UNCLEAR),
        (get, error(503, "ServiceUnavailable"), THROTTLED),
        (get, error(500, "InternalError"), UNAVAILABLE),
        (listing, error(500, "InternalError"), UNAVAILABLE),
        (replace, error(500, "InternalError"), UNCLEAR),
        (overwrite, Reply(502, XHTML), UNCLEAR),
        (delete, Reply(504, HTML), UNCLEAR),
        (delete_many, Reply(500), UNCLEAR),
        (delete_many, error(200, "InternalError"), UNCLEAR),
        (overwrite, error(200, "InternalError"), UNCLEAR),
        (create, error(400, "RequestTimeout"), UNCLEAR),
        (create, error(400, "IncompleteBody"), UNCLEAR),
        (get, error(307, "TemporaryRedirect"), UNAVAILABLE),
    ],
)
def test_answers_that_are_settled_by_trying_again(
    answered: Answered, action: Action, reply: Reply, expected: tuple[object, ...]
) -> None:
    found = answered(action, reply)
    assert facts(found) == expected
    if action not in (listing, delete_many):
        assert found.key == "key"


@pytest.mark.parametrize(
    ("reply", "reason", "words"),
    [
        (error(404, "NoSuchBucket"), "bucket-missing", ["'bucket'", "aws s3 mb s3://bucket"]),
        (error(403, "AccessDenied"), "access-denied", ["in bucket 'bucket'", "Allow s3:"]),
        (error(403, "InvalidAccessKeyId"), "bad-credentials", ["InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"]),
        (error(403, "SignatureDoesNotMatch"), "bad-credentials", ["AWS_SECRET_ACCESS_KEY"]),
        (error(400, "ExpiredToken"), "bad-credentials", ["renew"]),
        (error(400, "AuthorizationHeaderMalformed"), "bad-credentials", ["AWS_ACCESS_KEY_ID"]),
        (
            error(400, "AuthorizationHeaderMalformed", Region="eu-west-1"),
            "wrong-region",
            ["'eu-west-1', not 'us-east-1'", "AWS_REGION to 'eu-west-1'"],
        ),
        (
            error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-central-1"}),
            "wrong-region",
            ["'eu-central-1', not 'us-east-1'", "Set region"],
        ),
        (Reply(301, headers={"x-amz-bucket-region": "eu-north-1"}), "wrong-region", ["'eu-north-1'", "Set region"]),
        (error(301, "PermanentRedirect"), "wrong-region", ["get-bucket-location"]),
        (error(400, "IllegalLocationConstraintException"), "wrong-region", ["get-bucket-location"]),
        (
            error(403, "RequestTimeTooSkewed", RequestTime="20261124T010000Z", ServerTime="2026-11-24T03:00:00Z"),
            "clock-skew",
            ["20261124T010000Z", "2026-11-24T03:00:00Z", "NTP"],
        ),
        (error(405, "MethodNotAllowed"), "not-s3", ["Check endpoint_url"]),
        (Reply(404, HTML), "not-s3", ["404", "Check endpoint_url"]),
        (Reply(404), "not-s3", ["404", "Check endpoint_url"]),
        (Reply(403, XHTML), "not-s3", ["403", "Check endpoint_url"]),
        (Reply(302, headers={"Location": "https://login.example"}), "not-s3", ["redirecting to https://login.example"]),
        (Reply(200, HTML), "not-s3", ["Check endpoint_url"]),
        (Reply(200, XHTML), "not-s3", ["Check endpoint_url"]),
        (error(501, "NotImplemented"), "rejected", ["NotImplemented", "use another store"]),
        (error(400, "InvalidArgument", "no such thing"), "rejected", ["no such thing", "Trying again is no use"]),
    ],
)
@pytest.mark.parametrize("action", ALL)
def test_answers_that_need_somebody(
    answered: Answered, action: Action, reply: Reply, reason: str, words: list[str]
) -> None:
    found = answered(action, reply)
    assert facts(found) == (StoreRefused, reason)
    assert "http://127.0.0.1:" in str(found)
    for word in words:
        assert word in str(found)


@pytest.mark.parametrize(
    ("action", "permission"),
    [
        (get, "s3:GetObject on arn:aws:s3:::bucket/*"),
        (create, "s3:PutObject on arn:aws:s3:::bucket/*"),
        (delete, "s3:DeleteObject on arn:aws:s3:::bucket/*"),
        (delete_many, "s3:DeleteObject on arn:aws:s3:::bucket/*"),
        (listing, "s3:ListBucket on arn:aws:s3:::bucket in"),
    ],
)
def test_a_denial_names_the_permission(answered: Answered, action: Action, permission: str) -> None:
    found = answered(action, error(403, "AccessDenied"))
    assert f"Allow {permission}" in str(found)
    assert ("403 instead of 404" in str(found)) == (action is get)


@pytest.mark.parametrize(
    "begun", [b"", b"<?xml", b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>prefix/"]
)
@pytest.mark.parametrize("action", [get, listing])
def test_half_an_answer_is_none(answered: Answered, action: Action, begun: bytes) -> None:
    found = answered(action, Reply(200, begun, {"ETag": '"1"'}, declared=1000))
    assert facts(found) == UNAVAILABLE
    assert "in full" in str(found)


@pytest.mark.parametrize(
    ("action", "xml"),
    [(listing, b"<ListBucketResult><Contents><Key>prefix/"), (delete_many, b"<DeleteResult><Error><Key>")],
)
def test_xml_that_breaks_off_is_no_answer(answered: Answered, action: Action, xml: bytes) -> None:
    found = answered(action, Reply(200, xml))
    assert facts(found) == (UNAVAILABLE if action is listing else UNCLEAR)


@pytest.mark.parametrize(
    ("action", "expected"), [(get, UNAVAILABLE), (listing, UNAVAILABLE), (replace, UNCLEAR), (delete, UNCLEAR)]
)
def test_a_connection_closed_without_an_answer(
    answered: Answered, action: Action, expected: tuple[object, ...]
) -> None:
    found = answered(action, Reply(raw=b""))
    assert facts(found) == expected
    assert "Repeat it" in str(found)


@pytest.mark.parametrize(("action", "expected"), [(get, UNAVAILABLE), (replace, UNCLEAR)])
def test_silence_ends_with_the_read_timeout(stub: StubS3, action: Action, expected: tuple[object, ...]) -> None:
    stub.says(Reply(silent=True))
    found = failure(action, stub.store(read_timeout_s=0.2))
    assert facts(found) == expected
    assert str(found).endswith("check server, network, proxy and firewall.")
    assert len(stub.seen) == 1


@pytest.mark.parametrize("action", ALL)
def test_a_server_that_does_not_speak_http(answered: Answered, action: Action) -> None:
    found = answered(action, Reply(raw=b"-ERR unknown command\r\n"))
    assert facts(found) == (StoreRefused, "not-s3")
    assert "Check endpoint_url" in str(found)


def test_https_to_a_server_without_it(stub: StubS3) -> None:
    store = S3Store(
        BUCKET, endpoint_url=f"https://127.0.0.1:{stub.port}", access_key_id="key", secret_access_key="secret"
    )
    found = failure(get, store)
    assert facts(found) == (StoreRefused, "not-s3")
    assert "http or https" in str(found)


@pytest.mark.parametrize("action", [get, create, delete, listing])
def test_an_endpoint_that_is_down(action: Action) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    found = failure(action, S3Store(BUCKET, endpoint_url=endpoint, access_key_id="key", secret_access_key="secret"))
    assert facts(found) == UNAVAILABLE
    assert endpoint in str(found)
    assert "Check that the endpoint is right and running" in str(found)


def test_a_host_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    found = failure(
        create,
        S3Store(BUCKET, endpoint_url="http://store.example", access_key_id="key", secret_access_key="secret"),
    )
    assert facts(found) == UNAVAILABLE
    assert "http://store.example cannot be reached" in str(found)


def test_a_host_that_does_not_take_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        others = [socket.socket() for _ in range(3)]  # fill the queue of connections nobody accepts
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        store = S3Store(
            BUCKET,
            endpoint_url=f"http://127.0.0.1:{full.getsockname()[1]}",
            access_key_id="key",
            secret_access_key="secret",
            connect_timeout_s=0.2,
        )
        found = failure(create, store)
        for other in others:
            other.close()
    assert facts(found) == UNAVAILABLE
    assert "ConnectTimeoutError" in str(found)


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that knows nothing of AWS."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize("action", ALL)
def test_no_credentials(stub: StubS3, action: Action) -> None:
    found = failure(action, S3Store(BUCKET, endpoint_url=f"http://127.0.0.1:{stub.port}"))
    assert facts(found) == (StoreRefused, "no-credentials")
    assert "Set AWS_ACCESS_KEY_ID" in str(found)
    assert stub.seen == []


@pytest.mark.usefixtures("no_aws")
def test_half_of_the_credentials(stub: StubS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    for key in ("key", None):
        with pytest.raises(StoreRefused) as caught:
            S3Store(BUCKET, endpoint_url=f"http://127.0.0.1:{stub.port}", access_key_id=key).get("key")
        assert caught.value.reason == "no-credentials"
        assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"profile": "nobody"}, "'nobody'"),
        ({"endpoint_url": "localhost:9000"}, "'localhost:9000'"),
        ({"endpoint_url": "http://"}, "'http://'"),
        ({"region": "us east"}, "'us east'"),
    ],
)
def test_settings_that_make_no_client(options: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidSetting, match="Check endpoint_url") as caught:
        S3Store(BUCKET, **options)  # type: ignore[arg-type]
    assert word in str(caught.value)


@pytest.mark.parametrize("name", ["", "a", "s3://bucket", "bucket/folder", "my bucket", "b\nc", "bücket"])
def test_names_that_no_bucket_has(name: str) -> None:
    with pytest.raises(InvalidName, match="letters, digits"):
        S3Store(name)


@pytest.mark.parametrize("action", ALL)
def test_a_missing_bucket_of_a_real_server(ministack: MiniStack, action: Action) -> None:
    found = failure(action, open_store(ministack, "no-such-bucket"))
    assert facts(found) == (StoreRefused, "bucket-missing")
    assert "aws s3 mb s3://no-such-bucket" in str(found)


@pytest.mark.parametrize("action", ALL)
@pytest.mark.parametrize(
    ("key", "secret"), [("nobody", "s3queue-tests-secret"), ("s3queue-tests", "wrong")], ids=["key", "secret"]
)
def test_credentials_that_a_real_server_does_not_know(
    seaweedfs: SeaweedFS, action: Action, key: str, secret: str
) -> None:
    endpoint = seaweedfs.endpoint_url
    found = failure(action, S3Store("ready", endpoint_url=endpoint, access_key_id=key, secret_access_key=secret))
    assert facts(found) == (StoreRefused, "bad-credentials")
    assert "Check AWS_ACCESS_KEY_ID" in str(found)


def test_a_connection_that_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        store = S3Store(BUCKET, endpoint_url=endpoint, access_key_id="key", secret_access_key="secret")

        def reset() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()  # with unread bytes in it, which the kernel answers with a reset

        thread = Thread(target=reset)
        thread.start()
        found = failure(overwrite, store)
        thread.join(10)
    assert facts(found) == UNCLEAR
