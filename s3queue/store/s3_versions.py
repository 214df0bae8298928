"""Reads S3's listings of versions. Some servers list the versions of a page first and its deletions behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from s3queue.clock import to_ms
from s3queue.store.versions import ObjectVersion, VersionPage


def version_page(root: ET.Element) -> VersionPage:
    """Return the page of a ListVersionsResult, sorted as a page of versions is."""
    decode = unquote_plus if root.findtext("{*}EncodingType") == "url" else str
    found = []
    for line in root:
        tag = line.tag.rpartition("}")[2]
        if tag in ("Version", "DeleteMarker"):
            found.append(
                ObjectVersion(
                    decode(line.findtext("{*}Key") or ""),
                    line.findtext("{*}VersionId") or "null",
                    _at_ms(line.findtext("{*}LastModified") or ""),
                    int(line.findtext("{*}Size") or 0),
                    is_latest=_is_true(line.findtext("{*}IsLatest")),
                    is_deletion=tag == "DeleteMarker",
                )
            )
    found.sort(key=lambda version: (version.key, not version.is_latest, -version.written_at_ms))
    if not _is_true(root.findtext("{*}IsTruncated")):
        return VersionPage(tuple(found))
    last = decode(root.findtext("{*}NextKeyMarker") or (found[-1].key if found else ""))
    return VersionPage(tuple(found), (last, root.findtext("{*}NextVersionIdMarker") or ""))


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() == "true"


def _at_ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
