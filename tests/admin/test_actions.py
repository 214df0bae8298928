"""Actions: exactly what was planned, at a pace, resumable, told in full when the store fails in the middle."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from s3queue import InvalidInput, LeaseLost, LockHeld, NonRetriable, Queue, StoreRefused, StoreUnavailable
from s3queue.core.invariants import violations
from s3queue.store.port import PutMode
from s3queue_admin.actions import audit, plan
from s3queue_admin.actions.options import merge
from s3queue_admin.actions.running import LOCK
from s3queue_admin.filters import parse
from tests.admin.test_snapshot import Site
from tests.store.faulty import Wrapper


@pytest.fixture
def site() -> Site:
    return Site()


def fail(payload: Any) -> None:
    raise NonRetriable(f"no {payload}")


def dead(queue: Queue, *payloads: Any) -> list[str]:
    ids = queue.enqueue_many(payloads)
    queue.process_once(fail)
    return ids


def done(queue: Queue) -> list[Any]:
    seen: list[Any] = []
    queue.process_once(seen.append)
    for agents in queue.connect().lanes.all():
        assert violations(agents.lane.committer.ledger) == []
    return seen


def test_a_plan_says_what_it_would_do_and_writes_nothing(site: Site) -> None:
    queue = site.queue()
    dead(queue, {"user": 1, "password": "secret"}, {"user": 2}, {"user": 3})
    queue.enqueue({"user": 1})
    looks = site.bucket.queue("jobs")  # opened to be read
    made = plan(looks, "replay", parse("payload.user<3"))
    assert (made.count, made.where, made.refused) == (2, "payload.user<3", {})
    assert [sample.state for sample in made.sample] == ["dead", "dead"]
    assert "secret" not in repr(made.sample)
    assert "no {" in made.sample[1].error
    assert 0 < made.usd < 0.001
    assert made.cost.requests > 4
    with pytest.raises(StoreRefused, match="opened to be read"):
        made.apply(reason="try")
    assert queue.stats().dead == 3


def test_exactly_the_filtered_letters_are_replayed_and_discarded(site: Site) -> None:
    queue = site.queue()
    dead(queue, *[{"n": number} for number in range(10)])
    told: list[tuple[int, int]] = []
    result = plan(queue, "replay", parse("payload.n<4")).apply(on_progress=lambda n, of: told.append((n, of)))
    assert (len(result.done), result.refused, result.exit_code, result.error) == (4, {}, 0, "")
    assert told == [(4, 4)]
    assert sorted(payload["n"] for payload in done(queue)) == [0, 1, 2, 3]
    gone = plan(queue, "discard", parse("payload.n>=8")).apply(reason="tests")
    assert (len(gone.done), queue.stats().dead) == (2, 4)
    assert sum(gone.billed.values()) <= plan(queue, "purge").cost.requests + 20
    purged = plan(queue, "purge").apply()
    assert (len(purged.done), queue.stats().dead) == (4, 0)


def test_the_cost_of_a_plan_is_about_what_it_takes(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, *range(300))
    alive, other = queue.enqueue_many(range(300), delay=50), site.queue("other")
    other.connect()
    cases: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
        ("replay", ids[:100], {}),
        ("replay", ids[100:200], {"payload": 1}),
        ("replay", ids[200:250], {"to": other}),
        ("discard", ids[250:], {}),
        ("delay", alive[:200], {"seconds": 90}),
        ("cancel", alive[200:], {}),
    )
    for verb, where, options in cases:
        made = plan(queue, verb, where, **options)
        result = made.apply()
        assert result.exit_code == 0, result
        assert made.cost.requests == pytest.approx(sum(result.billed.values()), rel=0.15, abs=6), verb


def test_what_changed_since_it_was_planned_is_refused_with_why(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a", "b", "c")
    made = plan(queue, "discard", parse("state:dead"))
    queue.dlq.replay(ids[0])
    queue.dlq.discard(ids[1])
    result = made.apply()
    assert result.done == (ids[2],)
    assert set(result.refused) == {ids[0], ids[1]}
    assert result.exit_code == 5
    waits = plan(queue, "cancel", parse("state:pending"))
    (held,) = queue.receive(1)
    assert waits.apply().refused == {held.id: "it was claimed meanwhile"}
    held.ack()


def test_ids_that_cannot_be_meant_are_refused_and_the_others_done(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a", "b")
    alive = queue.enqueue("c")
    result = plan(queue, "replay", [ids[0], alive, "none-0"]).apply()
    assert result.done == (ids[0],)
    assert sorted(result.refused) == sorted([alive, "none-0"])
    assert (result.planned, result.exit_code) == (3, 5)
    cancelled = plan(queue, "cancel", [alive, ids[1]]).apply()
    assert cancelled.refused == {ids[1]: "it is dead: replay or discard its letter"}
    with pytest.raises(InvalidInput, match="no message's id"):
        plan(queue, "replay", "state:dead")  # the text of a filter, not a filter


def test_replays_keep_to_a_pace(site: Site) -> None:
    queue = site.queue()
    dead(queue, *range(60))
    began = site.clock.monotonic()
    at: list[float] = []
    made = plan(queue, "replay", parse("state:dead"), per_s=10)
    result = made.apply(on_progress=lambda n, of: at.append(site.clock.monotonic() - began))
    assert len(result.done) == 60
    assert len(at) == 6
    assert 4.9 <= at[-1] <= 5.6  # the sixth ten go after five seconds
    assert all(later - earlier >= 0.9 for earlier, later in pairwise(at))


def test_a_slow_replay_keeps_its_lock_and_ends_when_told_to(site: Site) -> None:
    queue = site.queue()
    dead(queue, *range(5))
    seen: list[int] = []

    def look(through: int, total: int) -> None:
        seen.append(through)
        assert total == 5
        with pytest.raises(LockHeld):
            plan(queue, "purge").apply()

    result = plan(queue, "replay", parse("state:dead"), per_s=0.01).apply(on_progress=look, stop=lambda: len(seen) == 3)
    assert (len(result.done), result.stopped, result.exit_code) == (3, True, 5)
    assert queue.stats().dead == 2
    assert [entry.stopped for entry in audit(queue)] == [True]


def test_letters_are_replayed_edited(site: Site) -> None:
    queue = site.queue()
    (id_, other) = dead(queue, {"to": "x@", "keep": [1], "drop": 1}, "b")
    result = plan(queue, "replay", id_, patch={"to": "y@", "drop": None}).apply(reason="address mended")
    assert result.done == (id_,)
    assert done(queue) == [{"to": "y@", "keep": [1]}]

    def edit(payload: Any) -> Any:
        raise KeyError(payload)

    broken = plan(queue, "replay", other, edit=edit).apply()
    assert broken.refused == {other: "the edit failed: KeyError: 'b'"}

    def leak(payload: Any) -> Any:
        raise ValueError(f"\x1b[31mno {payload} password=hunter2")

    told = plan(queue, "replay", other, edit=leak).apply().refused[other]
    assert "hunter2" not in told
    assert "\x1b" not in told
    assert queue.stats().dead == 1
    unfit = plan(queue, "replay", other, edit=lambda payload: object()).apply()
    assert "JSON" in unfit.refused[other]
    assert plan(queue, "replay", other, payload=None).apply().exit_code == 0
    assert done(queue) == [None]
    assert {"to": "y@", "drop": None} in [entry.options.get("patch") for entry in audit(queue)]


def test_letters_are_replayed_into_another_queue_with_what_they_carry(site: Site) -> None:
    queue, other = site.queue(), site.queue("other")
    id_ = queue.enqueue("a", priority=3, headers={"k": "v"}, max_attempts=7)
    queue.process_once(fail)
    assert plan(queue, "replay", id_, to=other).apply().done == (id_,)
    (view,) = other.messages()
    assert (view.message.priority, view.message.max_attempts) == (3, 7)
    assert view.message.headers == {"k": "v", "s3queue-replay-of": id_}
    assert (queue.stats().dead, queue.stats().unfinished) == (0, 0)


class Dies(Exception):
    """The process ends here."""


class Breaks(Wrapper):
    """A store that fails, or kills its process, at the nth PUT or POST below a folder."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.folder, self.left, self.error = "", 0, Exception()

    def at(self, folder: str, number: int, error: Exception) -> None:
        self.folder, self.left, self.error = folder, number, error

    def _count(self, key: str) -> None:
        if self.folder and f"/{self.folder}" in key:
            self.left -= 1
            if self.left <= 0:
                raise self.error

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self._count(key)
        return super().put(key, body, mode)

    def delete_many(self, keys: Any) -> tuple[str, ...]:
        self._count(keys[0])
        return super().delete_many(keys)


