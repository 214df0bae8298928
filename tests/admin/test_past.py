"""Buckets as they were: from versions, over HTTP too, and from copies in a folder; what cannot be known is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from s3queue import InvalidSetting, NotFound, Queue, StoreRefused
from s3queue.cli import keeping
from s3queue.clock import to_datetime
from s3queue.devserver import MiniStack
from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE, Entry, Replace, walk
from s3queue.store.versions import ObjectVersion, Place, VersionPage
from s3queue_admin import frames
from s3queue_admin.bucket import Bucket
from s3queue_admin.checkup import doctor
from s3queue_admin.cli import options
from s3queue_admin.cli.commands import cli
from s3queue_admin.invariants import fsck
from s3queue_admin.past import Past, Seen, newest_ms
from tests.admin.test_snapshot import fail
from tests.queue.clocks import ManualClock, eventually
from tests.servers import fresh_bucket, open_store
from tests.store.versioned import VersionedMemory

READING = (
    ["status"], ["status", "jobs"], ["ls", "jobs"], ["dlq", "list", "jobs"], ["dlq", "groups", "jobs"], ["stuck", "list", "jobs"],
    ["cost", "measured", "jobs"], ["audit", "jobs"], ["locks", "jobs"], ["schedules", "jobs"], ["tickets", "jobs"],
    ["workers", "jobs"], ["doctor", "jobs"], ["fsck", "jobs"], ["report", "--format", "markdown"],
)  # fmt: skip


def run_each(where: list[str]) -> dict[str, str]:
    """Run every reading command; return what each said. Doctor and fsck end with 5 if they warn."""
    said = {}
    for command in READING:
        done = CliRunner().invoke(cli, [*command, *where])
        assert done.exit_code in ((0, 5) if command[0] in ("doctor", "fsck") else (0,)), (command, done.output)
        said[" ".join(command)] = done.stdout
    return said


class Kept:
    """A bucket in memory that keeps versions, with a queue at work; ``times`` are when something was to be seen."""

    def __init__(self, store: type[MemoryStore] = VersionedMemory) -> None:
        self.clock = ManualClock()
        self.store = store(self.clock)
        self.times: list[datetime] = []

    def queue(self, **options: Any) -> Queue:
        return Queue("jobs", store=self.store, clock=self.clock, **options)

    def then(self) -> None:
        self.clock.advance(10)
        self.times.append(to_datetime(self.clock.now_ms()))
        self.clock.advance(10)

    def bucket(self, at: datetime | None) -> Bucket:
        return Bucket(url="memory://x", store=self.store, clock=self.clock, at=at)


def play(kept: Kept) -> None:
    """Enqueue five; two die; one letter goes back; all is processed."""
    queue = kept.queue()
    queue.enqueue_many([f"p{number}" for number in range(5)])
    kept.then()
    queue.process_once(fail, max_messages=2)
    queue.pause()
    kept.then()
    queue.resume()
    queue.dlq.replay(queue.dlq.list()[0].id)
    queue.process_once(lambda _: None, max_messages=100)
    kept.then()


def counts(bucket: Bucket) -> tuple[int, int, int]:
    stats = bucket.inspect("jobs").stats
    return stats.pending, stats.dead, stats.completed


def test_each_time_is_shown_as_it_was() -> None:
    kept = Kept()
    play(kept)
    seen = [kept.bucket(at) for at in kept.times]
    assert [counts(bucket) for bucket in seen] == [(5, 0, 0), (3, 2, 0), (0, 1, 4)]
    assert [bucket.inspect("jobs").stats.paused for bucket in seen] == [False, True, False]
    assert [bucket.at for bucket in seen] == kept.times
    assert [bucket.inspect("jobs").taken_at for bucket in seen] == kept.times
    assert [sorted(v.payload for v in bucket.queue("jobs").messages("pending")) for bucket in seen[:2]] == [
        ["p0", "p1", "p2", "p3", "p4"],
        ["p2", "p3", "p4"],
    ]
    letters = list(frames.letters(seen[1], "jobs"))
    assert sorted(row["payload"] for row in letters) == ["p0", "p1"]
    assert [row["error_message"] for row in letters] == [f"no {row['payload']}" for row in letters]
    assert fsck(seen[1], "jobs").status == "clean"
    assert not {found.code for found in doctor(seen[1], "jobs")} & {"clock-offset", "store-refused", "no-queue"}
    assert f"{kept.times[0]:%Y-%m-%d %H:%M:%S} UTC" in seen[0].location
    assert [counts(bucket) for bucket in seen] == [(5, 0, 0), (3, 2, 0), (0, 1, 4)]  # and does not change


def test_the_past_cannot_be_changed() -> None:
    kept = Kept()
    play(kept)
    bucket = kept.bucket(kept.times[1])
    with pytest.raises(StoreRefused, match="shown as it was"):
        bucket.queue("jobs", write=True)
    with pytest.raises(StoreRefused, match="opened to be read"):
        bucket.queue("jobs").resume()
    assert not kept.queue().stats().paused


def test_times_that_are_not_kept_are_refused() -> None:
    kept = Kept()
    before = to_datetime(kept.clock.now_ms())
    kept.clock.advance(60)
    play(kept)
    with pytest.raises(StoreRefused, match=r"queue\.json.*the oldest was written at"):
        kept.bucket(before).queue_names()
    with pytest.raises(StoreRefused, match=r"queue\.json.*the oldest was written at") as refused:
        kept.bucket(before).inspect("jobs")
    assert refused.value.reason == "no-versions"
    with pytest.raises(NotFound):
        kept.bucket(kept.times[0]).inspect("none")
    with pytest.raises(InvalidSetting, match="past"):
        kept.bucket(to_datetime(kept.clock.now_ms()) + timedelta(hours=1)).inspect("jobs")
    with pytest.raises(InvalidSetting, match="aware"):
        kept.bucket(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
    plain = Kept(MemoryStore)
    play(plain)
    with pytest.raises(StoreRefused, match="keeps no earlier versions"):
        plain.bucket(plain.times[0]).inspect("jobs")


@pytest.mark.parametrize(
    ("at", "code", "told"),
    [
        ("2h ago", 0, ""),
        ("2h", 0, ""),
        ("2025-06-15T15:06:40", 0, "as of 2025-06-15 15:06:40 UTC"),  # without a zone it is UTC
        ("2025-06-15T17:06:40+02:00", 0, "as of 2025-06-15 15:06:40 UTC"),
        ("2025-06-15 15:06:40Z", 0, "as of 2025-06-15 15:06:40 UTC"),
        ("9d", 6, "the oldest was written at 2025-06-15 15:06:40 UTC"),
        ("0001-01-01", 6, "the oldest was written at"),
        (
            "2025-06-15T20:06:40",
            2,
            "the store's time is 2025-06-15 18:06:40 UTC. Use a time that is past; one without a zone",
        ),
        ("9999-12-31T23:59-14:00", 2, "at is"),
        ("yesterday", 2, "neither a time (UTC, or with its zone) like"),
        ("2025-06-31", 2, "neither a time"),
        ("", 2, "neither a time"),
    ],
)
def test_each_way_to_say_when(monkeypatch: pytest.MonkeyPatch, at: str, code: int, told: str) -> None:
    kept = Kept()
    kept.queue(probe=False).enqueue(1)
    kept.clock.advance(3 * 3600)
    monkeypatch.setattr(keeping, "SystemClock", lambda: kept.clock)
    monkeypatch.setattr(
        options,
        "Bucket",
        lambda *_, **more: Bucket(store=kept.store, clock=kept.clock, url="memory://x", at=more["at"]),
    )
    done = CliRunner().invoke(cli, ["status", "--url", "memory://x", "--at", at])
    assert done.exit_code == code, (done.output, done.exception)
    assert told in done.output
    assert (done.stdout == "") == bool(code)


class Expiring(VersionedMemory):
    """A bucket whose rule has ended the versions written before a time, unless they are the latest."""

    ended_ms = 0
    denies = False

    def keeps_versions(self) -> bool:
        if self.denies:
            raise StoreRefused("GetBucketVersioning is denied.", reason="access-denied")
        return super().keeps_versions()

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        page = super().versions(prefix, after, limit)
        kept = (each for each in page.versions if each.is_latest or each.written_at_ms >= self.ended_ms)
        return VersionPage(tuple(kept), page.after)


def test_books_whose_versions_have_ended_are_not_taken_for_empty_ones() -> None:
    kept = Kept(Expiring)
    play(kept)
    assert isinstance(kept.store, Expiring)
    kept.store.ended_ms = int(kept.times[1].timestamp() * 1000)
    kept.store.denies = True  # the ledger tells all the same
    with pytest.raises(StoreRefused, match=r"ledger/0000\.json.*as old as"):
        kept.bucket(kept.times[0]).inspect("jobs")
    assert counts(kept.bucket(kept.times[2])) == (0, 1, 4)
    failed = kept.bucket(kept.times[0]).snapshot().failed
    assert "as old as" in failed["jobs"]


class Paged(VersionedMemory):
    """Counts listings, whose pages are small."""

    page = 3
    lists = 0
    repeats = False

    def versions(self, prefix: str, after: Place | None = None, limit: int = 1000) -> VersionPage:
        self.lists += 1
        page = super().versions(prefix, after, min(limit, self.page))
        if self.repeats and after and not after[1]:  # as moto does
            own = tuple(each for each in super().versions(after[0]).versions if each.key == after[0])
            return VersionPage((*own, *page.versions), page.after)
        return page


def test_listings_are_read_a_page_at_a_time_and_the_memory_is_bounded() -> None:
    clock = ManualClock()
    store = Paged(clock)
    for number in range(20):
        etag = store.put(f"k/{number:02}", b"old", CREATE)
        if number % 2:
            store.put(f"k/{number:02}", b"newer", Replace(etag))
    store.delete_many([f"k/{number:02}" for number in range(5)])
    at_ms = clock.now_ms()
    clock.advance(5)
    store.put("k/new", b"", CREATE)
    store.delete("k/10")
    store.repeats = True
    seen = Seen(most=4)
    past = Past(store, at_ms, seen)
    expected = [Entry(f"k/{n:02}", 5 if n % 2 else 3) for n in range(5, 20)]
    found: list[Entry] = []
    for limit in (1, 4, 1000):
        page = past.list("k/", after=found[-1].key if found else "", limit=limit)
        found += page.entries
        assert page.more == (len(found) < 15)
    assert found == expected
    assert list(walk(past, "k/")) == [entry.key for entry in expected]
    assert len(seen) == 4
    before = store.lists
    newest = past.get("k/19")
    assert newest is not None
    assert newest.body == b"newer"
    assert past.get("k/19", newest.etag) is None
    assert store.lists == before  # it was listed
    for key in ("k/00", "k/new", "k/none", "k/1"):
        with pytest.raises(NotFound):
            past.get(key)
        assert seen.find(key) == (
            None,
        )  # nothing was asked for that S3 would refuse, as it does the mark of a deletion


@pytest.mark.usefixtures("aws_keys")
def test_over_http_a_bucket_with_versions_is_shown_as_it_was(ministack: MiniStack) -> None:
    bucket = fresh_bucket(ministack)
    where: dict[str, Any] = {"endpoint_url": ministack.endpoint_url, "region": ministack.region}
    client = boto3.client("s3", endpoint_url=ministack.endpoint_url, region_name=ministack.region)
    store = open_store(ministack, bucket)
    queue = Queue("jobs", store=store, prefix="s3queue/", probe=False)
    with Bucket(bucket, **where, at=datetime.now(UTC)) as off, pytest.raises(StoreRefused, match="versioning is off"):
        off.queue_names()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    queue.enqueue_many(["a", "b", "c"])
    queue.process_once(fail, max_messages=1)
    at = _next_second(store)
    queue.process_once(lambda _: None, max_messages=10)
    queue.dlq.discard([letter.id for letter in queue.dlq.list()])
    now = queue.stats()
    assert (now.pending, now.dead, now.completed) == (0, 0, 2)
    with Bucket(bucket, **where, at=at) as then:
        assert then.queue_names() == ["jobs"]
        assert counts(then) == (2, 1, 0)
        assert [view.payload for view in then.queue("jobs").messages("pending", "dead")] == ["b", "c", "a"]
        verbs = {verb for verb, _, _ in then.inspect("jobs", fresh=True).requests}
        assert verbs <= {"GET", "LIST"}
    options = ["--bucket", bucket, "--endpoint-url", ministack.endpoint_url, "--at", at.isoformat()]
    said = run_each(options)
    assert "no a" in said["dlq groups jobs"]
    assert "as of" in said["report --format markdown"]
    with Bucket(bucket, **where, at=at - timedelta(days=9)) as early, pytest.raises(StoreRefused, match="as old as"):
        early.inspect("jobs")
    store.close()


def _next_second(store: Any) -> datetime:
    """Wait until the store's second is over, as versions are dated to the second, and return the one that was."""
    now_ms = store.now_ms()
    assert eventually(lambda: store.now_ms() // 1000 > now_ms // 1000)
    return to_datetime(now_ms)


# -- copies --


def copied(store: MemoryStore, folder: Path, prefix: str = "") -> str:
    """Write a file for each object, as ``aws s3 sync`` does."""
    for key in walk(store, prefix):
        found = store.get(key)
        assert found is not None
        path = folder / key[len(prefix) :]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.body)
    return folder.as_uri()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_copy_is_read_as_it_is_at_the_newest_time_found_in_it(tmp_path: Path) -> None:
    kept = Kept(MemoryStore)
    play(kept)
    kept.queue().enqueue("late")
    last = to_datetime(kept.clock.now_ms())
    kept.clock.advance(3600)
    url = copied(kept.store, tmp_path / "copy")
    before = files(tmp_path / "copy")
    with Bucket(url=url) as bucket:
        assert bucket.queue_names() == ["jobs"]
        assert counts(bucket) == (1, 1, 4)
        assert bucket.at == last
        assert bucket.inspect("jobs").taken_at == last
        assert "a copy, as of" in bucket.location
        assert [view.payload for view in bucket.queue("jobs").messages("pending")] == ["late"]
        assert fsck(bucket, "jobs").status == "clean"
        with pytest.raises(StoreRefused, match="shown as it was"):
            bucket.queue("jobs", write=True)
    assert files(tmp_path / "copy") == before  # not even the embedded store's own folders
    with Bucket(url=url, at=last + timedelta(hours=2)) as later:
        assert later.inspect("jobs").stats.oldest_age_s == 7200
    with Bucket(url=url, at=last - timedelta(seconds=1)) as early, pytest.raises(StoreRefused) as refused:
        early.inspect("jobs")
    assert refused.value.reason == "no-versions"
    assert f"as of {last:%Y-%m-%d %H:%M:%S} UTC or later" in str(refused.value)
    with (
        Bucket(url=url, at=datetime.now(UTC) + timedelta(days=1)) as coming,
        pytest.raises(InvalidSetting, match="past"),
    ):
        coming.inspect("jobs")


