"""Logging of the command line: to stderr, as lines for people or as JSON for collectors.

A library configures no logging when it is imported; only the command line calls :func:`configure`.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Final, TextIO

from s3queue.clock import to_datetime
from s3queue.events import EVENTS, Event
from s3queue.queue import Queue
from s3queue.text import clean

TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)

_LEVELS: Final = {
    "workers-started": logging.INFO,
    "workers-stopped": logging.INFO,
    "message-recovered": logging.WARNING,
    "message-dead": logging.WARNING,
    "lease-lost": logging.WARNING,
    "s3-throttled": logging.WARNING,
}
"""What is told without --verbose; everything else is DEBUG. Errors are logged where they happen (``s3queue.events``)."""

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
    """Log what happens in ``queue``: what a person should know; with DEBUG on, every event."""
    everything = log.isEnabledFor(logging.DEBUG)
    for name in EVENTS:
        if name != "error" and (everything or name in _LEVELS):
            queue.on(name, _tell)


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
