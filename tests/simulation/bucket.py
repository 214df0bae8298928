"""The simulated bucket and its faults."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from s3queue.errors import NotFound, PreconditionFailed, StoreUnavailable
from s3queue.store.port import Create, Entry, Object, Page, PutMode, Replace
from tests.simulation.causes import Blow
from tests.simulation.world import Actor, Crashed, World

T = TypeVar("T")

SIGNATURE_S = 900.0
"""S3 refuses a request that was signed longer ago."""
LATENCY_S = {"GET": 0.027, "PUT": 0.05, "LIST": 0.04, "DELETE": 0.03, "POST": 0.05}
"""Medians of S3 Standard as published for small objects (arXiv 2501.07771); a long tail is added."""


@dataclass
class Faults:
    """How likely each fault is at a call, or how large; 0 switches it off."""

    crash_before: float = 0.0
    crash_after: float = 0.0
    crash_after_move: float = 0.0
    """How likely a worker dies between the target of a move and striking its line."""
    pause: float = 0.0
    pause_s: float = 60.0
    pause_at_journal: float = 0.0
    pause_at_ledger: float = 0.0
    """How likely a process is held up between composing a commit and sending it."""
    pause_at_registry: float = 0.0
    """How likely a process is held up after it has read who works."""
    stopped_clock: float = 0.0
    """How likely the clocks of a coordinator stand still from its publishing tickets on, for up to ``stopped_clock_s``."""
    stopped_clock_s: float = 60.0
    crash_at_dispatch: float = 0.0
    """How likely a coordinator dies when the tickets it publishes are in the ledger, and it has not been told so."""
    deaf_at_dispatch: float = 0.0
    """How likely it lives, and is never told."""
    slow_birth: float = 0.0
    """How likely a message object is held up between its naming and its PUT, so that it lands below the cursor."""
    no_sweep: float = 0.0
    """How likely a worker leaves out a sweep that is due."""
    extra_sweep: float = 0.0
    """How likely a worker sweeps out of turn, so that several do at once."""
    lost_answer: float = 0.0
    mute: float = 0.0
    """How likely a call is the first of many of its process whose requests are done and whose answers are all lost: those of
    its retries, of the reading back, of whatever comes in the meantime."""
    mute_s: float = 150.0
    late_put: float = 0.0
    late_put_s: float = 40.0
    unavailable: float = 0.0
    throttled: float = 0.0
    conflict: float = 0.0
    partial_delete: float = 0.0
    slow_list: float = 0.0
    skew_s: float = 0.0
    jump: float = 0.0
    vandals: int = 0
    """How many objects are corrupted (and mended in the end), put by strangers, and deleted by a lifecycle rule."""
    page: int = 1000


class Bucket:
    """What all actors see: keys, bodies, ETags (the MD5 of the body, as S3 has it). Calls happen at one instant each."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._keys: list[str] = []
        self.hand = ""
        """Whose request is being carried out."""
        self.dispatcher = ""
        """Who has just now assigned tickets."""
        self.on_put: Callable[[str, Object | None, Object], None] = lambda key, before, after: None
        self.on_delete: Callable[[str], None] = lambda key: None

    def get(self, key: str, if_none_match: str | None) -> Object | None:
        found = self.objects.get(key)
        if found is None:
            raise NotFound(key)
        return None if found.etag == if_none_match else found

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        before = self.objects.get(key)
        if isinstance(mode, Create) and before is not None:
            raise PreconditionFailed(key, expected="absent", found="an object")
        if isinstance(mode, Replace) and (before is None or before.etag != mode.etag):
            raise PreconditionFailed(key, expected=mode.etag, found=before.etag if before else "nothing")
        after = Object(body, hashlib.md5(body, usedforsecurity=False).hexdigest())
        if before is None:
            bisect.insort(self._keys, key)
        self.objects[key] = after
        self.on_put(key, before, after)
        return after.etag

    def delete(self, key: str) -> None:
        before = self.objects.pop(key, None)
        if before is not None:
            del self._keys[bisect.bisect_left(self._keys, key)]
            self.on_delete(key)

    def plant(self, key: str, body: bytes) -> None:
        """Put an object that is none of ours."""
        if key not in self.objects:
            bisect.insort(self._keys, key)
        self.objects[key] = Object(body, hashlib.md5(body, usedforsecurity=False).hexdigest())

    def uproot(self, key: str) -> None:
        """Take an object away without anybody's leave."""
        del self.objects[key]
        del self._keys[bisect.bisect_left(self._keys, key)]

    def list(self, prefix: str, after: str, limit: int) -> Page:
        start = bisect.bisect_left(self._keys, prefix) if after < prefix else bisect.bisect_right(self._keys, after)
        found: list[Entry] = []
        for key in self._keys[start : start + limit + 1]:
            if not key.startswith(prefix):
                break
            found.append(Entry(key, len(self.objects[key].body)))
        return Page(tuple(found[:limit]), len(found) > limit)


