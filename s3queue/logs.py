"""Logging of the command line: to stderr, as lines for people or as JSON for collectors.

A library configures no logging when it is imported; only the command line calls :func:`configure`.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import Any, Final, TextIO

from s3queue.clock import to_datetime
from s3queue.events import EVENTS, LOGGED, Event
from s3queue.queue import Queue
from s3queue.text import clean

TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)

_LEVELS: Final = {
    "workers-started": logging.INFO,
    "workers-stopped": logging.INFO,
    "coordinator-promoted": logging.INFO,
    "coordinator-demoted": logging.INFO,
    "message-recovered": logging.WARNING,
    "message-retry": logging.WARNING,
    "message-dead": logging.ERROR,
    "lease-lost": logging.WARNING,
    "s3-throttled": logging.WARNING,
}
"""What is told without --verbose; everything else is DEBUG. Errors are logged where they happen (``s3queue.events``)."""

_FOLDED: Final = frozenset({"message-retry", "message-dead", "lease-lost"})
"""What may come by the thousand: without --verbose, so many lines a second of each, then how many more there were."""
_LINES_PER_WINDOW: Final = 5
_WINDOW_MS: Final = 1000

log = logging.getLogger("s3queue")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _Text(logging.Formatter):
    """``2026-01-31T12:00:00.123Z WARNING s3queue: message``, then the lines of the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name}: {clean(record.getMessage())}"
        trace = _traceback(self, record)
        return "\n".join([line, *(f"  {clean(one)}" for one in trace.splitlines())])


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message; of an event its name, queue and fields; a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event = getattr(record, "event", None)
        if isinstance(event, Event):
            line |= {"event": event.name, "queue": event.queue, **event.fields}
        if trace := _traceback(self, record):
            line["traceback"] = trace
        return json.dumps(line, default=str)


def configure(*, verbose: bool, style: str = TEXT) -> None:
    """Send this process's log to stderr, in place of an earlier :func:`configure`.

    INFO and above; ``verbose`` adds s3queue's DEBUG. boto3's own log stays at WARNING: below that it tells headers.
    """
    root = logging.getLogger()
    for handler in [found for found in root.handlers if isinstance(found, _Stderr)]:
        root.removeHandler(handler)
    handler = _Stderr()
    handler.setFormatter(_Json() if style == JSON else _Text())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in ("boto3", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def follow(queue: Queue) -> None:
    """Log what happens in ``queue``: what a person should know, folded if it is much; with DEBUG on, every event."""
    everything = log.isEnabledFor(logging.DEBUG)
    folding = _Folding()
    for name in EVENTS:
        if name not in LOGGED and (everything or name in _LEVELS):
            queue.on(name, _tell if everything else folding)
    if not everything:
        queue.on("metrics", folding.close)  # comes at intervals, whatever else happens or does not


class _Folding:
    """Tells events, a few a second of one kind; how many more there were is told at the next event after that second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, int]] = {}  # by name of event: since when (ms), how many

    def __call__(self, event: Event) -> None:
        self.close(event)
        with self._lock:
            since, count = self._windows.get(event.name, (event.at_ms, 0))
            if event.name in _FOLDED:
                self._windows[event.name] = since, count + 1
        if count < _LINES_PER_WINDOW:
            _tell(event)

    def close(self, event: Event) -> None:
        """Tell what was folded in the seconds that are over at ``event``; the end of the worker ends them all."""
        ended = event.name == "workers-stopped"
        with self._lock:
            over = [
                name
                for name, (since, _) in self._windows.items()
                if ended or not 0 <= event.at_ms - since < _WINDOW_MS  # below 0: the clock was set back
            ]
            counts = {name: self._windows.pop(name)[1] for name in over}
        for name, count in counts.items():
            if count > _LINES_PER_WINDOW:
                more = count - _LINES_PER_WINDOW
                told = Event(name, event.at_ms, event.queue, {"more": more})
                log.log(_LEVELS[name], "… and %d more %s", more, name, extra={"event": told})


def _tell(event: Event) -> None:
    fields = " ".join(f"{name}={_short(value)}" for name, value in event.fields.items())
    log.log(_LEVELS.get(event.name, logging.DEBUG), "%s %s", event.name, fields, extra={"event": event})


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 200 else text[:199] + "…"


def _time(record: logging.LogRecord) -> str:
    return to_datetime(int(record.created * 1000)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""
