"""The handler of the worker processes: writes down that it runs, takes its time, and does as its payload says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

from s3queue import Context, NonRetriable
from tests.chaos.hurry import hurry

FOLDER = "CHAOS_FOLDER"
"""Environment variable: where the handlers write down what they do."""
MUTANT = "CHAOS_MUTANT"
"""Environment variable: the name of a rule that the worker is to break, to see that a round notices."""

_broken: list[Any] = []  # for as long as the process lives


def mutate(name: str) -> None:
    """Take a safety rule from the engine of this process."""
    from tests.simulation.mutants import MUTANTS

    _broken.append({mutant.name: mutant for mutant in MUTANTS}[name].without())
    _broken[-1].__enter__()


if FOLDER in os.environ:  # a worker of a round, which imports its handler before it opens the queue
    hurry()
    if os.environ.get(MUTANT):
        mutate(os.environ[MUTANT])


@cache
def _runs() -> int:
    path = Path(os.environ[FOLDER]) / f"runs-{os.getpid()}.txt"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def handler(payload: dict[str, Any], ctx: Context) -> None:
    """Run: one line in this process' file, in one write, then the plan."""
    os.write(_runs(), f"{ctx.id} {ctx.attempt} {ctx.token}\n".encode())
    Event().wait(payload["seconds"])
    plan = payload["plan"]
    if plan == "fail" or (plan == "fail-once" and ctx.attempt == 1):
        raise ValueError(f"planned: {plan}")
    if plan == "never":
        raise NonRetriable("planned: never")
