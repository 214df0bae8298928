"""The audit trail, and undoing what it tells of."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import boto3
import pytest

from s3queue import InvalidInput, NotFound, Queue, StoreRefused
from s3queue.clock import to_datetime
from s3queue.devserver import MiniStack
from s3queue.store.port import CREATE, walk
from s3queue_admin.actions import audit, entry_of, plan, undo
from s3queue_admin.actions.auditing import MAX_IDS
from s3queue_admin.actions.restoring import BACK_BEFORE, NOT_KEPT, NOT_OURS, THERE, restore
from s3queue_admin.filters import parse
from tests.admin.test_actions import dead, done
from tests.admin.test_snapshot import Site
from tests.protocol.rig import Dead, Killed, Mortal
from tests.servers import fresh_bucket
from tests.store.versioned import VersionedMemory


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def kept() -> Site:
    """A site whose bucket keeps versions."""
    made = Site()
    made.store = VersionedMemory(made.clock)
    return made


def bodies(site: Site) -> list[bytes]:
    keys = walk(site.store, "jobs/audit/")
    return [found.body for key in keys if (found := site.store.get(key)) is not None]


def test_an_entry_says_who_did_what_why_and_what_came_of_it(site: Site) -> None:
    queue = site.queue()
    ids = dead(queue, "a", "b")
    result = plan(queue, "discard", ids[0]).apply(reason="poison", who="ada@desk")
    site.clock.advance(1)
    plan(queue, "pause").apply()
    first, second = audit(queue)
    assert (first.id, first.verb, first.who, first.reason, first.where) == (
        result.audit, "discard", "ada@desk", "poison", ids[0],
    )  # fmt: skip
    assert (first.planned, first.count, first.ids, first.refused, first.error) == (1, 1, (ids[0],), {}, "")
    assert first.ended_at is not None
    assert first.requests["PUT"] >= 3
    assert "@" in second.who
    assert (second.before, second.after) == ({"paused": False}, {"paused": True})
    assert entry_of(queue, first.id) == first
    with pytest.raises(NotFound):
        entry_of(queue, "1750000000000-aaaaaaaaaaaaaaaaaaaa")


def test_the_trail_is_read_by_time_and_over_all_queues(site: Site) -> None:
    times = []
    for number in range(6):
        queue = site.queue(("jobs", "mail")[number % 2])
        queue.enqueue(1)
        plan(queue, ("pause", "resume")[number // 2 % 2]).apply()
        times.append(to_datetime(site.clock.now_ms()))
        site.clock.advance(60)
    assert [entry.queue for entry in audit(site.bucket)] == ["jobs"] * 3 + ["mail"] * 3
    jobs = site.bucket.queue("jobs")
    assert len(list(audit(jobs, since=times[2] - timedelta(seconds=1)))) == 2
    assert len(list(audit(jobs, until=times[2]))) == 2
    assert len(list(audit(jobs, limit=1))) == 1
    with pytest.raises(ValueError, match="no time zone"):
        list(audit(jobs, since=times[0].replace(tzinfo=None)))


def test_hostile_and_endless_texts_are_data_and_bounded(site: Site) -> None:
    queue = site.queue()
    hostile = "\x1b[2J\x00\u202e=cmd|' /C calc'!A0 \udcff <script> password=hunter2 " + "x" * 100_000
    ids = queue.enqueue_many(range(3000), delay=60)
    result = plan(queue, "cancel", [*ids, *(f"gone-{number}" for number in range(500))]).apply(
        reason=hostile, who=hostile
    )
    assert len(result.done) == 3000
    (entry,) = audit(queue)
    assert len(entry.reason) <= 2000
    assert len(entry.who) <= 200
    assert "hunter2" not in entry.reason + entry.who
    assert (len(entry.ids), entry.count, len(entry.refused), entry.refusals) == (MAX_IDS, 3000, 200, 500)
    assert [len(body) < 256_000 for body in bodies(site)] == [True, True]
    with pytest.raises(InvalidInput, match="The reason is"):
        plan(queue, "pause").apply(reason=None)  # type: ignore[arg-type]


def test_secrets_in_filters_and_options_are_hidden(site: Site) -> None:
    queue = site.queue()
    dead(queue, {"password": "hunter2"})
    where = parse("payload.password=hunter2")
    assert plan(queue, "replay", where, patch={"api_key": "s3cr3t", "n": 1}).apply().exit_code == 0
    (entry,) = audit(queue)
    assert entry.options["patch"]["n"] == 1
    assert len(bodies(site)) == 2
    assert "s3cr3t" not in json.dumps([body.decode() for body in bodies(site)])
    assert "hunter2" not in json.dumps([body.decode() for body in bodies(site)])


def test_what_is_foreign_or_broken_in_the_trail_is_told_and_left_out(site: Site) -> None:
    queue = site.queue()
    plan(queue, "pause").apply()
    root = queue.root + "audit/"
    for name, body in (
        ("notes.txt", b"mine"),
        ("1750000000001-aaaaaaaaaaaaaaaaaaaa.json", b"garbage"),
        ("1750000000002-aaaaaaaaaaaaaaaaaaaa.json", b'{"format":"s3queue.audit/9"}'),
        ("1750000000003-aaaaaaaaaaaaaaaaaaaa.json", b'{"format":"s3queue.audit/1","at_ms":1e400}'),
        ("1750000000004-aaaaaaaaaaaaaaaaaaaa.result.json", b'{"format":"s3queue.audit/1"}'),
    ):
        site.store.put(root + name, body, CREATE)
    told: list[str] = []
    queue.on("error", lambda event: told.append(str(event.error)))
    assert [entry.verb for entry in audit(queue)] == ["pause"]
    assert len(told) == 5


# -- undo --


def test_discarded_letters_come_back_once(kept: Site) -> None:
    queue = kept.queue(lanes=2)
    ids = [queue.enqueue({"n": number}) for number in range(6)]
    queue.process_once(_fail)
    kept.clock.advance(10)
    result = plan(queue, "discard", ids[:4]).apply()
    assert len(result.done) == 4
    kept.clock.advance(600)
    before = {letter.id: letter.errors for letter in queue.dlq.each()}
    made = undo(queue, result.audit)
    assert made.count == 4
    back = made.apply(reason="by mistake")
    assert (sorted(back.done), back.refused) == (sorted(ids[:4]), {})
    assert queue.stats().dead == 6
    assert all(letter.errors for letter in queue.dlq.each())
    assert set(before) <= {letter.id for letter in queue.dlq.each()}
    again = undo(queue, result.audit).apply()
    assert again.refused == dict.fromkeys(ids[:4], BACK_BEFORE)
    for agents in queue.connect().lanes.all():
        agents.sweeper.sweep()  # which deletes again what was discarded lately
    assert queue.stats().dead == 6
    queue.dlq.replay(filter=lambda letter: True)
    assert sorted(payload["n"] for payload in done(queue)) == list(range(6))
    kept.clock.advance(4000)
    assert undo(queue, result.audit).apply().done == ()
    assert queue.stats().dead == 0
    assert [entry.verb for entry in audit(queue)].count("undo") == 3


def _fail(payload: Any) -> None:
    from s3queue import NonRetriable

    raise NonRetriable(str(payload))


def test_a_purge_of_many_is_undone_whole(kept: Site) -> None:
    queue = kept.queue()
    dead(queue, *range(1200))
    kept.clock.advance(10)
    result = plan(queue, "purge").apply()
    assert queue.stats().dead == 0
    assert len(undo(queue, result.audit).apply().done) == 1200
    assert queue.stats().dead == 1200


@pytest.mark.parametrize("ends", [Dead, Mortal], ids=["killed", "interrupted"])
@pytest.mark.parametrize("verb", ["discard", "purge"])
def test_a_discard_that_was_killed_anywhere_is_undone_whole(verb: str, ends: type[Mortal]) -> None:
    dies_at, over = 0, False
    while not over:
        dies_at += 1
        for after in (False, True):
            site = Site()
            site.store = VersionedMemory(site.clock)
            queue = site.queue()
            ids = dead(queue, "a", "b", "c")
            site.clock.advance(100)
            queue.dlq.replay(ids[2])
            store = ends(site.store)
            mine = Queue("jobs", store=store, clock=site.clock, probe=False)
            made = plan(mine, verb, ids[:2] if verb == "discard" else None)
            store.calls, store.dies_at, store.after = 0, dies_at, after
            try:
                made.apply()
                over = True
            except Killed:
                pass
            site.clock.advance(30)
            queue.connect().lanes.all()[0].sweeper.sweep()
            site.clock.advance(40)  # its lock ends
            entries = list(audit(queue))
            gone = 2 - queue.stats().dead
            back = undo(queue, entries[0].id).apply().done if entries else ()
            assert (len(back), queue.stats().dead) == (gone, 2), (dies_at, after)
            assert done(queue) == ["c"]
            assert not any(undo(queue, entry.id).apply().done for entry in entries[:1])


def test_only_what_the_action_took_away_is_put_back(kept: Site) -> None:
    queue = kept.queue()
    a, b, c = dead(queue, "a", "b", "c")
    names = {letter.id: name for name, letter in queue.dlq.letters(list(queue.dlq.names()))}
    kept.clock.advance(100)
    queue.dlq.replay(a)
    kept.clock.advance(100)
    result = plan(queue, "discard", b).apply()
    entry = entry_of(queue, result.audit)
    found = restore(queue, entry, [names[a], names[b], names[c], "1750000000000-aaaaaaaaaaaaaaaaaaaa-0"])
    assert found.done == (b,)
    assert found.refused == {a: NOT_OURS, c: THERE, "aaaaaaaaaaaaaaaaaaaa-0": NOT_KEPT}


def test_without_versions_nothing_comes_back(site: Site) -> None:
    queue = site.queue()
    result = plan(queue, "discard", dead(queue, "a")).apply()
    with pytest.raises(StoreRefused, match="keeps no earlier versions"):
        undo(queue, result.audit)


def test_pausing_and_configuring_are_undone_unless_changed_since(site: Site) -> None:
    queue = site.queue()
    paused = plan(queue, "pause").apply()
    assert undo(queue, paused.audit).apply(reason="oops").exit_code == 0
    assert not queue.stats().paused
    with pytest.raises(InvalidInput, match="not as the action left it"):
        undo(queue, paused.audit)
    changed = plan(queue, "configure", visibility_timeout=90, lanes=3, result_ttl=7200).apply()
    undo(queue, entry_of(queue, changed.audit)).apply()
    settings = queue.settings
    assert (settings.visibility_timeout_s, settings.lanes, settings.result_ttl_s) == (30, 1, 7 * 86_400)
    with pytest.raises(InvalidInput, match="changed since"):
        undo(queue, changed.audit)
    same = plan(queue, "configure", visibility_timeout=30).apply()
    with pytest.raises(InvalidInput, match="nothing to undo"):
        undo(queue, same.audit)


@pytest.mark.parametrize("verb", ["replay", "cancel"])
def test_what_cannot_be_undone_is_said_to_be(site: Site, verb: str) -> None:
    queue = site.queue()
    ids = dead(queue, "a") if verb == "replay" else [queue.enqueue("a")]
    result = plan(queue, verb, ids).apply()
    with pytest.raises(InvalidInput, match=f"A {verb} cannot be undone"):
        undo(queue, result.audit)


def test_letters_come_back_on_a_real_server(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = fresh_bucket(ministack)
    for name, value in (("ACCESS_KEY_ID", ministack.access_key_id), ("SECRET_ACCESS_KEY", ministack.secret_access_key)):
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=ministack.endpoint_url, region_name=ministack.region)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    with Queue("jobs", bucket, endpoint_url=ministack.endpoint_url, region=ministack.region, probe=False) as queue:
        ids = dead(queue, "a", "b")
        result = plan(queue, "discard", ids).apply()
        assert queue.stats().dead == 0
        assert sorted(undo(queue, result.audit).apply().done) == sorted(ids)
        assert sorted(letter.payload for letter in queue.dlq.each()) == ["a", "b"]
