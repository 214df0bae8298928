"""Every order in which the requests of a few processes can reach the bucket, one run each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from s3queue.store.port import Object, Page, PutMode, Store
from tests.store.faulty import Wrapper

Actor = Callable[[Store], Any]
_PATIENCE_S = 20
_current = threading.local()


def give_way() -> None:
    """Let another process go on before the one that calls this does, if there is another."""
    _current.process.waits = True


class _Process(Wrapper):
    """A process: a thread that waits for its turn before each request."""

    def __init__(self, store: Store, act: Actor) -> None:
        super().__init__(store)
        self.go, self.back = threading.Semaphore(0), threading.Semaphore(0)
        self.done = self.waits = False
        self.returned: Any = None
        self._act = act
        threading.Thread(target=self._run, daemon=True).start()
        self._arrived()

    def _run(self) -> None:
        _current.process = self
        try:
            self.returned = self._act(self)
        except BaseException as error:  # noqa: BLE001 - what ended it is what the test judges
            self.returned = error
        finally:
            self.done = True
            self.back.release()

    def _arrived(self) -> None:
        assert self.back.acquire(timeout=_PATIENCE_S), "a process neither ended nor asked the store anything"

    def turn(self) -> None:
        """Let it make its next request and go on to the one after that, or to its end."""
        self.go.release()
        self._arrived()

    def _park(self) -> None:
        self.back.release()
        self.go.acquire()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        self._park()
        return super().get(key, if_none_match)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self._park()
        return super().put(key, body, mode)

    def delete(self, key: str) -> None:
        self._park()
        super().delete(key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        self._park()
        return super().delete_many(keys)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._park()
        return super().list(prefix, after, limit)


def _run(store: Store, actors: Sequence[Actor], prefix: Sequence[int]) -> tuple[list[Any], list[int], list[list[int]]]:
    """Run the actors, first in this order, then each to its end; return what they returned, the order, and who could go."""
    processes = [_Process(store, act) for act in actors]
    order: list[int] = []
    choices: list[list[int]] = []
    while alive := [number for number, process in enumerate(processes) if not process.done]:
        ready = [number for number in alive if not processes[number].waits] or alive
        by_itself = order[-1] if order and order[-1] in ready else ready[0]
        chosen = prefix[len(order)] if len(order) < len(prefix) else by_itself
        choices.append(ready)
        order.append(chosen)
        processes[chosen].waits = False
        processes[chosen].turn()
        if not processes[chosen].waits:  # something has happened that others may wait for
            for process in processes:
                process.waits = False
    return [process.returned for process in processes], order, choices


def every_order(
    world: Callable[[], tuple[Store, Sequence[Actor]]], preemptions: int | None = None
) -> Iterator[tuple[list[int], list[Any]]]:
    """Yield each order of requests with what the actors of a new world returned.

    ``preemptions``: only the orders in which a process that could go on is interrupted so many times at most.
    """
    todo: list[list[int]] = [[]]
    while todo:
        prefix = todo.pop()
        store, actors = world()
        returned, order, choices = _run(store, actors, prefix)
        yield order, returned
        for at in range(len(prefix), len(order)):
            for other in choices[at]:
                changed = [*order[:at], other]
                if other != order[at] and (preemptions is None or _preempted(changed, choices) <= preemptions):
                    todo.append(changed)


def _preempted(order: Sequence[int], choices: Sequence[Sequence[int]]) -> int:
    return sum(order[at] != order[at - 1] and order[at - 1] in choices[at] for at in range(1, len(order)))
