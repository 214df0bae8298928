"""Lifecycle rules of a bucket: what the store deletes of its own accord. The engine never asks; operators do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from xml.etree import ElementTree as ET

from s3queue.errors import StoreRefused


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """A rule for the objects under ``prefix``; ``partly``: only for those with some tag or size.

    ``expires``: it deletes objects as they are. ``expires_noncurrent``: it deletes earlier versions.
    """

    id: str
    prefix: str
    enabled: bool
    partly: bool
    expires: bool
    expires_noncurrent: bool

    def touches(self, prefix: str) -> bool:
        """Whether it is in force for objects under ``prefix``, or for some of them."""
        return self.enabled and (self.prefix.startswith(prefix) or prefix.startswith(self.prefix))


@runtime_checkable
class Ruled(Protocol):
    """A store that can tell its lifecycle rules."""

    def lifecycle_rules(self) -> tuple[LifecycleRule, ...]:
        """Return the rules; none if the bucket has no such configuration. May raise StoreUnavailable or StoreRefused."""
        ...


def lifecycle_rules(store: object) -> tuple[LifecycleRule, ...]:
    """Return the rules of a store; StoreRefused (``no-rules``) if it is of a kind that has none."""
    if not isinstance(store, Ruled):
        location = getattr(store, "location", "This store")
        raise StoreRefused(f"{location} has no lifecycle rules.", reason="no-rules", remedy="Buckets on S3 have.")
    return store.lifecycle_rules()


def read_rules(root: ET.Element) -> tuple[LifecycleRule, ...]:
    """Return the rules of a LifecycleConfiguration."""
    return tuple(_rule(element) for element in root.iterfind("{*}Rule"))


def _rule(element: ET.Element) -> LifecycleRule:
    prefixes = [element.findtext(path) for path in ("{*}Prefix", "{*}Filter/{*}Prefix", "{*}Filter/{*}And/{*}Prefix")]
    parts = {
        child.tag.rpartition("}")[2]
        for child in (*element.iterfind("{*}Filter/*"), *element.iterfind("{*}Filter/{*}And/*"))
    }
    return LifecycleRule(
        id=element.findtext("{*}ID") or "",
        prefix=next((prefix for prefix in prefixes if prefix), ""),
        enabled=(element.findtext("{*}Status") or "").strip() == "Enabled",
        partly=bool(parts - {"Prefix", "And"}),
        expires=any(element.find(f"{{*}}Expiration/{{*}}{name}") is not None for name in ("Days", "Date")),
        expires_noncurrent=element.find("{*}NoncurrentVersionExpiration") is not None,
    )