class SimStore:
    """One actor's way to the bucket: latency, and the faults of the moment."""

    def __init__(self, world: World, bucket: Bucket, actor: Actor, faults: Callable[[], Faults]) -> None:
        self._world, self._bucket, self._actor, self._faults = world, bucket, actor, faults

    @property
    def location(self) -> str:
        return "sim://bucket"

    def now_ms(self) -> int:
        return int(self._actor.wall_s(self._world.now_s) * 1000)

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        found = self._call("GET", key, lambda: self._bucket.get(key, if_none_match))
        if "/workers/" in key:
            self._may_pause("pause_at_registry", key)
        return found

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if "/inbox/" in key and self._chance("slow_birth"):
            self._befell("slow_birth", key)
            self._world.park(self._actor, self._world.random.uniform(4, 20))
        if "/ledger/" in key:
            self._may_pause("pause_at_ledger", key)
        return self._call("PUT", key, lambda: self._bucket.put(key, body, mode), writes=True)

    def delete(self, key: str) -> None:
        self._call("DELETE", key, lambda: self._bucket.delete(key), writes=True)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        def act() -> tuple[str, ...]:
            left = []
            for key in keys:
                if self._chance("partial_delete"):
                    left.append(key)
                else:
                    self._bucket.delete(key)
            return tuple(left)

        return self._call("POST", keys[0], act, writes=True)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        if self._chance("slow_list"):
            self._befell("slow_list", prefix)
            self._world.park(self._actor, self._world.random.uniform(1, 10))
        page = min(limit, self._faults().page)
        found = self._call("LIST", prefix, lambda: self._bucket.list(prefix, after, page))
        if "/settled/" in prefix:
            self._may_pause("pause_at_journal", prefix)
        return found

    def close(self) -> None:
        return None

    def _may_pause(self, fault: str, key: str) -> None:
        if self._chance(fault):
            self._world.note(f"{self._actor.name} pauses: {fault}")
            self._befell(fault, key)
            self._world.park(self._actor, self._world.random.uniform(0.3, 1) * self._faults().pause_s)
            self._world.causes.answered(self._actor.name, self._world.now_s)

    def _chance(self, fault: str) -> bool:
        likely = float(getattr(self._faults(), fault))
        happens = likely > 0 and self._world.random.random() < likely
        if happens:
            self._world.faults[fault] += 1
        return happens

    def _befell(self, kind: str, key: str) -> None:
        self._world.causes.befell(Blow(self._world.now_s, self._actor.name, kind, key))

    def _call(self, verb: str, key: str, act: Callable[[], T], *, writes: bool = False) -> T:
        world, actor = self._world, self._actor
        self._suffer_before(verb, key)
        signed_at_s = world.now_s
        world.park(actor, self._latency(verb))
        if world.now_s - signed_at_s > SIGNATURE_S:
            self._befell("signature", key)
            raise StoreUnavailable("the signature is too old", key=key, maybe_applied=False)
        self._suffer_refusal(verb, key)
        if verb == "PUT" and self._chance("late_put"):
            after_s = world.random.uniform(0.1, 1) * self._faults().late_put_s
            world.note(f"{actor.name} {verb} {key}: no answer, lands {after_s:.1f} s later")
            self._befell("late_put", key)
            world.at(world.now_s + after_s, lambda: self._land(key, act))
            world.park(actor, self._latency(verb) * 5)
            raise StoreUnavailable("timed out", key=key, maybe_applied=True)
        try:
            self._bucket.hand = actor.name
            answer = act()
        except (NotFound, PreconditionFailed) as error:
            world.note(f"{actor.name} {verb} {key}: {type(error).__name__}")
            self._suffer_after(verb, key, writes=writes)
            raise
        world.note(f"{actor.name} {verb} {key}")
        self._suffer_after(verb, key, writes=writes)
        return answer

    def _suffer_before(self, verb: str, key: str) -> None:
        """Crash, jump in time or pause before the request is sent."""
        world, actor = self._world, self._actor
        if actor.doomed:
            raise Crashed
        if self._chance("crash_before"):
            world.note(f"{actor.name} crashes before {verb} {key}")
            raise self._crash("crash_before", key)
        if self._chance("jump"):
            actor.skew_s = world.random.uniform(-1, 1) * self._faults().skew_s
            world.causes.clock(actor.name, world.now_s, actor.skew_s)
        if self._chance("pause"):
            seconds = world.random.uniform(0.1, 1) * self._faults().pause_s
            world.note(f"{actor.name} pauses {seconds:.1f} s before {verb} {key}")
            self._befell("pause", key)
            world.park(actor, seconds)

    def _suffer_refusal(self, verb: str, key: str) -> None:
        """Let the store refuse without doing anything."""
        for fault in ("throttled", "unavailable", "conflict"):
            if (fault != "conflict" or verb == "PUT") and self._chance(fault):
                self._world.note(f"{self._actor.name} {verb} {key}: {fault}")
                self._befell(fault, key)
                self._world.park(self._actor, self._latency(verb))
                raise StoreUnavailable(fault, key=key, throttled=fault == "throttled", maybe_applied=False)

    def _suffer_after(self, verb: str, key: str, *, writes: bool) -> None:
        """Crash once it is done, or lose the answer."""
        world, actor = self._world, self._actor
        moved = verb == "PUT" and "/inbox/" in key and actor.name.startswith("w")
        for fault in ("crash_after", "crash_after_move"):
            if (fault == "crash_after" or moved) and self._chance(fault):
                world.note(f"{actor.name} crashes after {verb} {key}")
                raise self._crash(fault, key)
        lost = "mute" if self._is_muted() else "lost_answer" if self._chance("lost_answer") else ""
        if verb == "PUT" and self._bucket.dispatcher == actor.name:
            lost = self._suffer_dispatch(key) or lost
        if lost:
            self._befell(lost, key)
        world.park(actor, self._latency(verb))
        if lost:
            world.note(f"{actor.name} {verb} {key}: answer lost")
            raise StoreUnavailable("timed out", key=key, maybe_applied=writes) from None
        world.causes.answered(actor.name, world.now_s)

    def _suffer_dispatch(self, key: str) -> str:
        """Fall out of time, die, or (returned) lose the answer when tickets have just been published."""
        world, actor = self._world, self._actor
        self._bucket.dispatcher = ""
        if self._chance("stopped_clock"):
            until_s = world.now_s + world.random.uniform(0.4, 1) * self._faults().stopped_clock_s
            world.note(f"{actor.name}'s clocks stand still for {until_s - world.now_s:.1f} s")
            world.causes.stood_still(actor.name, world.now_s, until_s)
            actor.stops.append((world.now_s, until_s))
        if self._chance("crash_at_dispatch"):
            world.note(f"{actor.name} crashes when it has published")
            raise self._crash("crash_at_dispatch", key)
        return "deaf_at_dispatch" if self._chance("deaf_at_dispatch") else ""

    def _is_muted(self) -> bool:
        """Whether the actor's answers are all lost for a while, which may begin with this one."""
        world, actor, faults = self._world, self._actor, self._faults()
        if faults.mute and world.now_s >= actor.mute_until_s and self._chance("mute"):
            actor.mute_until_s = world.now_s + world.random.uniform(0.3, 1) * faults.mute_s
            world.note(f"{actor.name} hears nothing for {actor.mute_until_s - world.now_s:.1f} s")
        if not faults.mute or world.now_s >= actor.mute_until_s:
            return False
        world.faults["muted_answer"] += 1
        return True

    def _land(self, key: str, act: Callable[[], object]) -> None:
        try:
            self._bucket.hand = self._actor.name
            act()
        except PreconditionFailed:
            self._world.note(f"a late PUT {key} is refused")
        else:
            self._world.note(f"a late PUT {key} lands")

    def _latency(self, verb: str) -> float:
        """Return the time of one way, in seconds."""
        return self._world.random.lognormvariate(0, 0.5) * LATENCY_S[verb] / 2

    def _crash(self, kind: str, key: str) -> BaseException:
        self._world.causes.died(Blow(self._world.now_s, self._actor.name, kind, key))
        self._actor.doomed = True
        return Crashed()
