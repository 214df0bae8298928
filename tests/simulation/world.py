"""Virtual time and one turn at a time: the scheduler of the simulation.

Each actor is a real thread that runs the real engine. It parks at every call of a port (store, clock), and a seeded
scheduler lets exactly one go on at a time, in the order of virtual time. So a run depends on its seed alone.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.simulation.causes import EVERYBODY, Blow, Causes

START_S = 1_700_000_000.0
_STACK_BYTES = 512 * 1024


def _taken() -> threading.Lock:
    """Return a lock that somebody is waited for to release; several times faster than a semaphore."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def _nothing() -> None:
    """Watch nothing."""


def _never() -> bool:
    return False


class Crashed(BaseException):
    """Raised in an actor's thread at a port call: the process it stands for is dead."""


@dataclass
class Actor:
    """A simulated process: a thread, its skewed clock, and whether it has been killed."""

    name: str
    run: Callable[[Actor], None]
    go: threading.Lock = field(default_factory=_taken)
    skew_s: float = 0.0
    worker_id: str = ""
    """What it calls itself, if not by its name."""
    mute_until_s: float = 0.0
    stops: list[tuple[float, float]] = field(default_factory=list)
    """From when to when its clocks stood still, as those of a suspended machine do."""
    doomed: bool = False
    done: bool = False
    error: BaseException | None = None

    def wall_s(self, now_s: float) -> float:
        """Return what its clock shows at a true time."""
        return min([now_s, *(at_s for at_s, until_s in self.stops if at_s <= now_s < until_s)]) + self.skew_s

    def monotonic_s(self, now_s: float) -> float:
        """Return what its monotonic clock shows at a true time: what it missed it never makes up for."""
        return now_s - sum(min(now_s, until_s) - at_s for at_s, until_s in self.stops if at_s < now_s)


class World:
    """The scheduler: virtual time, the actors, and the trace of every turn."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now_s = START_S
        self.steps = 0
        self.faults: Counter[str] = Counter()
        self.causes = Causes()
        self.trace: list[str] | None = [] if keep_trace else None
        self._digest = hashlib.sha256()
        self._heap: list[tuple[float, int, Actor | Callable[[], None]]] = []
        self._serial = 0
        self._back = _taken()
        self._until_s, self._max_steps = 0.0, 0
        self._hands_on = False
        self.halted = False
        """Set to end a run at once."""
        self.actors: list[Actor] = []
        self.after_step: Callable[[], None] = _nothing
        self.on_death: Callable[[Actor], None] = lambda actor: None

    # -- the scheduler's side --

    def spawn(
        self, name: str, run: Callable[[Actor], None], *, at_s: float | None = None, skew_s: float = 0.0
    ) -> Actor:
        """Start an actor at virtual time ``at_s``."""
        actor = Actor(name, run, skew_s=skew_s)
        self.actors.append(actor)
        self.causes.clock(name, self.now_s, skew_s)
        threading.stack_size(_STACK_BYTES)
        threading.Thread(target=self._body, args=(actor,), name=name, daemon=True).start()
        self._push(self.now_s if at_s is None else at_s, actor)
        return actor

    def at(self, time_s: float, act: Callable[[], None]) -> None:
        """Do something at a virtual time, in no actor's name: a late PUT lands, a burst ends."""
        self._push(time_s, act)

    def _push(self, time_s: float, what: Actor | Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (time_s, self._serial, what))

    def run(self, until_s: float, max_steps: int, stop: Callable[[], bool] = _never) -> None:
        """Hand out turns until nothing is left, time or steps are over, or ``stop`` says so."""
        self._until_s, self._max_steps = until_s, max_steps
        # Where nobody looks at each step, actors pass the turn on among themselves: half the switches of threads.
        self._hands_on = stop is _never and self.after_step is _nothing
        while self._has_next() and not stop():
            what = self._pop()
            if isinstance(what, Actor):
                if not what.done:
                    what.go.release()
                    self._back.acquire()
            else:
                what()
            self.after_step()
        self._hands_on = False

    def _has_next(self) -> bool:
        in_time = bool(self._heap) and self._heap[0][0] <= self._until_s and self.steps < self._max_steps
        return in_time and not self.halted

    def _pop(self) -> Actor | Callable[[], None]:
        """Go on to the next that has a turn."""
        time_s, _, what = heapq.heappop(self._heap)
        self.now_s = max(self.now_s, time_s)
        self.steps += 1
        return what

    def _end_turn(self) -> Actor | None:
        """Return whose turn it is now; None if that is for the scheduler to say."""
        while self._hands_on and self._has_next():
            if not isinstance(self._heap[0][2], Actor):
                break
            following = self._pop()
            if isinstance(following, Actor) and not following.done:
                return following
        return None

    def night(self, seconds: float) -> None:
        """Let everybody sleep; requests under way and late copies are refused, as their signatures are too old by then."""
        self._heap = [entry for entry in self._heap if isinstance(entry[2], Actor)]
        heapq.heapify(self._heap)
        self.causes.befell(Blow(self.now_s, EVERYBODY, "night"))
        self.now_s += seconds
        self.causes.answered(EVERYBODY, self.now_s)
        self.faults["night"] += 1
        self.note(f"a night of {seconds:.0f} s")

    def kill_all(self) -> None:
        """End every thread that is left."""
        for actor in self.actors:
            while not actor.done:
                actor.doomed = True
                actor.go.release()
                self._back.acquire()

    def kill(self, actor: Actor) -> None:
        """Let the actor die at its next turn."""
        actor.doomed = True

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        line = f"{self.now_s - START_S:10.3f} {text}"
        self._digest.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    def digest(self) -> str:
        """Return a digest of the whole trace: equal for equal runs."""
        return self._digest.hexdigest()

    # -- the actors' side --

    def _body(self, actor: Actor) -> None:
        actor.go.acquire()
        try:
            if not actor.doomed:
                actor.run(actor)
        except Crashed:
            self.on_death(actor)
        except BaseException as error:  # noqa: BLE001 - told to the scheduler, which fails the run
            actor.error = error
        finally:
            actor.done = True
            self._pass_on(self._end_turn())

    def park(self, actor: Actor, seconds: float) -> None:
        """Give the turn back for ``seconds`` of virtual time."""
        if actor.doomed:
            raise Crashed
        self._push(self.now_s + seconds, actor)
        following = self._end_turn()
        if following is not actor:
            self._pass_on(following)
            actor.go.acquire()
        if actor.doomed:
            raise Crashed

    def _pass_on(self, following: Actor | None) -> None:
        (self._back if following is None else following.go).release()


class SimClock:
    """An actor's clock: virtual, with the actor's skew on the wall clock."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._world, self._actor = world, actor

    def now_ms(self) -> int:
        return int(self._actor.wall_s(self._world.now_s) * 1000)

    def monotonic(self) -> float:
        return self._actor.monotonic_s(self._world.now_s)

    def sleep(self, seconds: float) -> None:
        self._world.park(self._actor, seconds)
