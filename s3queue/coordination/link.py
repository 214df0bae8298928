"""The link to a backend: one thread sends, one listens; both outlast its failures, and nobody ever waits for either."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from s3queue.clock import Clock, SystemClock
from s3queue.coordination.port import MAX_CARD_BYTES, Hint, Stop, decode, encode_card, nothing
from s3queue.coordination.transport import Card, Source, Transport
from s3queue.errors import InvalidSetting

MAX_PENDING = 256
"""Different hints that wait to be sent; more are forgotten."""
FLUSH_S = 1.0
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0
_STEADY_S = 5.0
"""What has worked for so long is no longer suspected: a failure after it is the first one."""

log = logging.getLogger("s3queue")

Tell = Callable[[str, str], None]
"""Told of a change: the backend's name, and what is wrong, '' if it works again."""


def pause_s(failures: int, random: float) -> float:
    """Return how long to leave a backend alone that failed so often in a row; ``random`` in [0, 1) spreads processes."""
    return min(_FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30), _MAX_PAUSE_S) * (0.5 + random)


class Patience:
    """When to try again: soon at first, then less and less often, until it has worked for a while."""

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        self._clock, self._random = clock, random
        self._failures, self._failed_at = 0, float("-inf")

    def failed(self) -> float:
        """Take note of a failure and return for how many seconds to leave the backend alone."""
        now = self._clock.monotonic()
        self._failures = self._failures + 1 if now - self._failed_at < _STEADY_S + 2 * _MAX_PAUSE_S else 1
        self._failed_at = now
        return pause_s(self._failures, self._random())


class Health:
    """Whether the backend works, told once a change, though two threads find out again and again."""

    def __init__(self, name: str, tell: Tell) -> None:
        self._name, self._tell = name, tell
        self._lock = threading.Lock()
        self._failing: set[str] = set()
        self._unproven: set[str] = set()
        self._seen = False
        self._error = ""
        # Not held by whoever announces: those who are told may announce.
        self._telling = threading.Lock()
        self._told_lost = False

    @property
    def up(self) -> bool:
        """Whether everything that is wanted of it has worked, and nothing has failed since."""
        return self._seen and not self._failing and not self._unproven

    def begins(self, role: str) -> None:
        """Take note that ``role`` (sending, listening) is wanted."""
        with self._lock:
            self._unproven.add(role)

    def failed(self, role: str, error: Exception) -> None:
        """Take note that ``role`` failed."""
        with self._lock:
            self._failing.add(role)
            self._error = f"{type(error).__name__}: {error}"
        self._tell_change()

    def works(self, role: str) -> None:
        """Take note that ``role`` works."""
        with self._lock:
            self._seen = True
            self._unproven.discard(role)
            self._failing.discard(role)
        self._tell_change()

    def ended(self, role: str) -> None:
        """Take note that ``role`` is not wanted any more, well or not."""
        with self._lock:
            self._failing.discard(role)
            self._unproven.discard(role)

    def _tell_change(self) -> None:
        if self._told_lost == bool(self._failing):
            return
        with self._telling:
            with self._lock:
                lost, error = bool(self._failing), self._error
            if lost != self._told_lost:
                self._told_lost = lost
                self._tell(self._name, error if lost else "")


@dataclass(slots=True)
class _Shown:
    """A card that is renewed."""

    card: Card
    due_at: float


