"""The settings that every process of a queue shares (``queue.json``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from s3queue.core.checking import check_number, check_truth
from s3queue.core.keys import MAX_LANES, MAX_PRIORITY, group_mark
from s3queue.core.retry import STRATEGIES, RetryPolicy
from s3queue.errors import InvalidSetting

MAX_VISIBILITY_S = 12 * 3600
MAX_DEDUP_S = 366 * 86_400
MAX_KEPT_S = 10 * 366 * 86_400
ORDERS = ("fifo", "lifo", "strict", "strict-group")
"""Oldest or newest first as far as is cheap; or, at the price of waiting, in the order of enqueueing, one at a time in
the whole queue or in each group."""
DEFAULT_MAX_PAYLOAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What all workers and producers of a queue agree on.

    ``visibility_timeout_s``: how long a claim hides a message unless it is extended. ``priorities``: the levels in
    use, each of which workers list. ``dedup_ttl_s``: how long a ``dedup_id`` is remembered. ``probed_at_ms``: when the
    store was found to keep its conditions; 0 for never. ``lanes``: how many lanes producers fill; ``lanes_ever``: how
    many were ever filled, all of which workers serve; ``lanes_auto``: whether coordinators tune them. ``order``: how
    messages are handed out (:data:`ORDERS`). ``history``: whether completed messages are recorded one by one;
    ``results`` and history are kept for ``result_ttl_s`` and ``history_ttl_s``.
    """

    visibility_timeout_s: float = 30.0
    max_attempts: int = 3
    failure: str = "hybrid"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lanes: int = 1
    priorities: tuple[int, ...] = (0,)
    lanes_ever: int = 0
    lanes_auto: bool = False
    order: str = "fifo"
    results: bool = False
    result_ttl_s: float = 7 * 86_400.0
    history: bool = False
    history_ttl_s: float = 30 * 86_400.0
    dedup_ttl_s: float = 86_400.0
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    probed_at_ms: int = 0

    def __post_init__(self) -> None:
        check_number("visibility_timeout", self.visibility_timeout_s, 1, MAX_VISIBILITY_S)
        check_number("max_attempts", self.max_attempts, 1, 1000, "attempts", whole=True)
        check_number("dedup_ttl", self.dedup_ttl_s, 1, MAX_DEDUP_S)
        check_number("lanes", self.lanes, 1, MAX_LANES, "lanes", whole=True)
        check_number("lanes_ever", self.lanes_ever, 0, MAX_LANES, "lanes", whole=True)
        for name in ("lanes_auto", "results", "history"):
            check_truth(name, getattr(self, name))
        check_number("result_ttl", self.result_ttl_s, 60, MAX_KEPT_S)
        check_number("history_ttl", self.history_ttl_s, 3600, MAX_KEPT_S)
        if self.order not in ORDERS:
            raise InvalidSetting(f"order is {self.order!r}.", remedy=f"Use one of {', '.join(ORDERS)}.")
        if self.strict and self.lanes > 1:
            raise InvalidSetting(
                f"order is {self.order!r} and lanes is {self.lanes}.", remedy="A strictly ordered queue has one lane."
            )
        check_number("max_payload_bytes", self.max_payload_bytes, 1, 64 << 20, "bytes", whole=True)
        levels = self.priorities
        if not levels or any(type(level) is not int or not 0 <= level <= MAX_PRIORITY for level in levels):
            raise InvalidSetting(f"priorities is {levels!r}.", remedy=f"Use whole numbers from 0 to {MAX_PRIORITY}.")
        if self.failure not in STRATEGIES:
            raise InvalidSetting(f"failure is {self.failure!r}.", remedy=f"Use one of {', '.join(STRATEGIES)}.")

    @property
    def strict(self) -> bool:
        """Whether order is kept at the price of waiting."""
        return self.order.startswith("strict")

    def group_mark(self, group: str | None) -> str:
        """Return the mark of the group whose order messages of ``group`` keep; '' if they keep none."""
        if self.order == "strict":
            return group_mark("")
        return group_mark(group) if self.strict and group else ""

    @property
    def lanes_served(self) -> int:
        """How many lanes may hold messages: a producer that has not heard of fewer lanes fills the old ones."""
        return max(self.lanes, self.lanes_ever)

    @property
    def lease_ms(self) -> int:
        """The visibility timeout in milliseconds."""
        return round(self.visibility_timeout_s * 1000)

    def with_priority(self, priority: int) -> Settings:
        """Return settings in which workers list this level too."""
        return replace(self, priorities=tuple(sorted({*self.priorities, priority}, reverse=True)))


def to_wire(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON holds them: seconds become ``_ms`` fields."""
    wire = asdict(settings)
    wire["visibility_timeout_ms"] = round(wire.pop("visibility_timeout_s") * 1000)
    wire["dedup_ttl_ms"] = round(wire.pop("dedup_ttl_s") * 1000)
    for name in ("result_ttl", "history_ttl"):
        wire[f"{name}_ms"] = round(wire.pop(f"{name}_s") * 1000)
    wire["retry"] = policy_to_wire(settings.retry)
    return wire


def policy_to_wire(policy: RetryPolicy) -> dict[str, Any]:
    """Return a backoff as JSON holds it."""
    return {
        "base_ms": round(policy.base_s * 1000),
        "cap_ms": round(policy.cap_s * 1000),
        "factor": policy.factor,
        "jitter": policy.jitter,
    }


def policy_from_wire(wire: dict[str, Any]) -> RetryPolicy:
    """Return the backoff in a JSON object; KeyError, TypeError or InvalidSetting if it is none."""
    return RetryPolicy(wire["base_ms"] / 1000, wire["factor"], wire["cap_ms"] / 1000, wire["jitter"])


def from_wire(wire: dict[str, Any]) -> Settings:
    """Return the settings in a JSON object; KeyError, TypeError or InvalidSetting if they are none."""
    default = Settings()
    return Settings(
        visibility_timeout_s=wire["visibility_timeout_ms"] / 1000,
        max_attempts=wire["max_attempts"],
        failure=wire["failure"],
        retry=policy_from_wire(wire["retry"]),
        lanes=wire["lanes"],
        lanes_ever=wire.get("lanes_ever", default.lanes_ever),
        lanes_auto=wire.get("lanes_auto", default.lanes_auto),
        order=wire.get("order", default.order),
        priorities=tuple(wire["priorities"]),
        results=wire["results"],
        result_ttl_s=wire.get("result_ttl_ms", default.result_ttl_s * 1000) / 1000,
        history=wire.get("history", default.history),
        history_ttl_s=wire.get("history_ttl_ms", default.history_ttl_s * 1000) / 1000,
        dedup_ttl_s=wire["dedup_ttl_ms"] / 1000,
        max_payload_bytes=wire["max_payload_bytes"],
        probed_at_ms=wire["probed_at_ms"],
    )
