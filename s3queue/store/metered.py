"""Requests counted where they are billed: beneath the retries, every attempt, a lost race included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeVar

from s3queue.errors import NotFound, PreconditionFailed, StoreError, StoreUnavailable
from s3queue.store.port import Object, Page, PutMode, Store
from s3queue.store.versions import Place, VersionPage, versioned

T = TypeVar("T")

Counts = Mapping[tuple[str, str, str], int]
"""Requests by (verb, area, outcome)."""

_BILLED_AS: Final = {"PUT": "put_list", "LIST": "put_list", "POST": "put_list", "GET": "get", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million requests; DELETE is free."""

    put_list: float
    get: float


S3_STANDARD: Final = Prices(put_list=5.00, get=0.40)
"""S3 Standard in us-east-1, list prices of 2025 (https://aws.amazon.com/s3/pricing/, "Requests & data retrievals")."""


class Meter:
    """Counters of requests by verb, area and outcome, shared by any number of threads and stores.

    verb: ``PUT`` ``GET`` ``LIST`` ``DELETE`` ``POST`` (the request behind ``delete_many``). area: see :class:`Metered`.
    outcome: ``ok``, ``unchanged`` (304), ``lost`` (precondition failed), ``missing`` (404), ``throttled`` (503, 429),
    ``error`` (anything else).
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[tuple[str, str, str], int] = {}

    def add(self, verb: str, area: str, outcome: str) -> None:
        """Count one request."""
        line = (verb, area, outcome)
        with self._lock:
            self._counts[line] = self._counts.get(line, 0) + 1

    def snapshot(self) -> dict[tuple[str, str, str], int]:
        """Return a copy of all counts; the difference of two is what happened between."""
        with self._lock:
            return dict(self._counts)

    def total(self, verb: str | None = None, area: str | None = None, outcome: str | None = None) -> int:
        """Return the number of requests that match every argument given."""
        wanted = (verb, area, outcome)
        return sum(
            count
            for line, count in self.snapshot().items()
            if all(want is None or want == is_ for want, is_ in zip(wanted, line, strict=True))
        )

    def billed(self) -> dict[str, int]:
        """Return billed requests by class of price; see :func:`billed`."""
        return billed(self.snapshot())


def to_lines(counts: Counts) -> dict[str, int]:
    """Return the counts as an object in the bucket holds them: a line each, ``"PUT ledger lost"``; ``"PUT ledger"`` if ok."""
    return {" ".join(line[:2] if line[2] == "ok" else line): count for line, count in sorted(counts.items())}


def from_lines(lines: Mapping[str, int]) -> dict[tuple[str, str, str], int]:
    """Return the counts behind such lines; area and outcome are '' where only the verb was written down."""
    counts: dict[tuple[str, str, str], int] = {}
    for line, count in lines.items():
        verb, area, outcome = [*line.split(" "), "", ""][:3]
        key = (verb, area, outcome or ("ok" if area else ""))
        counts[key] = counts.get(key, 0) + count
    return counts


def billed(counts: Counts) -> dict[str, int]:
    """Return billed requests by class of price: ``put_list`` (PUT, LIST, POST), ``get``, ``delete`` (free).

    A lost race and a 304 are billed as what they are, a throttled request (503) is not. Other errors count, as the
    store may well have done the work, so the sum is an upper bound.
    """
    sums = {"put_list": 0, "get": 0, "delete": 0}
    for (verb, _, outcome), count in counts.items():
        if outcome != "throttled":
            sums[_BILLED_AS[verb]] += count
    return sums


def usd(requests: Meter | Counts, prices: Prices = S3_STANDARD) -> float:
    """Return what the requests cost in US dollars."""
    sums = billed(requests.snapshot() if isinstance(requests, Meter) else requests)
    return (sums["put_list"] * prices.put_list + sums["get"] * prices.get) / 1_000_000


class Metered:
    """A store that counts every request to the one beneath it in ``meter``.

    The *area* of a request is the first segment of its key below ``prefix`` (``s3queue/emails/`` → ``inbox``,
    ``ledger``, ``queue.json`` …), cut at the first ``-``, as an identifier follows there; ``other`` if the key lies
    outside, or a listing covers more than one area. The area of ``delete_many`` is that of its first key.
    """

    def __init__(self, store: Store, meter: Meter, prefix: str) -> None:
        self.meter = meter
        self._store = store
        self._prefix = prefix

    @property
    def location(self) -> str:
        return self._store.location

    def now_ms(self) -> int:
        return self._store.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        return self._count("GET", key, lambda: self._store.get(key, if_none_match))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        return self._count("PUT", key, lambda: self._store.put(key, body, mode))

    def delete(self, key: str) -> None:
        self._count("DELETE", key, lambda: self._store.delete(key))

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        if not keys:
            return ()
        return self._count("POST", keys[0], lambda: self._store.delete_many(keys))

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return self._count("LIST", prefix, lambda: self._store.list(prefix, after, limit))

    def keeps_versions(self) -> bool:
        return self._count("GET", "", lambda: versioned(self._store).keeps_versions())

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        return self._count("LIST", prefix, lambda: versioned(self._store).versions(prefix, after, limit))

    def get_version(self, key: str, version_id: str) -> Object:
        return self._count("GET", key, lambda: versioned(self._store).get_version(key, version_id))

    def close(self) -> None:
        self._store.close()

    def _count(self, verb: str, key: str, request: Callable[[], T]) -> T:
        try:
            answer = request()
        except StoreError as error:
            self.meter.add(verb, self._area(key), _outcome(error))
            raise
        self.meter.add(verb, self._area(key), "unchanged" if verb == "GET" and answer is None else "ok")
        return answer

    def _area(self, key: str) -> str:
        if not key.startswith(self._prefix):
            return "other"
        return key[len(self._prefix) :].partition("/")[0].partition("-")[0] or "other"


def _outcome(error: StoreError) -> str:
    if isinstance(error, PreconditionFailed):
        return "lost"
    if isinstance(error, NotFound):
        return "missing"
    return "throttled" if isinstance(error, StoreUnavailable) and error.throttled else "error"
