"""The engine's request model: what workers ask of the store, per second, by verb and purpose.

Every interval is the engine's own constant. What depends on how things meet in time, what the workers of a lane do, is
played (:mod:`.play`); the rest is arithmetic. All of it is held against metered runs of the engine in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from s3queue.core.presence import BEAT_MS, IDLE_BEAT_MS
from s3queue.core.settings import Settings
from s3queue.protocol.coordinator import idle_poll_s
from s3queue.protocol.history import FLUSH_AFTER_S, FLUSH_AT
from s3queue.protocol.janitor import JOURNAL_AFTER_S, JOURNAL_AT
from s3queue.protocol.lanes import VISIT_POLLS
from s3queue.protocol.register import REFRESH_S
from s3queue.protocol.retention import INTERVAL_S, PAGE
from s3queue.protocol.sweeper import SWEEP_INTERVAL_S
from s3queue.runtime.readers import READERS
from s3queue_admin.cost.bill import HINT, Rate
from s3queue_admin.cost.lane import Lane, Rhythm
from s3queue_admin.cost.load import Load
from s3queue_admin.cost.play import played
from s3queue_admin.cost.purposes import Purpose

CROWDED = 10.0
"""Commits a second of one ledger from which more are lost than land, and how many is much a matter of chance."""
MOST_PLAYED = 200
"""How many workers of a lane are played at most; those beyond are taken for idle."""
SPACING_S, LONG_POLL_S = 1.0, 20.0
"""Those of hints by SQS, whose module needs boto3; tests ensure that they are the engine's."""
_REGISTRY_S = 65.0
_SCHEDULES_S = 300.0
_JOURNAL_S = 0.75 * JOURNAL_AFTER_S
_READ_AGAIN_S = 5.0
_SELDOM = 0.01
"""Objects a second below which each is an event by itself: what it asks for is that many times what a hundredth does."""
_EVEN = 200.0
"""Objects a second of a lane beyond which it is all the same whether they come evenly or at random."""
_ONE_BY_ONE = 2000.0
"""Messages a second of a lane beyond which several are played as one."""


@dataclass(frozen=True, slots=True)
class Life:
    """What becomes of a message on average: how often it is tried, and how likely it dies."""

    attempts: float
    deaths: float

    @property
    def retries(self) -> float:
        """How many attempts come after the first."""
        return self.attempts - 1


def life_of(failing: float, max_attempts: int) -> Life:
    """Return the life of messages of which each attempt fails with that likelihood."""
    if failing >= 1:
        return Life(float(max_attempts), 1.0)
    deaths = failing**max_attempts
    return Life((1 - deaths) / (1 - failing), deaths)


@dataclass(frozen=True, slots=True)
class Crew:
    """Who works in a lane: how many there are, how many it takes at least, and what they do a second.

    ``played``: those of them that were; the others are idle. ``keeps_up``: whether they do what comes.
    """

    workers: float
    played: int
    needed: float
    rhythm: Rhythm
    keeps_up: bool


