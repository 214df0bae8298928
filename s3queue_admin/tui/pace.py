"""What each queue costs an hour, measured over the last minute or so of looks."""

from __future__ import annotations

from typing import Final

from s3queue_admin.cost.measured import measured
from s3queue_admin.cost.prices import PriceList, load_prices
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot

OVER_S: Final = 60.0
"""How long what is measured takes at least, once the dashboard has been open for that long; twice that at most."""


class Pace:
    """Remembers two older snapshots of each queue. For one thread: that which looks."""

    def __init__(self) -> None:
        self._earlier: dict[str, tuple[QueueSnapshot, QueueSnapshot]] = {}
        self._prices: PriceList | None = None

    def measure(self, seen: BucketSnapshot) -> dict[str, float]:
        """Return US dollars an hour by queue: its workers' and producers' requests, not those of the dashboard."""
        self._prices = self._prices or load_prices()
        self._earlier = {name: pair for name, pair in self._earlier.items() if name in seen.queues}
        return {name: self._of(queue, self._prices) for name, queue in seen.queues.items()}

    def _of(self, queue: QueueSnapshot, prices: PriceList) -> float:
        old, newer = self._earlier.get(queue.queue, (queue, queue))
        if (queue.taken_at - newer.taken_at).total_seconds() >= OVER_S:
            old, newer = newer, queue
        self._earlier[queue.queue] = (old, newer)
        if (queue.location, queue.root) != (old.location, old.root) or queue.taken_at <= old.taken_at:
            return measured(queue, watching={}, prices=prices).bill().usd_an_hour
        return measured(old, queue, watching={}, prices=prices).bill().usd_an_hour
