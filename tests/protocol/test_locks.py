"""Locks at every request: crashes, lost answers, rivals, holders that wake too late, sweeps; and real threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from s3queue import (
    Context,
    CorruptObject,
    InvalidInput,
    InvalidName,
    InvalidSetting,
    Lock,
    LockHeld,
    LockLost,
    NewerFormat,
    NotFound,
    Queue,
    StoreUnavailable,
)
from s3queue.core import lease
from s3queue.core.lease import decode_lock
from s3queue.protocol.locks import sweep_locks
from s3queue.protocol.outcomes import Delivery
from s3queue.runtime.keeper import Keeper, keeper_of
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, Store
from tests.protocol.rig import Killed, Mortal
from tests.queue.clocks import ManualClock, eventually
from tests.store.faulty import Faulty

KEY = "jobs/locks/a.json"
TAKE, RENEW, RELEASE = 2, 1, 1
"""Requests: to take a free lock (read, write), to renew it, to give it back."""


class World:
    """A bucket in memory and its clock, and the resource that its locks guard."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore(self.clock)
        self.seen = 0

    def queue(self, store: Store | None = None, worker: str | None = None, clock: ManualClock | None = None) -> Queue:
        options: dict[str, Any] = {"probe": False, "worker_id": worker, "prefix": ""}
        queue = Queue("jobs", store=store or self.memory, clock=clock or self.clock, **options)
        queue.settings  # noqa: B018 - connects, so that what follows is about locks alone
        return queue

    def lock(self, worker: str | None = None, store: Store | None = None, wait: float | None = 0) -> Lock:
        return self.queue(store, worker).lock("a", 10, wait=wait, renew=False)

    def use(self, token: int) -> bool:
        """Use the resource; refused under a token lower than the highest seen."""
        accepted = token >= self.seen
        self.seen = max(self.seen, token)
        return accepted

    def state(self) -> lease.LockState:
        found = self.memory.get(KEY)
        assert found is not None
        return decode_lock(found.body, KEY)

    def exists(self) -> bool:
        try:
            self.memory.get(KEY)
        except NotFound:
            return False
        return True

    def sweep(self, later_s: float = 0.001) -> int:
        self.clock.advance(later_s)
        return sweep_locks(self.queue().connect().lane)

    def delete(self) -> None:
        self.clock.advance(1)
        self.memory.delete(KEY)


@pytest.fixture
def world() -> World:
    return World()


def test_a_lock_keeps_others_out_until_it_is_given_back(world: World) -> None:
    rival = world.lock("w2")
    with world.lock("w1") as lock:
        assert lock.held
        with pytest.raises(LockHeld, match=r"'w1' holds it with token .* until .*wait=seconds") as caught:
            rival.acquire()
        assert (caught.value.holder, caught.value.token) == ("w1", lock.token)
        (info,) = world.queue().locks()
        assert (info.name, info.holder, info.token, info.expired) == ("a", "w1", lock.token, False)
        assert info.expires_at - info.acquired_at == timedelta(seconds=10)
    assert not lock.held
    assert world.queue().locks() == []
    with rival:
        assert rival.token > lock.token
    with pytest.raises(LockLost, match="it was released"):
        lock.check()


def test_it_takes_few_requests(world: World) -> None:
    mortal = Mortal(world.memory)
    lock = world.lock(store=mortal)
    counts = []
    for act in (lock.acquire, lock.renew, lock.release):
        before = mortal.calls
        act()
        counts.append(mortal.calls - before)
    assert counts == [TAKE, RENEW, RELEASE]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, TAKE + RENEW + RELEASE + 1))
def test_a_holder_that_dies_at_any_request_lets_others_in_after_its_time(world: World, step: int, after: bool) -> None:
    mortal = Mortal(world.memory, after=after)
    lock = world.lock("w1", mortal)
    mortal.dies_at = mortal.calls + step
    with pytest.raises(Killed):
        _live(lock)
    with world.lock("w2", wait=20) as heir:
        assert world.use(heir.token)
        assert heir.token > lock.token


def _live(lock: Lock) -> None:
    lock.acquire()
    lock.renew()
    lock.release()


@pytest.mark.parametrize("word", ["lost", "late"])
@pytest.mark.parametrize("step", range(3))
def test_an_answer_lost_at_any_write_is_found_out(world: World, step: int, word: str) -> None:
    faulty = Faulty(world.memory)
    lock = world.lock("w1", faulty, wait=40)
    faulty.script(puts=["ok"] * step + [word])
    with lock:
        assert (world.state().holder, world.state().token) == ("w1", lock.token)
        lock.renew()
        lock.check()
        faulty.land()
        lock.renew()
    faulty.land()
    assert world.state().holder == ""