@pytest.mark.parametrize("options", [{}, {"patch": {"mended": True}}], ids=["plain", "edited"])
@pytest.mark.parametrize("folder", ["inbox/", "ledger/", "settled/dlq", "dlq/", "dedup/"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_replay_that_died_is_resumed_without_doubles(
    site: Site, options: dict[str, Any], folder: str, number: int
) -> None:
    queue = site.queue()
    dead(queue, *[{"n": n} for n in range(5)])
    store = Breaks(site.store)
    first = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(first, "replay", parse("state:dead"), **options)
    store.at(folder, number, Dies())
    try:
        made.apply(reason="first try")
    except Dies:
        site.clock.advance(70)  # its lock ends
    again = site.queue()
    plan(again, "replay", parse("state:dead"), **options).apply(reason="again")
    site.clock.advance(60)
    again.connect().lanes.all()[0].sweeper.sweep()
    got = done(again)
    assert sorted(payload["n"] for payload in got) == list(range(5))
    assert again.stats().dead == 0
    assert all(payload.get("mended") for payload in got) == bool(options)


def test_a_store_that_fails_in_the_middle_leaves_a_true_account(site: Site) -> None:
    queue = site.queue()
    ids = queue.enqueue_many(range(450), delay=600)
    store = Breaks(site.store)
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(mine, "cancel", ids)
    store.at("ledger/", 2, StoreUnavailable("The store is down.", maybe_applied=True))
    result = made.apply(reason="too many")
    assert "down" in result.error or "not answered" in result.error
    assert (len(result.done), len(result.unknown), result.exit_code) == (200, 200, 5)
    assert queue.stats().scheduled == 250
    (entry,) = audit(queue)
    assert (entry.count, entry.unknown, entry.planned, entry.error) == (200, 200, 450, result.error)


def test_what_cannot_be_written_down_is_not_done(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a")
    store = Breaks(site.store)
    store.at("audit/", 1, StoreRefused("PUT is denied.", reason="access-denied"))
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    with pytest.raises(StoreRefused, match="denied"):
        plan(mine, "discard", ids).apply()
    assert queue.stats().dead == 1
    store.at("audit/", 3, StoreRefused("PUT is denied.", reason="access-denied"))  # entry and part are written
    result = plan(mine, "discard", ids).apply()
    assert result.done == (ids[0],)
    assert "has no result" in result.error
    assert [entry.ended_at for entry in audit(queue)] == [None]


def test_who_holds_a_message_is_fenced_by_reset_and_cancel(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(["a", "b", "c"])
    a, b, c = queue.receive(3)
    made = plan(queue, "reset", a.id)
    assert any("has not ended" in warning for warning in made.warnings)
    assert made.apply().done == (a.id,)
    assert plan(queue, "reset", b.id, lapsed=True).apply().exit_code == 5
    assert plan(queue, "release", b.id).apply().done == (b.id,)
    assert plan(queue, "cancel", c.id, claimed=False).apply().exit_code == 5
    for held in (a, b):
        with pytest.raises(LeaseLost):
            held.ack()
    c.ack()
    assert sorted(done(queue)) == ["a", "b"]


def test_priorities_and_delays_are_changed(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many([{"n": n} for n in range(6)])
    assert len(plan(queue, "reprioritise", parse("payload.n>=4"), priority=5).apply().done) == 2
    assert len(plan(queue, "delay", parse("payload.n<2"), seconds=100).apply().done) == 2
    assert [payload["n"] for payload in done(queue)][:2] in ([4, 5], [5, 4])
    site.clock.advance(101)
    assert sorted(payload["n"] for payload in done(queue)) == [0, 1]


def test_a_plan_holds_no_payloads_and_what_it_moves_keeps_them(site: Site) -> None:
    queue = site.queue()
    ids = [queue.enqueue({"n": n, "text": "x" * 10_000}, headers={"k": str(n)}) for n in range(30)]
    dead(queue, *[{"text": "x" * 10_000} for _ in range(30)])
    queue.enqueue_many([{"n": n} for n in range(40, 300)])
    queue.dlq.replay(ids[0])
    for verb, options in (("reprioritise", {"priority": 5}), ("cancel", {}), ("replay", {"patch": {"a": 1}})):
        made = plan(queue, verb, parse(""), **options)
        kept = pickle.dumps(replace(made, queue=None, sample=()))  # type: ignore[arg-type]
        assert len(kept) < 400 * made.count + 2_000, verb
    gone, *_ = queue.receive(1)
    gone.ack()
    result = plan(queue, "reprioritise", parse("state:pending"), priority=7).apply()
    assert result.exit_code == 0
    seen = {view.payload["n"]: (len(view.payload.get("text", "")), view.message.headers, view.message.priority)
            for view in queue.messages("pending")}  # fmt: skip
    assert seen == {n: (10_000 if n < 30 else 0, {"k": str(n)} if n < 30 else {}, 7) for n in seen}


def test_the_queue_itself_is_paused_resumed_and_configured(site: Site) -> None:
    queue = site.queue(lanes=2)
    queue.enqueue(1)
    result = plan(queue, "pause").apply(reason="deploy")
    assert (result.before, result.after, result.exit_code) == ({"paused": False}, {"paused": True}, 0)
    assert queue.stats().paused
    plan(queue, "resume").apply()
    changed = plan(queue, "configure", visibility_timeout=77, max_attempts=9).apply()
    assert changed.after == {"visibility_timeout_ms": 77_000, "max_attempts": 9}
    assert queue.settings.max_attempts == 9


@pytest.mark.parametrize(
    ("verb", "where", "options", "says"),
    [
        ("explode", None, {}, "no action"),
        ("undo", None, {}, "no action"),
        ("replay", None, {}, "Say which"),
        ("replay", [], {}, "ids are"),
        ("replay", parse("state:pending"), {}, "is about messages that are dead"),
        ("cancel", parse("state:dead"), {}, "pending or scheduled or processing"),
        ("purge", parse(""), {}, "takes no filter"),
        ("pause", ["x"], {}, "takes no filter"),
        ("reprioritise", ["x"], {}, "needs priority"),
        ("reprioritise", ["x"], {"priority": 11}, "priority is 11"),
        ("delay", ["x"], {"seconds": -1}, "delay is -1"),
        ("replay", ["x"], {"per_s": 0}, "per_s is 0"),
        ("replay", ["x"], {"per_s": float("nan")}, "per_s is nan"),
        ("replay", ["x"], {"payload": 1, "patch": {}}, "Several"),
        ("replay", ["x"], {"to": "other"}, "to is 'other'"),
        ("replay", ["x"], {"patch": object()}, "JSON"),
        ("cancel", ["x"], {"force": True}, "no option force"),
        ("configure", None, {}, "what to configure"),
        ("configure", None, {"max_attempts": 0}, "max_attempts is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    site: Site, verb: str, where: Any, options: dict[str, Any], says: str
) -> None:
    queue = site.queue()
    queue.enqueue(1)
    with pytest.raises(InvalidInput, match=says):
        plan(queue, verb, where, **options)
    assert list(audit(queue)) == []


def test_a_plan_is_bounded_and_says_so(site: Site) -> None:
    queue = site.queue()
    queue.enqueue_many(range(20))
    made = plan(queue, "cancel", parse(""), limit=15)
    assert (made.count, made.more) == (15, True)
    assert any("first 15" in warning for warning in made.warnings)
    assert len(made.apply().done) == 15
    assert queue.stats().pending == 5


def test_a_plan_for_another_queue_only_means_nothing(site: Site) -> None:
    queue = site.queue()
    queue.enqueue(1)
    assert plan(queue, "cancel", parse("queue:emails")).count == 0


def test_the_lock_is_given_back(site: Site) -> None:
    queue = site.queue()
    plan(queue, "replay", dead(queue, "a")).apply()
    assert [lock.name for lock in queue.locks()] == []
    assert threading.active_count() < 50
    with queue.lock(LOCK, renew=False):
        pass


def test_a_merge_patch_is_that_of_rfc_7396() -> None:
    cases: list[tuple[Any, Any, Any]] = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1]}, {"a": 1}, {"a": 1}),
        (["a"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for target, patch, result in cases:
        assert merge(target, patch) == result


def test_a_lock_that_is_lost_ends_the_action_with_a_true_account(site: Site) -> None:
    queue = site.queue()
    dead(queue, *range(30))

    def stall(through: int, total: int) -> None:
        assert through <= total
        site.clock.advance(100)  # suspended for longer than the lock lasts
        site.queue().lock(LOCK, renew=False).acquire()

    result = plan(queue, "replay", parse("state:dead"), per_s=10).apply(on_progress=stall)
    assert (len(result.done), result.exit_code) == (10, 5)
    assert "lock" in result.error
    assert [(entry.count, entry.error) for entry in audit(queue)] == [(10, result.error)]
    assert queue.stats().dead == 20


def test_of_a_batch_that_breaks_off_the_letters_done_before_are_told(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, *[{"n": n} for n in range(5)])
    store = Breaks(site.store)
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(mine, "replay", ids, patch={"x": 1})
    store.at("inbox/", 3, StoreRefused("PUT is denied.", reason="access-denied"))
    result = made.apply()
    assert (len(result.done), result.exit_code) == (5, 5)  # all were decided, two are written
    assert queue.stats().dead == 0
    assert "denied" in result.error
    store.folder = ""
    again = plan(mine, "replay", ids, patch={"x": 2}).apply()
    assert again.done == ()
    site.clock.advance(60)
    queue.connect().lanes.all()[0].sweeper.sweep()
    assert sorted((payload["n"], payload["x"]) for payload in done(queue)) == [(n, 1) for n in range(5)]


def test_new_messages_whose_letters_cannot_be_deleted_are_not_made_again(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, {"n": 1}, {"n": 2})
    store = Breaks(site.store)
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(mine, "replay", ids, patch={"x": 1})
    store.at("settled/dlq", 1, StoreRefused("PUT is denied.", reason="access-denied"))
    result = made.apply()
    assert (result.done, result.exit_code) == (tuple(ids), 5)
    assert "denied" in result.error
    store.folder = ""
    assert plan(mine, "replay", ids, patch={"x": 2}).apply().done == ()
    site.clock.advance(60)
    assert plan(mine, "discard", ids).apply().done == ()
    assert sorted((payload["n"], payload["x"]) for payload in done(queue)) == [(1, 1), (2, 1)]


class Meanwhile(Wrapper):
    """A store in which something else happens once, ahead of a PUT of a ledger."""

    happens: Callable[[], object] | None = None

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        happens = self.happens
        if happens is not None and "/ledger/" in key:
            self.happens = None
            happens()
        return super().put(key, body, mode)


@pytest.mark.parametrize("verb", ["discard", "purge"])
def test_a_letter_that_is_replayed_while_it_is_discarded_is_not_told_as_discarded(site: Site, verb: str) -> None:
    queue = site.queue()
    ids = dead(queue, *range(3))
    store = Meanwhile(site.store)
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(mine, verb, ids if verb == "discard" else None)
    rival = site.queue()
    # once the lock and the audit entry are there, between the look at the letters and the commit
    store.happens = lambda: rival.dlq.replay(ids[0])
    result = made.apply()
    assert (set(result.done), set(result.refused)) == (set(ids[1:]), {ids[0]})  # or undo would bring it back
    assert done(queue) == [0]


def test_letters_that_the_trail_cannot_name_are_not_deleted(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a", "b")
    store = Breaks(site.store)
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(mine, "discard", ids)
    store.at("audit/", 2, StoreRefused("PUT is denied.", reason="access-denied"))
    result = made.apply()
    assert (set(result.done), result.exit_code) == (set(), 1)
    assert queue.stats().dead == 2


def test_an_action_that_its_caller_breaks_off_is_in_the_trail(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a", "b")

    def look(through: int, total: int) -> None:
        raise BrokenPipeError(through, total)

    with pytest.raises(BrokenPipeError):
        plan(queue, "discard", ids).apply(on_progress=look)
    (entry,) = audit(queue)
    assert (entry.count, entry.error.partition(":")[0]) == (2, "BrokenPipeError")


class Stalls(Wrapper):
    """A store that takes its time once."""

    stall_s = 0.0

    def __init__(self, site: Site) -> None:
        super().__init__(site.store)
        self._clock = site.clock

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if self.stall_s and "/inbox/" in key:
            self._clock.advance(self.stall_s)
            self.stall_s = 0.0
        return super().put(key, body, mode)


def test_a_paced_replay_does_not_make_up_for_what_a_slow_store_held_up(site: Site) -> None:
    queue = site.queue()
    dead(queue, *range(60))
    store = Stalls(site)
    mine = Queue("jobs", store=store, clock=site.clock, probe=False)
    made = plan(mine, "replay", parse(""), per_s=10)
    at: list[float] = []
    store.stall_s = 4.0
    made.apply(on_progress=lambda n, of: at.append(site.clock.monotonic()))
    assert all(
        later - earlier >= 0.9 for earlier, later in pairwise(at[1:])
    )  # the first was late, the rest is not hurried
