"""The S3 adapter: the port on boto3, one request a call. What answers mean stands in the table of :mod:`.s3_errors`.

With :mod:`.s3_client`, which sets boto3 up, this is all that imports boto3. Every request is one that the caller asked
for and pays for: :mod:`.metered` counts them, :mod:`.retrying` repeats them.

ETags go without quotes, in both directions: AWS, MiniStack and SeaweedFS take ``If-Match`` with or without, some servers
only without.
"""

from __future__ import annotations

import hashlib
import http.client
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import botocore.exceptions as boto_errors
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError as TransportError

from s3queue.clock import Clock, SystemClock
from s3queue.errors import InvalidName, NotFound, StoreError, StoreRefused
from s3queue.store import s3_errors
from s3queue.store.port import Create, Entry, Object, Page, PutMode, Replace
from s3queue.store.rules import LifecycleRule, read_rules
from s3queue.store.s3_client import DEFAULT_REGION, NO_CREDENTIALS, NotS3Answer, has_length, make_client
from s3queue.store.s3_errors import (
    CREATE_BUCKET,
    DELETE,
    DELETE_MANY,
    GET,
    GET_VERSION,
    LIFECYCLE,
    LIST,
    LIST_VERSIONS,
    PUT,
    VERSIONING,
    Answer,
    Request,
    Site,
)
from s3queue.store.s3_versions import version_page
from s3queue.store.store_time import StoreTime
from s3queue.store.versions import Place, VersionPage

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PAGE: Final = 1000  # S3 lists and deletes no more at once
_BEGINS_HTTP = re.compile(r"HTTP/1|(?:H|HT|HTT|HTTP|HTTP/)$")  # a status line that breaks off is one all the same
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}|arn:[\w:/.-]+")

_NOT_SENT = (
    boto_errors.ConnectTimeoutError,
    boto_errors.EndpointConnectionError,
    boto_errors.ProxyConnectionError,
)
_NOT_ANSWERED = (boto_errors.HTTPClientError, boto_errors.IncompleteReadError, TransportError, OSError)


