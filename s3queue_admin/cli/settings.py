"""The settings of a queue as people write and read them: ``visibility_timeout=2m``, ``lanes=auto``, ``retry.cap=1h``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import click

from s3queue.cli.keeping import span as span_of
from s3queue.core.retry import STRATEGIES, RetryPolicy
from s3queue.core.settings import ORDERS, Settings
from s3queue.options import as_keywords, make_settings
from s3queue_admin.actions.configuring import keywords
from s3queue_admin.cli.render import span

Read = Callable[[str], Any]
_FIELDS: Final = {
    "retry.base": "base_s",
    "retry.factor": "factor",
    "retry.cap": "cap_s",
    "retry.jitter": "jitter",
}
"""What of the backoff can be set, and its field."""


def _seconds(text: str) -> float:
    found = span_of(click.get_current_context(), click.Argument(["value"]), text)
    return float(found or 0)


def _lanes(text: str) -> int | str:
    return "auto" if text == "auto" else int(text)


def _truth(text: str) -> bool:
    return bool(click.BOOL.convert(text, None, None))


NAMES: Final[Mapping[str, tuple[Read, str]]] = {
    "visibility_timeout": (_seconds, "how long a claim hides a message, unless it is extended: 30s"),
    "max_attempts": (int, "how often a message is tried"),
    "failure": (str, ", ".join(STRATEGIES)),
    "retry.base": (_seconds, "the first wait after a failure: 1s"),
    "retry.factor": (float, "how much longer each wait is than the one before"),
    "retry.cap": (_seconds, "the longest wait: 5m"),
    "retry.jitter": (float, "which part of a wait is left to chance, 0 to 1"),
    "lanes": (_lanes, "how many lanes producers fill, or auto"),
    "order": (str, ", ".join(ORDERS)),
    "results": (_truth, "whether what handlers return is kept"),
    "result_ttl": (_seconds, "for how long: 7d"),
    "history": (_truth, "whether each attempt is recorded"),
    "history_ttl": (_seconds, "for how long: 30d"),
    "dedup_ttl": (_seconds, "how long a dedup_id is remembered: 1d"),
    "max_payload_bytes": (int, "how large a payload may be"),
}
"""What can be set: what reads its value, and what it means."""
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "failure": STRATEGIES,
    "order": ORDERS,
    "lanes": ("auto",),
    "results": ("true", "false"),
    "history": ("true", "false"),
}
"""Values that a shell can complete."""


def read_changes(pairs: Iterable[str], now: Settings) -> dict[str, Any]:
    """Return ``NAME=VALUE`` pairs as the keywords of ``Queue.configure``, for a queue with these settings.

    UsageError for what cannot be read; InvalidSetting for what the queue cannot have.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name in given:
            raise click.UsageError(f"{pair!r} is not a new NAME=VALUE: {', '.join(NAMES)}.")
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            raise click.UsageError(
                f"There is no setting {name!r}. " + (f"Did you mean {near[0]!r}?" if near else f"{', '.join(NAMES)}.")
            )
        try:
            given[name] = NAMES[name][0](text)
        except (ValueError, click.BadParameter) as error:
            raise click.UsageError(f"{name} cannot be {text!r}: {NAMES[name][1]}.") from error
    changes = {name: value for name, value in given.items() if name not in _FIELDS}
    if len(changes) < len(given):
        parts = {field: given[name] for name, field in _FIELDS.items() if name in given}
        changes["retry"] = replace(now.retry, **parts)
    make_settings(now, **changes)
    return changes


def facts_of(settings: Settings) -> dict[str, Any]:
    """Return settings by the names of :data:`NAMES`, durations in seconds."""
    return _flat(as_keywords(settings))


def facts_of_wire(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return some settings as the audit trail has them, by the names of :data:`NAMES`."""
    return _flat(keywords(wire))


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    policy = found.get("retry")
    flat = {name: value for name, value in found.items() if name != "retry"}
    if isinstance(policy, RetryPolicy):
        flat |= {name: getattr(policy, field) for name, field in _FIELDS.items()}
    return {name: flat[name] for name in NAMES if name in flat}


def said(name: str, value: Any) -> str:
    """Return a value as it can be written: ``30s``, ``true``, ``auto``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return span(value, 9).replace(" ", "") if NAMES[name][0] is _seconds else f"{value}"
