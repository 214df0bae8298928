"""A lane as it is played: what comes to it, who works in it; and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a request takes on average, in seconds."""

    get: float = 0.031
    put: float = 0.057
    list: float = 0.045


S3_LATENCY = Latency()
"""Means of S3 Standard for small objects: published medians (27, 50, 40 ms; arXiv 2501.07771) with their long tail."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What comes to a lane, who works in it and how they look; times in seconds.

    ``objects_per_s`` of ``batch`` messages each (on average) come evenly or, if the lane is one of several, ``scattered``.
    ``hints_s``: how seldom a hint is sent, None if there are none; ``hints_all``: whether it reaches all. ``unit``: how many
    messages each of those here stands for, where there are too many to play them one by one.
    """

    objects_per_s: float
    batch: float
    handler_s: float
    concurrency: int
    poll_s: float
    max_poll_s: float
    latency: Latency
    workers: int = 1
    fleet: int = 1
    order: str = "fifo"
    groups: int = 1
    lease_s: float = 300.0
    retries: bool = True
    scattered: bool = False
    hints_s: float | None = None
    hints_all: bool = False
    unit: int = 1

    @property
    def strict(self) -> bool:
        """Whether groups are kept in order, so that everybody looks for itself."""
        return self.order.startswith("strict")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A second of a lane: looks (a LIST each page), commits, lost races, ledgers read, objects read, requests that delete.

    ``busy``: how many workers hold messages, on average; ``active``: how many end some within a heartbeat's time;
    ``hints`` that are sent; ``ended``: messages that are ended.
    """

    looks: float = 0.0
    commits: float = 0.0
    lost: float = 0.0
    reads: float = 0.0
    objects: float = 0.0
    deletes: float = 0.0
    busy: float = 0.0
    active: float = 0.0
    hints: float = 0.0
    ended: float = 0.0

    def toward(self, other: Rhythm, share: float) -> Rhythm:
        """Return what is between this rhythm (0) and another (1)."""
        return Rhythm(*(
            getattr(self, item.name) * (1 - share) + getattr(other, item.name) * share for item in fields(Rhythm)
        ))  # fmt: skip
