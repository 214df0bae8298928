"""What each verb can be told, checked before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from s3queue.core.keys import check_lock_name, check_schedule_name, rank_of
from s3queue.core.payload import check_payload
from s3queue.core.retry import RetryPolicy
from s3queue.core.settings import policy_to_wire
from s3queue.errors import InvalidInput
from s3queue.options import make_settings, visible_at_ms
from s3queue.queue import Queue
from s3queue_admin.actions.model import VERBS

MAX_PER_S: Final = 100_000
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "replay": frozenset({"payload", "patch", "edit", "to", "per_s"}),
    "reprioritise": frozenset({"priority"}),
    "delay": frozenset({"seconds"}),
    "reset": frozenset({"lapsed"}),
    "cancel": frozenset({"claimed"}),
    "unlock": frozenset({"name", "token"}),
    "unschedule": frozenset({"name"}),
}


def check_options(verb: str, options: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a verb that there is none of, and for options that it does not have or cannot use."""
    if verb not in VERBS or verb == "undo":
        raise InvalidInput(f"There is no action {verb!r:.80}.", remedy=f"Use one of {', '.join(sorted(VERBS))}.")
    if verb == "configure":
        if not options:
            raise InvalidInput("Say what to configure.", remedy="Give settings, such as visibility_timeout=60.")
        make_settings(**options)
        return
    unknown = sorted(options.keys() - _OPTIONS.get(verb, frozenset()))
    if unknown:
        raise InvalidInput(
            f"{verb} has no option {', '.join(unknown)}.",
            remedy=f"It has {', '.join(sorted(_OPTIONS.get(verb, ()))) or 'none'}.",
        )
    if verb == "reprioritise":
        rank_of(_needed(verb, options, "priority"))
    if verb == "delay":
        visible_at_ms(0, _needed(verb, options, "seconds"), None)
    if verb == "unlock":
        check_lock_name(_needed(verb, options, "name"))
    if verb == "unschedule":
        check_schedule_name(_needed(verb, options, "name"))
    if verb == "replay":
        _check_replay(options)


def _needed(verb: str, options: Mapping[str, Any], name: str) -> Any:
    if name not in options:
        raise InvalidInput(f"{verb} needs {name}.", remedy=f"Give {name}=….")
    return options[name]


def _check_replay(options: Mapping[str, Any]) -> None:
    if len(options.keys() & {"payload", "patch", "edit"}) > 1:
        raise InvalidInput("Several of payload, patch and edit are given.", remedy="Give one of them.")
    per_s = options.get("per_s")
    if per_s is not None and (
        isinstance(per_s, bool) or not isinstance(per_s, int | float) or not 0 < per_s <= MAX_PER_S
    ):
        raise InvalidInput(f"per_s is {per_s!r}.", remedy=f"Use more than 0 and up to {MAX_PER_S} messages a second.")
    if options.get("to") is not None and not isinstance(options["to"], Queue):
        raise InvalidInput(f"to is {options['to']!r:.80}.", remedy="Give a queue that is opened for writing.")
    if options.get("edit") is not None and not callable(options["edit"]):
        raise InvalidInput(f"edit is {options['edit']!r:.80}.", remedy="Give a function from payload to payload.")
    for name in ("payload", "patch"):
        if name in options:
            check_payload(options[name], 64 << 20)


def describe(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as they are written down: queues and functions by name."""
    return {name: _describe(value) for name, value in options.items()}


def _describe(value: Any) -> Any:
    if isinstance(value, Queue):
        return value.name
    if isinstance(value, RetryPolicy):
        return policy_to_wire(value)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value


def editor(options: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """Return what becomes of a payload; None if it stays."""
    if "payload" in options:
        return lambda old: options["payload"]  # noqa: ARG005 - what was there does not matter
    if "patch" in options:
        return lambda old: merge(old, options["patch"])
    edit: Callable[[Any], Any] | None = options.get("edit")
    return edit


def merge(target: Any, patch: Any) -> Any:
    """Return a JSON value changed by a merge patch (RFC 7396): null removes a key, objects are merged, the rest replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
