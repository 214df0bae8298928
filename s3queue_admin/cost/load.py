"""What is asked of a queue: the load that an estimate is of."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite

from s3queue.errors import InvalidSetting
from s3queue_admin.cost.lane import S3_LATENCY, Latency

COORDINATION = ("s3", "redis", "sqs")
_MOST = {
    "messages_per_s": 1e6,
    "workers": 100_000,
    "producers": 100_000,
    "groups": 1_000_000,
    "batch": 1000,
    "concurrency": 1000,
    "handler_s": 86_400,
    "poll_interval_s": 3600,
    "max_poll_interval_s": 3600,
    "failing": 1,
    "deduplicated": 1,
    "idle_share": 1,
    "payload_bytes": 64 << 20,
    "ledger_bytes": 1 << 30,
    "stored_gb": 1e9,
}
_LEAST = {
    "producers": 0,
    "workers": 1,
    "batch": 1,
    "groups": 1,
    "concurrency": 1,
    "poll_interval_s": 0.01,
    "max_poll_interval_s": 0.01,
}
_WHOLE = ("workers", "producers", "batch", "groups", "concurrency", "payload_bytes", "ledger_bytes")


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a queue; seconds, bytes, and shares from 0 to 1. InvalidSetting for a value out of range.

    ``messages_per_s`` are enqueued, ``batch`` an object, by ``producers`` processes, ``deduplicated`` of them with a
    ``dedup_id``; they are of so many ``groups``, which matters where those are kept in order (``order="strict-group"``). In
    ``idle_share`` of the time there are none. ``failing`` is the share of attempts that fail, of any message alike.
    ``workers``, ``concurrency`` and the intervals are those of :class:`s3queue.Worker`. ``stored_gb`` lies in the bucket
    beside results; ``ledger_bytes`` is how large a ledger is. ``latency`` is the store's.
    """

    messages_per_s: float = 0.0
    workers: int = 1
    batch: int = 1
    handler_s: float = 0.0
    concurrency: int = 8
    poll_interval_s: float = 0.25
    max_poll_interval_s: float = 5.0
    failing: float = 0.0
    deduplicated: float = 0.0
    idle_share: float = 0.0
    producers: int = 1
    groups: int = 1
    coordination: str = "s3"
    payload_bytes: int = 1024
    ledger_bytes: int = 20_000
    stored_gb: float = 0.0
    latency: Latency = field(default=S3_LATENCY)

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value, least = getattr(self, name), _LEAST.get(name, 0)
            kinds = int if name in _WHOLE else int | float
            if (
                isinstance(value, bool)
                or not isinstance(value, kinds)
                or not least <= value <= most
                or not isfinite(value)
            ):
                raise InvalidSetting(f"{name} is {value!r}.", remedy=f"Use {least} to {most:,}.")
        if self.coordination not in COORDINATION:
            raise InvalidSetting(
                f"coordination is {self.coordination!r}.", remedy=f"Use one of {', '.join(COORDINATION)}."
            )
        times = [getattr(self.latency, item.name) for item in fields(self.latency)]
        if not all(0 <= seconds <= 60 for seconds in times):
            raise InvalidSetting(f"latency is {self.latency!r}.", remedy="Use seconds from 0 to 60.")
        if self.deduplicated and self.batch > 1:
            raise InvalidSetting(
                f"deduplicated is {self.deduplicated} and batch is {self.batch}.",
                remedy="Use batch=1: a message with a dedup_id is enqueued by itself.",
            )

    @property
    def mean_messages_per_s(self) -> float:
        """Messages a second on average over all of the time, the idle time included."""
        return self.messages_per_s * (1 - self.idle_share)