def test_every_reading_command_works_on_a_copy_and_the_others_refuse(tmp_path: Path) -> None:
    kept = Kept(MemoryStore)
    play(kept)
    url = copied(kept.store, tmp_path)
    said = run_each(["--url", url])
    assert "no p1" in said["dlq list jobs"]
    before = files(tmp_path)
    for command in (["pause", "jobs"], ["replay", "jobs", "--all"], ["discard", "jobs", "--all"]):
        done = CliRunner().invoke(cli, [*command, "--yes", "--reason", "test", "--url", url])
        assert (done.exit_code, "shown as it was" in done.output) == (6, True), done.output
    assert files(tmp_path) == before


def test_a_copy_that_may_not_be_written_is_read_and_a_folder_that_is_none_is_not_made(tmp_path: Path) -> None:
    kept = Kept(MemoryStore)
    kept.queue().enqueue_many(range(3))
    url = copied(kept.store, tmp_path / "copy")
    for folder, _, _ in os.walk(tmp_path / "copy"):
        Path(folder).chmod(0o555)
    try:
        with Bucket(url=url) as bucket:
            assert counts(bucket) == (3, 0, 0)
    finally:
        for folder, _, _ in os.walk(tmp_path / "copy"):
            Path(folder).chmod(0o755)
    with Bucket(url=(tmp_path / "none").as_uri()) as bucket, pytest.raises(StoreRefused) as refused:
        bucket.queue_names()
    assert refused.value.reason == "bucket-missing"
    assert not (tmp_path / "none").exists()


