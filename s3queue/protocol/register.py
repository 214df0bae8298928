"""The queue's settings as all its processes share them, and the probe of the store before the first of them is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock

from s3queue.clock import Clock
from s3queue.core.codec import decode_settings, encode_settings
from s3queue.core.keys import Keys
from s3queue.core.settings import Settings
from s3queue.errors import QueueGone
from s3queue.store.port import Store
from s3queue.store.record import Record

REFRESH_S = 15.0


class Register:
    """Reads ``queue.json`` now and then; writes it when the queue is new or its settings change.

    ``wanted``: settings for a queue that does not exist yet. ``probe`` is called before a queue is first written, and
    when no process has vouched for the store so far; it raises UnsafeStore. ``tell`` is given the settings when they have
    been read for the first time.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        wanted: Settings,
        probe: Callable[[], object] | None,
        *,
        tell: Callable[[Settings], object] = bool,
    ) -> None:
        self._store, self._clock = store, clock
        self._record = Record(store, keys.settings, decode_settings, encode_settings)
        self._wanted = wanted
        self._probe = probe
        self._lock = Lock()
        self._read_at: float | None = None
        self._gone = False
        self._tell: Callable[[Settings], object] | None = tell

    def current(self) -> Settings:
        """Return the settings in hand; connect to the store first if there are none yet."""
        cached = self._record.cached
        if cached is None or cached.value is None:
            return self.connect()
        return cached.value

    def refresh(self, max_age_s: float = REFRESH_S) -> Settings:
        """Return the settings, read anew if they are older than that (default: a quarter of a minute)."""
        if self._read_at is not None and self._clock.monotonic() - self._read_at < max_age_s:
            return self.current()
        return self.connect()

    def connect(self) -> Settings:
        """Read the settings, or make the queue with those wanted; the store is probed unless somebody has before."""
        with self._lock:
            settings = self._connect()
            tell, self._tell = self._tell, None
        if tell is not None:
            tell(settings)
        return settings

    def _connect(self) -> Settings:
        before = self._record.cached
        settings = self._record.read().value
        if settings is None and before is not None and before.value is not None:
            self._gone = True
        if self._gone:
            raise QueueGone(self._record.key)
        if settings is None or (self._probe is not None and not settings.probed_at_ms):
            if self._probe is not None:
                self._probe()
            probed_at_ms = self._store.now_ms() if self._probe is not None else 0
            wanted = replace(self._wanted, probed_at_ms=probed_at_ms)
            written = self._record.update(
                lambda found: replace(found, probed_at_ms=found.probed_at_ms or probed_at_ms) if found else wanted
            )
            settings = written.value or wanted
        self._read_at = self._clock.monotonic()
        return settings

    def exists(self) -> bool:
        """Whether the queue has been made, at the price of a GET."""
        return self._record.read().value is not None

    def change(self, change: Callable[[Settings], Settings]) -> Settings:
        """Change the settings for all processes; they see it within seconds."""
        self.connect()
        return self._record.update(lambda found: change(found or self._wanted)).value or self._wanted

    def serve(self, priority: int) -> None:
        """Let workers list this priority too; nothing is asked of the store if they do, as far as is known."""
        if priority not in self.current().priorities:
            self.change(lambda found: found.with_priority(priority))
