"""From what a caller writes to what the engine uses: locations, settings, the shape of messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from s3queue.clock import Clock, SystemClock, to_ms
from s3queue.core.checking import check_can, check_number
from s3queue.core.keys import MAX_MESSAGES_PER_OBJECT, check_label
from s3queue.core.message import storable
from s3queue.core.retry import RetryPolicy
from s3queue.core.settings import Settings, from_wire, to_wire
from s3queue.errors import InvalidName, InvalidSetting
from s3queue.ids import Ids, SystemIds
from s3queue.store.opening import Access, Location, parse_url
from s3queue.store.port import Store

DEFAULT_PREFIX = "s3queue/"
DEFAULT_FOLDER = ".s3queue"
MAX_OBJECT_BYTES = 4 << 20
MAX_DELAY_S = 366 * 86_400
MAX_HEADERS = 64
MAX_HEADER_CHARS = 2000
MAX_CONNECTIONS = 10_000
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")
_KEYWORDS = {name: f"{name}_s" for name in ("visibility_timeout", "dedup_ttl", "result_ttl", "history_ttl")}
_SETTINGS = {
    "visibility_timeout",
    "max_attempts",
    "retry",
    "failure",
    "lanes",
    "order",
    "results",
    "result_ttl",
    "history",
    "history_ttl",
    "dedup_ttl",
    "max_payload_bytes",
}


def locate(bucket: str | None, url: str | None, prefix: str | None) -> Location:
    """Return where a queue lies: in ``bucket``, at ``url``, or in the embedded default, a folder below the current one."""
    if bucket is not None and url is not None:
        raise InvalidSetting("Both bucket and url are given.", remedy="Give one of them.")
    if url is not None:
        found = parse_url(url)
        return found if prefix is None else replace(found, prefix=prefix)
    if bucket is not None:
        if (
            not isinstance(bucket, str)
            or not bucket
            or "/" in bucket
            or not bucket.isascii()
            or bucket != bucket.strip()
        ):
            raise InvalidName(
                f"{bucket!r} cannot be a bucket's name.", remedy="Use the bare name, without s3:// and folders."
            )
        return Location("s3", bucket, DEFAULT_PREFIX if prefix is None else prefix)
    return Location("file", str(Path(DEFAULT_FOLDER).absolute()), prefix or "")


def access(endpoint_url: str | None, region: str | None, profile: str | None, max_connections: int = 32) -> Access:
    """Return how to reach S3; InvalidSetting for what cannot be an endpoint, a region or a profile. '' is as None is."""
    _check_text("endpoint_url", endpoint_url, _is_endpoint, "Use http:// or https://, a host, and perhaps a port.")
    _check_text("region", region, _REGION.fullmatch, "Use a name such as 'eu-central-1'.")
    _check_text("profile", profile, str.isprintable, "Use the name of a profile of AWS's configuration files.")
    check_number("max_connections", max_connections, 1, MAX_CONNECTIONS, "connections", whole=True)
    return Access(endpoint_url, region, profile, max_connections)


def _check_text(name: str, value: str | None, fits: Callable[[str], object], remedy: str) -> None:
    if value is not None and (not isinstance(value, str) or (value and not fits(value))):
        raise InvalidSetting(f"{name} is {value!r:.80}.", remedy=remedy)


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def check_tools(clock: Clock | None, ids: Ids | None, store: Store | None) -> tuple[Clock, Ids]:
    """Return clock and ids, those of the system for None; InvalidSetting for what is none, or no store."""
    clock, ids = SystemClock() if clock is None else clock, SystemIds() if ids is None else ids
    check_can("clock", clock, "now_ms", "monotonic", "sleep")
    check_can("ids", ids, "new", "random")
    if store is not None:
        check_can("store", store, "get", "put", "delete", "delete_many", "list", "now_ms", "close")
    return clock, ids


def make_settings(base: Settings | None = None, **changes: Any) -> Settings:
    """Return ``base`` (default: the defaults) with the changes that are not None; InvalidSetting for an unknown or bad one."""
    unknown = changes.keys() - _SETTINGS
    if unknown:
        raise InvalidSetting(f"There is no setting {min(unknown)!r}.", remedy=f"Use {', '.join(sorted(_SETTINGS))}.")
    given = {_KEYWORDS.get(name, name): value for name, value in changes.items() if value is not None}
    if not isinstance(given.get("retry", RetryPolicy()), RetryPolicy):
        raise InvalidSetting(f"retry is {given['retry']!r}.", remedy="Use s3queue.RetryPolicy(base_s=…, cap_s=…).")
    before = base or Settings()
    if given.get("lanes") == "auto":
        given["lanes"], given["lanes_auto"] = before.lanes, True
    elif "lanes" in given:
        given["lanes_auto"] = False
    if before.strict and given.get("order", before.order) != before.order:
        raise InvalidSetting(f"order is {before.order!r}.", remedy="A strictly ordered queue stays one: make another.")
    changed = replace(before, **given)
    if changed.strict and not before.strict and before.lanes_served > 1:
        raise InvalidSetting(
            f"order is {changed.order!r}, and the queue has had {before.lanes_served} lanes.",
            remedy="What lies in other lanes, or dies and is replayed there, keeps no order with the rest: make another queue.",
        )
    return replace(changed, lanes_ever=changed.lanes_served)


def differing(asked: Mapping[str, Any], found: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return those of the keywords asked for (None: not asked) that the settings found have otherwise, and as they have them."""
    given = {name: value for name, value in asked.items() if value is not None}
    as_asked, as_found = as_keywords(make_settings(**given)), as_keywords(found)
    names = [name for name in given if as_asked[name] != as_found[name]]
    return {name: as_asked[name] for name in names}, {name: as_found[name] for name in names}


