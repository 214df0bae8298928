"""What is stuck, why, and getting it going without taking anything from the living."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from s3queue import InvalidInput, InvalidName, LeaseLost, Queue
from s3queue.core.presence import Presence, encode_presence
from s3queue.store.port import OVERWRITE
from s3queue_admin.actions import audit
from s3queue_admin.stalls import explain, recover_stuck, recovery, stuck
from tests.admin.test_actions import dead, done
from tests.admin.test_snapshot import Site


@pytest.fixture
def site() -> Site:
    return Site()


def beats(site: Site, queue: Queue, worker: str, ago_s: float = 0) -> None:
    """Write a worker's heartbeat."""
    entry = Presence(worker, f"{worker}-1", site.clock.now_ms() - int(ago_s * 1000), 20_000, 10)
    site.store.put(queue.connect().keys.worker(worker), encode_presence(entry), OVERWRITE)


def holder(site: Site, name: str = "w1", count: int = 1, **options: Any) -> tuple[Queue, list[Any]]:
    queue = site.queue(worker_id=name, **options)
    return queue, queue.receive(count)


def codes(queue: Queue, **options: Any) -> list[str]:
    return [each.code for each in stuck(queue, **options)]


def test_nothing_is_stuck_while_workers_live_and_extend(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(3))
    mine, _ = holder(site)
    beats(site, mine, "w1")
    assert codes(queue) == []
    assert codes(site.queue("other")) == []


def test_a_lease_that_ended_and_was_not_swept(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(2))
    mine, _ = holder(site, count=2)
    site.clock.advance(45)
    beats(site, mine, "w1")
    (found,) = stuck(queue)
    assert (found.code, found.messages, found.worker, found.lane) == ("stalled", 2, "w1", 0)
    assert "ended 15.0 s ago" in found.evidence
    assert "last sweep 45.0 s ago" in found.evidence
    assert found.remedy
    assert found.keys[0].startswith("jobs/inbox/0000/")
    snapshot = site.bucket.inspect("jobs")
    assert stuck(snapshot) == [found]


def test_a_dead_worker_comes_before_the_lease_it_left(site: Site) -> None:
    queue = site.queue(visibility_timeout=600)
    queue.enqueue("a")
    mine, _ = holder(site)
    beats(site, mine, "w1")
    site.clock.advance(100)
    (found,) = stuck(queue)
    assert found.code == "worker-dead"
    assert "w1 is dead" in found.evidence


def test_who_is_in_no_registry(site: Site) -> None:
    queue = site.queue()
    queue.enqueue("a")
    _, (message,) = holder(site)
    assert codes(queue) == []  # within a lease that is any receive
    site.clock.advance(25)
    message.extend(60)
    site.clock.advance(20)
    assert codes(queue) == ["worker-unlisted"]


def test_a_slow_handler_is_one_that_lives(site: Site) -> None:
    queue = site.queue()
    queue.enqueue("a")
    mine, (message,) = holder(site)
    for _ in range(20):
        site.clock.advance(20)
        message.extend(30)
    beats(site, mine, "w1")
    (lane, found) = stuck(queue)
    assert (found.code, lane.code) == ("held-long", "not-swept")
    assert "lives" in found.evidence
    assert codes(queue, held=timedelta(hours=1)) == ["not-swept"]


def test_a_clock_that_is_ahead(site: Site) -> None:
    queue = site.queue()
    queue.enqueue("a")
    site.clock.skew_ms = 20_000
    mine, _ = holder(site)
    beats(site, mine, "w1")
    site.clock.skew_ms = 0
    (found,) = stuck(queue)
    assert found.code == "clock-skew"
    assert "20.0 s ahead" in found.evidence


def test_a_message_that_ends_workers_is_told_beside_its_ticket(site: Site) -> None:
    queue = site.queue(max_attempts=5)
    id_ = queue.enqueue("poison")
    for name in ("w1", "w2"):
        mine, _ = holder(site, name)
        site.clock.advance(40)
        recover_stuck(mine, older_than=5)
    assert codes(queue) == ["no-workers", "poison"]
    found = stuck(queue)[1]
    assert "w1, w2" in found.evidence
    told = explain(queue, id_)
    assert told.state == "pending"
    assert any("2 claims of it ran out" in why for why in told.why)
    assert [cause.code for cause in told.causes] == ["no-workers", "poison"]


def test_why_a_queue_does_not_get_on(site: Site) -> None:
    queue = site.queue()
    queue.enqueue("a")
    site.clock.advance(60)
    assert codes(queue) == ["no-workers"]
    beats(site, queue, "w1")
    assert codes(queue) == ["no-coordinator"]
    queue.pause()
    assert codes(queue) == ["paused-backlog", "no-coordinator"]
    assert "1 message waits" in stuck(queue)[0].evidence


# -- recover --


