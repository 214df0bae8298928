"""fsck: a queue at work is clean, each damage is found with its key, and what is merely under way is not accused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import pytest

from s3queue import InvalidName, NonRetriable, NotFound, Queue, StoreUnavailable
from s3queue.core.codec import decode_ledger, encode_journal, encode_ledger, encode_messages
from s3queue.core.keys import Keys, ObjectName, dedup_mark
from s3queue.core.ledger import Ledger, Line, Part, Ticket
from s3queue.core.message import Message
from s3queue.ids import SeededIds
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, Page, fetch
from s3queue_admin.bucket import Bucket
from s3queue_admin.invariants import FsckReport, fsck
from s3queue_admin.invariants.scan import MOST
from tests.admin.test_snapshot import Site, verbs
from tests.store.faulty import Wrapper

KEYS = Keys("jobs/")


class Shop(Site):
    """A queue that has worked: something waits, is in hand, scheduled, dead, replayed and deduplicated."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.jobs = self.queue(**options)
        self.jobs.enqueue_many(range(20))
        self.clock.advance(10)  # the cursor trails by some seconds
        self.jobs.process_once(self._fail_some, max_messages=8)
        self.jobs.dlq.replay([next(self.jobs.dlq.each()).id])
        self.jobs.enqueue("once", dedup_id="once")
        if options.get("order") is None:
            self.jobs.enqueue("later", delay=3600)
        self.jobs.receive(3)
        self.clock.advance(20)

    @staticmethod
    def _fail_some(payload: Any) -> None:
        if payload in (2, 3):
            raise NonRetriable("no")

    def fsck(self, **options: Any) -> FsckReport:
        return fsck(self.bucket, "jobs", **options)

    def put(self, key: str, body: bytes = b"{}") -> str:
        self.store.put(key, body, OVERWRITE)
        return key

    def edit(self, change: Callable[[dict[str, Any]], None], lane: int = 0) -> str:
        """Change a ledger by hand."""
        key = KEYS.ledger(lane)
        wire = json.loads(fetch(self.store, key).body)
        change(wire)
        return self.put(key, json.dumps(wire).encode())

    def ledger(self, **parts: Any) -> str:
        found = decode_ledger(fetch(self.store, KEYS.ledger(0)).body, KEYS.ledger(0))
        fields = {name: {**getattr(found, name), **more} for name, more in parts.items()}
        whole = Ledger(**{name: getattr(found, name) for name in Ledger.__slots__} | fields)
        return self.put(KEYS.ledger(0), encode_ledger(whole))

    def message(self, at_ago: int = 600_000, *, id_: str = "1" * 20, message_id: str = "", lane: int = 0) -> str:
        """Put a message object where an engine would not."""
        name = ObjectName(9, self.clock.now_ms() - at_ago, id_, 1)
        body = encode_messages(name, [Message(message_id or f"{id_}-0", 1, name.visible_at_ms)])
        return self.put(KEYS.message(lane, str(name)), body)

    def name_of(self, key: str) -> str:
        return KEYS.name_in(KEYS.inbox(0), key)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    with shop.bucket:
        yield shop


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("options", [{}, {"lanes": 3}, {"order": "strict"}, {"results": True, "history": True}])
def test_a_queue_at_work_is_clean_and_nothing_is_written(options: dict[str, Any], deep: bool) -> None:
    shop = Shop(**options)
    report = shop.fsck(deep=deep)
    assert report.findings == ()
    assert (report.status, report.exit_code, report.looks, report.deep) == ("clean", 0, 1, deep)
    assert set(verbs(report.requests)) == {"GET", "LIST"}
    assert report.objects["ledger"] == options.get("lanes", 1)
    assert report.objects["inbox"] >= 3


def line(shop: Shop, key: str) -> Line:
    return Line("7", "retry", shop.name_of(key), 0, f"9/{1:013d}-{'2' * 20}-1", "x", shop.clock.now_ms() - 70_000)


def claimed(shop: Shop, name: str, index: int = 0) -> Ticket:
    now = shop.clock.now_ms()
    return Ticket("77", (Part(name, ((index, index + 1),)),), "w", 1, now, now + 9000)


def damage_invariant(shop: Shop) -> str:
    return shop.edit(lambda wire: wire["counters"].update(completed=999))


def damage_gone(shop: Shop) -> str:
    name = f"9/{shop.clock.now_ms() - 1000:013d}-{'3' * 20}-1"
    shop.ledger(tickets={"77": claimed(shop, name)}, counters={"ticketed": 21})
    return KEYS.message(0, name)


def damage_ghost(shop: Shop) -> str:
    key = shop.message()
    shop.put(f"{KEYS.journal(0)}{shop.clock.now_ms():013d}-x.json", encode_journal([shop.name_of(key)]))
    return key


def damage_settled(shop: Shop) -> str:
    key = shop.message()
    shop.ledger(settled={shop.name_of(key): shop.clock.now_ms() - 700_000})
    return key


