"""What came out of the demo: the queue's books beside those of the handlers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from s3queue.store.metered import S3_STANDARD, Counts, billed

_ONCE = "probe"  # the area of requests that a new queue costs once: the test of its store


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests by verb, and what is billed of them, of producers and workers together; ``once``: to test the store."""

    by_verb: Mapping[str, int]
    put_list: int
    get: int
    once: int

    @classmethod
    def of(cls, producer: Counts, workers: Sequence[Mapping[str, Any]]) -> Requests:
        """Add up the producer's counts and the last reports of the workers."""
        counts = {line: count for line, count in producer.items() if line[1] != _ONCE}
        verbs: dict[str, int] = {}
        for (verb, _, _), count in counts.items():
            verbs[verb] = verbs.get(verb, 0) + count
        sums = billed(counts)
        for metrics in workers:
            for verb, count in metrics.get("requests", {}).items():
                verbs[verb] = verbs.get(verb, 0) + count
            for name, count in metrics.get("billed", {}).items():
                sums[name] += count
        return cls(
            dict(sorted(verbs.items())), sums["put_list"], sums["get"], sum(producer.values()) - sum(counts.values())
        )

    def usd(self) -> float:
        """Return what they cost at the list prices of S3 Standard, without the test of the store."""
        return (self.put_list * S3_STANDARD.put_list + self.get * S3_STANDARD.get) / 1_000_000


@dataclass(frozen=True, slots=True)
class Tally:
    """The numbers of one run. ``lost`` and ``unfinished`` are 0 and ``problems`` empty if all went well."""

    title: str
    singles: int
    bulk: int
    completed: int
    retried: int
    rescued: int
    dead: int
    unfinished: int
    lost: int
    duplicates: int
    killed: str
    killed_holding: int
    requests: Requests
    seconds: float
    problems: tuple[str, ...]

    @property
    def enqueued(self) -> int:
        """How many messages there were."""
        return self.singles + self.bulk

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers by name."""
        each = max(self.enqueued, 1)
        return asdict(self) | {
            "enqueued": self.enqueued,
            "requests_per_message": {verb: count / each for verb, count in self.requests.by_verb.items()},
            "usd_per_million_messages": self.requests.usd() / each * 1_000_000,
        }

    def as_text(self) -> str:
        """Return the table that the demo ends with."""
        each = max(self.enqueued, 1)
        verbs = "  ".join(f"{verb} {count / each:.3f}" for verb, count in self.requests.by_verb.items())
        rows = [
            ("enqueued", f"{self.enqueued:,}", f"{self.singles:,} one by one, {self.bulk:,} in bulk"),
            ("completed", f"{self.completed:,}", ""),
            ("retried", f"{self.retried:,}", "attempts that failed and were made again"),
            ("rescued", f"{self.rescued:,}", f"held by {self.killed or 'no worker'} when it was killed"),
            ("dead", f"{self.dead:,}", "in the dead letter queue, with their errors"),
            *([("unfinished", f"{self.unfinished:,}", "when time was up")] if self.unfinished else []),
            ("lost", f"{self.lost:,}", "by the queue's books and by what the handlers wrote down"),
            ("duplicates", f"{self.duplicates:,}", "greeted by the killed worker, but not yet recorded: greeted again"),
            ("seconds", f"{self.seconds:.1f}", self.title),
        ]
        lines = [f"{name:<12}{value:>8}   {note}".rstrip() for name, value, note in rows]
        lines.append(f"{'requests a message':<23}{verbs}")
        million = self.requests.usd() / each * 1_000_000
        lines.append(f"{'$ a million messages':<23}{million:.2f} at the list prices of S3 Standard; DELETE is free")
        return "\n".join(lines)


def lost(ids: Sequence[str], greeted: Collection[str], dead: Collection[str], unfinished: int, books: int) -> int:
    """Return how many of the enqueued ``ids`` are nowhere: the worse of two counts.

    One is by what the handlers wrote down and the dead letters there are; the other by the queue's ``books``, the sum
    of completed and dead. Those ``unfinished`` are not lost yet.
    """
    seen = set(greeted) | set(dead)
    by_handlers = sum(one not in seen for one in ids) - unfinished
    return max(by_handlers, len(ids) - books - unfinished, 0)
