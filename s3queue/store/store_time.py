"""What the store's clock says, worked out from the ``Date`` of its answers.

``Date`` counts whole seconds. An answer to a request sent at t0 and received at t1 (local clock), dated D, was written
by the store at some moment within [D, D + 1 s), and here that was within [t0, t1]. So the offset (store - local) lies
within **[D - t1, D + 1 s - t0]**. Each answer gives such an interval; the intersection of the last five minutes' is
narrow, as some answer comes early in its second and some late. Of what remains, the offset used is **the value nearest
to zero**: a machine that keeps its clock well has exactly 0, and no answer makes it waver.

Clocks drift, so an older interval is widened by what two clocks may drift apart since. If intervals still contradict
each other, a clock was set: only the newest is believed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Final

from s3queue.clock import to_ms

WINDOW_S: Final = 300.0
DRIFT_MS_PER_S: Final = 0.5  # 500 ppm: the most by which ntpd and chrony let a clock run fast or slow by default
_SPAN_S = WINDOW_S / 10  # answers of so long share one interval
_REFRESH_S = 1.0  # without news, the offset follows the drift this often


@dataclass(slots=True)
class _Span:
    """What the answers of one span of time allow; ``last_s`` is the newest of them, by a monotonic clock."""

    first_s: float
    last_s: float
    low_ms: float
    high_ms: float

    def at(self, now_s: float) -> tuple[float, float]:
        """Return the bounds of the offset at ``now_s``."""
        drift = (now_s - self.first_s) * DRIFT_MS_PER_S
        return self.low_ms - drift, self.high_ms + drift


class StoreTime:
    """The offset between the store's clock and ours, learnt from answers; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._spans: deque[_Span] = deque()
        self._offset_ms = 0
        self._computed_s = float("-inf")
        self._date = ("", 0)  # the last Date header and its meaning: most answers repeat it

    @property
    def offset_ms(self) -> int:
        """Return milliseconds to add to the local clock to get the store's; 0 before the first answer."""
        return self._offset_ms

    def observe(self, date: str | None, sent_at_ms: int, received_at_ms: int, now_s: float) -> None:
        """Take an answer into account; a header that is missing or no date is passed over.

        ``date`` is its Date header, ``sent_at_ms`` and ``received_at_ms`` are by the local wall clock, ``now_s`` is
        monotonic.
        """
        date_at_ms = self._parse(date)
        if date_at_ms is None or received_at_ms < sent_at_ms:  # the clock was set back while we waited
            return
        low, high = date_at_ms - received_at_ms, date_at_ms + 1000 - sent_at_ms
        with self._lock:
            news = self._narrow(low, high, now_s)
            if news or now_s - self._computed_s >= _REFRESH_S:
                self._compute(low, high, now_s)

    def _parse(self, date: str | None) -> int | None:
        if not date:
            return None
        seen, at_ms = self._date
        if date != seen:
            try:
                at_ms = to_ms(parsedate_to_datetime(date))
            except ValueError:
                return None
            self._date = (date, at_ms)
        return at_ms

    def _narrow(self, low: float, high: float, now_s: float) -> bool:
        """Add an interval to the newest span, or begin one; say whether that teaches anything."""
        while self._spans and now_s - self._spans[0].last_s > WINDOW_S:
            self._spans.popleft()
        if not self._spans or now_s - self._spans[-1].first_s >= _SPAN_S:
            self._spans.append(_Span(now_s, now_s, low, high))
            return True
        span = self._spans[-1]
        span.last_s = max(span.last_s, now_s)
        # The span's bounds are kept as of its first answer, so a later one may be believed only with its drift.
        drift = max(0.0, now_s - span.first_s) * DRIFT_MS_PER_S
        low, high = low - drift, high + drift
        if low <= span.low_ms and high >= span.high_ms:
            return False
        span.low_ms, span.high_ms = max(span.low_ms, low), min(span.high_ms, high)
        return True

    def _compute(self, low: float, high: float, now_s: float) -> None:
        bounds = [span.at(now_s) for span in self._spans]
        lowest, highest = max(bound[0] for bound in bounds), min(bound[1] for bound in bounds)
        if lowest > highest:
            self._spans.clear()
            self._spans.append(_Span(now_s, now_s, low, high))
            lowest, highest = low, high
        # Rounded into the interval, not out of it; an interval without a whole number in it takes the nearest.
        self._offset_ms = int(-(-lowest // 1)) if lowest > 0 else int(highest // 1) if highest < 0 else 0
        self._computed_s = now_s
