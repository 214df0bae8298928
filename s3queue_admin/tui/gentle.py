"""Reading in bulk that leaves the screen its turn: few threads at a time, and no look for garbage among what was read."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from time import thread_time  # noqa: TID251 - not when it is, but how long a thread computes
from typing import Final, TypeVar

from s3queue.clock import Clock

In = TypeVar("In")
Out = TypeVar("Out")

FEW: Final = 2
"""Calls at a time that keep the interpreter busy where the bucket answers at once."""
MOST: Final = 16
"""Calls at a time at most, however long the bucket takes to answer."""
_SHARE: Final = 0.7
"""Of the calls that it would take to have one computing all the time: calls that wait for each other get fewer."""
_LIKE_BEFORE: Final = 0.8

SWITCH_S: Final = 0.001
"""After so long a thread lets others compute, the screen's among them; Python's own are 5 ms."""
BULK: Final = 2_000
"""So many things that were read are not looked through for garbage."""
LOOK_S: Final = 60.0
"""Between two looks for garbage among old objects."""
NEVER: Final = 1_000_000_000


class Gentle:
    """Calls a function for many things in threads of its own; usable from any thread.

    How many at a time is found out: as many as it takes to have one computing while the others wait for the bucket. Where
    none waits, as with a folder or many messages an object, threads would only take turns, and the screen's with them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="s3queue-tui")
        self._waits = 1.0
        """How many times longer a call takes than it computes."""

    @property
    def abreast(self) -> int:
        """How many calls are made at a time."""
        return min(MOST, max(FEW, round(self._waits * _SHARE)))

    def spread(self, function: Callable[[In], Out], items: Iterable[In], /) -> list[Out]:
        """Return ``[function(item) for item in items]``; after an error no other call begins, and it is raised."""
        waiting, running, found = enumerate(items), dict[Future[tuple[Out, float, float]], int](), dict[int, Out]()
        error: BaseException | None = None
        while True:
            while error is None and len(running) < self.abreast and (item := next(waiting, None)) is not None:
                running[self._pool.submit(self._timed, function, item[1])] = item[0]
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                number, failed = running.pop(done), done.exception()
                if failed is None:
                    found[number], *times = done.result()
                    self._learn(*times)
                error = error or failed
        if error is not None:
            raise error
        return [found[number] for number in sorted(found)]

    def _timed(self, function: Callable[[In], Out], item: In) -> tuple[Out, float, float]:
        began, computed = self._clock.monotonic(), thread_time()
        made = function(item)
        return made, self._clock.monotonic() - began, thread_time() - computed

    def _learn(self, took_s: float, computed_s: float) -> None:
        ratio = took_s / computed_s if computed_s > 0 else 1.0
        self._waits = _LIKE_BEFORE * self._waits + (1 - _LIKE_BEFORE) * min(ratio, 2.0 * MOST)


class Memory:
    """Looks for garbage when nobody waits for a frame. One at a time, for the screen's thread, from ``begin`` to ``end``.

    Python's collector looks through all old objects now and then: a tenth of a second for a hundred thousand messages, in
    the middle of whatever is done. Here it looks through young ones alone; through old ones once a minute, while no key is
    pressed; and what was read in bulk, which has no cycles, is left out of that until it is let go (:func:`gc.freeze`).
    """

    def __init__(self) -> None:
        self._was: tuple[float, tuple[int, int, int]] | None = None
        self._at_s = 0.0
        self._held: set[int] = set()

    def begin(self, now_s: float) -> None:
        """Take over from Python."""
        if self._was is None:
            self._was, self._at_s = (sys.getswitchinterval(), gc.get_threshold()), now_s
            sys.setswitchinterval(SWITCH_S)
            gc.set_threshold(*self._was[1][:2], NEVER)
            gc.freeze()

    def end(self) -> None:
        """Give everything back to Python."""
        if self._was is not None:
            sys.setswitchinterval(self._was[0])
            gc.set_threshold(*self._was[1])
            gc.unfreeze()
            self._was = None

    def hold(self, owner: object, count: int) -> None:
        """So many things were read that stay as long as their owner does."""
        if self._was is not None and count >= BULK:
            self._held.add(id(owner))
            gc.freeze()

    def let_go(self, owner: object) -> None:
        """Nothing is needed any more of what was read for the owner: look through the rest soon."""
        if id(owner) in self._held:
            self._held.discard(id(owner))
            self._at_s = float("-inf")

    def tick(self, now_s: float) -> None:
        """Look, if it is time. Not to be called while something is read, or keys are pressed."""
        if self._was is None or now_s - self._at_s < LOOK_S:
            return
        self._at_s = now_s
        if not self._held:
            gc.unfreeze()
        gc.collect()
        if not self._held:
            gc.freeze()
