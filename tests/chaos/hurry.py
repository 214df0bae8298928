"""Shortens the engine's waits of half a minute, so that a round of some seconds comes to meet what follows them.

None of them is needed for safety: sweeps, the journal and moves left behind come sooner, the cursor follows closer, so
that more PUTs land below it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from s3queue.core import claiming
from s3queue.protocol import janitor, moves, sweeper

_WAITS: list[tuple[ModuleType, dict[str, Any]]] = [
    (claiming, {"RESCUE_MARGIN_MS": 1_000, "CURSOR_MARGIN_MS": 500}),
    (janitor, {"DELETE_AFTER_S": 0.3, "JOURNAL_AFTER_S": 1.0}),
    (moves, {"FRESH_S": 1.5}),
    (sweeper, {"ORPHANED_MS": 3_000, "LEFT_BEHIND_MS": 3_000}),
]
SWEEP_S = 2.0


def hurry() -> None:
    """Shorten the waits in this process; call it before a queue is opened."""
    for module, waits in _WAITS:
        for name, value in waits.items():
            if not hasattr(module, name):
                raise AttributeError(f"{module.__name__} has no {name} any more: the rounds would wait for minutes")
            setattr(module, name, value)
    if sweeper.Sweeper.__init__.__defaults__ != (sweeper.SWEEP_INTERVAL_S,):
        raise AttributeError("Sweeper takes its interval in another way now")
    sweeper.Sweeper.__init__.__defaults__ = (SWEEP_S,)