def test_a_folder_in_which_queues_live_is_shown_as_it_is_now_and_its_copy_by_request(tmp_path: Path) -> None:
    with Queue("jobs", url=(tmp_path / "live").as_uri(), probe=False) as queue:
        queue.enqueue("x")
    with Bucket(url=(tmp_path / "live").as_uri()) as live:
        assert live.at is None
        assert live.queue("jobs", write=True).count("pending") == 1
    before = files(tmp_path)
    for at in ("1m", "2030-01-01", "2001-01-01"):
        done = CliRunner().invoke(cli, ["status", "--url", (tmp_path / "live").as_uri(), "--at", at])
        assert (done.exit_code, done.stdout) == (6, ""), done.stderr
        assert "is in use, and keeps no earlier versions" in done.stderr
        assert "without .locks and .tmp" in done.stderr
    assert files(tmp_path) == before
    shutil.copytree(tmp_path / "live", tmp_path / "copy", ignore=shutil.ignore_patterns(".locks", ".tmp"))
    with Bucket(url=(tmp_path / "copy").as_uri()) as bucket:
        assert bucket.at is not None
        assert bucket.inspect("jobs").stats.pending == 1


def test_the_time_of_a_copy_is_never_a_stranger_s() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    assert newest_ms(store) == clock.now_ms()  # nothing tells a time
    made_ms = clock.now_ms()
    Queue("jobs", store=store, clock=clock).enqueue(1)
    clock.advance(100)
    strangers: Sequence[tuple[str, bytes]] = [
        ("jobs/dlq/9999999999999-00000000000000000000-0.json", b"{}"),
        ("jobs/inbox/0000/9/0000000000000-zzzzzzzzzzzzzzzzzzzz-1.json", b"{}"),
        ("jobs/workers/w.json", b"garbage"),
        ("jobs/ledger/0007.json", b"\x00"),
        ("jobs/inbox/0000/9/no name.json", b""),
        ("elsewhere.json", b""),
    ]
    for key, body in strangers:
        store.put(key, body, CREATE)
    assert newest_ms(store) == made_ms


def test_a_version_that_ends_while_it_is_read_is_missing() -> None:
    clock = ManualClock()
    store = VersionedMemory(clock)
    store.put("k", b"x", CREATE)
    seen = Seen()
    seen.note("k", ObjectVersion("k", "v000009", clock.now_ms()))
    with pytest.raises(NotFound):
        Past(store, clock.now_ms(), seen).get("k")
