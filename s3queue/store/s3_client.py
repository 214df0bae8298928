"""How boto3 is set up: one request a call, and little CPU.

botocore's retries are off: a conditional write that it repeats by itself meets its own first copy as a 412. Its second
try in another region is off too.

boto3 costs CPU. Measured on requests of 500 bytes to a server on the same machine, and left out here:

- the user agent, assembled twice a request (0.2 ms): a fixed one instead;
- ``Expect: 100-continue``, which botocore sends with every PUT (0.1 ms, and **one more round trip** to the store);
- the parser of time stamps (0.1 ms a GET, 56 ms a LIST of 1000 keys): s3queue reads none of them;
- the generic parser of listings (24 ms for 1000 keys, against 7 ms here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import boto3
import botocore
import botocore.exceptions as boto_errors
import botocore.handlers
from botocore.config import Config
from botocore.parsers import ResponseParserFactory
from botocore.session import Session

from s3queue.errors import InvalidSetting
from s3queue.store import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

DEFAULT_REGION: Final = "us-east-1"  # what servers other than AWS expect if they care at all
_ROOTS = {
    "ListObjectsV2": "ListBucketResult",
    "DeleteObjects": "DeleteResult",
    "ListObjectVersions": "ListVersionsResult",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
}

NO_CREDENTIALS: Final = (
    boto_errors.CredentialRetrievalError,
    boto_errors.MetadataRetrievalError,
    boto_errors.NoAuthTokenError,
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.TokenRetrievalError,
    boto_errors.UnknownCredentialError,
)


class NotS3Answer(Exception):
    """An answer that is not S3's; the message shows what it is."""


def make_client(
    *,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
    access_key_id: str | None,
    secret_access_key: str | None,
    max_connections: int = 1,
    connect_timeout_s: float = 5,
    read_timeout_s: float = 20,
) -> S3Client:
    """Return a client that many threads may use; InvalidSetting or StoreRefused if these settings make none.

    Listings and deletions of many come back as ``Root``, an XML element, in place of botocore's parsed members. A
    request may raise :class:`NotS3Answer` besides botocore's errors.
    """
    config = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        max_pool_connections=max_connections,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent=f"s3queue Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )
    session = Session(profile=profile)
    try:
        if endpoint_url:
            region = region or session.get_config_variable("region") or DEFAULT_REGION
        if not access_key_id:
            session.get_credentials()  # their providers may make clients of their own, which read time stamps
        usual = session.get_component("response_parser_factory")
        session.register_component("response_parser_factory", _parsers())
        client: S3Client = boto3.session.Session(botocore_session=session).client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=config,
        )
        session.register_component("response_parser_factory", usual)
    except NO_CREDENTIALS as error:
        raise s3_errors.no_credentials(endpoint_url or "AWS", str(error)) from error
    except (ValueError, boto_errors.BotoCoreError) as error:
        raise InvalidSetting(
            f"boto3 can make no client for S3: {str(error).rstrip('.')}.",
            remedy=f"Check endpoint_url ({endpoint_url!r}: http:// or https://, a host, a port), region ({region!r}), "
            f"profile ({profile!r}), and AWS's environment variables and configuration files.",
        ) from error
    events = client.meta.events
    # botocore parses every body once for the sake of errors under status 200; _parse_body sees those as well.
    events.unregister("before-parse.s3.*", getattr(botocore.handlers, "_handle_200_error", None))
    events.register_first("before-parse.s3.*", _parse_body)
    events.register_last("before-call.s3", _one_request)
    return client


def _parsers() -> ResponseParserFactory:
    factory = ResponseParserFactory()
    factory.set_parser_defaults(timestamp_parser=str)
    return factory


def _one_request(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Let a request be one request: no ``Expect``, no second try in another region (handler of before-call)."""
    params["headers"].pop("Expect", None)
    if "s3_redirect" in context:
        context["s3_redirect"]["redirected"] = True


def _parse_body(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Parse the XML of a listing or a deletion in botocore's place, as ``Root`` (handler of before-parse)."""
    body = response_dict["body"]
    needs_body = _needs_body(operation_model.name, response_dict["status_code"])
    if body == b"" and needs_body and not has_length(response_dict["headers"]):
        raise boto_errors.ResponseStreamingError(error="it broke off in its head")
    if response_dict["status_code"] != 200 or not isinstance(body, bytes):  # not bytes: a stream, of GetObject
        return
    expected = _ROOTS.get(operation_model.name)
    if expected is None and not body:
        return
    root = _parse_xml(body, response_dict["headers"].get("Content-Length"), expected or "Error")
    name = root.tag.rpartition("}")[2]
    if name == "Error":  # S3 may begin an answer with 200 and find an error afterwards
        response_dict["status_code"] = 500
    elif expected is None or name not in (expected, f"{operation_model.name}Response"):  # the latter by moto
        raise NotS3Answer(_excerpt(body))
    else:
        customized_response_dict["Root"] = root
        response_dict["body"] = b""


def has_length(headers: Any) -> bool:
    """Whether the head says how long the body is. One that does not may have broken off: http.client takes it for whole."""
    chunked = str(headers.get("transfer-encoding", "")).lower() == "chunked"
    return chunked or str(headers.get("content-length", "")).isdigit()


def _needs_body(operation: str, status: int) -> bool:
    return operation in _ROOTS if status == 200 else status >= 400


def _parse_xml(body: bytes, declared: str | None, expected: str) -> ET.Element:
    if declared is not None and int(declared) != len(body):
        raise boto_errors.IncompleteReadError(actual_bytes=len(body), expected_bytes=int(declared))
    try:
        return ET.fromstring(body)  # noqa: S314 - from the store that is trusted with the data; expat limits expansion
    except ET.ParseError as error:
        if expected.encode() in body[:300]:
            raise boto_errors.ResponseStreamingError(error=error) from error
        raise NotS3Answer(_excerpt(body)) from error


def _excerpt(body: bytes) -> str:
    return f"{body[:120]!r}" if body else "an empty answer"