def damage_outbox(shop: Shop) -> str:
    return shop.ledger(outbox={"7": line(shop, shop.message())})


def letter_of(shop: Shop) -> str:
    return KEYS.letter(KEYS.name_in(KEYS.dlq, next(iter(keys(shop, KEYS.dlq)))))


def keys(shop: Shop, prefix: str) -> list[str]:
    return [entry.key for entry in shop.store.list(prefix).entries]


def damage_dead_twice(shop: Shop) -> str:
    first = letter_of(shop)
    later = int(first[len(KEYS.dlq) :][:13]) + 5
    return shop.put(f"{KEYS.dlq}{later:013d}{first[len(KEYS.dlq) + 13 :]}", fetch(shop.store, first).body)


def damage_ghost_letter(shop: Shop) -> str:
    key = letter_of(shop)
    name = KEYS.name_in(KEYS.dlq, key)
    shop.put(f"{KEYS.letter_journal}{shop.clock.now_ms():013d}-y.json", encode_journal([name]))
    return key


def damage_alive_and_dead(shop: Shop) -> str:
    """A message that waits, and a letter of it."""
    shop.message(-1000, id_="4" * 20)
    body = json.loads(fetch(shop.store, letter_of(shop)).body) | {"id": "4" * 20 + "-0"}
    return shop.put(f"{KEYS.dlq}{shop.clock.now_ms():013d}-{'4' * 20}-0.json", json.dumps(body).encode())


def damage_lane(shop: Shop) -> str:
    return shop.message(lane=5)


def damage_blocked(shop: Shop) -> str:
    name = f"9/{shop.clock.now_ms() - 400_000:013d}-{'5' * 20}-1.{'a' * 8}"
    shop.ledger(held_back={"a" * 8: name})
    return KEYS.message(0, name)


def damage_order(shop: Shop) -> str:
    name = ObjectName(9, shop.clock.now_ms() + 1000, "6" * 20, 1, "a" * 8)
    return shop.put(KEYS.message(0, str(name)), encode_messages(name, [Message("6" * 20 + "-0", 1, 1)]))


DAMAGES: dict[str, list[Callable[[Shop], str]]] = {
    "invariant": [damage_invariant],
    "object-gone": [damage_gone],
    "not-adopted": [lambda shop: shop.message()],
    "ghost": [damage_ghost],
    "settled-left": [damage_settled],
    "outbox-old": [damage_outbox],
    "dead-twice": [damage_dead_twice],
    "ghost-letter": [damage_ghost_letter],
    "alive-and-dead": [damage_alive_and_dead],
    "lane-unserved": [damage_lane],
    "group-blocked": [damage_blocked],
    "order-unkept": [damage_order],
    "probe-left": [lambda shop: shop.put("jobs/probe-1/race-0")],
    "corrupt": [
        lambda shop: shop.put(KEYS.worker("w")),
        lambda shop: shop.put(KEYS.lock("l"), b"\xff"),
        lambda shop: shop.put(KEYS.schedule("s"), b"[]"),
        lambda shop: shop.put(KEYS.ledger(0), b""),
        lambda shop: shop.put(KEYS.settings, b"torn"),
        lambda shop: shop.put(KEYS.forgetting, b"torn"),
    ],
    "newer-format": [
        lambda shop: shop.put(KEYS.ledger(0), b'{"format":"s3queue.ledger/9"}'),
        lambda shop: shop.put(KEYS.settings, b'{"format":"s3queue.queue/9"}'),
    ],
    "foreign": [
        lambda shop: shop.put("jobs/notes.txt"),
        lambda shop: shop.put("jobs/backup/x/y"),
        lambda shop: shop.put("jobs/inbox/0000/9/x.json"),
        lambda shop: shop.put("jobs/dlq/x.json"),
        lambda shop: shop.put("jobs/workers/readme"),
        lambda shop: shop.put("jobs/results/x.json"),
        lambda shop: shop.put("jobs/history/2026-01-01/00/0.jsonl.gz"),
        lambda shop: shop.put("jobs/dedup/x.json"),
        lambda shop: shop.put("jobs/settled/dlq/x.json"),
    ],
}
CASES = [(code, damage) for code, damages in DAMAGES.items() for damage in damages]


@pytest.mark.parametrize(("code", "damage"), CASES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(CASES)])
def test_each_damage_is_found_with_its_key(shop: Shop, code: str, damage: Callable[[Shop], str]) -> None:
    key = damage(shop)
    before = {entry: fetch(shop.store, entry).body for entry in keys(shop, "")}
    report = shop.fsck()
    found = {finding.code: finding for finding in report.findings}
    assert found[code].keys == (key,)
    assert found[code].queue == "jobs"
    assert found.keys() - {code} <= {"invariant"}  # a ledger damaged by hand may break more than one rule
    assert report.looks == 2
    expected = {"error": ("errors", 1), "warning": ("warnings", 5), "info": ("clean", 0)}
    if found.keys() == {code}:
        assert (report.status, report.exit_code) == expected[found[code].severity]
    assert {entry: fetch(shop.store, entry).body for entry in keys(shop, "")} == before


