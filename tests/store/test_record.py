from __future__ import annotations

import json

import pytest

from s3queue.errors import CorruptObject, NewerFormat, OutcomeUnknown, PreconditionFailed, StoreUnavailable
from s3queue.ids import SeededIds
from s3queue.store.memory import MemoryStore
from s3queue.store.metered import Meter, Metered
from s3queue.store.port import OVERWRITE, Object, Replace
from s3queue.store.record import Record, Version
from s3queue.store.retrying import Retrying
from tests.store.conformance import race
from tests.store.faulty import FakeClock, Faulty

KEY = "q/settings.json"


def decode(body: bytes, key: str) -> int:
    try:
        return int(json.loads(body))
    except ValueError as error:
        raise CorruptObject(key, str(error)) from None


def encode(value: int) -> bytes:
    return json.dumps(value).encode()


class World:
    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.faulty = Faulty(self.memory)
        self.meter = Meter()
        metered = Metered(self.faulty, self.meter, "q/")
        self.store = Retrying(metered, clock=FakeClock(), ids=SeededIds(1), deadline_s=1)
        self.record = Record(self.store, KEY, decode, encode)

    def other(self) -> Record[int]:
        """The same record as another process has it."""
        return Record(self.memory, KEY, decode, encode)


@pytest.fixture
def world() -> World:
    return World()


def test_an_absent_record_has_no_value(world: World) -> None:
    assert world.record.cached is None
    assert world.record.read() == Version(None, None)
    assert world.record.cached == Version(None, None)


def test_what_is_written_over_an_absent_version_is_read(world: World) -> None:
    version = world.record.write(1, world.record.read())
    assert version.value == 1
    assert world.record.cached == version
    assert world.other().read() == version


def test_an_unchanged_record_costs_an_unchanged_answer(world: World) -> None:
    version = world.record.write(1, Version(None, None))
    assert world.record.read() is version
    assert world.meter.total("GET", outcome="unchanged") == 1
    world.other().write(2, version)
    assert world.record.read().value == 2
    assert world.meter.total("GET", outcome="ok") == 1


def test_a_write_over_an_old_version_is_refused(world: World) -> None:
    absent = world.record.read()
    version = world.record.write(1, absent)
    for old in (absent, Version(1, "0" * 32)):
        with pytest.raises(PreconditionFailed):
            world.record.write(2, old)
    assert world.record.cached == version
    assert world.record.read() == version


def test_a_record_deleted_by_others_is_absent_again(world: World) -> None:
    version = world.record.write(1, Version(None, None))
    world.memory.delete(KEY)
    assert world.record.read() == Version(None, None)
    with pytest.raises(PreconditionFailed):
        world.record.write(2, version)


def test_an_unreadable_record_is_left_as_it_is(world: World) -> None:
    version = world.record.write(1, Version(None, None))
    world.memory.put(KEY, b"{not json", OVERWRITE)
    for use in (world.record.read, lambda: world.record.update(lambda value: (value or 0) + 1)):
        with pytest.raises(CorruptObject) as caught:
            use()
        assert caught.value.key == KEY
    assert world.memory.get(KEY) == Object(b"{not json", "3dc44617c0740f37498f572c319693e4")
    assert world.record.cached == version


def test_what_decode_raises_comes_through(world: World) -> None:
    def newer(_body: bytes, key: str) -> int:
        raise NewerFormat(key, "9", "1")

    world.memory.put(KEY, b"9", OVERWRITE)
    with pytest.raises(NewerFormat):
        Record(world.store, KEY, newer, encode).read()


def test_a_slow_read_does_not_put_an_old_version_in_the_cache(world: World) -> None:
    first = world.record.write(1, Version(None, None))
    real = world.faulty.get

    def get(key: str, if_none_match: str | None = None) -> Object | None:
        answer = real(key, if_none_match)
        world.record.write(2, first)  # by another thread, while the answer travels
        return answer

    world.faulty.get = get  # type: ignore[method-assign]
    assert world.record.read() == first
    assert world.record.cached is not None
    assert world.record.cached.value == 2


def test_update_changes_what_is_there(world: World) -> None:
    assert world.record.update(lambda value: (value or 0) + 1).value == 1
    world.other().update(lambda _: 10)
    assert world.record.update(lambda value: (value or 0) + 1).value == 11
    assert world.other().read().value == 11


def test_an_update_to_the_same_value_writes_nothing(world: World) -> None:
    version = world.record.update(lambda _: 1)
    assert world.record.update(lambda _: 1) == version
    assert world.meter.total("PUT") == 1


def test_an_update_that_loses_looks_again(world: World) -> None:
    rivals = iter([20, 30])

    def change(value: int | None) -> int:
        if (rival := next(rivals, None)) is not None:
            world.other().update(lambda _: rival)
        return (value or 0) + 1

    assert world.record.update(change).value == 31
    assert world.meter.total("PUT", outcome="lost") == 2


def test_an_update_that_always_loses_gives_up(world: World) -> None:
    def change(value: int | None) -> int:
        world.other().update(lambda value: (value or 0) + 100)
        return (value or 0) + 1

    with pytest.raises(PreconditionFailed):
        world.record.update(change, attempts=3)
    assert world.meter.total("PUT") == 3


def test_an_update_of_unknown_outcome_is_judged_by_what_is_there(world: World) -> None:
    """The answer is lost, our value is replaced before the repetition, and ``change`` is asked again."""
    first = world.record.write(1, Version(None, None))
    world.faulty.script(puts=["lost"])
    seen: list[int | None] = []
    attempts = iter(range(1, 10))

    def rival() -> None:
        if next(attempts) == 2:
            landed = world.memory.get(KEY)
            assert landed is not None
            world.memory.put(KEY, b"50", Replace(landed.etag))

    world.faulty.before_put = rival

    def change(value: int | None) -> int:
        seen.append(value)
        return max(value or 0, 2)

    assert world.record.update(change).value == 50
    assert seen == [first.value, 50]


def test_an_update_that_stays_unknown_says_so(world: World) -> None:
    world.record.write(1, Version(None, None))
    world.faulty.script(puts=["late"] + ["down"] * 1000)
    with pytest.raises(OutcomeUnknown):
        world.record.update(lambda _: 2, attempts=1)


def test_a_store_that_is_away_is_told(world: World) -> None:
    world.faulty.script(puts=["down"] * 1000)
    with pytest.raises(StoreUnavailable):
        world.record.update(lambda _: 1)


def test_update_needs_an_attempt(world: World) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        world.record.update(lambda _: 1, attempts=0)


def test_threads_and_processes_count_without_losing_one(world: World) -> None:
    records = [world.record, world.record, world.other(), world.other()]

    def count(record: Record[int]) -> None:
        for _ in range(50):
            record.update(lambda value: (value or 0) + 1, attempts=1000)

    race(*[lambda record=record: count(record) for record in records])
    assert world.record.read().value == 200
