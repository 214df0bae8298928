"""Hints by Amazon SQS: a wake-up queue beside each s3queue queue; each wake-up reaches **one** of those who wait.

There is no presence. What is in the wake-up queue is worth nothing: it may be purged or deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from s3queue.coordination.port import Hint
from s3queue.coordination.transport import Card, Source
from s3queue.errors import InvalidSetting

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

SPACING_S: Final = 1.0
"""A send is billed: a producer that is busy all month sends 2.6 million, for a dollar."""
LONG_POLL_S: Final = 20
RETENTION_S: Final = 60
"""The least that SQS allows; a wake-up that nobody heard for so long is worth nothing."""
_HIDE_S = 5
_MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


class SqsTransport:
    """A wake-up queue, given by its URL, or by its name: then it is made if there is none."""

    reaches_all = False
    shows = False
    spacing_s = SPACING_S

    def __init__(self, queue: str, *, region: str | None, profile: str | None) -> None:
        self._url = queue if "://" in queue else None
        self._queue = queue
        self.name = f"sqs:{queue.rpartition('/')[2]}"
        try:
            self._client = _client(self._url, region, profile)
        except (ValueError, BotoCoreError) as error:
            raise InvalidSetting(
                f"boto3 can make no client for SQS: {str(error).rstrip('.')}.",
                remedy=f"Check region ({region!r}), profile ({profile!r}), and AWS's configuration.",
            ) from error

    def send(self, hints: Sequence[Hint], cards: Sequence[Card]) -> None:  # noqa: ARG002 - SQS shows nobody
        try:
            self._send(self._find(), hints)
        except ClientError:
            self.forget()
            raise

    def _send(self, url: str, hints: Sequence[Hint]) -> None:
        if not hints:
            self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        for start in range(0, len(hints), 10):
            some = enumerate(hints[start : start + 10])
            entries = [{"Id": str(index), "MessageBody": hint.encode().decode()} for index, hint in some]
            self._client.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]

    def _find(self) -> str:
        if self._url is None:
            try:
                self._url = self._client.get_queue_url(QueueName=self._queue)["QueueUrl"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _MISSING:
                    raise
                attributes = {"MessageRetentionPeriod": str(RETENTION_S)}
                made = self._client.create_queue(QueueName=self._queue, Attributes=attributes)  # type: ignore[arg-type]
                self._url = made["QueueUrl"]
        return self._url

    def subscribe(self) -> Source:
        return _Polls(self, self._find())

    def receive(self, url: str, wait_s: int) -> Iterator[bytes]:
        """Yield the bodies of up to ten wake-ups, and delete them if all were taken."""
        found = self._client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s, VisibilityTimeout=_HIDE_S
        ).get("Messages", [])
        for message in found:
            yield message.get("Body", "").encode()
        if found:
            entries = [{"Id": str(index), "ReceiptHandle": one["ReceiptHandle"]} for index, one in enumerate(found)]
            self._client.delete_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]

    def forget(self) -> None:
        """Look for the wake-up queue again: it may have been deleted."""
        if "://" not in self._queue:
            self._url = None

    def presence(self) -> dict[str, dict[str, Any]]:
        return {}

    def close(self) -> None:
        self._client.close()


class _Polls:
    """Long polls, one after the other."""

    def __init__(self, transport: SqsTransport, url: str) -> None:
        self._transport, self._url = transport, url
        self._wait_s = 0

    def receive(self) -> Iterator[bytes]:
        # Longer and longer: one that is under way when the worker becomes a follower takes a wake-up from who needs it.
        wait_s, self._wait_s = self._wait_s, min(max(2 * self._wait_s, 1), LONG_POLL_S)
        yield from self._transport.receive(self._url, wait_s)

    def close(self) -> None:
        self._transport.forget()


def _client(url: str | None, region: str | None, profile: str | None) -> SQSClient:
    parts = urlsplit(url or "")
    labels = (parts.hostname or "").split(".")
    if len(labels) > 2 and labels[0] == "sqs":
        region = region or labels[1]
    config = Config(
        connect_timeout=2,
        read_timeout=LONG_POLL_S + 5,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    session = boto3.session.Session(profile_name=profile, region_name=region)
    endpoint = f"{parts.scheme}://{parts.netloc}" if url else None
    return session.client("sqs", endpoint_url=endpoint, config=config)
