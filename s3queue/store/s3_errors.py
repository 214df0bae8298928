"""What each answer of S3, or its silence, means to s3queue: from statuses and error codes to errors with a remedy.

===========================================  ==================================================================
answer                                       error
===========================================  ==================================================================
404 NoSuchKey on GET; of a bucket's rules    NotFound
412; 404 NoSuchKey on PUT ``If-Match``       PreconditionFailed (found "nothing" for the 404)
409 on a conditional PUT                     StoreUnavailable: writers met; AWS says "try again", nothing was done
503 SlowDown, 429                            StoreUnavailable, throttled: turned away at the door, nothing was done
any other 503                                StoreUnavailable, throttled, maybe applied: MinIO's SlowDownWrite is a
                                             lost write quorum, a gateway's 503 says nothing about what lies behind
other 5xx, RequestTimeout, IncompleteBody    StoreUnavailable, maybe applied (some servers answer 500 to the loser
                                             of a race, some after the write)
no answer, or half of one or of its head     StoreUnavailable, maybe applied
a 200 to a PUT, without an ETag              StoreUnavailable, maybe applied
not connected, name not found                StoreUnavailable, not applied
307 TemporaryRedirect                        StoreUnavailable: a new bucket's name is not yet known everywhere
404 NoSuchBucket                             StoreRefused bucket-missing
403 AccessDenied, …                          StoreRefused access-denied, with the IAM action that is missing
no or incomplete credentials here            StoreRefused no-credentials
403 InvalidAccessKeyId, ExpiredToken, …      StoreRefused bad-credentials
301, AuthorizationHeaderMalformed + Region   StoreRefused wrong-region, with the right one if the answer names it
403 RequestTimeTooSkewed                     StoreRefused clock-skew, with both times
an error without S3's XML; 405; HTML         StoreRefused not-s3
501; any other 4xx                           StoreRefused rejected
===========================================  ==================================================================

"Maybe applied" is said of writes only, and whenever the answer does not rule it out: a needless look costs one GET.
Sources: the S3 API reference ("Error responses"), the user guide on conditional writes, and trials of MiniStack and
SeaweedFS. The functions here are pure; :mod:`.s3` gathers the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from s3queue.errors import NotFound, PreconditionFailed, StoreError, StoreRefused, StoreUnavailable

_AT_THE_DOOR = frozenset({"SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling", "ThrottlingException"})
_BROKEN_OFF = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "InternalError"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "UnauthorizedAccess", "Forbidden"})
_BAD_CREDENTIALS = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_WRONG_REGION = frozenset(
    {"IllegalLocationConstraintException", "InvalidRegionName", "PermanentRedirect", "UnrecognizedRegion"}
)


@dataclass(frozen=True, slots=True)
class Site:
    """Which store is spoken to."""

    bucket: str
    endpoint: str
    region: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that the adapter makes: its name and the IAM action that permits it; ``writes``: it may change things."""

    name: str
    action: str
    writes: bool


GET: Final = Operation("GetObject", "s3:GetObject", writes=False)
PUT: Final = Operation("PutObject", "s3:PutObject", writes=True)
DELETE: Final = Operation("DeleteObject", "s3:DeleteObject", writes=True)
DELETE_MANY: Final = Operation("DeleteObjects", "s3:DeleteObject", writes=True)
LIST: Final = Operation("ListObjectsV2", "s3:ListBucket", writes=False)
LIST_VERSIONS: Final = Operation("ListObjectVersions", "s3:ListBucketVersions", writes=False)
GET_VERSION: Final = Operation("GetObject", "s3:GetObjectVersion", writes=False)
VERSIONING: Final = Operation("GetBucketVersioning", "s3:GetBucketVersioning", writes=False)
LIFECYCLE: Final = Operation("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", writes=False)
CREATE_BUCKET: Final = Operation("CreateBucket", "s3:CreateBucket", writes=True)
_OF_BUCKETS: Final = (LIST, LIST_VERSIONS, VERSIONING, LIFECYCLE, CREATE_BUCKET)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``expected`` says in words what a conditional PUT asked for; '' for all others."""

    operation: Operation
    key: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is an error. ``code`` is S3's, or the status again (or '') if the body is not S3's XML.

    ``details`` are the texts of that XML, ``headers`` have lower-case names.
    """

    status: int
    code: str = ""
    message: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def speaks_s3(self) -> bool:
        """Say whether the body was an error of S3's."""
        return self.code != "" and not self.code.isdigit()

    def __str__(self) -> str:
        what = f"{self.status} {self.code}" if self.speaks_s3 else f"{self.status}"
        message = self.message.strip().rstrip(".")
        return f"{what}: {message}" if message else what


