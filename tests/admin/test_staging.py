"""Replays that write another message in place of a letter's: what is staged for them, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import Queue, StoreRefused
from s3queue.store.memory import MemoryStore
from s3queue.store.port import PutMode, walk
from s3queue_admin.actions import plan
from s3queue_admin.filters import parse
from tests.admin.test_actions import dead, done
from tests.admin.test_snapshot import Site
from tests.protocol.rig import Dead, Killed
from tests.store.faulty import Wrapper


@pytest.fixture
def site() -> Site:
    return Site()


def staged(site: Site) -> list[str]:
    return [key for key in walk(site.store, "jobs/") if "/staged/" in key]


def die(site: Site, *, at: str, where: Any = None, **options: Any) -> None:
    """Begin a replay of these letters, or all, and die as soon as one of its keys has ``at`` in it, before it is written."""
    store = Dead(site.store)

    class Ends(Wrapper):
        def put(self, key: str, body: bytes, mode: PutMode) -> str:
            if at in key:
                store.dies_at, store.calls = 1, 1
            return super().put(key, body, mode)

    queue = Queue("jobs", store=Ends(store), clock=site.clock, probe=False)
    with pytest.raises(Killed):
        plan(queue, "replay", where or parse("state:dead"), **options).apply()
    site.clock.advance(70)  # its lock ends


def test_what_got_no_line_is_cleared_away_a_day_later_and_what_got_one_is_not(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a", "b", "c")
    die(site, at="/ledger/", payload="vain")
    assert (len(staged(site)), queue.stats().dead) == (3, 3)
    site.clock.advance(2 * 86_400)
    die(site, at="/inbox/", where=ids[:2], payload="first")
    assert (len(staged(site)), queue.stats().dead) == (5, 1)
    site.clock.advance(2 * 86_400)
    again = site.queue()
    assert plan(again, "replay", parse("state:dead"), payload="second").apply().done == (ids[2],)
    assert len(staged(site)) == 2  # in the lines of the first
    again.connect().lanes.all()[0].sweeper.sweep()
    assert staged(site) == []
    assert sorted(done(again)) == ["first", "first", "second"]


def test_what_was_staged_too_long_ago_gets_no_line(site: Site) -> None:
    queue = site.queue()
    (id_,) = dead(queue, "a")

    class Sleeps(Wrapper):
        def put(self, key: str, body: bytes, mode: PutMode) -> str:
            found = super().put(key, body, mode)
            if "/staged/" in key:
                site.clock.advance(4000)
            return found

    mine = Queue("jobs", store=Sleeps(site.store), clock=site.clock, probe=False)
    result = plan(mine, "replay", id_, payload="late").apply()
    assert result.done == ()
    assert queue.stats().dead == 1
    assert staged(site) == []


def test_a_queue_in_another_bucket_is_refused(site: Site) -> None:
    queue = site.queue()
    (id_,) = dead(queue, "a")
    far = Queue("far", store=MemoryStore(site.clock), clock=site.clock)
    result = plan(queue, "replay", id_, to=far).apply()
    assert "in another bucket" in result.refused[id_]
    assert staged(site) == []
    assert (queue.stats().dead, far.stats().unfinished) == (1, 0)


def test_workers_that_may_not_write_to_the_other_queue_leave_that_to_those_who_may(site: Site) -> None:
    queue, other = site.queue(), site.queue("other")
    dead(queue, "a")
    dead(queue, "b")
    die(site, at="other/ledger/", to=other)

    class Denied(Wrapper):
        def put(self, key: str, body: bytes, mode: PutMode) -> str:
            if key.startswith("other/"):
                raise StoreRefused("PUT is denied.", reason="access-denied", key=key)
            return super().put(key, body, mode)

    mine = Queue("jobs", store=Denied(site.store), clock=site.clock, probe=False)
    told: list[str] = []
    mine.on("error", lambda event: told.append(str(event.error)))
    mine.enqueue("c")
    assert done(mine) == ["c"]  # its own goes on
    assert told
    assert mine.stats().dead == 0
    assert plan(queue, "replay", parse("state:dead")).count == 0
    queue.connect().lanes.all()[0].sweeper.sweep()
    assert sorted(done(other)) == ["a", "b"]
    assert staged(site) == []
