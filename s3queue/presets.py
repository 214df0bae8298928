"""Named presets: options for a kind of work or a size of fleet, with what they cost to keep running.

The four kinds of work and the fleet sizes are those of the guide of s3db.js's S3QueuePlugin, so that its users find
their numbers again; what it costs there is computed from that guide's own model, beside what it costs here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from s3queue.core.presence import IDLE_BEAT_MS
from s3queue.errors import InvalidSetting
from s3queue.protocol.coordinator import LEASE_MS, idle_poll_s
from s3queue.protocol.lanes import VISIT_POLLS
from s3queue.protocol.register import REFRESH_S
from s3queue.protocol.sweeper import SWEEP_INTERVAL_S
from s3queue.store.metered import S3_STANDARD, Prices

MONTH_S = 30 * 86_400
_TICKETS_SCANNED = 50
"""How many tickets wait in the plugin's guide when a pod polls: each is a GET."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second that only keep workers running, by class of price."""

    put_list: float
    get: float

    @property
    def per_second(self) -> float:
        """All requests per second."""
        return self.put_list + self.get

    def usd_a_month(self, prices: Prices = S3_STANDARD) -> float:
        """Return US dollars for thirty days."""
        return (self.put_list * prices.put_list + self.get * prices.get) * MONTH_S / 1_000_000


@dataclass(frozen=True, slots=True)
class Plugin:
    """What the plugin's guide recommends for the same: intervals in seconds."""

    concurrency: int
    poll_interval: float
    heartbeat_interval: float = 10.0

    def load(self, workers: int, tickets: int = _TICKETS_SCANNED) -> Load:
        """Return the guide's estimate: a PUT a heartbeat; a LIST a poll, and a GET for each ticket that waits."""
        polls = workers / self.poll_interval
        return Load(put_list=workers / self.heartbeat_interval + polls, get=polls * tickets)


