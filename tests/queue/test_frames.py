"""Dead letters as a DataFrame: declared columns, the same when there are none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from s3queue import NonRetriable, Queue, RetryPolicy
from s3queue.protocol.frames import LETTERS
from tests.queue.clocks import ManualClock

pandas = pytest.importorskip("pandas")


def handler(payload: Any) -> None:
    raise NonRetriable(f"no {payload}")


def dtypes(frame: Any) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def test_a_frame_of_no_letters_has_all_its_columns() -> None:
    with Queue("frames", url="memory://frames-empty") as queue:
        frame = queue.dlq.to_dataframe()
    assert len(frame) == 0
    assert dtypes(frame) == dict(LETTERS)
    assert str(frame["dead_at"].dtype) == "datetime64[us, UTC]"


def test_a_row_tells_what_died_when_and_why() -> None:
    clock = ManualClock()
    with Queue("frames", url="memory://frames-rows", clock=clock) as queue:
        ids = queue.enqueue_many([{"n": 1}, "two", None], group="eu", headers={"k": "v"}, priority=3)
        queue.process_once(handler)
        frame = queue.dlq.to_dataframe()
        empty = queue.dlq.to_dataframe(filter=lambda letter: letter.payload == "none")
    assert dtypes(frame) == dtypes(empty)
    assert set(frame["id"]) == set(ids)
    row = frame.set_index("id").loc[ids[0]]
    assert row["payload"] == {"n": 1}
    assert (row["error_type"], row["reason"], row["group"], row["headers"]) == (
        "NonRetriable",
        "non-retriable",
        "eu",
        {"k": "v"},
    )
    assert (row["attempts"], row["priority"]) == (1, 3)
    assert row["dead_at"].to_pydatetime() == datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    assert "raise NonRetriable" in row["traceback"]


def test_a_message_may_have_a_backoff_of_its_own() -> None:
    clock = ManualClock()

    def fails(payload: Any) -> None:
        raise ValueError(payload)

    with Queue("frames", url="memory://frames-retry", clock=clock, retry=RetryPolicy(base_s=100, jitter=0)) as queue:
        queue.enqueue("slow")
        queue.enqueue("quick", retry=RetryPolicy(base_s=5, jitter=0))
        assert queue.process_once(fails) == 2
        clock.advance(6)
        attempts = [message.payload for message in queue.receive()]
    assert attempts == ["quick"]
