"""Messages one by one in every state, and as a DataFrame with a declared schema: counted as the stats count them."""

from __future__ import annotations

from collections import Counter

import pytest

from s3queue import InvalidSetting, Queue, RetryPolicy
from s3queue.errors import StoreUnavailable
from s3queue.protocol.frames import MESSAGES
from tests.queue.clocks import ManualClock
from tests.queue.places import Place

pytest.importorskip("pandas")


def fill(queue: Queue, clock: ManualClock) -> None:
    """Leave messages in every state, some of them parts of one object."""
    queue.enqueue_many([{"n": n} for n in range(10)], headers={"k": "v"})
    queue.enqueue_many(range(4), delay=600, group="eu")
    clock.advance(2)
    first, second, third, fourth, *_ = queue.receive(5)
    first.ack()
    second.nack("later")
    third.dead("never")
    fourth.release()


def test_each_message_is_seen_once_in_its_state(place: Place, clock: ManualClock) -> None:
    queue = place.open(retry=RetryPolicy(base_s=60, jitter=0), visibility_timeout=30)
    fill(queue, clock)
    views, stats = list(queue.messages()), queue.stats()
    counted = Counter(view.state for view in views)
    assert counted == {"pending": stats.pending, "scheduled": stats.scheduled, "processing": 1, "dead": 1}
    assert len({view.id for view in views}) == len(views) == 13
    (held,) = queue.messages("processing")
    assert (held.worker, held.token > 0, held.is_stalled(clock.now_ms())) == (queue.worker_id, True, False)
    assert held.expires_at_ms - held.claimed_at_ms == 30_000
    assert held.is_stalled(clock.now_ms() + 31_000)
    (dead,) = queue.messages("dead")
    assert (dead.payload, dead.dead_at_ms, bool(dead.reason)) == ({"n": 2}, clock.now_ms(), True)
    retried = [view for view in queue.messages("scheduled") if view.errors]
    assert [(view.message.attempts, view.errors[-1].message) for view in retried] == [(1, "later")]
    assert all(queue.connect().store.get(view.key) for view in views)


def test_a_message_whose_move_is_not_made_yet_is_seen_where_it_goes(
    place: Place, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = place.open(retry=RetryPolicy(base_s=60, jitter=0))

    def fail(*_: object) -> None:
        raise StoreUnavailable("not now")

    with monkeypatch.context() as patched:
        patched.setattr("s3queue.protocol.moves._write_target", fail)
        fill(queue, clock)
        assert len(queue.connect().lane.committer.ledger.outbox) == 2
    views = list(queue.messages())
    assert Counter(view.state for view in views) == {"pending": 6, "scheduled": 5, "processing": 1, "dead": 1}
    assert len({view.id for view in views}) == 13
    (dead,) = queue.messages("dead")
    assert (dead.payload, dead.dead_at_ms, dead.errors[-1].message) == ({"n": 2}, clock.now_ms(), "never")


@pytest.mark.parametrize("state", ["pending", "dead", None])
def test_a_frame_of_no_messages_has_all_its_columns_and_dtypes(
    queue: Queue, clock: ManualClock, state: str | None
) -> None:
    empty = queue.to_dataframe(state)
    fill(queue, clock)
    frame = queue.to_dataframe(state)
    assert (len(empty), len(frame) > 0) == (0, True)
    assert list(empty.columns) == list(frame.columns) == list(MESSAGES)
    assert empty.dtypes.to_dict() == frame.dtypes.to_dict()


def test_a_frame_tells_when_and_who(queue: Queue, clock: ManualClock) -> None:
    fill(queue, clock)
    frame = queue.to_dataframe(["processing", "dead"]).set_index("state")
    assert frame.loc["processing", "worker"] == queue.worker_id
    assert frame["claimed_at"].to_list()[0].timestamp() * 1000 == clock.now_ms()
    assert frame["dead_at"].isna().to_list() == [True, False]
    assert frame.loc["dead", "error_message"] == "never"
    assert frame["max_attempts"].to_list() == [3, 3]
    assert frame.index.max() == "dead"  # an ordered categorical


def test_an_unknown_state_is_refused_with_the_known_ones(queue: Queue) -> None:
    with pytest.raises(InvalidSetting, match="pending, scheduled, processing, dead"):
        list(queue.messages("waiting"))
