"""Hints in virtual time: what Redis or SQS would carry, each call counted where it is billed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from s3queue.coordination.port import Hint, Stop, nothing
from s3queue.coordination.sqs import LONG_POLL_S, SPACING_S
from tests.simulation.world import World

TRAVELS_S = 0.005
"""How long a hint is on its way."""
_PER_CALL = 10


class Wire:
    """A backend that all processes share: ``redis`` reaches all who listen, ``sqs`` one of them."""

    def __init__(self, kind: str, world: World) -> None:
        self.kind, self.world = kind, world
        self.calls: Counter[str] = Counter()
        """Requests to SQS by name."""
        self.listeners: dict[int, tuple[Callable[[Hint], None], float]] = {}
        self.waiting: dict[Hint, None] = {}
        self.serial = 0

    def deliver(self, hints: list[Hint]) -> None:
        """Let the hints arrive."""
        if self.kind == "redis":
            for callback, _ in list(self.listeners.values()):
                for hint in hints:
                    callback(hint)
            return
        self.waiting.update(dict.fromkeys(hints))
        if self.listeners and self.waiting:
            taken, self.waiting = list(self.waiting)[:_PER_CALL], dict.fromkeys(list(self.waiting)[_PER_CALL:])
            number = self.world.random.choice(list(self.listeners))
            callback, since_s = self.listeners[number]
            self.calls["ReceiveMessage"] += 1 + int((self.world.now_s - since_s) / LONG_POLL_S)
            self.calls["DeleteMessageBatch"] += 1
            self.listeners[number] = (callback, self.world.now_s)
            for hint in taken:
                callback(hint)

    def listen(self, callback: Callable[[Hint], None]) -> Stop:
        """Take part in the hints until the function returned is called."""
        self.serial += 1
        number = self.serial
        self.listeners[number] = (callback, self.world.now_s)
        if self.kind == "sqs":
            self.world.at(self.world.now_s + TRAVELS_S, lambda: self.deliver([]))

        def stop() -> None:
            found = self.listeners.pop(number, None)
            if found is not None and self.kind == "sqs":
                self.calls["ReceiveMessage"] += 1 + int((self.world.now_s - found[1]) / LONG_POLL_S)

        return stop


class WiredHints:
    """One process' :class:`s3queue.coordination.Hints` over a wire, spaced as the real link spaces them."""

    up = True

    def __init__(self, wire: Wire) -> None:
        self.wire, self.name, self.reaches_all = wire, wire.kind, wire.kind == "redis"
        self._pending: dict[Hint, None] = {}
        self._send_at = float("-inf")

    def announce(self, hint: Hint) -> None:
        """Send it soon; those that come meanwhile share the next call."""
        first, self._pending[hint] = not self._pending, None
        if first:
            self.wire.world.at(max(self.wire.world.now_s, self._send_at) + TRAVELS_S, self._flush)

    def _flush(self) -> None:
        hints, self._pending = list(self._pending), {}
        if self.wire.kind == "sqs":
            self._send_at = self.wire.world.now_s + SPACING_S
            self.wire.calls["SendMessageBatch"] += -(-len(hints) // _PER_CALL)
        self.wire.deliver(hints)

    def listen(self, callback: Callable[[Hint], None]) -> Stop:
        """Hear of what comes."""
        return self.wire.listen(callback)

    def present(self, worker: str, info: Mapping[str, Any], ttl_s: float) -> Stop:  # noqa: ARG002 - nobody looks
        """Show nothing: it costs nothing that is billed."""
        return nothing

    def presence(self) -> None:
        """Return nothing: nobody asks here."""

    def close(self) -> None:
        """End."""
