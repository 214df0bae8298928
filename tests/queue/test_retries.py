"""Failed attempts: when they are tried again, when they are not, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from s3queue import Context, InvalidSetting, NonRetriable, Queue, RetryLater, RetryPolicy
from s3queue.runtime.handler import Handler
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, keys

NOW = RetryPolicy(base_s=0)


def drain(queue: Queue, handler: Handler) -> int:
    """Process until nothing is visible any more; return the number of attempts."""
    total = 0
    while made := queue.process_once(handler):
        total += made
    return total


def failing(error: BaseException) -> Callable[[Any], None]:
    def handler(payload: Any) -> None:  # noqa: ARG001 - the face of a handler
        raise error

    return handler


def test_a_message_is_tried_max_attempts_times(place: Place) -> None:
    queue = place.open(max_attempts=4, retry=NOW)
    queue.enqueue("a")
    assert drain(queue, failing(ValueError("no"))) == 4
    stats = queue.stats()
    assert (stats.dead, stats.failed, stats.retried, stats.unfinished) == (1, 4, 3, 0)


def test_a_message_may_have_a_number_of_attempts_of_its_own(place: Place) -> None:
    queue = place.open(max_attempts=4, retry=NOW)
    queue.enqueue("patient", max_attempts=6)
    queue.enqueue("hasty", max_attempts=1)
    seen: list[str] = []

    def handler(payload: str, ctx: Context) -> None:
        assert ctx.max_attempts == {"patient": 6, "hasty": 1}[payload]
        seen.append(payload)
        raise ValueError(payload)

    drain(queue, handler)
    assert (seen.count("patient"), seen.count("hasty")) == (6, 1)


def test_it_succeeds_in_the_end(place: Place) -> None:
    queue = place.open(max_attempts=3, retry=NOW)
    queue.enqueue("a")

    def handler(payload: str, ctx: Context) -> None:  # noqa: ARG001
        if ctx.attempt < 3:
            raise OSError("try again")

    assert drain(queue, handler) == 3
    stats = queue.stats()
    assert (stats.completed, stats.retried, stats.dead) == (1, 2, 0)


def test_waits_double_up_to_the_cap(place: Place, clock: ManualClock) -> None:
    queue = place.open(max_attempts=6, retry=RetryPolicy(base_s=10, factor=2, cap_s=60, jitter=0))
    queue.enqueue("a")
    waits = []
    for _ in range(5):
        assert queue.process_once(failing(ValueError("no"))) == 1
        waited = 0
        while queue.count("pending") == 0:
            clock.advance(1)
            waited += 1
        waits.append(waited)
    assert waits == [10, 20, 40, 60, 60]


def test_jitter_takes_a_part_of_the_wait_away(place: Place) -> None:
    queue = place.open(retry=RetryPolicy(base_s=100, jitter=0.5))
    queue.enqueue_many(range(50))
    queue.process_once(failing(ValueError("no")))
    now = place.clock.now_ms()
    waits = {int(key.split("/")[3][:13]) - now for key in keys(queue, "inbox/") if key.endswith("-1.json")}
    assert len(waits) > 25
    assert 50_000 <= min(waits) <= max(waits) <= 100_000


def test_retry_later_says_when(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue("a")
    queue.process_once(failing(RetryLater("busy", after=42)))
    clock.advance(41)
    assert queue.count("pending") == 0
    clock.advance(1)
    assert queue.count("pending") == 1


@pytest.mark.parametrize("after", [-5, -1e12, 1e12, float("nan"), float("inf"), "soon"])
def test_retry_later_at_an_impossible_time_still_comes(queue: Queue, clock: ManualClock, after: Any) -> None:
    queue.enqueue("a")
    queue.process_once(failing(RetryLater("busy", after=after)))
    clock.advance(367 * 86_400)
    assert queue.process_once(lambda _: None) == 1
    assert queue.stats().completed == 1


def test_non_retriable_dies_at_the_first_attempt(queue: Queue) -> None:
    queue.enqueue("a")
    assert queue.process_once(failing(NonRetriable("hopeless"))) == 1
    (letter,) = queue.dlq.list()
    assert (letter.reason, letter.errors[0].type) == ("non-retriable", "NonRetriable")


def test_the_strategy_dead_letter_gives_no_second_chance(place: Place) -> None:
    queue = place.open(max_attempts=5, failure="dead-letter")
    queue.enqueue("a")
    assert queue.process_once(failing(ValueError("no"))) == 1
    assert queue.dlq.list()[0].reason == "dead-letter strategy"


def test_the_strategy_retry_never_gives_up(place: Place) -> None:
    queue = place.open(max_attempts=2, failure="retry", retry=NOW)
    queue.enqueue("a")
    for _ in range(25):
        assert queue.process_once(failing(ValueError("no"))) == 1
    stats = queue.stats()
    assert (stats.dead, stats.unfinished) == (0, 1)


def test_the_strategy_retry_still_obeys_non_retriable(place: Place) -> None:
    queue = place.open(failure="retry")
    queue.enqueue("a")
    queue.process_once(failing(NonRetriable("no")))
    assert queue.count("dead") == 1


def test_a_message_that_kills_its_workers_dies_of_it(place: Place, clock: ManualClock) -> None:
    place.open(max_attempts=3, visibility_timeout=30).enqueue("poison")
    for attempt in (1, 2, 3):
        doomed = place.open(worker_id=f"doomed-{attempt}")
        (message,) = doomed.receive()
        assert message.attempt == attempt
        clock.advance(33)
    survivor = place.open()
    assert survivor.receive() == []
    survivor.process_once(lambda _: None)
    (letter,) = survivor.dlq.list()
    assert letter.payload == "poison"
    assert "vanished in the last of 3 attempts" in letter.reason
    assert [(error.attempt, error.type, error.worker) for error in letter.errors] == [
        (attempt, "LeaseExpired", f"doomed-{attempt}") for attempt in (1, 2, 3)
    ]


def test_an_error_that_utf8_cannot_hold_is_remembered_all_the_same(place: Place) -> None:
    queue = place.open(max_attempts=1)
    queue.enqueue("a")
    queue.process_once(failing(FileNotFoundError("there is no caf\udce9.txt")))
    (letter,) = queue.dlq.list()
    assert letter.errors[0].message.startswith("there is no caf")


class Mute(Exception):
    """An exception that cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [Mute(), ValueError("x" * 100_000), ValueError("\0\n\x1b[31m")])
