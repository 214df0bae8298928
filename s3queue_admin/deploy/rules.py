"""Lifecycle rules that keep a versioned bucket small and never touch what is alive."""

from __future__ import annotations

from typing import Any

from s3queue.core.keys import check_prefix
from s3queue.errors import InvalidSetting


def lifecycle(prefix: str = "s3queue/", *, noncurrent_days: int = 1, multipart_days: int = 1) -> dict[str, Any]:
    """Return the rules for a bucket, as ``aws s3api put-bucket-lifecycle-configuration`` takes them.

    They end versions that were written over or deleted ``noncurrent_days`` ago (so long can be looked back with
    ``--at``, and undone), marks of deletion that hide nothing, and uploads that were broken off. No rule expires a
    current object. InvalidSetting for days below one, InvalidName for a prefix that cannot be.
    """
    for name, days in (("noncurrent_days", noncurrent_days), ("multipart_days", multipart_days)):
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 36_500:
            raise InvalidSetting(f"{name} is {days!r}.", remedy="Use 1 to 36,500 whole days.")
    return {
        "Rules": [
            {
                "ID": "s3queue-earlier-versions",
                "Filter": {"Prefix": check_prefix(prefix)},
                "Status": "Enabled",
                "NoncurrentVersionExpiration": {"NoncurrentDays": noncurrent_days},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": multipart_days},
            }
        ]
    }