def crew_of(load: Load, settings: Settings, objects_per_s: float, attempts_per_s: float) -> Crew:
    """Return who works in one lane, of so many objects and attempts a second."""
    workers = load.workers / settings.lanes
    reading = objects_per_s * load.latency.get / READERS
    needed = max(attempts_per_s * load.handler_s / load.concurrency, reading)
    most = MOST_PLAYED if settings.strict else min(MOST_PLAYED, max(40, ceil(4 * needed)))
    crew = max(1, min(round(workers), most))
    spacing_s = {"s3": None, "redis": 0.0, "sqs": SPACING_S / max(1, load.producers)}[load.coordination]
    batch = max(1.0, attempts_per_s / objects_per_s) if objects_per_s else 1.0
    unit = max(1, min(int(batch), int(attempts_per_s / _ONE_BY_ONE)))
    lane = Lane(
        objects_per_s,
        batch / unit,
        load.handler_s * max(1.0, unit / load.concurrency),
        max(1, load.concurrency // unit),
        load.poll_interval_s,
        max(load.max_poll_interval_s, load.poll_interval_s),
        load.latency,
        workers=crew,
        fleet=max(1, round(workers)),
        order=settings.order,
        groups=load.groups,
        lease_s=settings.lease_ms / 1000,
        retries=settings.max_attempts > 1,
        scattered=settings.lanes > 1 and _SELDOM <= objects_per_s < _EVEN,
        hints_s=spacing_s,
        hints_all=load.coordination == "redis",
        unit=unit,
    )
    rhythm = _rhythm(lane)
    return Crew(workers, crew, needed, rhythm, needed <= workers and rhythm.ended >= 0.9 * attempts_per_s)


def _rhythm(lane: Lane) -> Rhythm:
    if 0 < lane.objects_per_s < _SELDOM:
        idle = played(replace(lane, objects_per_s=0.0, batch=1.0))
        return idle.toward(played(replace(lane, objects_per_s=_SELDOM)), lane.objects_per_s / _SELDOM)
    return played(lane)


def demand(load: Load, settings: Settings) -> Iterator[Rate]:
    """Yield what the queue asks of its store while messages come at this rate, or while none come."""
    life = life_of(load.failing, settings.max_attempts)
    rate, lanes = load.messages_per_s, settings.lanes
    objects = rate * (1 / load.batch + life.retries)
    crew = crew_of(load, settings, objects / lanes, rate * life.attempts / lanes)
    yield from _messages(load, settings, life, objects)
    yield from _reading(load, crew, life, objects, lanes)
    yield from _dispatch(load, settings, crew)
    yield from _upkeep(load, settings, crew, objects)
    if load.coordination == "sqs":
        # A hint is sent, received and deleted; who lists waits for the next, a request each twenty seconds.
        sends = crew.rhythm.hints * lanes
        yield Rate(HINT, Purpose.HINTS, 3 * sends + max(0.0, lanes / LONG_POLL_S - sends))


def _messages(load: Load, settings: Settings, life: Life, objects: float) -> Iterator[Rate]:
    """Yield what each message costs, whoever works: enqueued, kept, forgotten."""
    rate = load.messages_per_s
    keys = rate * load.deduplicated
    yield Rate("PUT", Purpose.ENQUEUE, objects + 2 * keys + 2 * keys / PAGE)
    # To reserve; to see that it is marked; to forget: passes over it, and the last look.
    yield Rate("GET", Purpose.ENQUEUE, (2 + 1 + 4) * keys)
    yield Rate("POST", Purpose.DELETES, keys / PAGE)
    yield Rate("PUT", Purpose.DEAD_LETTERS, rate * life.deaths)
    kept = rate * (1 - life.deaths) if settings.results else 0.0
    yield Rate("PUT", Purpose.RESULTS, kept)
    yield Rate("GET", Purpose.RESULTS, kept)
    yield Rate("LIST", Purpose.SWEEPING, kept / PAGE + keys * 2 / PAGE)
    yield Rate("POST", Purpose.DELETES, kept / PAGE)


def _reading(load: Load, crew: Crew, life: Life, objects: float, lanes: int) -> Iterator[Rate]:
    """Yield the reading of objects: once each, or by everybody who has a share of it; fewer if they do not keep up."""
    rhythm, attempts = crew.rhythm, load.messages_per_s * life.attempts
    if not objects or not rhythm.ended:
        yield Rate("GET", Purpose.READING, rhythm.objects * lanes)
        return
    readers = max(1.0, rhythm.objects / rhythm.ended * attempts / objects)
    yield Rate("GET", Purpose.READING, objects * readers * (1.0 if crew.keeps_up else rhythm.ended * lanes / attempts))


def _dispatch(load: Load, settings: Settings, crew: Crew) -> Iterator[Rate]:
    """Yield looks and commits, of all lanes."""
    lanes, rhythm = settings.lanes, crew.rhythm
    yield Rate("LIST", Purpose.POLLING, rhythm.looks * lanes * len(settings.priorities))
    yield Rate("PUT", Purpose.COMMITS, rhythm.commits * lanes)
    yield Rate("PUT", Purpose.LOST_RACES, rhythm.lost * lanes)
    yield Rate("GET", Purpose.POLLING, rhythm.reads * lanes)
    followed_s = idle_poll_s(int(crew.workers), load.max_poll_interval_s)
    visits = load.workers / followed_s / VISIT_POLLS if lanes > 1 else 0.0
    unplayed = max(0.0, crew.workers - crew.played) * lanes / followed_s
    yield Rate("GET", Purpose.POLLING, unplayed + visits)
    yield Rate("LIST", Purpose.POLLING, (unplayed + visits) * len(settings.priorities) if settings.strict else 0.0)
    busy = max(lanes, rhythm.active * lanes)
    producers = load.producers if load.messages_per_s else 0
    idle = max(0.0, load.workers - busy)
    yield Rate(
        "GET",
        Purpose.POLLING,
        (min(busy, load.workers) + producers) / REFRESH_S + idle / max(REFRESH_S, 5 * followed_s),
    )


def _upkeep(load: Load, settings: Settings, crew: Crew, objects: float) -> Iterator[Rate]:
    """Yield heartbeats, sweeps, deletions, and what the first lane's coordinator does for all."""
    lanes, rhythm = settings.lanes, crew.rhythm
    active = min(rhythm.active * lanes, float(load.workers))
    idle = (load.workers - active) * 1000 / IDLE_BEAT_MS
    # Who holds something for the first time since an idle heartbeat writes another at once.
    yield Rate("PUT", Purpose.HEARTBEATS, (2 * active - min(rhythm.busy * lanes, active)) * 1000 / BEAT_MS + idle)
    yield Rate("GET", Purpose.HEARTBEATS, active / (BEAT_MS / 1000 + _READ_AGAIN_S) + idle)
    yield Rate("LIST", Purpose.HEARTBEATS, (1 + load.workers // 1000) / _REGISTRY_S)
    sweeps = lanes / SWEEP_INTERVAL_S
    yield Rate("PUT", Purpose.COMMITS, sweeps)
    yield Rate("GET", Purpose.POLLING, 2 * sweeps)
    yield Rate("LIST", Purpose.SWEEPING, 2 * sweeps)
    yield Rate("LIST", Purpose.POLLING, sweeps * len(settings.priorities) if objects else 0.0)
    yield Rate("POST", Purpose.DELETES, rhythm.deletes * lanes)
    yield Rate("PUT", Purpose.SWEEPING, max(objects / JOURNAL_AT, min(active / _JOURNAL_S, objects)))
    yield Rate("LIST", Purpose.SWEEPING, 2 / INTERVAL_S + 1 / max(INTERVAL_S, settings.dedup_ttl_s / 2))
    yield Rate("LIST", Purpose.SCHEDULES, 1 / _SCHEDULES_S)
    if settings.history and objects:
        attempts = load.messages_per_s * life_of(load.failing, settings.max_attempts).attempts
        yield Rate("PUT", Purpose.RESULTS, max(attempts / FLUSH_AT, min(active / FLUSH_AFTER_S, attempts)))


def idle(load: Load) -> Load:
    """Return the same load while nothing comes."""
    return replace(load, messages_per_s=0.0, idle_share=0.0)
