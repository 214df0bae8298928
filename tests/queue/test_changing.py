"""Cancelling, moving and taking back single messages, as an operator does."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import InvalidSetting, Queue
from s3queue.core.changing import CHANGED_HANDS, CLAIMED, ENDED
from s3queue.core.invariants import violations
from s3queue.core.keys import message_id_at
from s3queue.core.message import Message
from s3queue.errors import LeaseLost
from s3queue.protocol import changing
from tests.queue.clocks import ManualClock


def done(queue: Queue) -> list[Any]:
    """Process what is visible; return it in the order of its beginning, and check the books."""
    seen: list[Any] = []
    queue.process_once(seen.append)
    for agents in queue.connect().lanes.all():
        assert violations(agents.lane.committer.ledger) == []
    return seen


def waiting(queue: Queue) -> list[Any]:
    return sorted(view.payload for view in queue.messages("pending", "scheduled"))


def test_messages_are_cancelled_wherever_they_wait(queue: Queue, clock: ManualClock) -> None:
    whole = queue.enqueue_many(["a", "b"])
    part = queue.enqueue_many(["c", "d", "e"])
    later = queue.enqueue_many(["f", "g"], delay=60)
    changed = queue.cancel([*whole, part[1], later[0], "none-0"])
    assert changed.done == (*whole, part[1], later[0])
    assert changed.refused == {"none-0": changing.NOT_THERE}
    assert waiting(queue) == ["c", "e", "g"]
    assert (queue.stats().pending, queue.stats().scheduled, queue.stats().discarded) == (2, 1, 4)
    assert done(queue) == ["c", "e"]  # what shares an object with a cancelled message is not made visible by that
    clock.advance(61)
    assert done(queue) == ["g"]
    assert queue.stats().unfinished == 0


def test_who_holds_a_cancelled_message_is_fenced_and_keeps_the_others(queue: Queue) -> None:
    ids = queue.enqueue_many(["a", "b"])
    first, second = queue.receive(2)
    left = queue.cancel(ids[0], claimed=False)
    assert left.refused == {ids[0]: changing.HELD}
    assert queue.cancel(ids[0]).done == (ids[0],)
    with pytest.raises(LeaseLost):
        first.ack()
    second.ack()
    assert (queue.stats().completed, queue.stats().discarded) == (1, 1)


def test_what_changed_since_it_was_seen_is_refused(queue: Queue, clock: ManualClock) -> None:
    queue.enqueue_many(["a", "b", "c"])
    seen = {view.payload: view for view in queue.messages()}
    (a, b) = queue.receive(2)
    a.ack()
    changed = queue.cancel(seen.values())
    assert changed.done == (seen["c"].id,)
    assert changed.refused == {a.id: ENDED, b.id: CLAIMED}
    assert queue.postpone(seen.values(), 9).refused == {a.id: ENDED, b.id: CLAIMED, seen["c"].id: ENDED}
    held = list(queue.messages())
    clock.advance(40)
    queue.reset_tickets(worker=queue.worker_id)
    assert queue.cancel(held).refused == {b.id: CHANGED_HANDS}
    assert queue.reset(held).refused == {b.id: "its lease was rescued, reset or superseded"}
    assert done(queue) == ["b"]
    assert queue.cancel(held).refused == {
        b.id: "it was processed meanwhile, or is below the cursor and not in the books"
    }


def test_a_message_takes_another_priority_and_its_past_along(queue: Queue, clock: ManualClock) -> None:
    ids = queue.enqueue_many(["a", "b", "c"])
    (held,) = queue.receive(1)
    held.nack(RuntimeError("first"))
    clock.advance(120)
    assert set(queue.reprioritise([ids[0], ids[2]], 7).done) == {ids[0], ids[2]}
    views = {view.payload: view for view in queue.messages("pending")}
    assert {name: view.message.priority for name, view in views.items()} == {"a": 7, "b": 0, "c": 7}
    assert (views["a"].message.attempts, views["a"].errors[0].message) == (1, "first")
    assert queue.reprioritise(ids[2], 7).refused == {ids[2]: "it has that priority"}
    assert sorted(done(queue)[:2]) == ["a", "c"]
    assert queue.stats().unfinished == 0
    assert queue.stats().retried == 1


def test_a_message_is_postponed_and_hastened(queue: Queue, clock: ManualClock) -> None:
    ids = queue.enqueue_many(["a", "b"])
    soon = queue.enqueue("c", delay=3600)
    assert queue.postpone([ids[0], soon], 30).done == (ids[0], soon)
    assert done(queue) == ["b"]
    clock.advance(31)
    assert sorted(done(queue)) == ["a", "c"]
    with pytest.raises(InvalidSetting):
        queue.postpone(ids, -1)
    assert queue.postpone(ids, 0).refused == dict.fromkeys(ids, changing.NOT_THERE)


def test_a_claim_that_ran_out_counts_though_its_message_is_moved(queue: Queue, clock: ManualClock) -> None:
    id_ = queue.enqueue("a")
    queue.receive(1)
    clock.advance(40)
    queue.process_once(print, max_messages=0)
    queue.connect().lanes.all()[0].sweeper.sweep()
    assert queue.postpone(id_, 0).done == (id_,)
    (message,) = queue.receive(1)
    assert message.attempt == 2
    (view,) = queue.messages("processing")
    assert view.errors[0].type == "LeaseExpired"


def test_a_live_worker_loses_nothing_to_a_reset_of_what_has_lapsed(queue: Queue, clock: ManualClock) -> None:
    ids = queue.enqueue_many(["a", "b"])
    first, second = queue.receive(2)
    assert queue.reset(ids, lapsed=True).refused == dict.fromkeys(ids, "its lease has not ended: its holder lives")
    clock.advance(31)
    views = list(queue.messages("processing"))
    first.extend(30)
    assert queue.reset(views, lapsed=True).done == ()
    clock.advance(31)
    assert set(queue.reset(ids, lapsed=True).done) == set(ids)
    with pytest.raises(LeaseLost):
        second.ack()
    assert [message.attempt for message in queue.receive(2)] == [2, 2]


def test_released_messages_have_lost_no_attempt_and_their_holder_is_fenced(queue: Queue) -> None:
    ids = queue.enqueue_many(["a", "b"])
    first, _ = queue.receive(2)
    assert queue.release(ids[0]).done == (ids[0],)
    with pytest.raises(LeaseLost):
        first.ack()
    (again,) = queue.receive(1)
    assert (again.payload, again.attempt) == ("a", 1)
    assert queue.release("none").refused == {"none": changing.NOT_THERE}


def test_tickets_are_reset_by_worker_and_by_id(queue: Queue) -> None:
    queue.enqueue_many(range(3))
    queue.receive(3)
    assert queue.reset_tickets(worker="nobody") == 0
    assert queue.reset_tickets(worker=queue.worker_id, lapsed=True) == 0
    assert queue.reset_tickets(worker=queue.worker_id) == 3
    queue.receive(3)
    tickets = {(view.lane, view.ticket) for view in queue.messages("processing")}
    assert queue.reset_tickets(tickets) == 3


def test_an_unmade_retry_is_cancelled_or_moved(queue: Queue, clock: ManualClock, monkeypatch: Any) -> None:
    ids = queue.enqueue_many(["a", "b"])
    messages = queue.receive(2)
    with monkeypatch.context() as patch:  # this process dies between its commit and its moves
        patch.setattr("s3queue.protocol.consumer.carry_out", lambda *args: None)
        for message in messages:
            message.nack(RuntimeError("no"))
    assert all(view.line for view in queue.messages())
    assert queue.cancel(ids[0]).done == (ids[0],)
    assert queue.postpone(ids[1], 5).done == (ids[1],)
    (view,) = queue.messages()
    assert (view.payload, view.message.attempts, len(view.errors), view.line) == ("b", 1, 1, "")
    clock.advance(300)
    assert done(queue) == ["b"]
    assert queue.stats().unfinished == 0


def test_late_arrivals_are_taken_in_before_they_are_changed(queue: Queue, clock: ManualClock) -> None:
    lane = queue.connect().lane
    name = lane.naming.name(9, clock.now_ms(), 2)
    clock.advance(10)
    queue.enqueue("x")
    clock.advance(10)
    assert done(queue) == ["x"]
    queue.enqueue("y")
    assert done(queue) == ["y"]
    lane.inbox.write(name, [Message(message_id_at(name.id, index), index, 1) for index in range(2)])
    assert lane.committer.ledger.cursor(9) > str(name)
    assert queue.cancel(message_id_at(name.id, 0)).done == (message_id_at(name.id, 0),)
    assert done(queue) == [1]


def test_ordered_groups_keep_their_order_when_messages_are_cancelled(place: Any, clock: ManualClock) -> None:
    queue = place.open("ordered", order="strict-group")
    queue.enqueue_many(["a1", "a2"], group="a")
    second = queue.enqueue_many(["a3", "a4", "a5"], group="a")
    other = queue.enqueue_many(["b1", "b2"], group="b")
    assert queue.cancel(second[1]).refused == {
        second[1]: "it was enqueued within the last seconds, and its group keeps its order: try again"
    }
    clock.advance(5)
    assert queue.cancel([second[1], other[0]]).done == (second[1], other[0])
    assert queue.reprioritise(second[0], 5).refused == {second[0]: "its group keeps its order, so it keeps its place"}
    seen = done(queue)
    assert [name for name in seen if name[0] == "a"] == ["a1", "a2", "a3", "a5"]
    assert [name for name in seen if name[0] == "b"] == ["b2"]


def test_a_retry_that_holds_back_its_group_lets_it_go_when_cancelled(place: Any) -> None:
    queue = place.open("ordered", order="strict")
    first, _ = queue.enqueue_many(["a", "b"])
    (held,) = queue.receive(5)
    held.nack(after=500)
    assert done(queue) == []
    assert queue.cancel(first).done == (first,)
    assert done(queue) == ["b"]


def test_many_lanes_are_looked_through(place: Any) -> None:
    queue = place.open("wide", lanes=4)
    ids = [queue.enqueue(number) for number in range(12)]
    assert sorted(queue.cancel(ids[::2]).done) == sorted(ids[::2])
    assert sorted(queue.postpone(ids[1::2], 0).done) == sorted(ids[1::2])
    assert sorted(done(queue)) == list(range(1, 12, 2))
