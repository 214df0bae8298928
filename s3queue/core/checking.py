"""What callers give, checked before anything comes of it."""

from __future__ import annotations

from typing import Any

from s3queue.errors import InvalidSetting


def is_number(value: Any) -> bool:
    """Whether it is an int or a float; True and False are neither here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_number(name: str, value: Any, low: float, high: float, unit: str = "seconds", *, whole: bool = False) -> None:
    """Raise InvalidSetting unless the value is a number from ``low`` to ``high``; ``whole``: an int."""
    if not is_number(value) or (whole and not isinstance(value, int)) or not low <= value <= high:
        raise InvalidSetting(f"{name} is {value!r}.", remedy=f"Use {low} to {high} {unit}".rstrip() + ".")


def check_truth(name: str, value: Any) -> None:
    """Raise InvalidSetting unless the value is True or False."""
    if type(value) is not bool:
        raise InvalidSetting(f"{name} is {value!r:.80}.", remedy="Use True or False.")


def check_can(name: str, value: Any, *methods: str) -> None:
    """Raise InvalidSetting unless the value has all of these methods, and is no class that has them."""
    lacking = [each for each in methods if isinstance(value, type) or not callable(getattr(value, each, None))]
    if lacking:
        raise InvalidSetting(f"{name} is {value!r:.80}.", remedy=f"Give an object that has {', '.join(methods)}.")
