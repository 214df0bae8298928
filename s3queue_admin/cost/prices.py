"""Price files: what requests cost where, dated, with their sources; one's own in place of the one that is shipped."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from importlib.resources import files
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from s3queue.errors import InvalidSetting

STORES = ("s3", "s3-express", "r2", "sqs", "sqs-fifo")
"""Every price file has these; it may have more."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a figure was found, and the day it was of."""

    source: str
    as_of: date


@dataclass(frozen=True, slots=True)
class BucketPrices:
    """US dollars: a million requests by class, a GB stored for a month, a GB sent there and back. Free: a month's.

    ``origins`` are those of the figures by name; ``note`` is what else must be known of the store, or ''.
    """

    name: str
    title: str
    note: str
    origins: Mapping[str, Origin]
    put_list: float
    get: float
    free_put_list: float
    free_get: float
    storage_gb_month: float
    free_storage_gb: float
    upload_gb: float
    download_gb: float


@dataclass(frozen=True, slots=True)
class ServicePrices:
    """US dollars a million requests of a queue service, those free in a month, and what counts as one request."""

    name: str
    title: str
    note: str
    origins: Mapping[str, Origin]
    request: float
    free_requests: float
    chunk_bytes: float
    batch: float
    long_poll_s: float


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of a file, and when it says that they were valid. ``buckets`` and ``services`` by name."""

    as_of: date
    buckets: Mapping[str, BucketPrices]
    services: Mapping[str, ServicePrices]
    origin: str

    @property
    def stores(self) -> tuple[BucketPrices | ServicePrices, ...]:
        """The prices of buckets, then of services."""
        return (*self.buckets.values(), *self.services.values())

    def bucket(self, name: str) -> BucketPrices:
        """Return the prices of a store; InvalidSetting if there is none of that name."""
        found = self.buckets.get(name)
        if found is None:
            raise InvalidSetting(
                f"{self.origin} has no store {name!r}.", remedy=f"Use one of {', '.join(self.buckets)}, or add it."
            )
        return found


def load_prices(path: str | Path | None = None) -> PriceList:
    """Return the prices in a TOML file, or those that are shipped.

    InvalidSetting if it cannot be read, and for a store or a field that is missing, unknown, negative or no number, which
    is named.
    """
    try:
        shipped = files("s3queue_admin.cost") / "prices.toml"
        text = Path(path).read_text("utf-8") if path is not None else shipped.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path} cannot be read: {error}.", remedy="Give a TOML file with prices.") from None
    return parse_prices(text, str(path) if path is not None else "the price file of s3queue_admin")


def parse_prices(text: str, origin: str = "the price file") -> PriceList:
    """Return the prices in this TOML text; see :func:`load_prices`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(origin, f"is no TOML: {error}") from None
    as_of = document.pop("as_of", None)
    if type(as_of) is not date:
        raise _wrong(origin, f"has as_of = {as_of!r}, which must be the day its prices are of, as in 2026-06-13")
    missing = [name for name in STORES if name not in document]
    if missing:
        raise _wrong(origin, f"lacks {', '.join(missing)}")
    buckets, services = {}, {}
    for name, table in document.items():
        kind = table.get("kind") if isinstance(table, dict) else None
        if kind == "bucket":
            buckets[name] = BucketPrices(**_fields(BucketPrices, name, table, as_of, origin))
        elif kind == "service":
            services[name] = ServicePrices(**_fields(ServicePrices, name, table, as_of, origin))
        else:
            raise _wrong(origin, f"does not say of {name} whether its kind is 'bucket' or 'service'")
    for name in STORES:
        if name not in (services if name.startswith("sqs") else buckets):
            raise _wrong(origin, f"has the wrong kind for {name}")
    return PriceList(as_of, MappingProxyType(buckets), MappingProxyType(services), origin)


def _fields(model: type, name: str, table: Mapping[str, Any], as_of: date, origin: str) -> dict[str, Any]:
    figures = [item.name for item in fields(model) if item.name not in ("name", "title", "note", "origins")]
    wanted = ["title", "source", *figures]
    unknown = sorted(table.keys() - {"kind", "note", *wanted})
    missing = [key for key in wanted if key not in table]
    if unknown or missing:
        what = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise _wrong(origin, f"{' and '.join(what)} in [{name}]")
    texts = {"title": table["title"], "source": table["source"], "note": table.get("note", "-")}
    for key, text in texts.items():
        if not isinstance(text, str) or not text:
            raise _wrong(origin, f"has {key} = {text!r} in [{name}], which must be text")
    found: dict[str, Any] = {"name": name, "title": texts["title"], "note": table.get("note", "")}
    origins = {}
    for key in figures:
        found[key], origins[key] = _figure(key, name, table[key], Origin(texts["source"], as_of), origin)
    return found | {"origins": MappingProxyType(origins)}


def _figure(key: str, name: str, told: Any, usual: Origin, origin: str) -> tuple[float, Origin]:
    """Return a figure and where it is from: a number, or a number with a source and a day of its own."""
    parts = told if isinstance(told, dict) else {"is": told}
    value, source, as_of = parts.get("is"), parts.get("source", usual.source), parts.get("as_of", usual.as_of)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise _wrong(origin, f"has {key} = {value!r} in [{name}], which must be a number from 0")
    if key in ("chunk_bytes", "batch", "long_poll_s") and not value:
        raise _wrong(origin, f"has {key} = 0 in [{name}], which must be more")
    if parts.keys() - {"is", "source", "as_of"} or not isinstance(source, str) or not source or type(as_of) is not date:
        raise _wrong(origin, f'has {key} in [{name}], which must be a number, or {{ is = …, source = "…", as_of = … }}')
    return value, Origin(source, as_of)


def _wrong(origin: str, what: str) -> InvalidSetting:
    stated = f"{origin} {what}".rstrip(".")
    return InvalidSetting(f"{stated}.", remedy="Correct it: s3queue_admin/cost/prices.toml shows what belongs there.")