def test_what_only_reading_shows_is_found_deep(shop: Shop) -> None:
    waits = shop.message(-1000, id_="7" * 20)
    twin = shop.message(-2000, id_="8" * 20, message_id="7" * 20 + "-0")
    torn = shop.put(KEYS.message(0, f"9/{shop.clock.now_ms() + 5000:013d}-{'9' * 20}-1"), b"{")
    open_ = KEYS.reservation(dedup_mark("never"))
    held = json.loads(fetch(shop.store, KEYS.reservation(dedup_mark("once"))).body)
    shop.put(open_, json.dumps(held | {"written": False, "reserved_at_ms": shop.clock.now_ms() - 4_000_000}).encode())
    retried = shop.message(-3000, id_="b" * 20, message_id=letter_of(shop)[len(KEYS.dlq) + 14 :].removesuffix(".json"))
    bad_letter = shop.put(f"{KEYS.dlq}{shop.clock.now_ms():013d}-{'c' * 20}-0.json", b"{")
    assert shop.fsck().findings == ()
    report = shop.fsck(deep=True)
    found = {finding.code: finding for finding in report.findings}
    assert found.keys() == {"message-twice", "corrupt", "reservation-open", "alive-and-dead"}
    assert found["message-twice"].keys == (twin,)
    assert waits in found["message-twice"].evidence
    assert set(found["corrupt"].keys) == {torn, bad_letter}
    assert found["reservation-open"].keys == (open_,)
    assert retried in found["alive-and-dead"].evidence


class Busy(Wrapper):
    """A store in which others work: before each listing and read, somebody takes the next step."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.steps: Iterator[Any] = iter(())
        self.taken = 0

    def _step(self) -> None:
        steps, self.steps = self.steps, iter(())  # what others do is no reason for more of it
        self.taken += sum(1 for _ in [next(steps, None)])
        self.steps = steps

    def get(self, key: str, if_none_match: str | None = None) -> Any:
        self._step()
        return super().get(key, if_none_match)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._step()
        return super().list(prefix, after, limit)


def check_amid_work(seed: int, *, deep: bool) -> FsckReport:
    """Check a queue that others work on between any two requests of the check."""
    shop = Shop(lanes=2, ids=SeededIds(seed))
    busy = Busy(shop.store)

    def work() -> Iterator[None]:
        queue: Queue = shop.jobs
        for number in range(10_000):
            step = (number + seed) % 6
            if step in (0, 3):
                queue.enqueue(number, dedup_id=str(number) if step else None)
            elif step in (1, 4):
                queue.process_once(_fails_now_and_then, max_messages=1 + seed % 3)
            elif step == 2:
                queue.dlq.replay([letter.id for letter in list(queue.dlq.each())[:1]])
            else:
                shop.clock.advance(3.5)
            yield

    busy.steps = work()
    with Bucket(url="memory://x", store=busy, clock=shop.clock) as bucket:
        report = fsck(bucket, "jobs", deep=deep)
    assert busy.taken > 20
    return report


def test_what_is_under_way_is_not_accused() -> None:
    reports = [check_amid_work(seed, deep=seed % 2 == 0) for seed in range(8)]
    assert [report.findings for report in reports] == [()] * 8
    assert max(report.looks for report in reports) == 2  # one look alone would have accused somebody


def _fails_now_and_then(payload: Any) -> None:
    kind = crc32(str(payload).encode()) % 3
    if kind == 0:
        raise NonRetriable("now and then")
    if kind == 1:
        raise ValueError("again")


def test_a_suspicion_that_is_gone_at_the_second_look_is_dropped(shop: Shop) -> None:
    key = shop.message()
    advance = shop.clock.advance

    def mend(seconds: float) -> None:
        advance(seconds)
        shop.store.delete(key)

    shop.clock.advance = mend  # type: ignore[method-assign]
    report = shop.fsck(pause_s=3)
    assert (report.findings, report.looks) == ((), 2)


def test_of_many_only_the_first_are_kept_and_that_is_told(shop: Shop) -> None:
    for number in range(MOST + 200):
        shop.put(f"jobs/results/x{number:05d}")
    found = {finding.code: finding for finding in shop.fsck().findings}
    assert found.keys() == {"foreign", "check-cut"}
    assert len(found["foreign"].keys) == 100
    assert f"And {MOST - 3:,} more" in found["foreign"].evidence


def test_what_cannot_be_checked_is_an_error(shop: Shop) -> None:
    with pytest.raises(NotFound):
        fsck(shop.bucket, "none")
    with pytest.raises(InvalidName):
        fsck(shop.bucket, "../jobs")

    class Down(Wrapper):
        def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:  # noqa: ARG002 - the face of a store
            raise StoreUnavailable("down", key=prefix)

    with pytest.raises(StoreUnavailable), Bucket(url="memory://x", store=Down(shop.store), clock=shop.clock) as bucket:
        fsck(bucket, "jobs")