@pytest.mark.parametrize("step", range(1, 4))
def test_a_rival_before_any_write_never_shares_the_lock(world: World, step: int) -> None:
    faulty = Faulty(world.memory)
    mine, rivals = world.lock("w1", faulty), list[Lock]()

    before = faulty.requests.count("put") + step - 1

    def rival() -> None:
        if faulty.requests.count("put") == before and not rivals:
            rivals.append(world.lock("w2"))
            rivals[0].acquire()
            assert not mine.held

    faulty.before_put = rival
    with pytest.raises(LockHeld, match="'w2' holds it" if step == 1 else "'w1' holds it"):
        _live(mine)
    assert rivals[0].held == (step == 1)


def test_a_holder_that_wakes_too_late_is_told_and_its_token_refused(world: World) -> None:
    sleeper, heir = world.lock("w1"), world.lock("w2", wait=60)
    sleeper.acquire()
    assert world.use(sleeper.token)
    heir.acquire()
    assert not sleeper.held
    with pytest.raises(LockLost, match="ran out before it could be renewed"):
        sleeper.check()
    assert world.use(heir.token)
    assert not world.use(sleeper.token)
    with pytest.raises(LockLost, match="'w2' holds it"):
        sleeper.renew()
    assert heir.held
    with pytest.raises(LockLost, match=r"'a' with token \d+ is lost: 'w2' holds it .*resource refuse tokens") as caught:
        sleeper.__exit__(None, None, None)
    assert (caught.value.name, caught.value.token) == ("a", sleeper.token)
    assert "'w2'" in caught.value.found
    heir.release()


def test_leaving_late_is_no_loss_as_long_as_nobody_else_had_the_lock(world: World) -> None:
    with world.lock() as lock:
        world.clock.advance(60)
        assert not lock.held
    assert world.state().holder == ""


def test_an_exception_under_way_gets_a_note_of_the_loss(world: World) -> None:
    def block() -> None:
        with world.lock():
            world.clock.advance(13)
            world.lock("w2").acquire()
            raise KeyError

    with pytest.raises(KeyError) as caught:
        block()
    assert "is lost: 'w2' holds it" in caught.value.__notes__[0]


@pytest.mark.parametrize(("slept_s", "lost"), [(0, False), (9.5, True)])
def test_a_store_that_is_down_when_the_block_ends(world: World, slept_s: float, lost: bool) -> None:
    faulty = Faulty(world.memory)
    lock = world.lock(store=faulty)
    errors: list[Any] = []
    lock._lane.events.on("error", errors.append)
    lock.acquire()
    world.clock.advance(slept_s or 0.001)
    faulty.script(puts=["down"] * 2000)
    if lost:
        with pytest.raises(LockLost, match="cannot be told"):
            lock.__exit__(None, None, None)
    else:
        lock.__exit__(None, None, None)
        assert len(errors) == 1
    assert not lock.held


def test_clocks_within_the_margin_do_not_share_a_lock(world: World) -> None:
    ahead = ManualClock()
    ahead.skew_ms = lease.MARGIN_MS
    lock = world.lock()
    lock.acquire()
    rival = world.queue(worker="w2", clock=ahead).lock("a", 10, renew=False)
    while lock.held:
        with pytest.raises(LockHeld):
            rival.acquire()
        for clock in (world.clock, ahead):
            clock.advance(0.25)


def test_an_operator_breaks_a_lock_and_its_holder_is_fenced(world: World) -> None:
    lock = world.lock("w1").acquire()
    broken = world.queue().break_lock("a")
    assert broken is not None
    assert (broken.holder, broken.token) == ("w1", lock.token)
    assert world.queue().break_lock("a") is None
    assert world.queue().break_lock("never") is None
    with world.lock("w2") as heir:
        assert world.use(heir.token)
        assert not world.use(lock.token)
    with pytest.raises(LockLost, match="it was broken, or others have had it"):
        lock.renew()


def test_a_lock_is_broken_for_the_holder_that_was_named_alone(world: World) -> None:
    gone = world.lock("w1").acquire()
    gone.release()
    heir = world.lock("w2").acquire()
    assert world.queue().break_lock("a", token=gone.token) is None
    heir.renew()
    broken = world.queue().break_lock("a", token=heir.token)
    assert broken is not None
    assert (broken.holder, broken.token) == ("w2", heir.token)
    assert world.state().token > heir.token