class S3Store:
    """A bucket of Amazon S3, or of a server that speaks its language.

    Without ``access_key_id`` and ``secret_access_key``, credentials come from where boto3 looks for them. ``clock`` is
    this machine's; store time is it plus what the answers' dates teach. Make one store a process, after forking.

    Raise InvalidName for a bucket name, InvalidSetting for an endpoint or a profile that cannot be, StoreRefused for half
    of a pair of credentials.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        clock: Clock | None = None,
        max_connections: int = 32,
        connect_timeout_s: float = 5,
        read_timeout_s: float = 20,
    ) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise InvalidName(
                f"{bucket!r} cannot be the name of a bucket.",
                remedy="Use 3 to 63 lower-case letters, digits, '-' and '.' (or the ARN of an access point).",
            )
        self._bucket = bucket
        self._clock = clock or SystemClock()
        self._time = StoreTime()
        self._client = make_client(
            endpoint_url=endpoint_url,
            region=region,
            profile=profile,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            max_connections=max_connections,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
        )
        self._site = _site(self._client, bucket)

    @property
    def location(self) -> str:
        return f"s3://{self._bucket} ({self._site.endpoint})"

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._time.offset_ms

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        return self._get(Request(GET, key), {} if if_none_match is None else {"IfNoneMatch": if_none_match})

    def _get(self, request: Request, parameters: Mapping[str, str]) -> Object | None:
        try:
            answer = self._send(request, self._client.get_object, Key=request.key, **parameters)
            body = _read(answer["Body"])
            if not _is_whole(answer, body):
                raise s3_errors.unanswered(self._site, request, "a head that broke off")
            return Object(body, self._etag(request, answer))
        except _NotModified:
            return None
        except _NOT_ANSWERED as error:  # in the middle of the body
            raise s3_errors.unanswered(self._site, request, _say(error)) from error

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        match mode:
            case Create():
                request, condition = Request(PUT, key, "absent"), {"IfNoneMatch": "*"}
            case Replace(etag):
                request, condition = Request(PUT, key, f"at ETag {etag}"), {"IfMatch": etag}
            case _:
                request, condition = Request(PUT, key), {}
        return self._etag(request, self._send(request, self._client.put_object, Key=key, Body=body, **condition))

    def delete(self, key: str) -> None:
        with suppress(NotFound):  # AWS answers 204 for a missing object, not every server does
            self._send(Request(DELETE, key), self._client.delete_object, Key=key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        if not keys:
            return ()
        request = Request(DELETE_MANY)
        which = {"Quiet": True, "Objects": [{"Key": key} for key in keys]}
        root = self._send(request, self._client.delete_objects, Delete=which)["Root"]
        failed = {_text(line, "Key"): _text(line, "Code") for line in root.iterfind("{*}Error")}
        failed = {key: code for key, code in failed.items() if code != "NoSuchKey"}
        if len(failed) == len(set(keys)) and set(failed.values()) == {"AccessDenied"}:
            raise s3_errors.access_denied(self._site, request, "AccessDenied for every key")
        return tuple(key for key in keys if key in failed)

    def list(self, prefix: str, after: str = "", limit: int = PAGE) -> Page:
        request = Request(LIST)
        start = {"StartAfter": after} if after else {}
        limit = min(limit, PAGE)
        root = self._send(request, self._client.list_objects_v2, Prefix=prefix, MaxKeys=limit, **start)["Root"]
        page = _page(root, prefix, after, limit)
        if page.more and not page.entries:
            raise StoreRefused(
                f"{self._site.endpoint} lists keys up to {after!r} when asked for those after it.",
                reason="rejected",
                remedy="The store does not support start-after of ListObjectsV2: use another store.",
            )
        return page

    def keeps_versions(self) -> bool:
        root = self._send(Request(VERSIONING), self._client.get_bucket_versioning)["Root"]
        return _text(root, "Status") == "Enabled"

    def lifecycle_rules(self) -> tuple[LifecycleRule, ...]:
        request = Request(LIFECYCLE)
        try:
            return read_rules(self._send(request, self._client.get_bucket_lifecycle_configuration)["Root"])
        except NotFound:  # the bucket has no such configuration
            return ()

    def versions(self, prefix: str, after: Place | None = None, limit: int = PAGE) -> VersionPage:
        key, version_id = after or ("", "")
        start = {"KeyMarker": key, "VersionIdMarker": version_id} if version_id else {"KeyMarker": key} if key else {}
        request, call = Request(LIST_VERSIONS), self._client.list_object_versions
        answer = self._send(request, call, Prefix=prefix, MaxKeys=min(limit, PAGE), **start)
        try:
            page = version_page(answer["Root"])
        except ValueError as error:  # a time or a size that is none
            raise s3_errors.not_s3(self._site, request, str(error)) from error
        if page.after is not None and page.after == after:
            raise s3_errors.not_s3(self._site, request, f"the page behind {after} again")
        return page

    def get_version(self, key: str, version_id: str) -> Object:
        found = self._get(Request(GET_VERSION, key), {"VersionId": version_id})
        if found is None:
            raise NotFound(key)
        return found

    def close(self) -> None:
        self._client.close()

    def _send(self, request: Request, call: Callable[..., Any], **parameters: Any) -> Mapping[str, Any]:
        """Make one request and return its parsed answer; raise the error that the answer, or none, means."""
        sent_at_ms = self._clock.now_ms()
        try:
            answer: Mapping[str, Any] = call(Bucket=self._bucket, **parameters)
            self._learn_time(answer, sent_at_ms)
            return answer
        except boto_errors.ClientError as error:
            self._learn_time(error.response, sent_at_ms)
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                raise _NotModified from None
            raise s3_errors.from_answer(self._site, request, _answer(error.response)) from error
        except NotS3Answer as error:
            raise s3_errors.not_s3(self._site, request, str(error)) from error
        except (boto_errors.BotoCoreError, ResponseParserError, TransportError, OSError) as error:
            raise _without_answer(self._site, request, error) from error
        except ValueError as error:  # a Content-Length that is no number: the head broke off in the middle of it
            raise s3_errors.unanswered(self._site, request, _say(error)) from error

    def _learn_time(self, answer: Mapping[str, Any], sent_at_ms: int) -> None:
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        self._time.observe(headers.get("date"), sent_at_ms, self._clock.now_ms(), self._clock.monotonic())

    def _etag(self, request: Request, answer: Mapping[str, Any]) -> str:
        found = str(answer.get("ETag", ""))
        etag = found.strip('"')
        if request.operation is PUT and (not etag or found.startswith('"') != found.endswith('"')):
            # It was written; the head broke off before the ETag, or in it.
            raise s3_errors.unanswered(self._site, request, "an answer without an ETag")
        if not etag:
            raise s3_errors.not_s3(self._site, request, "an answer without an ETag")
        return etag


def create_bucket(
    bucket: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
) -> None:
    """Create the bucket; fine if it is ours already. Raise StoreUnavailable or StoreRefused."""
    client = make_client(
        endpoint_url=endpoint_url,
        region=region,
        profile=profile,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
    )
    site = _site(client, bucket)
    where: Any = {}
    if site.region not in (DEFAULT_REGION, "aws-global"):
        where = {"CreateBucketConfiguration": {"LocationConstraint": site.region}}
    request = Request(CREATE_BUCKET)
    try:
        client.create_bucket(Bucket=bucket, **where)
    except boto_errors.ClientError as error:
        answer = _answer(error.response)
        if answer.code != "BucketAlreadyOwnedByYou":
            raise s3_errors.from_answer(site, request, answer) from error
    except NotS3Answer as error:
        raise s3_errors.not_s3(site, request, str(error)) from error
    except (boto_errors.BotoCoreError, ResponseParserError, TransportError, OSError) as error:
        raise _without_answer(site, request, error) from error
    finally:
        client.close()


class _NotModified(Exception):
    """The object still has the ETag that was asked about."""


def _site(client: S3Client, bucket: str) -> Site:
    return Site(bucket, client.meta.endpoint_url, client.meta.region_name)


def _page(root: ET.Element, prefix: str, after: str, limit: int) -> Page:
    """Return the page of a ListBucketResult, as the port promises it even if the server sorts or starts differently."""
    decode = unquote_plus if root.findtext("{*}EncodingType") == "url" else str
    space = root.tag[: root.tag.rfind("}") + 1]  # find("{ns}Key") takes half the time of find("{*}Key")
    key_tag, size_tag = f"{space}Key", f"{space}Size"
    entries = []
    for line in root.iterfind(f"{space}Contents"):
        key = decode(line.findtext(key_tag) or "")
        if key > after and key.startswith(prefix):
            entries.append(Entry(key, int(line.findtext(size_tag) or 0)))
    entries.sort(key=lambda entry: entry.key)
    truncated = (root.findtext(f"{space}IsTruncated") or "").strip().lower() == "true"
    return Page(tuple(entries[:limit]), more=truncated or len(entries) > limit)


def _text(line: ET.Element, name: str) -> str:
    return line.findtext("{*}" + name) or ""


def _read(body: Any) -> bytes:
    """Read a body to its end, which gives the connection back to the pool; drop the connection if that fails."""
    try:
        data: bytes = body.read()
        return data
    except BaseException:
        body.close()
        raise


def _is_whole(answer: Mapping[str, Any], body: bytes) -> bool:
    """Whether a body is all there; one that came without its length proves it by the ETag, if that is its MD5."""
    metadata = answer["ResponseMetadata"]
    return (
        metadata["HTTPStatusCode"] != 200
        or has_length(metadata.get("HTTPHeaders", {}))
        or str(answer.get("ETag", "")).strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
    )


def _answer(response: Mapping[str, Any]) -> Answer:
    error, metadata = response.get("Error", {}), response["ResponseMetadata"]
    details = {name: value for name, value in error.items() if isinstance(value, str)}
    return Answer(
        status=metadata["HTTPStatusCode"],
        code=details.get("Code", ""),
        message=details.get("Message", ""),
        details=details,
        headers=metadata.get("HTTPHeaders", {}),
    )


def _without_answer(site: Site, request: Request, error: Exception) -> StoreError:
    """Return what it means that botocore raised an error of its own."""
    if isinstance(error, NO_CREDENTIALS):
        return s3_errors.no_credentials(site.endpoint, str(error), request.key)
    if isinstance(error, _NOT_SENT):
        return s3_errors.unreachable(site, request, _say(error))
    if isinstance(error, boto_errors.SSLError):
        return _about_tls(site, request, _say(error))
    if isinstance(error, boto_errors.ConnectionClosedError) and _speaks_no_http(error):
        return s3_errors.not_s3(site, request, _say(error))
    if isinstance(error, _NOT_ANSWERED):
        return s3_errors.unanswered(site, request, _say(error))
    if isinstance(error, ResponseParserError):
        return s3_errors.not_s3(site, request, _say(error))
    return StoreRefused(
        f"boto3 would not send {request.operation.name} to {site.endpoint}: {error}.",
        reason="rejected",
        key=request.key,
        remedy="Check the settings of this store, and AWS's environment variables and configuration files.",
    )


def _about_tls(site: Site, request: Request, says: str) -> StoreError:
    if "CERTIFICATE_VERIFY_FAILED" in says:
        return s3_errors.not_s3(site, request, f"a certificate that is not trusted ({says}); see AWS_CA_BUNDLE")
    if "WRONG_VERSION_NUMBER" in says or "record layer failure" in says:
        return s3_errors.not_s3(site, request, f"no TLS ({says})")
    return s3_errors.unanswered(site, request, says)


def _speaks_no_http(error: boto_errors.ConnectionClosedError) -> bool:
    causes = getattr(error.kwargs.get("error"), "args", ())
    return any(
        isinstance(cause, http.client.BadStatusLine)
        and not isinstance(cause, http.client.RemoteDisconnected)
        and not _BEGINS_HTTP.match(str(cause))
        for cause in causes
    )


def _say(error: Exception) -> str:
    """Return an error's text without its address, which the message names already."""
    inner = error.kwargs.get("error") if isinstance(error, boto_errors.BotoCoreError) else None
    text = str(inner or error).strip().rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