class Link:
    """:class:`~s3queue.coordination.port.Hints` over a :class:`Transport`.

    Threads start with the first thing there is for them to do, and end with :meth:`close`, or with the process.
    """

    def __init__(
        self, transport: Transport, *, tell: Tell, random: Callable[[], float], clock: Clock | None = None
    ) -> None:
        self.name, self.reaches_all = transport.name, transport.reaches_all
        self._transport, self._random = transport, random
        self._clock = clock or SystemClock()
        self._health = Health(transport.name, tell)
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._pending: dict[Hint, None] = {}
        self._shown: dict[str, _Shown] = {}
        self._callbacks: dict[object, Callable[[Hint], None]] = {}
        self._send_at, self._failing = 0.0, False
        self._patience = Patience(self._clock, random)
        self._sender: threading.Thread | None = None
        self._listener: threading.Thread | None = None

    @property
    def up(self) -> bool:
        return self._health.up

    # -- sending --

    def announce(self, hint: Hint) -> None:
        with self._changed:
            if len(self._pending) < MAX_PENDING:
                self._pending[hint] = None
            self._wake_sender()

    def present(self, worker: str, info: Mapping[str, Any], ttl_s: float) -> Stop:
        card = Card(worker, encode_card(info), ttl_s)
        if not self._transport.shows:
            return nothing
        if len(card.body) > MAX_CARD_BYTES:
            raise InvalidSetting(f"info has {len(card.body)} bytes.", remedy=f"Use up to {MAX_CARD_BYTES}.")
        with self._changed:
            mine = self._shown[worker] = _Shown(card, 0.0)
            self._wake_sender()

        def stop() -> None:
            with self._changed:
                if self._shown.get(worker) is mine and mine.card is card:
                    mine.card, mine.due_at = Card(worker, b"", 0), 0.0
                    self._changed.notify_all()

        return stop

    def presence(self) -> dict[str, dict[str, Any]] | None:
        if self._transport.shows and (self._health.up or not self._failing):
            try:
                return self._transport.presence()
            except Exception as error:  # noqa: BLE001 - however it fails, it is only a hint
                log.debug("presence by %s: %s", self.name, error)
        return None

    def _wake_sender(self) -> None:
        """Start the sending thread, or wake it; the lock is held."""
        if self._closed.is_set():
            return
        if self._sender is None or not self._sender.is_alive():  # not alive: this is a fork of the process it ran in
            self._health.begins("sending")
            self._sender = threading.Thread(target=self._send_all, name="s3queue-announcing", daemon=True)
            self._sender.start()
            atexit.unregister(self.close)
            atexit.register(self.close)  # a script's last hint goes out, too
        self._changed.notify_all()

    def _send_all(self) -> None:
        while (batch := self._next_batch()) is not None:
            hints, cards = batch
            try:
                self._transport.send(hints, cards)
            except Exception as error:  # noqa: BLE001 - however it fails, it is tried again
                self._health.failed("sending", error)
                self._put_back(hints, cards)
            else:
                self._failing = False
                self._health.works("sending")
                self._send_at = self._clock.monotonic() + self._transport.spacing_s
        self._transport.close()

    def _next_batch(self) -> tuple[list[Hint], list[Card]] | None:
        """Wait for something to send and for the time to send it; None at the end."""
        with self._changed:
            while not self._closed.is_set():
                wait_s = self._wait_s()
                if wait_s is not None and wait_s <= 0:
                    break
                self._changed.wait(wait_s)
            if self._closed.is_set():
                for shown in self._shown.values():
                    shown.card, shown.due_at = Card(shown.card.worker, b"", 0), 0.0
                if self._failing or not (self._pending or self._shown):
                    return None
            now = self._clock.monotonic()
            hints = list(self._pending)
            self._pending.clear()
            cards = [shown.card for shown in self._shown.values() if shown.due_at <= now]
            for card in cards:
                self._shown[card.worker].due_at = now + card.ttl_s / 3
                if card.ttl_s <= 0:
                    del self._shown[card.worker]
            return hints, cards

    def _wait_s(self) -> float | None:
        """Return how long to wait before sending, None for as long as nothing changes."""
        if self._failing:
            due_at = self._send_at  # a sign of life is wanted, if nothing else
        else:
            times = [shown.due_at for shown in self._shown.values()] + [0.0] * bool(self._pending)
            if not times:
                return None
            due_at = max(self._send_at, min(times))
        return due_at - self._clock.monotonic()

    def _put_back(self, hints: list[Hint], cards: list[Card]) -> None:
        with self._changed:
            self._failing = True
            self._send_at = self._clock.monotonic() + self._patience.failed()
            self._pending = dict.fromkeys([*hints, *self._pending][:MAX_PENDING])
            for card in cards:
                if card.worker in self._shown:
                    self._shown[card.worker].due_at = 0.0

    # -- listening --

    def listen(self, callback: Callable[[Hint], None]) -> Stop:
        ticket = object()
        with self._changed:
            self._callbacks[ticket] = callback
            if not self._closed.is_set() and (self._listener is None or not self._listener.is_alive()):
                self._health.begins("listening")
                self._listener = threading.Thread(target=self._listen_all, name="s3queue-listening", daemon=True)
                self._listener.start()

        def stop() -> None:
            with self._changed:
                self._callbacks.pop(ticket, None)
                self._changed.notify_all()

        return stop

    def _listen_all(self) -> None:
        patience = Patience(self._clock, self._random)
        while self._listening():
            try:
                with closing(self._transport.subscribe()) as source:
                    self._hear(source)
            except Exception as error:  # noqa: BLE001 - however it fails, it is tried again
                if not self._listening():
                    break
                self._health.failed("listening", error)
                self._rest(patience.failed())
        self._health.ended("listening")

    def _hear(self, source: Source) -> None:
        while self._listening():
            for data in source.receive():
                if not self._callbacks:
                    return  # what was meant for a listener goes to another one, where it can
                hint = decode(data)
                if hint is not None:
                    self._deliver(hint)
            self._health.works("listening")

    def _deliver(self, hint: Hint) -> None:
        for callback in list(self._callbacks.values()):
            try:
                callback(hint)
            except Exception:
                log.exception("a listener for hints failed")

    def _listening(self) -> bool:
        """Whether the listening thread is wanted; if not, the next listener starts another."""
        with self._changed:
            if self._callbacks and not self._closed.is_set():
                return True
            if self._listener is threading.current_thread():
                self._listener = None
            return False

    def _rest(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        with self._changed:
            while self._callbacks and not self._closed.is_set():
                left = until - self._clock.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    # -- the end --

    def close(self) -> None:
        """The listening thread is not waited for: it may be in the middle of a long poll, and tells nobody any more."""
        with self._changed:
            self._closed.set()
            self._callbacks.clear()
            sender = self._sender
            self._changed.notify_all()
        atexit.unregister(self.close)
        if sender is not None and sender is not threading.current_thread():
            sender.join(FLUSH_S)
