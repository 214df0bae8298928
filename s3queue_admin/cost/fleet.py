"""The engine's request model: what workers ask of the store, per second, by verb and purpose.

Every interval is the engine's own constant. What depends on how things meet in time, the coordinator's loop, is played
(:mod:`.rhythm`); how often commits of several workers collide is reckoned from how long one takes. Both are held against
runs of the engine in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp

from s3queue.core.presence import BEAT_MS, IDLE_BEAT_MS
from s3queue.core.settings import Settings
from s3queue.protocol.coordinator import idle_poll_s
from s3queue.protocol.history import FLUSH_AFTER_S, FLUSH_AT
from s3queue.protocol.janitor import DELETE_AFTER_S, DELETE_AT, JOURNAL_AFTER_S, JOURNAL_AT
from s3queue.protocol.lanes import VISIT_POLLS
from s3queue.protocol.register import REFRESH_S
from s3queue.protocol.retention import INTERVAL_S, PAGE
from s3queue.protocol.sweeper import SWEEP_INTERVAL_S
from s3queue.runtime.readers import READERS
from s3queue.runtime.worker import LINGER_S
from s3queue_admin.cost.bill import HINT, Rate
from s3queue_admin.cost.load import Load
from s3queue_admin.cost.purposes import Purpose
from s3queue_admin.cost.rhythm import UPKEEP_S, Lane, Rhythm, coordinator

CROWDED = 10.0
"""Commits a second of one ledger from which lost races and waiting grow faster than this model knows."""
_REGISTRY_S = 65.0
_SCHEDULES_S = 300.0
_RELOOK_S = 0.04
_COLLISION = 0.69
"""The share of a GET and a PUT in which another's commit makes a PUT lose. Like the two below, fitted to runs."""
_AWAKE = 1.3
"""How many workers are kept busy for each that would do: those awake are given half of what they can hold."""
_READ_SHARE = 0.6
"""The share of its time in which a coordinator with followers reads."""
_LEADS_READS = 1.25
"""How many times a coordinator reads its ledger a look where others write too."""
_SQS_SPACING_S = 1.0
_LONG_POLL_S = 20.0


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
    """Who works in a lane: how many there are and are ``busy``, what they commit a second, and tries per commit."""

    workers: float
    busy: float
    needed: float
    rhythm: Rhythm
    follower_commits: float = 0.0
    tries: float = 1.0

    @property
    def commits(self) -> float:
        """Commits of the lane a second."""
        return self.rhythm.commits + self.follower_commits


def crew_of(load: Load, settings: Settings, objects_per_s: float, attempts_per_s: float) -> Crew:
    """Return who works in one lane, of so many objects and attempts a second."""
    workers = load.workers / settings.lanes
    batch = max(1.0, attempts_per_s / objects_per_s) if objects_per_s else 1.0
    lane = Lane(
        objects_per_s,
        batch,
        load.handler_s,
        load.concurrency,
        load.poll_interval_s,
        load.max_poll_interval_s,
        load.latency,
        hinted=load.coordination != "s3",
    )
    reading = objects_per_s * load.latency.get / READERS / _READ_SHARE
    needed = max(attempts_per_s * load.handler_s / load.concurrency, reading)
    busy = min(max(1.0, _AWAKE * needed), max(1.0, workers))
    if busy == 1 or settings.order == "strict":
        return Crew(workers, 1.0, needed, coordinator(lane))
    return _crowd(load, workers, busy, needed, objects_per_s)


def _crowd(load: Load, workers: float, busy: float, needed: float, objects_per_s: float) -> Crew:
    """Return a crew of several: they find the rate at which they commit though each commit may make others lose theirs."""
    latency, tries, commits = load.latency, 1.0, 0.0
    again_s = latency.get + latency.put
    wait_s = load.handler_s / load.concurrency / 2
    for _ in range(60):
        lost_s = (tries - 1) * (again_s + 0.02 * tries)
        look_s = latency.list + _LEADS_READS * latency.get + latency.put + lost_s
        lead_s = max(load.poll_interval_s, look_s) + _RELOOK_S
        follow_s = LINGER_S + wait_s + again_s + 2 * latency.get + lost_s
        now = 1 / lead_s + (busy - 1) / follow_s
        commits = (commits + now) / 2
        tries = (tries + min(exp(commits * (busy - 1) / busy * _COLLISION * again_s), 5.0)) / 2
    share = objects_per_s / busy
    deletes = busy * _deletes(share, follow_s) if share else 0.0
    rhythm = Rhythm(1 / lead_s, 1 / lead_s, _LEADS_READS / lead_s + (tries - 1) / lead_s, deletes)
    return Crew(workers, busy, needed, rhythm, (busy - 1) / follow_s, tries)


def _deletes(objects_per_s: float, commit_s: float) -> float:
    """Return how often a worker deletes that settles so many objects a second."""
    return 1 / min(DELETE_AT / objects_per_s + commit_s / 2, DELETE_AFTER_S + UPKEEP_S + commit_s)


