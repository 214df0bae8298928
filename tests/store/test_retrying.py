from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3queue.errors import (
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from s3queue.store.port import CREATE, OVERWRITE, Object, PutMode, Replace, Store
from tests.store.conformance import StoreConformance, count_up, race
from tests.store.faulty import KEY, World

OLD, OURS, RIVAL = b"old", b"ours", b"rival"


@pytest.fixture
def world() -> World:
    return World()


class TestRetryingStore(StoreConformance):
    PAGED_KEYS = 200

    @pytest.fixture
    def store(self) -> Store:
        return World().store


class TestRetryingStoreThatIsBusy(StoreConformance):
    PAGED_KEYS = 50

    @pytest.fixture
    def store(self) -> Store:
        world = World()
        world.faulty.script(["down", "ok", "slow-down", "down"] * 1000, ["slow-down", "ok", "down"] * 1000)
        return world.store


# --- reads, listings, deletes


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get(KEY),
    "list": lambda store: store.list("queue/"),
    "delete": lambda store: store.delete(KEY),
    "delete_many": lambda store: store.delete_many([KEY]),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_other_requests_are_repeated_until_they_are_answered(world: World, operation: str) -> None:
    world.memory.put(KEY, OLD, CREATE)
    world.faulty.script(others=["down", "slow-down", "down"])
    OPERATIONS[operation](world.store)
    assert world.faulty.requests == [operation] * 4
    assert [facts[:2] for facts in world.throttled] == [(operation, 2)]
    assert len(world.clock.slept) == 3


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_deadline_ends_them(operation: str) -> None:
    world = World(deadline_s=7)
    world.faulty.script(others=["down"] * 1000)
    with pytest.raises(StoreUnavailable):
        OPERATIONS[operation](world.store)
    assert world.clock.monotonic() == pytest.approx(7)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refusal_is_not_repeated(world: World, operation: str) -> None:
    world.faulty.script(others=["denied"])
    with pytest.raises(StoreRefused):
        OPERATIONS[operation](world.store)
    assert world.clock.slept == []


def test_a_missing_object_is_an_answer(world: World) -> None:
    with pytest.raises(NotFound):
        world.store.get(KEY)
    assert world.faulty.requests == ["get"]


def test_waits_double_up_to_the_cap_and_are_random_below() -> None:
    world = World(deadline_s=1000)
    world.faulty.script(others=["down"] * 200)
    world.store.list("")
    ceilings = [min(5.0, 0.05 * 2**n) for n in range(200)]
    shares = [delay / ceiling for delay, ceiling in zip(world.clock.slept, ceilings, strict=True)]
    assert all(0 <= share < 1 for share in shares)
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_a_throttled_answer_is_told_with_the_wait_to_come(world: World) -> None:
    world.faulty.script(puts=["slow-down", "down", "slow-down"])
    world.store.put(KEY, OURS, CREATE)
    assert [facts[:2] for facts in world.throttled] == [("put", 1), ("put", 3)]
    assert [facts[2] for facts in world.throttled] == [world.clock.slept[0], world.clock.slept[2]]


def test_only_the_keys_that_failed_are_deleted_again(world: World) -> None:
    asked: list[tuple[str, ...]] = []
    real = world.faulty.delete_many

    def delete_many(keys: tuple[str, ...]) -> tuple[str, ...]:
        asked.append(keys)
        return real(keys)

    world.faulty.delete_many = delete_many  # type: ignore[method-assign, assignment]
    world.faulty.script(others=["partial", "down", "ok"])
    assert world.store.delete_many(["a", "b", "c"]) == ()
    assert asked == [("a", "b", "c"), ("c",), ("c",)]


def test_keys_that_fail_on_and_on_are_returned(world: World) -> None:
    world.faulty.script(others=["partial"] * 100)
    assert world.store.delete_many(["a", "b"]) == ("b",)
    assert len(world.faulty.requests) == 4
    assert len(world.clock.slept) == 3


def test_deleting_nothing_is_no_request(world: World) -> None:
    assert world.store.delete_many([]) == ()
    assert world.faulty.requests == []


# --- PUT: the table of the module


def start(world: World, mode: str) -> PutMode:
    if mode == "create":
        return CREATE
    etag = world.memory.put(KEY, OLD, CREATE)
    return Replace(etag) if mode == "replace" else OVERWRITE


MODES = pytest.mark.parametrize("mode", ["create", "replace", "overwrite"])


@MODES
def test_a_first_answer_costs_one_request(world: World, mode: str) -> None:
    condition = start(world, mode)
    etag = world.store.put(KEY, OURS, condition)
    assert world.memory.get(KEY) == Object(OURS, etag)
    assert world.faulty.requests == ["put"]


@MODES
def test_a_write_that_was_not_applied_is_repeated_without_a_read(world: World, mode: str) -> None:
    condition = start(world, mode)
    world.faulty.script(puts=["down", "slow-down", "down"])
    world.store.put(KEY, OURS, condition)
    assert world.there() == OURS
    assert world.faulty.requests == ["put"] * 4


@MODES
def test_our_own_write_with_a_lost_answer_is_recognised(world: World, mode: str) -> None:
    condition = start(world, mode)
    world.faulty.script(puts=["lost", "lost"])
    etag = world.store.put(KEY, OURS, condition)
    assert world.memory.get(KEY) == Object(OURS, etag)
    assert len(world.faulty.applied) == (3 if mode == "overwrite" else 1)
    assert world.faulty.requests == ["put"] * 3 + ["get"] * (mode != "overwrite")


@pytest.mark.parametrize("mode", ["create", "replace"])
def test_a_refusal_at_once_is_lost_and_costs_no_read(world: World, mode: str) -> None:
    condition = start(world, mode)
    world.memory.put(KEY, RIVAL, OVERWRITE)
    world.faulty.script(puts=["down"])
    with pytest.raises(PreconditionFailed):
        world.store.put(KEY, OURS, condition)
    assert world.faulty.requests == ["put", "put"]


@pytest.mark.parametrize("mode", ["create", "replace"])
def test_a_loser_that_was_answered_500_is_unknown(world: World, mode: str) -> None:
    condition = start(world, mode)
    world.memory.put(KEY, RIVAL, OVERWRITE)
    world.faulty.script(puts=["lost"])
    with pytest.raises(OutcomeUnknown):
        world.store.put(KEY, OURS, condition)
    assert world.faulty.applied == []


@pytest.mark.parametrize("mode", ["create", "replace"])
def test_a_landed_write_that_a_rival_replaced_is_unknown(world: World, mode: str) -> None:
    condition = start(world, mode)
    world.faulty.script(puts=["lost"])
    world.rival_at_attempt(2, lambda: world.memory.put(KEY, RIVAL, OVERWRITE))
    with pytest.raises(OutcomeUnknown) as caught:
        world.store.put(KEY, OURS, condition)
    assert world.faulty.applied == [(KEY, OURS)]
    assert isinstance(caught.value.__cause__, PreconditionFailed)


def test_a_landed_replace_that_a_rival_deleted_is_unknown(world: World) -> None:
    condition = start(world, "replace")
    world.faulty.script(puts=["lost"])
    world.rival_at_attempt(2, lambda: world.memory.delete(KEY))
    with pytest.raises(OutcomeUnknown):
        world.store.put(KEY, OURS, condition)
    assert world.faulty.requests == ["put", "put", "get"]


def test_a_refused_create_with_nothing_there_is_unknown(world: World) -> None:
    """Ours landed, refused its repetition, and was deleted before we looked."""
    world.faulty.script(puts=["lost"])
    real = world.faulty.get

    def get(key: str, if_none_match: str | None = None) -> Object | None:
        world.memory.delete(key)
        return real(key, if_none_match)

    world.faulty.get = get  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        world.store.put(KEY, OURS, CREATE)


def test_a_refusal_while_our_etag_stands_is_an_error_and_tried_again(world: World) -> None:
    condition = start(world, "replace")
    real, words = world.memory.put, iter(["time-out", "refuse", "refuse", "ok"])

    def put(key: str, body: bytes, mode: PutMode) -> str:
        word = next(words)
        if word == "time-out":
            raise StoreUnavailable("time-out", maybe_applied=True)
        if word == "refuse":
            raise PreconditionFailed(key, expected="")
        return real(key, body, mode)

    world.faulty.inner.put = put  # type: ignore[method-assign]
    etag = world.store.put(KEY, OURS, condition)
    assert world.memory.get(KEY) == Object(OURS, etag)
    assert world.faulty.requests == ["put", "put", "get", "put", "get", "put"]


@MODES
def test_a_deadline_with_no_doubt_tells_the_store_is_away(mode: str) -> None:
    world = World(deadline_s=5)
    condition = start(world, mode)
    world.faulty.script(puts=["down"] * 1000)
    with pytest.raises(StoreUnavailable):
        world.store.put(KEY, OURS, condition)
    assert "get" not in world.faulty.requests
    assert world.clock.monotonic() == pytest.approx(5)


@MODES
@pytest.mark.parametrize("first", ["lost", "late"])
def test_a_deadline_in_doubt_reads_back_once(mode: str, first: str) -> None:
    world = World(deadline_s=5)
    condition = start(world, mode)
    world.faulty.script(puts=[first] + ["down"] * 1000)
    if first == "lost":
        world.store.put(KEY, OURS, condition)
    else:
        with pytest.raises(OutcomeUnknown):
            world.store.put(KEY, OURS, condition)
        world.faulty.land()  # which is why it was unknown
    assert world.there() == OURS
    assert world.faulty.requests.count("get") == 1


@pytest.mark.parametrize("word", ["down", "denied"])
def test_a_deadline_in_doubt_without_a_read_is_unknown(word: str) -> None:
    world = World(deadline_s=5)
    world.faulty.script(puts=["lost"] * 1000, others=[word] * 1000)
    with pytest.raises(OutcomeUnknown):
        world.store.put(KEY, OURS, OVERWRITE)
    assert world.faulty.requests.count("get") == 1


def test_credentials_that_expire_in_doubt_leave_it_unknown(world: World) -> None:
    world.faulty.script(puts=["late", "denied"])
    with pytest.raises(OutcomeUnknown) as caught:
        world.store.put(KEY, OURS, CREATE)
    assert isinstance(caught.value.__cause__, StoreRefused)
    assert world.faulty.requests == ["put", "put", "get"]


def test_credentials_that_expire_without_doubt_are_told(world: World) -> None:
    world.faulty.script(puts=["down", "denied"])
    with pytest.raises(StoreRefused):
        world.store.put(KEY, OURS, CREATE)


def test_a_late_twin_of_a_committed_write_changes_nothing(world: World) -> None:
    world.faulty.script(puts=["late"])
    etag = world.store.put(KEY, OURS, CREATE)
    world.memory.put(KEY, RIVAL, Replace(etag))
    world.faulty.land()
    assert world.there() == RIVAL


# --- properties

WORDS = ["ok", "lost", "late", "down", "slow-down", "denied"]
RIVALS = ["nothing", "nothing", "create", "replace", "delete", "land"]


def act(world: World, what: str, number: int) -> None:
    body = b"%s %d" % (RIVAL, number)
    if what == "create" and world.there() is None:
        world.memory.put(KEY, body, CREATE)
    elif what == "replace" and world.there() is not None:
        world.memory.put(KEY, body, OVERWRITE)
    elif what == "delete":
        world.memory.delete(KEY)
    elif what == "land":
        world.faulty.land()


@settings(max_examples=600, deadline=None)
@given(
    mode=st.sampled_from(["create", "replace", "stale", "overwrite"]),
    words=st.lists(st.sampled_from(WORDS), max_size=6),
    rivals=st.lists(st.sampled_from(RIVALS), max_size=7),
    others=st.lists(st.sampled_from(["ok", "down", "denied"]), max_size=3),
    before=st.booleans(),
    deadline_s=st.sampled_from([0.0, 0.1, 30.0]),
)
def test_every_verdict_is_true(  # noqa: PLR0917 - hypothesis passes by name
    mode: str, words: list[str], rivals: list[str], others: list[str], before: bool, deadline_s: float
) -> None:
    world = World(deadline_s)
    etag = world.memory.put(KEY, OLD, CREATE) if before else "0" * 32
    modes: dict[str, PutMode] = {
        "create": CREATE,
        "replace": Replace(etag),
        "stale": Replace("1" * 32),
        "overwrite": OVERWRITE,
    }
    condition = modes[mode]
    queue = list(rivals)
    world.faulty.script(words, others)
    world.faulty.before_put = lambda: act(world, queue.pop(0), len(queue)) if queue else None
    asked = list(words)
    try:
        etag = world.store.put(KEY, OURS, condition)
    except StoreError as error:
        verdict = type(error)
    else:
        assert world.memory.get(KEY) == Object(OURS, etag), "what was committed is there"
        return
    attempts = asked[: world.faulty.requests.count("put")]
    world.faulty.land()
    if verdict is OutcomeUnknown:
        assert {"lost", "late"} & set(attempts), "there was a reason to doubt"
    else:
        assert verdict in {PreconditionFailed, StoreUnavailable, StoreRefused}
        assert world.faulty.applied == [], "what was not committed never lands"


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.sampled_from(["ok", "lost", "down", "slow-down"]), max_size=40), seed=st.integers(0, 1000))
def test_without_rivals_faults_change_nothing_but_time(words: list[str], seed: int) -> None:
    world = World(seed=seed)
    world.faulty.script(words)
    etag = world.store.put(KEY, b"0", CREATE)
    for number in range(1, 6):
        etag = world.store.put(KEY, b"%d" % number, Replace(etag))
    assert [body for _, body in world.faulty.applied] == [b"%d" % number for number in range(6)]


def test_writers_count_exactly_through_lost_answers(world: World) -> None:
    world.faulty.script(["lost", "ok", "down", "lost", "lost", "ok"] * 500)
    world.memory.put(KEY, b'{"count": 0, "writers": {}}', CREATE)
    race(*[lambda n=n: count_up(world.store, KEY, f"writer {n}", 50) for n in range(4)])
    assert json.loads(world.there() or b"")["count"] == 200