def test_what_is_stuck_is_taken_back_and_what_lives_is_not(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(["old", "alive"])
    _, (old,) = holder(site, "w1")
    site.clock.advance(20)
    _, (alive,) = holder(site, "w2")
    site.clock.advance(25)
    dry = recover_stuck(queue, older_than=timedelta(seconds=10), dry_run=True)
    assert (dry.planned, dry.done, dry.audit) == (1, (), "")
    assert list(audit(queue)) == []
    result = recover_stuck(queue, older_than=10, reason="nightly")
    assert (result.done, result.exit_code) == ((old.id,), 0)
    with pytest.raises(LeaseLost):
        old.ack()
    alive.ack()
    (entry,) = audit(queue)
    assert (entry.verb, entry.reason, entry.count) == ("reset", "nightly", 1)
    assert "lease ended 10.0 s ago" in entry.where
    assert recover_stuck(queue, older_than=10).planned == 0
    assert done(queue) == ["old"]


def test_a_worker_that_extends_in_time_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = site.queue()
    queue.enqueue("a")
    _, (message,) = holder(site)
    site.clock.advance(50)
    real = Queue.reset

    def late(self: Queue, *args: Any, **options: Any) -> Any:
        message.extend(30)  # between plan and commit
        return real(self, *args, **options)

    monkeypatch.setattr(Queue, "reset", late)
    result = recover_stuck(queue, older_than=10)
    assert result.refused == {message.id: "its lease has not ended: its holder lives"}
    assert result.exit_code == 5
    message.ack()


def test_what_dead_workers_left_behind_is_taken_before_its_lease_ends(site: Site) -> None:
    queue = site.queue(visibility_timeout=3600)
    queue.enqueue_many(["a", "b"])
    mine, (a,) = holder(site, "w1")
    beats(site, mine, "w1")
    site.clock.advance(120)
    other, (b,) = holder(site, "w2")
    beats(site, other, "w2")
    result = recover_stuck(queue, older_than=60)
    assert result.done == (a.id,)
    b.ack()
    with pytest.raises(LeaseLost):
        a.ack()


def test_what_is_stuck_for_less_than_the_limit_is_told(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(["a", "b"])
    holder(site, "w1")
    site.clock.advance(7)
    holder(site, "w2")
    site.clock.advance(42.5)
    (made,) = recovery(queue, older_than=60)
    assert made.count == 0
    assert made.warnings == (
        "2 messages more are stuck, for 12.5 s to 19.5 s, which is less than 60.0 s: 12s takes all.",
    )
    (one,) = recovery(queue, older_than=15)
    assert (one.count, "One message more is stuck, for 12.5 s," in " ".join(one.warnings)) == (1, True)
    (all_,) = recovery(queue, older_than=12)
    assert (all_.count, all_.warnings) == (2, ())


@pytest.mark.parametrize("older", [-1, float("nan"), float("inf"), True, "5m", timedelta(days=-1), 1e12])
def test_ages_that_cannot_be_are_refused(site: Site, older: Any) -> None:
    queue = site.queue()
    queue.enqueue("a")
    with pytest.raises(InvalidInput, match="older_than"):
        recover_stuck(queue, older_than=older)


# -- explain --


def test_any_message_is_explained(site: Site) -> None:
    queue = site.queue(max_attempts=2)
    waits, later = queue.enqueue("a"), queue.enqueue("b", delay=90)
    (gone,) = dead(site.queue("jobs"), "c")
    held = queue.enqueue("d")
    _, messages = holder(site, "w1", 1)
    told = {id_: explain(queue, id_) for id_ in (waits, later, gone, held)}
    assert told[later].state == "scheduled"
    assert "becomes visible in 90" in told[later].why[0]
    assert told[messages[0].id].state == "processing"
    assert "w1 has it under token" in told[messages[0].id].why[-1]
    assert (told[gone].state, "NonRetriable: no c" in told[gone].why[-1]) == ("dead", True)
    assert all(each.remedy and each.view for each in told.values())
    messages[0].ack()
    ended = explain(queue, messages[0].id)
    assert ended.state == "ended"
    assert "come to an end" in ended.why[0]
    never = explain(queue, "aaaaaaaaaaaaaaaaaaaa-0")
    assert (never.state, never.view) == ("unknown", None)
    with pytest.raises(InvalidName):
        explain(queue, "../x")


def test_a_message_that_waits_is_told_what_goes_before_it(site: Site) -> None:
    queue = site.queue()
    for number in range(4):
        queue.enqueue(number)
        site.clock.advance(0.01)
    last = queue.enqueue("last")
    beats(site, queue, "w1")
    told = explain(queue, last)
    assert (told.state, told.why[-1]) == ("pending", "4 message objects of its lane go before it.")
    queue.pause()
    assert explain(queue, last).causes[0].code == "paused-backlog"


def test_a_group_that_keeps_its_order_is_told_whom_it_waits_for(site: Site) -> None:
    queue = site.queue(order="strict")
    _, second, third = (queue.enqueue(number) for number in range(3))
    _, (message,) = holder(site)
    assert any("w1 has another message of its group" in why for why in explain(queue, second).why)
    message.nack(after=100)
    assert any("A retry of its group goes first" in why for why in explain(queue, third).why)


def test_results_tell_what_became_of_a_message(site: Site) -> None:
    queue = site.queue(results=True)
    id_ = queue.enqueue("a")
    queue.process_once(lambda payload: payload)
    assert explain(queue, id_).why == ("It has completed: its result is kept.",)
