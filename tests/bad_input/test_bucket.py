"""Objects that s3queue cannot read, anywhere under the prefix: each stops the one thing it touches and stays as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from s3queue import CorruptObject, NewerFormat, Queue
from s3queue.core.codec import encode_messages
from s3queue.core.keys import ObjectName
from s3queue.core.message import Message
from s3queue.ids import SystemIds
from tests.queue.clocks import ManualClock, eventually
from tests.queue.places import Place, body, heard, keys, payloads, plant
from tests.worker.running import Seen, running

_memories = count(1)

FIELDS = re.compile(rb'"(payloads|tickets|names|retry)":')
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "binary": lambda _: b"\x89PNG\r\n\x1a\n\x00\xff",
    "no object": lambda _: b"[1, 2, 3]",
    "foreign": lambda _: b'{"format": "acme.invoice/1", "total": 7}',
    "no format": lambda _: b'{"hello": "world"}',
    "newer": lambda data: data.replace(b'/1"', b'/99"', 1),
    "no fields": lambda data: data[: data.index(b'/1"') + 3] + b"}",
    "wrong fields": lambda data: FIELDS.sub(rb'"\1":7,"x":', data.replace(b'"value":', b'"x":')),
}


@pytest.fixture(params=DAMAGES)
def damage(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return DAMAGES[request.param]


@pytest.fixture
def place() -> Iterator[Place]:
    found = Place(f"memory://bucket-tests-{next(_memories)}")
    yield found
    found.close()


@pytest.fixture
def clock(place: Place) -> ManualClock:
    return place.clock


def spoil(queue: Queue, key: str, damage: Callable[[bytes], bytes]) -> bytes:
    """Damage an object and return its bytes; a damage that changes nothing would test nothing."""
    before = body(queue, key)
    after = damage(before)
    assert after != before
    plant(queue, key, after)
    return after


def check(error: BaseException, key: str, data: bytes) -> None:
    """Check that an error tells class, key and remedy."""
    assert type(error) is (NewerFormat if b"/99" in data else CorruptObject)
    assert isinstance(error, CorruptObject)
    assert error.key == key
    assert key in str(error)
    assert "left untouched" in error.remedy
    assert ("upgrade s3queue" if isinstance(error, NewerFormat) else "restore an earlier version") in error.remedy


def test_a_damaged_message_object(place: Place, clock: ManualClock, damage: Callable[[bytes], bytes]) -> None:
    queue = place.open()
    queue.enqueue_many(["lost", "to", "view"])
    (key,) = keys(queue, "inbox/")
    data = spoil(queue, key, damage)
    clock.advance(0.01)
    queue.enqueue_many(range(30))
    told, seen = heard(queue, "error"), Seen()
    assert queue.process_once(seen) == 30
    assert seen.payloads == list(range(30))
    check(told[0].error, queue.root + key, data)
    assert [message.payload for message in queue.peek()] == []
    clock.advance(7200)
    for _ in range(2):
        place.open().process_once(seen)
    assert body(queue, key) == data
    assert seen.payloads == list(range(30))
    stats = queue.stats()
    assert (stats.pending, stats.completed, stats.missing, stats.dead) == (3, 30, 0, 0)


def test_a_damaged_message_object_under_a_worker(damage: Callable[[bytes], bytes]) -> None:
    queue = Queue("jobs", url=f"memory://bucket-tests-{next(_memories)}", probe=False)
    queue.enqueue_many(["lost", "to", "view"])
    (key,) = keys(queue, "inbox/")
    data = spoil(queue, key, damage)
    for number in range(20):
        queue.enqueue(number)
    told, seen = heard(queue, "error"), Seen()
    with running(queue, seen, concurrency=2) as run:
        assert eventually(lambda: queue.count("completed") == 20)
        assert not run.ended.is_set()
    assert sorted(seen.payloads) == list(range(20))
    assert {event.error.key for event in told} == {queue.root + key}
    check(told[0].error, queue.root + key, data)
    assert body(queue, key) == data
    assert queue.stats().unfinished == 3


def test_a_message_object_that_is_repaired_is_processed(place: Place, damage: Callable[[bytes], bytes]) -> None:
    queue = place.open()
    queue.enqueue("a")
    (key,) = keys(queue, "inbox/")
    whole = body(queue, key)
    spoil(queue, key, damage)
    assert queue.receive() == []
    queue.close()
    plant(queue, key, whole)
    assert payloads(queue) == ["a"]


def test_an_object_that_is_not_what_its_key_says(place: Place) -> None:
    queue = place.open()
    queue.enqueue_many([1, 2])
    (key,) = keys(queue, "inbox/")
    longer = plant(queue, key.replace("-2.json", "-3.json"), body(queue, key))
    told = heard(queue, "error")
    assert payloads(queue) == [1, 2]
    assert [event.error.key for event in told] == [longer]
    assert "not what its key says" in str(told[0].error)


def test_an_object_that_vanished_is_reported_and_struck_off(place: Place) -> None:
    queue = place.open()
    queue.enqueue_many([1, 2])
    (key,) = keys(queue, "inbox/")
    listed = queue.connect().store
    told = heard(queue, "error")
    (message, *_) = queue.receive(1)
    listed.delete(queue.root + key)
    message.ack()
    queue.close()
    assert queue.process_once(lambda _: None) == 0
    assert [event.error.key for event in told] == [queue.root + key]
    stats = queue.stats()
    assert (stats.completed, stats.missing, stats.unfinished) == (1, 1, 0)


FOREIGN = [
    "inbox/README", "inbox/0000/notes.txt", "inbox/0000/9/notes.txt", "inbox/0000/9/1750000000000-short-1.json",
    "inbox/0000/9/1750000000000-0123456789abcdefghjk-1001.json", "inbox/0000/9/1750000000000-0123456789abcdefghjk-0.json",
    "inbox/0000/9/1750000000000-0123456789ABCDEFGHJK-1.json", "inbox/0000/9/1750000000000-0123456789abcdefghjk-1",
    "inbox/0000/9/1750000000000-0123456789abcdefghjk-1.json.bak", "inbox/0001/9/1750000000000-0123456789abcdefghjk-1.json",
    "dlq/notes.txt", "dlq/1750000000000-short.json", "settled/0000/notes.txt", "settled/notes.txt", "ledger/README",
    "results/notes.txt", "something/else.json", "queue.json.bak",
]  # fmt: skip


@pytest.mark.parametrize("key", FOREIGN)
def test_a_foreign_object_is_left_alone_by_everything(place: Place, clock: ManualClock, key: str) -> None:
    queue = place.open(max_attempts=1)
    queue.connect()
    plant(queue, key, b"foreign")
    ids = queue.enqueue_many(range(8))
    clock.advance(0.01)
    seen = Seen()

    def handler(payload: int) -> None:
        seen(payload)
        if payload == 3:
            raise ValueError(payload)

    for _ in range(4):
        queue.process_once(handler)
        queue.connect().lanes.first.sweeper.sweep()
        clock.advance(3700)
    assert queue.peek() == []
    assert [letter.id for letter in queue.dlq.list()] == [ids[3]]
    assert queue.dlq.count() == 1
    assert len(queue.dlq.replay(filter=lambda _: True).replayed) == 1
    assert queue.truncate(dead_letters=True) == 1
    stats = queue.stats()
    assert (stats.completed, stats.unfinished, stats.dead) == (7, 0, 0)
    assert sorted(seen.payloads) == list(range(8))
    assert body(queue, key) == b"foreign"


def test_a_damaged_ledger(place: Place, damage: Callable[[bytes], bytes]) -> None:
    queue, neighbour = place.open(), place.open("neighbour")
    neighbour.enqueue("fine")
    queue.enqueue_many(range(3))
    (message, *_) = queue.receive(1)
    whole = body(queue, "ledger/0000.json")
    data = spoil(queue, "ledger/0000.json", damage)
    other = place.open()
    calls: list[Callable[[], object]] = [
        other.receive, other.stats, other.peek, other.pause, other.truncate, other.delete,
        lambda: other.delete(force=True), lambda: other.process_once(print), message.ack, lambda: message.extend(60),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(CorruptObject) as refusal:
            call()
        check(refusal.value, queue.root + "ledger/0000.json", data)
    other.enqueue("still taken")
    assert body(queue, "ledger/0000.json") == data
    assert payloads(neighbour) == ["fine"]
    plant(queue, "ledger/0000.json", whole)
    message.ack()
    place.clock.advance(0.01)
    assert payloads(place.open()) == [1, 2, "still taken"]


def test_damaged_settings(place: Place, damage: Callable[[bytes], bytes]) -> None:
    running_before, neighbour = place.open(), place.open("neighbour")
    running_before.enqueue("a")
    data = spoil(running_before, "queue.json", damage)
    other = place.open()
    calls: list[Callable[[], object]] = [
        lambda: other.enqueue("b"), other.receive, other.stats, other.exists, lambda: other.configure(max_attempts=5),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(CorruptObject) as refusal:
            call()
        check(refusal.value, running_before.root + "queue.json", data)
    assert payloads(running_before) == ["a"]
    neighbour.enqueue("fine")
    assert payloads(neighbour) == ["fine"]
    assert body(running_before, "queue.json") == data


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ('"max_attempts":3', '"max_attempts":0', "max_attempts is 0"),
        ('"lanes":1', '"lanes":10000', "lanes is 10000"),
        ('"lanes_ever":1', '"lanes_ever":10000', "lanes_ever is 10000"),  # each of which a worker would visit
        ('"lanes_ever":1', '"lanes_ever":"x"', "lanes_ever is 'x'"),
        ('"results":false', '"results":"no"', "results is 'no'"),
        ('"order":"fifo","results"', '"order":"zigzag","results"', "order is 'zigzag'"),
    ],
)
def test_settings_with_values_out_of_range(place: Place, good: str, bad: str, told: str) -> None:
    queue = place.open()
    queue.connect()
    assert good.encode() in body(queue, "queue.json")
    data = body(queue, "queue.json").replace(good.encode(), bad.encode())
    key = plant(queue, "queue.json", data)
    with pytest.raises(CorruptObject, match=told) as refusal:
        place.open().connect()
    assert refusal.value.key == key
    assert body(queue, "queue.json") == data


def test_damaged_settings_do_not_stop_a_worker_that_runs(damage: Callable[[bytes], bytes]) -> None:
    queue = Queue("jobs", url=f"memory://bucket-tests-{next(_memories)}", probe=False)
    seen = Seen()
    with running(queue, seen) as run:
        queue.enqueue("before")
        assert eventually(lambda: seen.payloads == ["before"])
        data = spoil(queue, "queue.json", damage)
        queue.enqueue("after")
        assert eventually(lambda: seen.payloads == ["before", "after"])
        assert not run.ended.is_set()
    assert body(queue, "queue.json") == data


def test_a_damaged_dead_letter(place: Place, clock: ManualClock, damage: Callable[[bytes], bytes]) -> None:
    queue = place.open(max_attempts=1)
    ids = queue.enqueue_many(["a", "b"])

    def fail(payload: str) -> None:
        clock.advance(0.01)
        raise ValueError(payload)

    queue.process_once(fail)
    (key,) = [key for key in keys(queue, "dlq/") if ids[0] in key]
    data = spoil(queue, key, damage)
    told = heard(queue, "error")
    assert [letter.payload for letter in queue.dlq.list()] == ["b"]
    check(told[0].error, queue.root + key, data)
    with pytest.raises(CorruptObject) as refusal:
        queue.dlq.get(ids[0])
    check(refusal.value, queue.root + key, data)
    assert queue.dlq.count() == queue.count("dead") == 2
    assert set(queue.dlq.replay(ids[0]).refused) == {ids[0]}
    assert queue.dlq.replay(filter=lambda _: True).replayed == (ids[1],)
    assert queue.dlq.discard(filter=lambda _: True) == 0
    assert payloads(queue) == ["b"]
    clock.advance(7200)
    queue.process_once(fail)
    assert body(queue, key) == data
    assert queue.dlq.purge() == 1  # by hand, unread: what an operator says is done


def late_arrival(queue: Queue, payload: Any, at_ms: int) -> str:
    """Write a message as a slow PUT would: its key is older than what has been processed since."""
    name = ObjectName(9, at_ms, SystemIds().new(at_ms), 1)
    return plant(queue, f"inbox/0000/{name}.json", encode_messages(name, [Message(f"{name.id}-0", payload, at_ms)]))


def test_a_damaged_journal(place: Place, clock: ManualClock, damage: Callable[[bytes], bytes]) -> None:
    queue = place.open(visibility_timeout=30)
    began_ms = clock.now_ms()
    clock.advance(1)
    for number in range(3):
        queue.enqueue(number)
        clock.advance(10)
        assert queue.process_once(lambda _: None) == 1
    clock.advance(20)
    queue.process_once(lambda _: None)
    queue.close()
    journal = keys(queue, "settled/0000/")
    assert journal
    whole = body(queue, journal[0])
    data = spoil(queue, journal[0], damage)
    late = late_arrival(queue, "late", began_ms)
    place.open().enqueue("stalled")
    assert len(place.open().receive()) == 1
    clock.advance(120)
    queue.enqueue("new")
    told, seen = heard(queue, "error"), Seen()
    for _ in range(3):
        queue.process_once(seen)
        clock.advance(60)
    # Without the journal nobody can say whether the late arrival was processed before: it alone waits.
    assert sorted(seen.payloads) == ["new", "stalled"]
    assert told
    check(told[0].error, queue.root + journal[0], data)
    assert body(queue, journal[0]) == data
    assert late.removeprefix(queue.root) in keys(queue, "inbox/")
    plant(queue, journal[0], whole)
    for _ in range(3):
        queue.process_once(seen)
        clock.advance(60)
    assert sorted(seen.payloads) == ["late", "new", "stalled"]


def test_a_damaged_journal_does_not_stop_receive(place: Place, clock: ManualClock) -> None:
    queue = place.open()
    late_at_ms = clock.now_ms()
    clock.advance(1)
    queue.enqueue("a")
    clock.advance(10)
    queue.process_once(lambda _: None)
    late_arrival(queue, "late", late_at_ms)
    plant(queue, f"settled/0000/{clock.now_ms():013d}-0123456789abcdefghjk.json", b"garbage")
    queue.enqueue("c")
    clock.advance(120)
    told = heard(queue, "error")
    assert [message.payload for message in queue.receive()] == ["c"]
    assert told


def test_a_damaged_result(place: Place, damage: Callable[[bytes], bytes]) -> None:
    queue = place.open(results=True)
    ids = queue.enqueue_many(["a", "b"])
    queue.process_once(lambda payload: payload)
    data = spoil(queue, f"results/{ids[0]}.json", damage)
    with pytest.raises(CorruptObject) as refusal:
        queue.result(ids[0])
    check(refusal.value, f"{queue.root}results/{ids[0]}.json", data)
    assert queue.result(ids[1]) == "b"
    assert body(queue, f"results/{ids[0]}.json") == data