@pytest.mark.parametrize("word", ["lost", "late"])
def test_breaking_a_lock_spares_whoever_takes_it_next(world: World, word: str) -> None:
    world.lock("w1").acquire()
    faulty = Faulty(world.memory)
    operator = world.queue(faulty)
    faulty.script(puts=[word, "down"])
    heirs: list[Lock] = []

    def rival() -> None:
        if faulty.requests.count("put") == 1 and not heirs:
            faulty.land()
            heirs.append(world.lock("w2").acquire())

    faulty.before_put = rival
    assert operator.break_lock("a") is not None
    assert not heirs or heirs[0].held
    assert world.state().holder == ("w2" if heirs else "")


def test_tokens_grow_across_release_expiry_breaking_and_deletion(world: World) -> None:
    tokens = []
    ends: list[Callable[[Lock], object]] = [
        Lock.release,
        lambda lock: world.clock.advance(13),
        lambda lock: world.queue().break_lock("a"),
        lambda lock: world.delete(),
        lambda lock: world.sweep(later_s=86_500),
        Lock.release,
    ]
    for end in ends:
        lock = world.lock().acquire()
        tokens.append(lock.token)
        end(lock)
    assert tokens == sorted(set(tokens))


def test_a_lock_whose_object_is_deleted_is_lost(world: World) -> None:
    with pytest.raises(LockLost, match="its object is gone"), world.lock():
        world.memory.delete(KEY)


# -- sweeps --


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 5))
def test_a_sweep_may_die_anywhere_and_the_lock_is_to_be_had(world: World, step: int, after: bool) -> None:
    with world.lock() as first:
        pass
    assert world.sweep() == 0, "too early"
    world.clock.advance(86_500)
    mortal = Mortal(world.memory, after=after)
    lane = world.queue(mortal).connect().lane
    mortal.dies_at = mortal.calls + step
    with pytest.raises(Killed):
        sweep_locks(lane)
    with world.lock(wait=lease.DOOMED_MS / 1000 + 60) as lock:
        assert lock.token > first.token
    assert world.exists()


def test_a_sweep_leaves_what_is_held_and_what_it_cannot_read(world: World) -> None:
    queue = world.queue()
    with world.lock():
        pass
    world.clock.advance(86_500)
    world.memory.put("jobs/locks/b.json", b"{}", OVERWRITE)
    world.memory.put("jobs/locks/notes.txt", b"", OVERWRITE)
    told: list[Any] = []
    queue.on("error", told.append)
    with queue.lock("c"):
        assert sweep_locks(queue.connect().lane) == 1
        assert [info.name for info in queue.locks()] == ["c"]
    assert [entry.key for entry in world.memory.list("jobs/locks/").entries] == [
        f"jobs/locks/{name}" for name in ("b.json", "c.json", "notes.txt")
    ]
    assert "jobs/locks/b.json" in str(told[0].error)


def test_a_deletion_that_is_not_answered_is_not_sent_again(world: World) -> None:
    with world.lock():
        pass
    world.clock.advance(86_500)
    faulty = Faulty(world.memory)
    lane = world.queue(faulty).connect().lane
    faulty.script(others=["ok", "ok", "down"])
    assert sweep_locks(lane) == 0
    assert faulty.requests.count("delete") == 1
    with pytest.raises(LockHeld, match="not used for a day and is being deleted"):
        world.lock().acquire()
    world.clock.advance(lease.DOOMED_MS / 1000)
    assert world.sweep() == 1
    assert not world.exists()


def test_what_is_no_lock_is_never_overwritten(world: World) -> None:
    queue = world.queue()
    for body, error in ((b"{}", CorruptObject), (b'{"format":"s3queue.lock/2"}', NewerFormat)):
        world.memory.put(KEY, body, OVERWRITE)
        for act in (queue.lock("a").acquire, lambda: queue.break_lock("a")):
            with pytest.raises(error, match=re.escape(KEY)):
                act()
        world.clock.advance(90_000)
        assert world.sweep() == 0
        found = world.memory.get(KEY)
        assert found is not None
        assert found.body == body


