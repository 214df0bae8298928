"""A failing scenario made smaller: fewer actors, fewer messages, fewer faults, as long as it still fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from tests.simulation.bucket import Faults
from tests.simulation.plots import Scenario
from tests.simulation.scenario import Run


def smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios that have a little less."""
    for name, least in (("messages", 1), ("workers", 1), ("producers", 1)):
        value = getattr(scenario, name)
        for less in {value // 2, value - 1}:
            if least <= less < value:
                change: dict[str, Any] = {name: less}
                yield replace(scenario, **change)
    if scenario.tuned or scenario.lanes > 1:
        yield replace(scenario, tuned="", lanes=1)
    if scenario.operator:
        yield replace(scenario, operator=False)
    if scenario.poison:
        yield replace(scenario, poison=False)
    calm = Faults()
    for item in fields(Faults):
        if not item.name.endswith("_s") and getattr(scenario.faults, item.name) != getattr(calm, item.name):
            yield replace(scenario, faults=replace(scenario.faults, **{item.name: getattr(calm, item.name)}))


def shrink(scenario: Scenario, rounds: int = 200) -> Scenario:
    """Return the smallest scenario found that still breaks a rule."""
    for _ in range(rounds):
        for candidate in smaller(scenario):
            if Run(candidate).play().violations:
                scenario = candidate
                break
        else:
            return scenario
    return scenario