def as_keywords(settings: Settings) -> dict[str, Any]:
    """Return settings as a caller writes them, but rounded as the bucket holds them: to milliseconds."""
    rounded = from_wire(to_wire(settings))
    values = {name: getattr(rounded, _KEYWORDS.get(name, name)) for name in sorted(_SETTINGS)}
    return values | ({"lanes": "auto"} if settings.lanes_auto else {})


def check_shape(
    max_attempts: int | None, retry: RetryPolicy | None, group: str | None, headers: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return what messages carry beside their payload, checked."""
    if max_attempts is not None:
        check_number("max_attempts", max_attempts, 1, 1000, "attempts", whole=True)
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise InvalidSetting(f"retry is {retry!r}.", remedy="Use s3queue.RetryPolicy(base_s=…, cap_s=…).")
    check_label("group", group)
    whole = dict(headers or {})
    if len(whole) > MAX_HEADERS:
        raise InvalidSetting(f"There are {len(whole)} headers.", remedy=f"Use up to {MAX_HEADERS}.")
    for name, value in whole.items():
        check_label("header name", name)
        if not isinstance(value, str) or len(value) > MAX_HEADER_CHARS or storable(value) != value:
            raise InvalidSetting(
                f"The header {name!r} is {value!r:.80}.",
                remedy=f"Use strings of up to {MAX_HEADER_CHARS} characters as values.",
            )
    return {"max_attempts": max_attempts, "retry": retry, "group": group, "headers": whole}


def check_order(order: str, delay: float, visible_at: datetime | None, priority: int) -> None:
    """Raise InvalidSetting for what would let an ordered message wait or go first."""
    if delay or visible_at is not None or priority:
        given = "delay" if delay else "visible_at" if visible_at is not None else "priority"
        group = ", or in a 'strict-group' queue no group" if order == "strict-group" else ""
        raise InvalidSetting(
            f"order is {order!r} and {given} is given.",
            remedy=f"An ordered message waits for those before it and for nothing else: give no {given}{group}.",
        )


def visible_at_ms(now_ms: int, delay: float, visible_at: datetime | None) -> int:
    """Return when a message becomes visible, in store time."""
    if visible_at is not None:
        if delay:
            raise InvalidSetting("Both delay and visible_at are given.", remedy="Give one of them.")
        try:
            at_ms = to_ms(visible_at)
        except (ValueError, AttributeError) as error:
            raise InvalidSetting(
                f"visible_at is {visible_at!r}: {error}.", remedy="Use an aware datetime: datetime.now(UTC) + …."
            ) from None
        if at_ms > now_ms + MAX_DELAY_S * 1000:
            raise InvalidSetting(f"visible_at is {visible_at}.", remedy="Use a time within a year from now.")
        return max(at_ms, now_ms)
    check_number("delay", delay, 0, MAX_DELAY_S)
    return now_ms + int(delay * 1000)


def chunks(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the messages that go into one object: up to a thousand, up to 4 MiB."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and (index - start >= MAX_MESSAGES_PER_OBJECT or total + size > MAX_OBJECT_BYTES):
            yield start, index
            start, total = index, 0
        total += size
    if sizes:
        yield start, len(sizes)
