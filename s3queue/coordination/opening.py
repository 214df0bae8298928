"""From what a caller writes (``redis``, ``redis://…``, ``sqs``, ``sqs://…``, ``https://sqs.…``, ``s3``) to a backend."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from s3queue.coordination.link import Link, Tell
from s3queue.coordination.port import Hints, NoHints
from s3queue.errors import InvalidSetting

REDIS_URL: Final = "S3QUEUE_REDIS_URL"
DEFAULT_REDIS_URL: Final = "redis://localhost:6379"
_REMEDY = "Use 's3', 'redis', redis://host:port/0, 'sqs', sqs://queue-name or the URL of an SQS queue."
_SQS_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backend: ``kind`` is ``s3``, ``redis`` or ``sqs``; ``target`` its URL or, for SQS, name; '' for the usual one."""

    kind: str
    target: str = ""


def parse(spec: str | None) -> Choice:
    """Return the backend that ``spec`` names; InvalidSetting for what names none, or one that is not installed."""
    if spec is None or spec == "s3":
        return Choice("s3")
    if not isinstance(spec, str):
        raise InvalidSetting(f"coordination is {spec!r}.", remedy=_REMEDY)
    scheme = spec.partition(":")[0]
    if scheme in ("redis", "rediss", "unix"):
        return Choice("redis", _redis_url(spec))
    if scheme in ("sqs", "http", "https"):
        return Choice("sqs", _sqs_queue(spec))
    raise InvalidSetting(f"coordination is {spec!r}.", remedy=_REMEDY)


def _redis_url(spec: str) -> str:
    if importlib.util.find_spec("redis") is None:
        raise InvalidSetting("The package 'redis' is not installed.", remedy="pip install 's3queue[redis]'")
    url = (os.environ.get(REDIS_URL) or DEFAULT_REDIS_URL) if spec == "redis" else spec
    try:
        parts = urlsplit(url)
        named = parts.path.startswith("/") if parts.scheme == "unix" else parts.hostname
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
        fits = parts.scheme in ("redis", "rediss", "unix") and named and (not database or database.isdecimal())
        fits = fits and parts.port != 0
    except ValueError:
        fits = False
    if not fits:  # the URL is not shown: it may hold a password
        where = f"{REDIS_URL} is" if spec == "redis" else "coordination is"
        raise InvalidSetting(f"{where} not a URL of Redis.", remedy="Use redis://[user:password@]host:port/database.")
    return url


def _sqs_queue(spec: str) -> str:
    if spec == "sqs":
        return ""
    parts = urlsplit(spec)
    name = parts.netloc if parts.scheme == "sqs" else parts.path.rpartition("/")[2]
    rest = parts.path.strip("/") if parts.scheme == "sqs" else not parts.netloc
    if rest or not _SQS_NAME.fullmatch(name):
        raise InvalidSetting(
            f"coordination is {spec!r}.",
            remedy="Use sqs://NAME (up to 80 letters, digits, - and _; no .fifo), or the URL of an SQS queue.",
        )
    return name if parts.scheme == "sqs" else spec


def open_hints(
    choice: Choice,
    *,
    scope: str,
    tell: Tell,
    random: Callable[[], float],
    region: str | None = None,
    profile: str | None = None,
) -> Hints:
    """Return the backend; nothing is asked of it before there is something to send, or somebody to listen.

    ``scope``: what all processes of the queue have in common, such as its URL. ``region``, ``profile``: for SQS.
    """
    mark = hashlib.sha256(scope.encode()).hexdigest()[:24]
    if choice.kind == "redis":
        from s3queue.coordination.redis import RedisTransport

        try:
            return Link(RedisTransport(choice.target, mark), tell=tell, random=random)
        except (ValueError, TypeError) as error:
            raise InvalidSetting(f"Redis cannot be used with these options: {error}.", remedy=_REMEDY) from None
    if choice.kind == "sqs":
        from s3queue.coordination.sqs import SqsTransport

        return Link(
            SqsTransport(choice.target or f"s3queue-{mark}", region=region, profile=profile), tell=tell, random=random
        )
    return NoHints()