@dataclass(frozen=True, slots=True)
class Preset:
    """Options of a worker, and of the queue if it is new, for a kind of work or for so many workers.

    ``plugin``: what s3db.js recommends; None where its guide advises to use something else.
    """

    name: str
    use: str
    worker: Mapping[str, Any]
    queue: Mapping[str, Any] = field(default_factory=dict)
    workers: tuple[int, int] = (1, 1)
    plugin: Plugin | None = None

    def idle_load(self, workers: int | None = None) -> Load:
        """Return what so many idle workers (default: the most it is for) ask of the store, from the intervals in the code.

        All: the settings every :data:`REFRESH_S`; a heartbeat every :data:`IDLE_BEAT_MS`. In each lane, the coordinator:
        ledger and inbox every ``max_poll_interval``, its lease, and a sweep (a PUT, two LISTs, two GETs); the others: the
        ledger, as seldom as :func:`idle_poll_s` says, and now and then another lane's.
        """
        count = self.workers[1] if workers is None else workers
        lanes, look_s = min(self.queue.get("lanes", 1), count), self.worker["max_poll_interval"]
        renewal_s = math.ceil(LEASE_MS / 3000 / look_s) * look_s  # with the first look after a third of the lease
        followed_s = idle_poll_s(count // lanes, look_s)
        visits = count / followed_s / VISIT_POLLS if lanes > 1 else 0
        heartbeats = count * 1000 / IDLE_BEAT_MS
        return Load(
            put_list=heartbeats + lanes * (1 / look_s + 1 / renewal_s + 3 / SWEEP_INTERVAL_S),
            get=heartbeats
            + count / REFRESH_S
            + lanes * (1 / look_s + 2 / SWEEP_INTERVAL_S)
            + (count - lanes) / followed_s
            + visits,
        )


def _work(name: str, use: str, plugin: Plugin, *, visibility: float, attempts: int, max_poll: float) -> Preset:
    return Preset(
        name,
        use,
        {"concurrency": plugin.concurrency, "poll_interval": plugin.poll_interval, "max_poll_interval": max_poll},
        {"visibility_timeout": visibility, "max_attempts": attempts},
        plugin=plugin,
    )


def _fleet(low: int, high: int, plugin: Plugin | None, *, concurrency: int, max_poll: float, lanes: int) -> Preset:
    poll = plugin.poll_interval if plugin else 5.0
    return Preset(
        f"fleet-{low}-{high}",
        f"{low} to {high} workers on one queue",
        {"concurrency": concurrency, "poll_interval": poll, "max_poll_interval": max_poll},
        {"lanes": lanes},
        (low, high),
        plugin,
    )


_ALL = (
    _work(
        "high-throughput",
        "analytics, logs: what may be lost to a crash",
        Plugin(50, 0.1),
        visibility=5,
        attempts=1,
        max_poll=1,
    ),
    _work("balanced", "e-mails, notifications: most work", Plugin(10, 1.0), visibility=30, attempts=3, max_poll=5),
    _work(
        "reliable", "payments, orders: what must not be lost", Plugin(2, 5.0), visibility=300, attempts=5, max_poll=10
    ),
    _work("heavy", "videos, large exports: one at a time", Plugin(1, 10.0), visibility=1800, attempts=2, max_poll=10),
    _fleet(10, 25, Plugin(3, 1.0, 10), concurrency=3, max_poll=5, lanes=1),
    _fleet(25, 50, Plugin(3, 1.5, 12), concurrency=3, max_poll=5, lanes=1),
    _fleet(50, 100, Plugin(2, 2.0, 15), concurrency=2, max_poll=8, lanes=1),
    _fleet(100, 200, Plugin(2, 3.0, 20), concurrency=2, max_poll=8, lanes=2),
    _fleet(200, 1000, None, concurrency=2, max_poll=10, lanes=8),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""All presets by name."""


def find(name: str) -> Preset:
    """Return the preset; InvalidSetting if there is none of that name."""
    found = PRESETS.get(name) if isinstance(name, str) else None
    if found is None:
        raise InvalidSetting(f"There is no preset {name!r}.", remedy=f"Use one of {', '.join(PRESETS)}.")
    return found


def worker_options(name: str | None) -> dict[str, Any]:
    """Return the options for :class:`s3queue.Worker`; none for None."""
    return dict(find(name).worker) if name is not None else {}


def queue_options(name: str | None) -> dict[str, Any]:
    """Return the settings for a new :class:`s3queue.Queue`; none for None."""
    return dict(find(name).queue) if name is not None else {}


COLUMNS = (
    "preset", "workers", "concurrency", "poll s", "visibility s", "attempts", "lanes",
    "idle requests/s", "idle $/month", "s3db.js idle $", "s3db.js requests/s", "s3db.js $/month",
)  # fmt: skip
"""The columns of :func:`rows`."""


def rows() -> list[tuple[str, ...]]:
    """Return every preset with its numbers: options, then requests and dollars at the most workers it is for.

    A setting that a preset leaves alone is '', as is what the plugin's guide has no figure for.
    """
    return [_row(preset) for preset in PRESETS.values()]


def as_data() -> dict[str, dict[str, Any]]:
    """Return every preset as JSON can hold it, its figures unrounded; null for what the plugin's guide has no figure."""
    return {preset.name: _data(preset) for preset in PRESETS.values()}


def _data(preset: Preset) -> dict[str, Any]:
    ours, plugin, most = preset.idle_load(), preset.plugin, preset.workers[1]
    return {
        "use": preset.use,
        "workers": list(preset.workers),
        "worker": dict(preset.worker),
        "queue": dict(preset.queue),
        "idle": _figures(ours),
        "s3db.js idle": _figures(plugin.load(most, 0)) if plugin else None,
        "s3db.js": _figures(plugin.load(most)) if plugin else None,
    }


def _figures(load: Load) -> dict[str, float]:
    return {"requests_per_s": load.per_second, "usd_a_month": load.usd_a_month()}


def _row(preset: Preset) -> tuple[str, ...]:
    most = preset.workers[1]
    ours = preset.idle_load()
    theirs, idle = (preset.plugin.load(most), preset.plugin.load(most, 0)) if preset.plugin else (None, None)
    return (
        preset.name,
        "1" if most == 1 else "–".join(map(str, preset.workers)),
        str(preset.worker["concurrency"]),
        f"{preset.worker['poll_interval']:g}–{preset.worker['max_poll_interval']:g}",
        f"{preset.queue.get('visibility_timeout', '')}",
        f"{preset.queue.get('max_attempts', '')}",
        f"{preset.queue.get('lanes', '')}",
        f"{ours.per_second:,.2f}",
        f"{ours.usd_a_month():,.2f}",
        f"{idle.usd_a_month():,.0f}" if idle else "",
        f"{theirs.per_second:,.1f}" if theirs else "",
        f"{theirs.usd_a_month():,.0f}" if theirs else "",
    )