def demand(load: Load, settings: Settings) -> Iterator[Rate]:
    """Yield what the queue asks of its store while messages come at this rate, or while none come."""
    life = life_of(load.failing, settings.max_attempts)
    rate, lanes = load.messages_per_s, settings.lanes
    objects = rate * (1 / load.batch + life.retries)
    crew = crew_of(load, settings, objects / lanes, rate * life.attempts / lanes)
    yield from _messages(load, settings, life, objects)
    yield from _dispatch(load, settings, crew, objects)
    yield from _upkeep(load, settings, crew, objects)
    if load.coordination == "sqs":
        sends = min(rate, load.producers / _SQS_SPACING_S)
        yield Rate(HINT, Purpose.HINTS, 3 * sends + lanes / _LONG_POLL_S)


def _messages(load: Load, settings: Settings, life: Life, objects: float) -> Iterator[Rate]:
    """Yield what each message costs, whoever works: enqueued, read, kept."""
    rate = load.messages_per_s
    keys = rate * load.deduplicated
    yield Rate("PUT", Purpose.ENQUEUE, objects + 2 * keys + 2 * keys / PAGE)
    yield Rate("GET", Purpose.ENQUEUE, (2 + 4) * keys)  # to reserve, and to forget: passes over it, and the last look
    yield Rate("POST", Purpose.DELETES, keys / PAGE)
    yield Rate("GET", Purpose.READING, objects)
    yield Rate("PUT", Purpose.DEAD_LETTERS, rate * life.deaths)
    kept = rate * (1 - life.deaths) if settings.results else 0.0
    yield Rate("PUT", Purpose.RESULTS, kept)
    yield Rate("GET", Purpose.RESULTS, kept)
    yield Rate("LIST", Purpose.SWEEPING, kept / PAGE + keys * 2 / PAGE)
    yield Rate("POST", Purpose.DELETES, kept / PAGE)


def _dispatch(load: Load, settings: Settings, crew: Crew, objects: float) -> Iterator[Rate]:
    """Yield looks and commits, of all lanes."""
    lanes, rhythm, tries = settings.lanes, crew.rhythm, crew.tries
    looks, commits = rhythm.looks * lanes, crew.commits * lanes
    if settings.order == "strict" and objects:
        commits, looks = max(objects, rhythm.commits), max(0.01 * objects, 1 / load.max_poll_interval_s)
    elif settings.order == "lifo":
        looks = min(looks, crew.busy * lanes)
    yield Rate("LIST", Purpose.POLLING, looks * len(settings.priorities))
    yield Rate("PUT", Purpose.COMMITS, commits)
    yield Rate("PUT", Purpose.LOST_RACES, commits * (tries - 1))
    idle = max(0.0, crew.workers - crew.busy) * lanes
    followed_s = idle_poll_s(int(crew.workers), load.max_poll_interval_s)
    visits = load.workers / followed_s / VISIT_POLLS if lanes > 1 else 0.0
    yield Rate("GET", Purpose.POLLING, rhythm.reads * lanes + crew.follower_commits * tries * lanes)
    yield Rate("GET", Purpose.POLLING, idle / followed_s + visits)
    followers_s = max(REFRESH_S, 5 * followed_s)
    busy = min(crew.busy * lanes, load.workers)
    producers = load.producers if load.messages_per_s else 0
    yield Rate("GET", Purpose.POLLING, (busy + producers) / REFRESH_S + idle / followers_s)


def _upkeep(load: Load, settings: Settings, crew: Crew, objects: float) -> Iterator[Rate]:
    """Yield heartbeats, sweeps, deletions, and what the first lane's coordinator does for all."""
    lanes, active = settings.lanes, objects > 0
    busy = min(crew.busy * lanes, load.workers) if active else 0.0
    beats = busy * 1000 / BEAT_MS + (load.workers - busy) * 1000 / IDLE_BEAT_MS
    yield Rate("PUT", Purpose.HEARTBEATS, beats)
    yield Rate("GET", Purpose.HEARTBEATS, beats)
    yield Rate("LIST", Purpose.HEARTBEATS, (1 + load.workers // 1000) / _REGISTRY_S)
    sweeps = lanes / SWEEP_INTERVAL_S
    yield Rate("PUT", Purpose.COMMITS, sweeps)
    yield Rate("GET", Purpose.POLLING, 2 * sweeps)
    yield Rate("LIST", Purpose.SWEEPING, 2 * sweeps)
    yield Rate("LIST", Purpose.POLLING, sweeps * len(settings.priorities) if active else 0.0)
    yield Rate("POST", Purpose.DELETES, crew.rhythm.deletes * lanes)
    yield Rate("PUT", Purpose.SWEEPING, max(objects / JOURNAL_AT, min(busy / JOURNAL_AFTER_S, objects)))
    yield Rate("LIST", Purpose.SWEEPING, 2 / INTERVAL_S + 1 / max(INTERVAL_S, settings.dedup_ttl_s / 2))
    yield Rate("LIST", Purpose.SCHEDULES, 1 / _SCHEDULES_S)
    if settings.history and active:
        attempts = load.messages_per_s * life_of(load.failing, settings.max_attempts).attempts
        yield Rate("PUT", Purpose.RESULTS, max(attempts / FLUSH_AT, min(busy / FLUSH_AFTER_S, attempts)))


def idle(load: Load) -> Load:
    """Return the same load while nothing comes."""
    return replace(load, messages_per_s=0.0, idle_share=0.0)
