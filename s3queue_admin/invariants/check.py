"""The report: two looks at a queue, and what both of them saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from s3queue.clock import to_datetime
from s3queue.core.codec import decode_settings
from s3queue.core.keys import Keys, check_queue_name
from s3queue.core.payload import Seal
from s3queue.core.settings import Settings
from s3queue.errors import CorruptObject, NewerFormat, NotFound
from s3queue.store.metered import S3_STANDARD, Counts, Meter, Prices, usd
from s3queue.store.port import Store, fetch
from s3queue.store.retrying import Retrying
from s3queue_admin.bucket import Bucket
from s3queue_admin.catalogue import KINDS
from s3queue_admin.invariants.index import Index
from s3queue_admin.invariants.scan import Scan, Site, Suspicions
from s3queue_admin.judging import in_order
from s3queue_admin.snapshot import Finding

PAUSE_S = 2.0
"""What is merely under way is over by then: a move, a deletion, a listing that was a moment older than a ledger."""
Status = Literal["clean", "warnings", "errors"]
_EXIT_CODES: Mapping[Status, int] = {"clean": 0, "warnings": 5, "errors": 1}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check of ``queue`` found at ``checked_at``; ``objects`` looked at by area, in the first look.

    ``requests``: what it cost, by (verb, area, outcome). ``looks``: one if nothing was suspicious, else two.
    """

    queue: str
    checked_at: datetime
    findings: tuple[Finding, ...]
    objects: Mapping[str, int]
    requests: Counts
    took_s: float
    looks: int
    deep: bool

    @property
    def status(self) -> Status:
        """*errors*: something is lost, doubled or unreadable; *warnings*: something is left undone; *clean*: neither."""
        severities = {finding.severity for finding in self.findings}
        return "errors" if "error" in severities else "warnings" if "warning" in severities else "clean"

    @property
    def exit_code(self) -> int:
        """What a program should end with: 0 clean, 5 warnings, 1 errors."""
        return _EXIT_CODES[self.status]

    def usd(self, prices: Prices = S3_STANDARD) -> float:
        """Return what the check cost, in US dollars."""
        return usd(self.requests, prices)


def fsck(bucket: Bucket, name: str, *, deep: bool = False, pause_s: float = PAUSE_S) -> FsckReport:
    """Check the books of a queue against what lies in the bucket, while it is in use, and return what does not fit.

    GET and LIST alone. ``deep``: read every message, dead letter and deduplication key as well, a GET each. What the
    first look finds suspicious must be seen again ``pause_s`` seconds later. Memory: the ledgers, a page of each listing,
    a thousand suspicions of a kind; ids go to a temporary file.

    Raises InvalidName, NoQueue if there is no such queue, StoreUnavailable or StoreRefused if it cannot be read.
    """
    root, clock, meter = f"{bucket.prefix}{check_queue_name(name)}/", bucket.clock, Meter()
    store = Retrying(bucket.bare(root, meter), clock=clock, ids=bucket.ids)
    began = clock.monotonic()
    first, scan = _look(bucket, store, name, deep=deep)
    both, looks = first, 1
    cut = set(scan.cut) if scan is not None else set()
    if first:
        clock.sleep(pause_s)
        second, again = _look(bucket, store, name, deep=deep)
        both, looks = {what: told for what, told in second.items() if what in first}, 2
        cut |= again.cut if again is not None else set()
    return FsckReport(
        name,
        to_datetime(store.now_ms()),
        _findings(both, cut, name),
        scan.counts if scan is not None else {},
        meter.snapshot(),
        clock.monotonic() - began,
        looks,
        deep,
    )


def _look(bucket: Bucket, store: Store, name: str, *, deep: bool) -> tuple[Suspicions, Scan | None]:
    """Return what one look finds suspicious; without its settings nothing of a queue can be judged."""
    keys = Keys(f"{bucket.prefix}{name}/")
    try:
        settings: Settings = decode_settings(fetch(store, keys.settings).body, keys.settings)
    except NotFound:
        raise bucket.no_queue(name) from None
    except CorruptObject as error:
        code = "newer-format" if isinstance(error, NewerFormat) else "corrupt"
        return {(code, error.key, ""): str(error)}, None
    with Index() as index:
        scan = Scan(Site(store, keys, settings, Seal((bucket.codec,)), bucket.spread), index, deep=deep)
        return scan.run(), scan


def _findings(suspicions: Suspicions, cut: set[str], queue: str) -> tuple[Finding, ...]:
    """Return a finding for each code, with its first few cases told and their keys."""
    by_code: dict[str, list[tuple[str, str]]] = {}
    for (code, key, _), told in sorted(suspicions.items()):
        by_code.setdefault(code, []).append((key, told))
    found = []
    for code, some in by_code.items():
        more = [f"And {len(some) - _SHOWN:,} more."] if len(some) > _SHOWN else []
        evidence = " ".join([*(told for _, told in some[:_SHOWN]), *more])
        found.append(KINDS[code].found(evidence, dict.fromkeys(key for key, _ in some), queue))
    kept = KINDS["check-cut"]
    found += [kept.found(f"{code}: only the first are told.", (), queue) for code in sorted(cut & by_code.keys())]
    return in_order(found)
