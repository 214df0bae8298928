"""What needs attention, counted in one way for all that tells of it: the status line, the states, the line below the queues."""

from __future__ import annotations

from collections.abc import Iterable

from s3queue_admin.judging import Finding
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot


def findings_of(queue: QueueSnapshot) -> list[Finding]:
    """Return what is odd about a queue, the worst first; not what is only good to know."""
    return [finding for finding in queue.findings if finding.severity != "info"]


def tally(queues: Iterable[QueueSnapshot]) -> tuple[int, int]:
    """Return how many errors and how many warnings queues have."""
    worst = [finding.severity for queue in queues for finding in findings_of(queue)]
    return worst.count("error"), worst.count("warning")


def counted(errors: int, warnings: int) -> str:
    """Return them in words: ``2 errors, 1 warning``; '' for none."""
    told = [f"{count} {word}{'s' * (count > 1)}" for count, word in ((errors, "error"), (warnings, "warning")) if count]
    return ", ".join(told)


def elsewhere(snapshot: BucketSnapshot, name: str) -> str:
    """Return what needs attention in the other queues, and which; '' for nothing."""
    others = {other: queue for other, queue in snapshot.queues.items() if other != name and findings_of(queue)}
    return f"{counted(*tally(others.values()))} in {', '.join(others)}" if others else ""