# -- arguments --


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ttl": 0.5}, r"ttl is 0.5\. Use 1 to 86400"),
        ({"ttl": 86_401}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": "30"}, "ttl"),
        ({"ttl": True}, "ttl"),
        ({"wait": -1}, "wait is -1"),
        ({"wait": float("nan")}, "wait"),
        ({"renew": 40}, r"renew is 40, and ttl 30: the lock would run out before it is renewed"),
        ({"ttl": 10, "renew": 5.1}, r"renew is 5\.1, and ttl 10: the lock would run out"),
        ({"renew": 0.0}, "renew"),
        ({"renew": "often"}, "renew"),
    ],
)
def test_times_that_cannot_be_are_refused(world: World, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        world.queue().lock("a", **arguments)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "ä", "a\n", "x" * 201, None, 7])
def test_a_name_that_is_no_part_of_a_key_is_refused(world: World, name: Any) -> None:
    for act in (world.queue().lock, world.queue().break_lock):
        with pytest.raises(InvalidName, match="cannot name a lock"):
            act(name)
    with world.queue().lock("Customer-42.eu:x=1@y+z_"):
        pass


def test_a_lock_in_use_is_not_taken_twice(world: World) -> None:
    with world.lock() as lock, pytest.raises(InvalidInput, match="in use here"):
        lock.acquire()
    with lock:
        pass


# -- handlers --


def test_a_handler_takes_locks(world: World) -> None:
    queue, tokens = world.queue(), list[int]()

    def handler(payload: str, ctx: Context) -> None:
        with ctx.lock(payload, ttl=5) as lock:
            tokens.append(lock.token)

    queue.enqueue("a")
    assert queue.process_once(handler) == 1
    assert queue.count("completed") == 1
    assert tokens[0] > 0


def test_a_handler_in_a_process_of_its_own_is_told_what_to_do() -> None:
    delivery: Delivery = type("Stub", (), {"id": "m1", "message": None})()
    ctx = Context(None, delivery, "w1", "jobs")
    with pytest.raises(InvalidInput, match=r"process of its own.*Queue\('jobs', …\)\.lock\('a'\)"):
        ctx.lock("a")


# -- renewal --


def test_a_keeper_renews_what_is_due_and_drops_what_is_lost(world: World) -> None:
    faulty, keeper = Faulty(world.memory), Keeper()
    keeper._thread = keeper  # type: ignore[assignment] # no thread: the test takes its steps
    queue = world.queue(faulty, "w1")
    lost: list[Any] = []
    queue.on("lock-lost", lost.append)
    lane = queue.connect().lane
    lock = Lock(lane, "a", ttl_s=9, wait_s=0, renew_s=3, keeper=keeper).acquire()
    for _ in range(20):
        world.clock.advance(2)
        keeper.step()
        lock.check()
    world.clock.advance(lock.due_in_s)
    faulty.script(puts=["denied"])
    keeper.step()
    assert 0 < lock.due_in_s < 1, "tried again soon"
    world.clock.advance(lock.due_in_s)
    keeper.step()
    lock.check()
    world.queue().break_lock("a")
    world.clock.advance(3)
    keeper.step()
    assert not lock.held
    assert [(event.lock, event.token) for event in lost] == [("a", lock.token)]
    assert not keeper._locks


@pytest.fixture
def shared() -> Iterator[Queue]:
    """A queue in real time."""
    with Queue("jobs", store=MemoryStore(), probe=False) as queue:
        yield queue


def test_threads_take_turns_and_the_keeper_comes_and_goes(shared: Queue) -> None:
    inside, most, turns, tokens = 0, 0, 0, list[int]()

    def take(_: int) -> None:
        nonlocal inside, most, turns
        with shared.lock("a", 5, wait=30) as lock:
            inside += 1
            most = max(most, inside)
            tokens.append(lock.token)
            turns += 1
            lock.check()
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(24)))
    assert (most, turns) == (1, 24)
    assert tokens == sorted(set(tokens))
    keeper = keeper_of(shared.connect().store)
    assert eventually(lambda: keeper._thread is None)


def test_a_lock_outlives_its_time_while_its_thread_keeps_it(shared: Queue) -> None:
    with shared.lock("a", 1) as lock:
        first = shared.locks()[0].expires_at
        assert eventually(lambda: shared.locks()[0].expires_at > first + timedelta(seconds=1))
        lock.check()


def test_a_lock_that_was_taken_while_the_store_was_slow_is_renewed_at_once(world: World) -> None:
    faulty = Faulty(world.memory)
    lock = world.lock(store=faulty)
    faulty.before_put = lambda: world.clock.advance(11) if not faulty.requests.count("put") else None
    assert lock.acquire().held
    faulty.script(puts=["down"] * 2000)
    with pytest.raises(StoreUnavailable):
        lock.renew()
