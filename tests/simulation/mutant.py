"""A rule of the engine, and the patch that takes it away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Patch = Callable[[], Any]


@dataclass(frozen=True)
class Mutant:
    """A rule, and the patch that takes it away. ``storms``: where it shows, if not everywhere.

    ``first``: the seed from which on it is looked for, where it shows late.
    """

    name: str
    rule: str
    without: Patch
    storms: tuple[str, ...] = ()
    first: int = 0