def from_answer(site: Site, request: Request, answer: Answer) -> StoreError:
    """Return the error that this answer means."""
    return (
        _about_object(request, answer)
        or _try_again(site, request, answer)
        or _about_client(site, request, answer)
        or _refused(site, request, answer)
    )


def _about_object(request: Request, answer: Answer) -> StoreError | None:
    if answer.status == 412 and request.expected:
        return PreconditionFailed(request.key, expected=request.expected)
    if answer.status == 404 and answer.code in {"NoSuchKey", "NoSuchVersion", "NotFound"} and request.key:
        if request.expected:
            return PreconditionFailed(request.key, expected=request.expected, found="nothing")
        return NotFound(request.key)
    if answer.code == "NoSuchLifecycleConfiguration":
        return NotFound("")
    return None


def _try_again(site: Site, request: Request, answer: Answer) -> StoreUnavailable | None:
    says = f"{site.endpoint} answered {request.operation.name} with {answer}."
    key, writes = request.key, request.operation.writes
    if answer.status == 409 and (request.expected or answer.code == "OperationAborted"):
        return StoreUnavailable(says, key=key, remedy="Another write to this key was under way; repeat it.")
    if answer.code in _AT_THE_DOOR or answer.status in {429, 503}:
        at_the_door = answer.code in _AT_THE_DOOR or answer.status == 429
        remedy = "The store asks for fewer requests: wait, then repeat it; use fewer workers if this goes on."
        return StoreUnavailable(says, key=key, throttled=True, maybe_applied=writes and not at_the_door, remedy=remedy)
    if answer.code == "TemporaryRedirect":
        remedy = (
            f"The bucket {site.bucket!r} is new and not yet known everywhere: name its region, or wait some minutes."
        )
        return StoreUnavailable(says, key=key, remedy=remedy)
    if answer.code in _BROKEN_OFF or (answer.status >= 500 and answer.status != 501):
        return StoreUnavailable(
            says, key=key, maybe_applied=writes, remedy="Repeat it; the store had trouble of its own."
        )
    return None


def _about_client(site: Site, request: Request, answer: Answer) -> StoreRefused | None:
    region = answer.headers.get("x-amz-bucket-region") or answer.details.get("Region", "")
    if answer.code == "RequestTimeTooSkewed":
        return _clock_skew(site, request, answer)
    if (
        answer.code in _WRONG_REGION
        or answer.status == 301
        or (answer.code == "AuthorizationHeaderMalformed" and region)
    ):
        return _wrong_region(site, request, answer, region) if answer.speaks_s3 or region else None
    if answer.code == "NoSuchBucket":
        return StoreRefused(
            f"There is no bucket {site.bucket!r} at {site.endpoint}.",
            reason="bucket-missing",
            key=request.key,
            remedy=f"Create it (aws s3 mb s3://{site.bucket}), or correct the name, the region or the endpoint.",
        )
    if answer.code in _BAD_CREDENTIALS:
        return StoreRefused(
            f"{site.endpoint} does not accept the credentials ({answer}).",
            reason="bad-credentials",
            key=request.key,
            remedy="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the profile; "
            "renew them if they are temporary (aws sso login).",
        )
    if answer.code in _DENIED:
        return access_denied(site, request, str(answer))
    return None