def test_a_strange_error_costs_an_attempt_and_no_more(place: Place, error: Exception) -> None:
    queue = place.open(max_attempts=1)
    queue.enqueue("a")
    queue.process_once(failing(error))
    (letter,) = queue.dlq.list()
    assert letter.errors[0].type == type(error).__qualname__
    assert len(letter.errors[0].message) <= 1000


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"max_attempts": "3"},
        {"max_attempts": 2.5},
        {"visibility_timeout": 0.5},
        {"visibility_timeout": 50_000},
        {"visibility_timeout": True},
        {"failure": "give-up"},
        {"retry": 5},
        {"max_payload_bytes": 0},
        {"max_payload_bytes": 1.5},
    ],
)
def test_a_bad_setting_is_refused_at_once(place: Place, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="Use"):
        place.open(**options)


@pytest.mark.parametrize(
    "policy", [{"base_s": -1}, {"base_s": 10, "cap_s": 5}, {"factor": 0.5}, {"jitter": 1.1}, {"base_s": float("nan")}]
)
def test_a_bad_backoff_is_refused_at_once(policy: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting, match="0 ≤ base_s ≤ cap_s"):
        RetryPolicy(**policy)


def test_under_the_strategy_retry_what_kills_its_workers_dies_of_that_alone(place: Place, clock: ManualClock) -> None:
    queue = place.open(max_attempts=2, failure="retry", retry=NOW, visibility_timeout=30)
    queue.enqueue("poison")
    for _ in range(5):
        queue.process_once(failing(ValueError("no")))
    for _ in range(2):
        assert len(place.open().receive()) == 1
        clock.advance(33)
    queue.process_once(failing(ValueError("no")))
    (letter,) = queue.dlq.list()
    assert "vanished in the last of 2 attempts" in letter.reason
    assert [error.type for error in letter.errors] == ["ValueError"] * 5 + ["LeaseExpired"] * 2


def test_attempts_taken_away_later_end_a_message_and_say_so(place: Place) -> None:
    queue = place.open(max_attempts=5, retry=NOW)
    queue.enqueue("a")
    for _ in range(3):
        queue.process_once(failing(ValueError("no")))
    queue.configure(max_attempts=2)
    assert queue.process_once(failing(ValueError("no"))) == 0
    (letter,) = queue.dlq.list()
    assert letter.reason == "it has failed 3 times, and there are 2 attempts now"
