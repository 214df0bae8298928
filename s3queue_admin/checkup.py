"""The doctor: what keeps this client, this store or a queue from working. Findings of snapshots, and live checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from s3queue.clock import to_datetime
from s3queue.core.keys import check_queue_name
from s3queue.errors import (
    CorruptObject,
    NewerFormat,
    NotFound,
    S3QueueError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from s3queue.store.port import CREATE, Store
from s3queue.store.probe import probe
from s3queue.store.retrying import Retrying
from s3queue_admin.bucket import Bucket
from s3queue_admin.catalogue import KINDS
from s3queue_admin.judging import SKEW_MS, findings, in_order
from s3queue_admin.snapshot import Finding

__all__ = ["doctor"]

PATIENCE_S = 5.0
"""How long a request is repeated: who asks the doctor does not want to wait."""
SLOW_S = 0.5
"""A claim is two or three requests; S3 answers a small GET within 75 ms in 95 of 100 cases."""
TRIES = 3


def doctor(
    bucket: Bucket, name: str | None = None, *, write: bool = False, conditions: bool = False, watch_s: float = 0.0
) -> list[Finding]:
    """Return what is wrong with the bucket and its queues (or the one named), the worst first; an empty list if nothing is.

    GET and LIST alone, unless ``write``: then PUT and DELETE are tried on a key of its own below ``probe-…/``.
    ``conditions``: race writers on the store. ``watch_s``: look at each queue twice, so many seconds apart, to see what
    changes. Raises InvalidName, and InvalidInput if the bucket's URL is that of a queue; what goes wrong on the way is a
    finding.
    """
    if name is not None:
        check_queue_name(name)
    return list(in_order(_Visit(bucket, name).findings(write=write, conditions=conditions, watch_s=watch_s)))


class _Visit:
    """One call of the doctor: on a whole bucket, or on one queue of it."""

    def __init__(self, bucket: Bucket, name: str | None) -> None:
        self._bucket, self._name = bucket, name
        self._root = bucket.prefix if name is None else f"{bucket.prefix}{name}/"

    def _open(self, *, write: bool = False) -> Store:
        bucket = self._bucket
        bare = bucket.bare(self._root, write=write)
        return Retrying(bare, clock=bucket.clock, ids=bucket.ids, deadline_s=PATIENCE_S)

    def _found(self, code: str, evidence: object, *keys: str) -> Finding:
        return KINDS[code].found(str(evidence), keys, self._name or "")

    def findings(self, *, write: bool, conditions: bool, watch_s: float) -> Iterator[Finding]:
        """Yield the findings: of the way to the store first, as nothing else can be known without it."""
        try:
            reading = list(self._reading(self._open()))
        except StoreUnavailable as error:
            yield self._found("unreachable", error)
            return
        except StoreRefused as error:
            missing = error.reason in ("no-credentials", "bad-credentials")
            yield self._found("credentials" if missing else "store-refused", error)
            return
        yield from reading
        yield from self._rules()
        if write:
            yield from self._writing(self._open(write=True))
        if conditions:
            yield from self._conditions()
        if not any(finding.code in ("no-queue", "permission-get") for finding in reading):
            yield from self._queues(watch_s)

    # -- the store --

    def _reading(self, store: Store) -> Iterator[Finding]:
        """Try GET and LIST; what is not about permissions is raised."""
        # Of a whole bucket, a key such as a queue has: a role may read those alone.
        clock, key = self._bucket.clock, f"{self._root}{'doctor/' if self._name is None else ''}queue.json"
        took_s = []
        for _ in range(TRIES):
            began = clock.monotonic()
            outcome = _try(lambda: store.get(key))
            took_s.append(clock.monotonic() - began)
        listing = _try(lambda: store.list(self._root, limit=1))
        if isinstance(listing, StoreRefused):
            yield self._found("permission-list", listing)
        if isinstance(outcome, StoreRefused):
            yield self._found("permission-get", outcome, key)
        elif isinstance(outcome, NotFound) and self._name is not None:
            yield self._found("no-queue", self._bucket.no_queue(self._name), key)
        elif self._name is None:
            self._bucket.refuse_queue(store)
        if min(took_s) > SLOW_S:
            yield self._found("store-slow", f"The fastest of {TRIES} requests took {min(took_s):.1f} s.")
        offset_ms = store.now_ms() - clock.now_ms()
        if self._bucket.at is None and abs(offset_ms) > SKEW_MS:  # the past has a time of its own
            there, here = to_datetime(store.now_ms()), to_datetime(clock.now_ms())
            yield self._found("clock-offset", f"It is {there} by the store and {here} here: {offset_ms / 1000:+.1f} s.")

    def _rules(self) -> Iterator[Finding]:
        """Look at what the bucket deletes and keeps, if it is of a kind that does, and this role may know."""
        prefix = self._root
        try:
            rules = [rule for rule in self._bucket.lifecycle_rules() if rule.touches(prefix)]
            versions = self._bucket.keeps_versions()
        except StoreError as error:
            if getattr(error, "reason", "") not in ("no-rules", "no-versions"):
                yield self._found("rules-unknown", error)
            return
        for rule in rules:
            if rule.expires:
                some = " of those that its filter names" if rule.partly else ""
                yield self._found("lifecycle-expires", f"Rule {rule.id!r} expires objects under {rule.prefix!r}{some}.")
        ending = [r for r in rules if r.expires_noncurrent and not r.partly and prefix.startswith(r.prefix)]
        if versions and not ending:
            yield self._found(
                "versions-pile-up", f"Versioning is on; no rule expires noncurrent versions of {prefix!r}."
            )

    def _writing(self, store: Store) -> Iterator[Finding]:
        ids, clock = self._bucket.ids, self._bucket.clock
        key = f"{self._root}probe-{ids.new(clock.now_ms())}/doctor"
        for code, request in (
            ("permission-put", lambda: store.put(key, b"{}", CREATE)),
            ("permission-delete", lambda: store.delete(key)),
        ):
            outcome = _try(request, everything=True)
            if isinstance(outcome, StoreRefused) and outcome.reason == "access-denied":
                yield self._found(code, outcome, key)
            elif outcome is not None:
                yield self._found("unreachable", outcome, key)
            if outcome is not None:
                return

    def _conditions(self) -> Iterator[Finding]:
        bucket = self._bucket
        try:
            report = probe(self._open(write=True), self._root, ids=bucket.ids, clock=bucket.clock)
        except StoreError as error:
            denied = getattr(error, "reason", "") == "access-denied"
            yield self._found("permission-put" if denied else "unreachable", error)
            return
        if not report.ok:
            told = "; ".join(f"{check.name}: {check.evidence}" for check in report.failed)
            yield self._found("conditions-broken", told)

    # -- queues --

    def _queues(self, watch_s: float) -> Iterator[Finding]:
        bucket = self._bucket
        try:
            names = [self._name] if self._name is not None else bucket.queue_names()
        except StoreRefused:
            return  # LIST is refused: told above
        first = {}
        for name in names:
            try:
                first[name] = bucket.inspect(name, fresh=True)
            except S3QueueError as error:
                yield _unreadable(name, error)
        if watch_s and first:
            bucket.clock.sleep(watch_s)
        for name, seen in first.items():
            yield from findings(bucket.inspect(name, fresh=True), seen) if watch_s else seen.findings


def _unreadable(name: str, error: S3QueueError) -> Finding:
    known = {NewerFormat: "newer-format", CorruptObject: "corrupt"}
    key = getattr(error, "key", "")
    return KINDS[known.get(type(error), "unread")].found(str(error), [key] if key else [], name)


def _try(request: Callable[[], object], *, everything: bool = False) -> StoreError | None:
    """Return None if the request went well, or why it is not permitted or found nothing; raise what else it raises."""
    try:
        request()
    except NotFound as error:
        return error
    except StoreRefused as error:
        if error.reason == "access-denied" or everything:
            return error
        raise
    except StoreError as error:
        if everything:
            return error
        raise
    return None
