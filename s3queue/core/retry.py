"""When a failed message is tried again, and when it is dead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from s3queue.errors import InvalidSetting

FailureStrategy = Literal["hybrid", "retry", "dead-letter"]
"""``hybrid``: retry up to ``max_attempts``, then dead letter. ``retry``: retry without end (only what is non-retriable
or kills its worker ``max_attempts`` times dies). ``dead-letter``: dead at the first failure."""

STRATEGIES: tuple[str, ...] = get_args(FailureStrategy)

MAX_AFTER_S = 366 * 86_400
"""The longest delay a handler may ask for."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff: ``base_s * factor ** (attempt - 1)``, at most ``cap_s``, less up to ``jitter`` of it.

    Jitter spreads what failed together (see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 300.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        numbers = all(isinstance(each, int | float) for each in (self.base_s, self.factor, self.cap_s, self.jitter))
        if not numbers or not (
            0 <= self.base_s <= self.cap_s <= 86_400 * 14 and 1 <= self.factor <= 100 and 0 <= self.jitter <= 1
        ):
            raise InvalidSetting(
                f"{self} is not a backoff.",
                remedy="Use 0 ≤ base_s ≤ cap_s ≤ 14 days, 1 ≤ factor ≤ 100, 0 ≤ jitter ≤ 1.",
            )

    def delay_ms(self, attempt: int, random: float) -> int:
        """Return how long to wait after failed attempt number ``attempt`` (from 1); ``random`` is in [0, 1)."""
        exponent = min(attempt - 1, 64)
        whole = min(self.cap_s, self.base_s * self.factor**exponent)
        return int(1000 * whole * (1 - self.jitter * random))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a failed message: retried ``after_ms``, or dead for a ``reason``."""

    after_ms: int | None
    reason: str = ""


def judge(
    policy: RetryPolicy,
    strategy: str,
    *,
    attempt: int,
    max_attempts: int,
    retriable: bool,
    random: float,
    after_s: float | None = None,
) -> Verdict:
    """Return the verdict on failed attempt number ``attempt``; ``after_s`` is a delay the handler asked for.

    What a handler asks for is brought into the range of possible keys: from now to a year from now.
    """
    if not retriable:
        return Verdict(None, "non-retriable")
    if strategy == "dead-letter":
        return Verdict(None, "dead-letter strategy")
    if strategy != "retry" and attempt >= max_attempts:
        return Verdict(None, f"failed {attempt} of {max_attempts} attempts")
    if after_s is None:
        return Verdict(policy.delay_ms(attempt, random))
    return Verdict(int(1000 * min(max(after_s, 0), MAX_AFTER_S)))


def worn_out(strategy: str, attempt: int, max_attempts: int, *, lost: int) -> str:
    """Return why a message just claimed must not be tried as number ``attempt``, or '' if it may.

    ``lost``: how many of the attempts before ended with their worker; those alone count where retries have no end.
    """
    if (lost if strategy == "retry" else attempt - 1) < max_attempts:
        return ""
    if lost:
        return f"its worker vanished in the last of {max_attempts} attempts"
    return f"it has failed {attempt - 1} times, and there are {max_attempts} attempts now"
