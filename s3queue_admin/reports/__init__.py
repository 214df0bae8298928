"""Reports on queues: what is the matter, since when, how fast, at what cost; one file of HTML, or Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from s3queue_admin.bucket import Bucket
from s3queue_admin.reports.facts import Facts
from s3queue_admin.reports.gathering import gather
from s3queue_admin.reports.layout import lay_out
from s3queue_admin.reports.rendering import FORMATS, check_format, render

__all__ = ["FORMATS", "Facts", "gather", "report", "write_up"]

TITLE = "s3queue report"


def report(
    bucket: Bucket,
    names: str | Iterable[str] | None = None,
    *,
    since: datetime | None = None,
    format: str = "html",  # noqa: A002 - the name users look for
    title: str = TITLE,
    watch_s: float = 0.0,
) -> str:
    """Return a report on these queues (None: all) as ``html``, a page that asks for nothing else, or as ``markdown``.

    ``since`` begins the window of what is told over time, by default a day before; ``watch_s``: look twice, so many seconds
    apart, to tell rates and what is spent now. Costs a snapshot, a LIST a thousand dead letters, a GET for each of the
    newest 10,000 of the window, and what its history costs to read. Raises what :func:`gather` does, and InvalidSetting
    for another format.
    """
    check_format(format)
    return write_up(gather(bucket, names, since=since, watch_s=watch_s), format=format, title=title)


def write_up(facts: Facts, *, format: str = "html", title: str = TITLE) -> str:  # noqa: A002 - as above
    """Return the report on facts that were gathered before; nothing is asked of the store."""
    return render(lay_out(facts, title), format)