def access_denied(site: Site, request: Request, says: str) -> StoreRefused:
    """Return the error for a permission that is missing."""
    action = request.operation.action
    resource = f"arn:aws:s3:::{site.bucket}" + ("" if request.operation in _OF_BUCKETS else "/*")
    remedy = f"Allow {action} on {resource} in the IAM policy of these credentials (and in the bucket's policy)."
    if request.operation == GET:
        remedy += (
            f" Allow s3:ListBucket on arn:aws:s3:::{site.bucket} too:"
            " without it S3 answers 403 instead of 404 for an object that does not exist."
        )
    return StoreRefused(
        f"{site.endpoint} denies {request.operation.name} in bucket {site.bucket!r} ({says}).",
        reason="access-denied",
        key=request.key,
        remedy=remedy,
    )


def _clock_skew(site: Site, request: Request, answer: Answer) -> StoreRefused:
    ours, theirs = answer.details.get("RequestTime", "?"), answer.details.get("ServerTime", "")
    return StoreRefused(
        f"{site.endpoint} refuses requests of {ours}, as its own time is {theirs or answer.headers.get('date', '?')}.",
        reason="clock-skew",
        key=request.key,
        remedy="Set the clock of this machine (NTP): S3 takes a difference of at most 15 minutes.",
    )


def _wrong_region(site: Site, request: Request, answer: Answer, region: str) -> StoreRefused:
    where = f"is in region {region!r}, not" if region else "is not in region"
    right = f"{region!r}" if region else "the region of the bucket (aws s3api get-bucket-location tells it)"
    return StoreRefused(
        f"The bucket {site.bucket!r} at {site.endpoint} {where} {site.region!r} ({answer}).",
        reason="wrong-region",
        key=request.key,
        remedy=f"Set region, --region or AWS_REGION to {right}.",
    )


def _refused(site: Site, request: Request, answer: Answer) -> StoreRefused:
    if not answer.speaks_s3 or answer.status == 405:
        return not_s3(site, request, f"{answer}" + _location(answer))
    return StoreRefused(
        f"{site.endpoint} rejects {request.operation.name} ({answer}).",
        reason="rejected",
        key=request.key,
        remedy="The store does not support what s3queue asks for: compare its manual, or use another store."
        if answer.status == 501
        else "Trying again is no use: the message says what to correct.",
    )


def _location(answer: Answer) -> str:
    location = answer.headers.get("location", "")
    return f", redirecting to {location}" if location else ""


def not_s3(site: Site, request: Request, says: str) -> StoreRefused:
    """Return the error for an answer that no S3 server would give."""
    return StoreRefused(
        f"What answers at {site.endpoint} is not S3: {request.operation.name} got {says}.",
        reason="not-s3",
        key=request.key,
        remedy="Check endpoint_url: host, port (the S3 API's, not the console's), http or https, no path; "
        "and that no proxy or login page stands between.",
    )


def no_credentials(endpoint: str, says: str, key: str = "") -> StoreRefused:
    """Return the error for credentials that this machine does not have, or not whole."""
    return StoreRefused(
        f"No usable credentials for {endpoint} ({says.rstrip('.')}).",
        reason="no-credentials",
        key=key,
        remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile (aws configure), or run where a role is given.",
    )


def unreachable(site: Site, request: Request, says: str) -> StoreUnavailable:
    """Return the error for a connection that did not come about: the request was not sent."""
    return StoreUnavailable(
        f"{site.endpoint} cannot be reached ({says}).",
        key=request.key,
        remedy="Check that the endpoint is right and running, and the network, proxy and firewall on the way to it.",
    )


def unanswered(site: Site, request: Request, says: str) -> StoreUnavailable:
    """Return the error for a request that went out, and no whole answer came back."""
    return StoreUnavailable(
        f"{site.endpoint} did not answer {request.operation.name} in full ({says}).",
        key=request.key,
        maybe_applied=request.operation.writes,
        remedy="Repeat it; if this goes on, check server, network, proxy and firewall.",
    )
