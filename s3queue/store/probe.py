"""Does this store keep its conditions? Real writers race on it, and what lies there afterwards is the judge.

Many servers, and proxies before them, take ``If-Match`` and ``If-None-Match`` and ignore them, or check first and write
later, so that two writers win. A queue on such a store loses messages in silence; s3queue asks first.

A racer whose answer was lost (OutcomeUnknown) counts as one that may have won. StoreUnavailable and StoreRefused are no
verdict on the store; they come through. A check that fails has shown a fault; a check that passes has shown none in the
rounds it ran, which finds a store that ignores a condition at once, and one that checks before it writes if
the gap between the two is as long as racers are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Barrier
from typing import Final

from s3queue.clock import Clock
from s3queue.errors import NotFound, OutcomeUnknown, PreconditionFailed, StoreError, UnsafeStore
from s3queue.ids import Ids
from s3queue.store.metered import Meter, Metered
from s3queue.store.port import CREATE, OVERWRITE, Object, PutMode, Replace, Store

_LISTED: Final = 5
_BARRIER_S: Final = 60  # the racers of one round are started together; only a starved machine is later


@dataclass(frozen=True, slots=True)
class Check:
    """One thing asked of the store: its name, whether it held, and what was seen."""

    name: str
    ok: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probe found at ``location``, and how many requests it took (retries not included)."""

    location: str
    checks: tuple[Check, ...]
    requests: int

    @property
    def ok(self) -> bool:
        """True if every check held."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.ok)


def probe(store: Store, prefix: str, *, ids: Ids, clock: Clock, racers: int = 4, rounds: int = 3) -> ProbeReport:
    """Try every promise of the port on keys below ``{prefix}probe-{id}/``, and delete them at the end.

    ``store`` should retry (see :mod:`.retrying`). More than four racers slow some servers down to seconds a write.
    Raise StoreUnavailable or StoreRefused if the store does not answer.
    """
    meter = Meter()
    metered = Metered(store, meter, prefix)
    run = _Probe(metered, f"{prefix}probe-{ids.new(clock.now_ms())}/", racers)
    try:
        checks = (*run.races(rounds), *run.conditions(), *run.reads(), *run.listing(), *run.deletion())
    finally:
        with suppress(StoreError):  # a few small objects stay behind; the verdict stands
            run.clean()
    return ProbeReport(store.location, checks, meter.total())


def ensure_safe(store: Store, prefix: str, *, ids: Ids, clock: Clock, racers: int = 4, rounds: int = 3) -> ProbeReport:
    """Return the report of :func:`probe` if every check held; raise UnsafeStore with the evidence otherwise."""
    report = probe(store, prefix, ids=ids, clock=clock, racers=racers, rounds=rounds)
    if not report.ok:
        check = report.failed[0]
        raise UnsafeStore(report.location, check.name, check.evidence)
    return report


class _Probe:
    """The checks, on keys below ``folder``."""

    def __init__(self, store: Store, folder: str, racers: int) -> None:
        self._store = store
        self._folder = folder
        self._racers = racers

    def races(self, rounds: int) -> Iterator[Check]:
        """Race creates on new keys, then replaces of what the winner wrote."""
        creates, replaces = [], []
        for number in range(rounds):
            key = f"{self._folder}race-{number}"
            creates.append(self._race(key, CREATE, None))
            found = self._find(key)
            if found is not None:
                replaces.append(self._race(key, Replace(found.etag), found.body))
        yield self._verdict("create-only has exactly one winner", creates)
        yield self._verdict("replace by ETag has exactly one winner", replaces)

    def conditions(self) -> Iterator[Check]:
        """Ask for writes that must be refused."""
        key = f"{self._folder}condition"
        first = self._store.put(key, b"first", OVERWRITE)
        current = self._store.put(key, b"second", OVERWRITE)
        yield self._refused("a stale ETag is refused", key, Replace(first), b"second")
        yield self._refused("create-only is refused where an object is", key, CREATE, b"second")
        nowhere = f"{self._folder}nowhere"
        yield self._refused("replace is refused where no object is", nowhere, Replace(current), None)

    def reads(self) -> Iterator[Check]:
        """Read back what was written, with and without its ETag."""
        key = f"{self._folder}read"
        first = self._store.put(key, b"first", OVERWRITE)
        etag = self._store.put(key, b"second", OVERWRITE)
        found = self._find(key)
        body, read_etag = (found.body, found.etag) if found else (None, None)
        yield Check("a read sees the last write", body == b"second", f"wrote b'second', read {body!r}")
        yield Check("a write returns the ETag that a read returns", etag == read_etag, f"{etag!r} and {read_etag!r}")
        yield _compare("a read with the current ETag says unchanged", self._ask(key, etag), "unchanged")
        yield _compare("a read with an older ETag returns the object", self._ask(key, first), "the object")

    def listing(self) -> Iterator[Check]:
        """List a small folder whole and by pages."""
        folder = f"{self._folder}list/"
        keys = [f"{folder}{number:04}" for number in range(_LISTED)]
        for key in reversed(keys):
            self._store.put(key, b"listed", OVERWRITE)
        whole = self._store.list(folder)
        yield _compare("a listing is complete and sorted", [entry.key for entry in whole.entries], keys)
        sizes = [entry.size for entry in whole.entries]
        yield _compare("a listing tells sizes and its end", (sizes, whole.more), ([len(b"listed")] * _LISTED, False))
        page = self._store.list(folder, after=keys[1], limit=2)
        seen = ([entry.key for entry in page.entries], page.more)
        yield _compare("a page starts after a key, keeps its limit and says that more follows", seen, (keys[2:4], True))

    def deletion(self) -> Iterator[Check]:
        """Delete and look."""
        key = f"{self._folder}deleted"
        self._store.put(key, b"short-lived", OVERWRITE)
        self._store.delete(key)
        gone = self._find(key) is None and not self._store.list(key).entries
        yield Check("a deleted object is gone", gone, "it is not there any more" if gone else "it is still there")

    def clean(self) -> None:
        """Delete every key of this run."""
        self._store.delete_many([entry.key for entry in self._store.list(self._folder).entries])

    def _find(self, key: str) -> Object | None:
        try:
            return self._store.get(key)
        except NotFound:
            return None

    def _ask(self, key: str, etag: str) -> str:
        """Return what a conditional read says."""
        try:
            return "unchanged" if self._store.get(key, etag) is None else "the object"
        except NotFound:
            return "nothing"

    def _race(self, key: str, mode: PutMode, before: bytes | None) -> str:
        """Let every racer write its own body at once; return what is wrong with the outcome, or ''."""
        barrier = Barrier(self._racers)

        def write(number: int) -> str:
            barrier.wait(_BARRIER_S)
            return _try(lambda: self._store.put(key, _body(number, mode), mode))

        with ThreadPoolExecutor(self._racers) as pool:
            said = list(pool.map(write, range(self._racers)))
        found = self._find(key)
        after = found.body if found else None
        winners = [number for number, outcome in enumerate(said) if outcome == "won"]
        unknown = [number for number, outcome in enumerate(said) if outcome == "unknown"]
        if len(winners) > 1:
            return f"{len(winners)} of {self._racers} writers were told that they had won"
        if not winners and not unknown:
            return f"all {self._racers} writers were refused"
        if not winners and after == before:
            return ""  # no answer came, and none of the writes: nothing can be held against the store
        if after not in {_body(number, mode) for number in winners or unknown}:
            return f"of writers {winners or unknown} one had won, and then {after!r} was there"
        return ""

    def _verdict(self, name: str, faults: list[str]) -> Check:
        found = sorted({fault for fault in faults if fault})
        if found:
            return Check(name, ok=False, evidence="; ".join(found))
        return Check(name, bool(faults), f"{len(faults)} rounds of {self._racers} writers")

    def _refused(self, name: str, key: str, mode: PutMode, before: bytes | None) -> Check:
        """Check that a write is refused and changes nothing."""
        outcome = _try(lambda: self._store.put(key, b"intruder", mode))
        found = self._find(key)
        after = found.body if found else None
        if after != before:
            return Check(name, ok=False, evidence=f"{outcome}: {before!r} became {after!r}")
        if outcome == "won":
            return Check(
                name, ok=False, evidence=f"the writer was told that it had won, and {before!r} was still there"
            )
        return Check(name, ok=True, evidence=f"{outcome}, and nothing changed")


def _try(write: Callable[[], str]) -> str:
    try:
        write()
    except PreconditionFailed:
        return "refused"
    except OutcomeUnknown:
        return "unknown"
    return "won"


def _body(number: int, mode: PutMode) -> bytes:
    return f"{type(mode).__name__} by writer {number}".encode()


def _compare(name: str, seen: object, wanted: object) -> Check:
    return Check(name, seen == wanted, f"saw {seen!r}" if seen == wanted else f"saw {seen!r} instead of {wanted!r}")
