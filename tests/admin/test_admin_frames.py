"""Frames and files: the declared columns whatever is in them, and nothing in them does harm or tells a secret."""

from __future__ import annotations

import builtins
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from s3queue import InvalidSetting, NonRetriable, NotFound, Queue
from s3queue.clock import to_datetime
from s3queue.core.codec import encode_letter
from s3queue.core.keys import letter_name, message_id_at
from s3queue.core.message import AttemptError, DeadLetter, Message
from s3queue.errors import InvalidInput, S3QueueError
from s3queue.protocol.frames import UTC_TIME, Schema
from s3queue.store.port import CREATE
from s3queue_admin import frames
from s3queue_admin.actions.model import AuditEntry
from s3queue_admin.bucket import Bucket
from s3queue_admin.cost.bill import Flow, Rate, bills
from s3queue_admin.cost.prices import load_prices
from s3queue_admin.cost.purposes import Purpose
from s3queue_admin.filters import FilterError
from s3queue_admin.grouping import LATEST_MS, fingerprint
from s3queue_admin.progress import PATIENCE, Bar
from s3queue_admin.rows import Rows
from s3queue_admin.snapshot import WorkerView
from s3queue_admin.text import HIDDEN, show_all
from tests.admin.test_snapshot import Site
from tests.admin.views import HOSTILE

BAD = ("\x1b", "\u202e", "\x00", "\x07", "\x85")
SECRET = "S3CR3T"


ACTION = AuditEntry(
    "a1",
    to_datetime(1000),
    "jobs",
    "replay",
    HOSTILE,
    f"password={SECRET}",
    f"payload.token={SECRET}",
    {"payload": {"token": SECRET}},
    ids=("m1",),
    refused={"m2": HOSTILE},
    requests={"put_list": 2, "get": 3},
)


@pytest.fixture
def site() -> Site:
    return Site()


def poison(site: Site, queue: Queue, number: int = 0, **fields: Any) -> str:
    """Put a dead letter full of hostile texts and secrets into the queue; return its id."""
    connection = queue.connect()
    now = site.clock.now_ms()
    error = AttemptError(
        1, now, HOSTILE, f"{HOSTILE} password={SECRET}", f"{HOSTILE}\n\tBearer {SECRET}{SECRET}", HOSTILE
    )
    payload = {
        HOSTILE: [HOSTILE],
        "=1+1": "=1+1",
        "token": SECRET,
        "n": 1,
        "long": "x" * 1_000_000 if number == 0 else "",
    }
    id_ = message_id_at(connection.lane.ids.new(now), 0)
    message = Message(
        id_, payload, now, attempts=1, group="=g", headers={"Cookie": SECRET, "h": HOSTILE}, errors=(error,)
    )
    letter = DeadLetter(replace(message, **fields), now, f"{HOSTILE} secret={SECRET}", "s")
    site.store.put(connection.keys.letter(letter_name(now, id_)), encode_letter(letter), CREATE)
    return id_


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def declared(schema: Schema) -> dict[str, str]:
    return {name: dtype if isinstance(dtype, str) else "category" for name, dtype in schema.items()}


def everything(site: Site) -> dict[str, tuple[Schema, Rows]]:
    """Return all rows there are to be had, by name, with their schema."""
    prices = load_prices()
    rates = [Rate("GET", Purpose.POLLING, 2.0)] if site.bucket.queue("jobs").stats().dead else []
    snapshot = site.bucket.snapshot(fresh=True)
    return {
        "messages": (frames.MESSAGES, frames.messages(site.bucket)),
        "letters": (frames.LETTERS, frames.letters(site.bucket)),
        "history": (frames.HISTORY, frames.history(site.bucket)),
        "workers": (frames.WORKERS, frames.workers(snapshot)),
        "tickets": (frames.TICKETS, frames.tickets(snapshot)),
        "costs": (frames.COSTS, frames.costs(bills(rates, Flow(0, 0), prices, scope="q", period="p") if rates else ())),
        "audit": (frames.AUDIT, frames.audit([ACTION] if rates else [])),
    }


def worked(site: Site) -> Queue:
    """Return a queue in which there is some of everything."""
    queue = site.queue(history=True)
    poison(site, queue)
    queue.enqueue_many([{"user": {"id": number}} for number in range(3)], group="eu", headers={"trace": "t"})

    def fail(payload: Any) -> None:
        if payload["user"]["id"] == 0:
            raise NonRetriable(f"{HOSTILE} token={SECRET}")

    queue.process_once(fail, max_messages=2)
    queue.close()
    queue.receive(1)
    queue.enqueue("later", delay=60)
    return queue


def test_the_columns_are_the_declared_ones_with_and_without_rows(site: Site, tmp_path: Path) -> None:
    site.queue(history=True).connect()
    for name, (schema, rows) in everything(site).items():
        frame = rows.to_dataframe()
        assert len(frame) == 0, name
        assert dtypes(frame) == declared(schema), name
    worked(site)
    for name, (schema, rows) in everything(site).items():
        frame = rows.to_dataframe()
        assert len(frame) > 0, name
        assert dtypes(frame) == declared(schema), name
        for column, dtype in schema.items():
            if not isinstance(dtype, str):
                assert list(frame[column].cat.categories) == list(dtype)
                assert frame[column].cat.ordered
                assert frame[column].notna().all()
        for kind in frames.FORMATS:
            assert frames.export(rows, kind, tmp_path / f"{name}.{kind}") == len(frame)
        stored = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert list(stored) == list(schema)
        assert len(stored) == len(frame)


def test_messages_are_those_that_the_filter_matches(site: Site) -> None:
    queue = worked(site)
    site.queue("other").enqueue({"user": {"id": 2}})
    frame = frames.messages_frame(site.bucket)
    assert sorted(zip(frame["queue"], frame["state"].astype(str), strict=True)) == [
        ("jobs", "dead"), ("jobs", "dead"), ("jobs", "processing"), ("jobs", "scheduled"), ("other", "pending"),
    ]  # fmt: skip
    found = frames.messages_frame(site.bucket, where="payload.user.id>=2 -queue:o*")
    assert list(found["worker"]) == [queue.worker_id]
    assert found.loc[0, "payload"] == {"user": {"id": 2}}
    assert len(frames.messages_frame(site.bucket, "jobs", "state:dead state:pending")) == 0
    assert [view.state for _, view in frames.matching(site.bucket, ["other"], "state:pending")] == ["pending"]
    with pytest.raises(FilterError, match="no field 'stat'"):
        frames.matching(site.bucket, "jobs", "stat:dead")
    with pytest.raises(NotFound):
        frames.messages_frame(site.bucket, "none")


def test_only_queues_and_states_that_can_match_are_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worked(site)
    site.queue("other").enqueue_many(range(5))
    read: list[str] = []
    get = site.store.get

    def watch(key: str, *rest: Any) -> Any:
        read.append(key)
        return get(key, *rest)

    monkeypatch.setattr(site.store, "get", watch)
    frames.letters_frame(site.bucket, where="queue:jobs attempts>=1")
    assert not [key for key in read if "other" in key or "/inbox/" in key]
    assert [key for key in read if "jobs/dlq/" in key]


def test_a_letter_has_the_columns_that_matter(site: Site) -> None:
    worked(site)
    (row,) = frames.letters_frame(site.bucket, "jobs", "error:NonRetriable").to_dict("records")
    assert (row["attempts"], row["group"], row["headers"], row["reason"]) == (1, "eu", {"trace": "t"}, "non-retriable")
    assert row["error_type"] == "NonRetriable"
    assert row["error_message"].endswith(f"token={HIDDEN}")
    assert row["dead_at"] == to_datetime(site.clock.now_ms())
    ((_, view),) = frames.matching(site.bucket, "jobs", f"fingerprint:{row['fingerprint']}")
    assert fingerprint(view) == row["fingerprint"]
    assert view.id == row["id"]


def test_history_tells_waits_durations_and_attempts(site: Site) -> None:
    worked(site)
    frame = frames.history_frame(site.bucket, "jobs")
    assert list(frame["outcome"].astype(str)) == ["dead", "completed"]
    assert list(frame["attempt"]) == [1, 1]
    assert (frame["wait_ms"] >= 0).all()
    assert SECRET not in frame.to_string()
    since = to_datetime(site.clock.now_ms()) + timedelta(hours=1)
    assert len(frames.history_frame(site.bucket, since=since)) == 0
    assert len(frames.history_frame(site.bucket, ["jobs"], limit=1, columns=["id"])) == 1


def test_what_snapshots_know_asks_nothing_of_the_store(site: Site) -> None:
    queue = worked(site)
    snapshot = site.bucket.snapshot()
    before = site.bucket.requests()
    (worker,) = frames.workers_frame(snapshot).to_dict("records")
    assert (worker["worker"], worker["state"], worker["claimed"]) == (queue.worker_id, "unlisted", 1)
    (ticket,) = frames.tickets_frame(snapshot.queues["jobs"]).to_dict("records")
    assert (ticket["state"], ticket["worker"], ticket["size"]) == ("claimed", queue.worker_id, 1)
    assert len(ticket["objects"]) == 1
    shown = snapshot._repr_html_() + snapshot.queues["jobs"]._repr_html_()
    assert queue.worker_id in shown
    assert "in the last" not in shown
    site.clock.advance(5)
    again = site.bucket.inspect("jobs")
    assert "in the last 5 s" in again._repr_html_()
    before = site.bucket.requests()
    again._repr_html_()
    assert ">1</td>" in shown
    assert site.bucket.requests() == before


def test_costs_add_up_to_the_bill() -> None:
    made = bills(
        [Rate("GET", Purpose.POLLING, 2.0), Rate("PUT", Purpose.ENQUEUE, 1.0)],
        Flow(1.0, 1.0, stored_gb=10, down_bytes=1000),
        load_prices(),
        scope="q",
        period="p",
    )
    sums = frames.costs_frame(made).groupby("store")["usd_a_month"].sum()
    for bill in made:
        assert sums[bill.store] == pytest.approx(bill.usd_a_month, abs=1e-6)
    assert set(frames.costs_frame(made)["purpose"]) >= {"polling", "enqueue", "storage"}
    assert {date.fromisoformat(each) for each in frames.costs_frame(made)["prices_of"]} == {made[0].as_of}


def test_the_audit_tells_who_did_what_and_no_secrets() -> None:
    frame = frames.audit_frame([ACTION, replace(ACTION, ended_at=to_datetime(2), stopped=True)])
    assert list(frame["requests"]) == [5, 5]
    assert list(frame["stopped"]) == [False, True]
    assert list(frame["ended_at"].isna()) == [True, False]
    assert list(frame["ids"]) == [["m1"]] * 2
    shown = frame.to_string() + repr(frame.to_dict())
    assert HIDDEN in shown
    assert not [each for each in (*BAD, SECRET) if each in shown]


# -- hostile content --------------------------------------------------------------------------------------------------


def test_a_frame_of_hostile_letters_can_be_shown(site: Site) -> None:
    poison(site, site.queue())
    for made in (frames.letters_frame(site.bucket), frames.messages_frame(site.bucket)):
        (row,) = made.to_dict("records")
        shown = repr(row) + made.to_string() + repr(made) + made.to_html()
        assert not [each for each in BAD if each in shown]
        assert not [each for each in BAD if each in "".join(str(value) for value in row.values())]
        assert SECRET not in shown
        assert "<script" not in made.to_html()
        assert row["payload"]["token"] == row["headers"]["Cookie"] == HIDDEN
        assert row["payload"]["n"] == 1


def test_exact_texts_are_to_be_had_and_a_hook_says_what_is_shown(site: Site) -> None:
    poison(site, site.queue())
    (row,) = frames.letters_frame(site.bucket, exact=True).to_dict("records")
    assert row["error_type"] == HOSTILE
    assert row["payload"][HOSTILE] == [HOSTILE]
    all_of_it = Bucket(url="memory://x", store=site.store, clock=site.clock, redact=show_all)
    (row,) = frames.letters_frame(all_of_it).to_dict("records")
    assert row["payload"]["token"] == SECRET
    none = Bucket(url="memory://x", store=site.store, clock=site.clock, redact=lambda path, value: "?")
    (row,) = frames.letters_frame(none).to_dict("records")
    assert {row[name] for name in ("payload", "reason", "error_type", "traceback")} == {"?"}
    assert row["headers"] == "?"


def test_numbers_and_times_that_no_column_holds_are_brought_into_range(site: Site, tmp_path: Path) -> None:
    poison(site, site.queue(), enqueued_at_ms=10**17, attempts=10**30, priority=-(10**30))
    rows = frames.letters(site.bucket)
    frame = rows.to_dataframe()
    assert frame.loc[0, "enqueued_at"] == to_datetime(LATEST_MS)
    assert frame.loc[0, "attempts"] == (1 << 63) - 1
    for kind in frames.FORMATS:
        assert frames.export(rows, kind, tmp_path / f"x.{kind}") == 1


def test_a_csv_does_no_harm_in_a_spreadsheet(site: Site, tmp_path: Path) -> None:
    queue = site.queue()
    for number in range(2):
        poison(site, queue, number)
    path = tmp_path / "x.csv"
    for source in (frames.letters(site.bucket), frames.letters_frame(site.bucket)):
        assert frames.export(source, "csv", path) == 2
        text = path.read_text(encoding="utf-8")
        assert not [each for each in (*BAD, "\r", SECRET) if each in text]
        assert text.count("\n") == 3
        csv.field_size_limit(2_000_000)
        header, *records = csv.reader(io.StringIO(text))
        assert header == list(frames.LETTERS)
        cells = dict(zip(header, records[1], strict=True))
        assert all(not value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in cells.values())
        assert cells["group"] == "'=g"
        assert cells["dead_at"] == to_datetime(site.clock.now_ms()).isoformat(timespec="milliseconds")[:-6] + "Z"


def test_json_lines_and_parquet_are_exact(site: Site, tmp_path: Path) -> None:
    id_ = poison(site, site.queue())
    for source in (frames.letters(site.bucket), frames.letters_frame(site.bucket, exact=True)):
        frames.export(source, None, tmp_path / "x.jsonl")
        (line,) = (tmp_path / "x.jsonl").read_text(encoding="ascii").splitlines()
        row = json.loads(line)
        assert (row["id"], row["error_type"], row["attempts"], row["group"]) == (id_, HOSTILE, 1, "=g")
        assert row["payload"][HOSTILE] == [HOSTILE]
        assert SECRET not in line
        frames.export(source, None, tmp_path / "x.parquet")
        stored = pd.read_parquet(tmp_path / "x.parquet").iloc[0]
        assert (stored["error_type"], json.loads(stored["payload"])) == (HOSTILE, row["payload"])
        assert stored["dead_at"] == to_datetime(site.clock.now_ms())


def test_what_is_missing_is_missing_in_every_format(site: Site, tmp_path: Path) -> None:
    site.queue().enqueue(None)
    for source in (frames.messages(site.bucket), frames.messages_frame(site.bucket)):
        out = io.StringIO()
        assert frames.export(source, "jsonl", out) == 1
        row = json.loads(out.getvalue())
        assert (row["token"], row["dead_at"], row["payload"], row["worker"], row["state"]) == (
            None,
            None,
            None,
            "",
            "pending",
        )
        frames.export(source, "parquet", tmp_path / "x.parquet")
        stored = pd.read_parquet(tmp_path / "x.parquet")
        assert stored[["token", "dead_at", "payload"]].isna().all(axis=None)
        frames.export(source, "csv", tmp_path / "x.csv")
        (record,) = csv.DictReader((tmp_path / "x.csv").open(encoding="utf-8"))
        assert (record["token"], record["dead_at"], record["payload"]) == ("", "", "")


def test_a_notebook_shows_hostile_names_and_errors_as_texts(site: Site) -> None:
    queue = site.queue()
    poison(site, queue)
    site.store.put(queue.connect().keys.worker("w"), b"garbage", CREATE)
    snapshot = site.bucket.snapshot()
    seen = snapshot.queues["jobs"]
    worker = seen.workers or (WorkerView(HOSTILE, "unlisted", None, None, None, 1),)
    problems = tuple(replace(problem, error=HOSTILE, key=HOSTILE) for problem in seen.problems)
    assert problems
    workers = tuple(replace(worker[0], worker=f"{HOSTILE}{number}") for number in range(50))
    seen = replace(seen, queue=HOSTILE, location=HOSTILE, problems=problems, workers=workers)
    shown = seen._repr_html_() + replace(snapshot, queues={HOSTILE: seen}, failed={HOSTILE: HOSTILE})._repr_html_()
    assert not [each for each in BAD if each in shown]
    assert "<script" not in shown
    assert "&lt;script" in shown
    assert "and 30 more" in shown


# -- files, progress, limits ------------------------------------------------------------------------------------------


def numbers(count: int, *, fails_at: int = -1) -> Rows:
    def read() -> Iterator[dict[str, Any] | None]:
        for number in range(count):
            if number == fails_at:
                raise S3QueueError("the store is gone")
            yield {"n": number, "at": 0} if number % 2 == 0 else None

    return Rows({"n": "Int64", "at": UTC_TIME}, read, total=lambda: count)


def test_progress_is_told_of_what_was_looked_at() -> None:
    told: list[tuple[int, int | None]] = []
    frame = numbers(250).to_dataframe(on_progress=lambda done, total: told.append((done, total)))
    assert told == [(100, 250), (200, 250), (250, 250)]
    assert list(frame["n"]) == list(range(0, 250, 2))
    assert dtypes(frame) == {"n": "Int64", "at": UTC_TIME}
    told.clear()
    frames.export(numbers(0), "csv", io.StringIO(), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 0)]


def test_progress_of_a_bucket_tells_of_all_that_is_read(site: Site) -> None:
    worked(site)
    told: list[tuple[int, int | None]] = []
    frame = frames.messages_frame(
        site.bucket, "jobs", "attempts>5 -state:pending", on_progress=lambda done, total: told.append((done, total))
    )
    assert (len(frame), told) == (0, [(4, 4)])


def test_other_frames_are_written_too(tmp_path: Path) -> None:
    noon = datetime(2026, 1, 31, 12)  # noqa: DTZ001 - a frame's times may be naive, and are taken for UTC
    frame = pd.DataFrame(
        {"f": [1.5, float("nan")], "i": [1, 2], "b": [True, False], "t": [noon, noon], 5: ["=x", None]}
    )
    out = io.StringIO()
    assert frames.export(frame, "jsonl", out) == 2
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"f": 1.5, "i": 1, "b": True, "t": "2026-01-31T12:00:00.000Z", "5": "=x"},
        {"f": None, "i": 2, "b": False, "t": "2026-01-31T12:00:00.000Z", "5": ""},
    ]
    assert frames.export(frame, "parquet", tmp_path / "x.parquet") == 2
    assert list(pd.read_parquet(tmp_path / "x.parquet")["t"]) == [pd.Timestamp(noon, tz="UTC")] * 2


def test_what_the_callback_raises_stops_the_read(tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt(done, total)

    (tmp_path / "x.csv").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        frames.export(numbers(1000), None, tmp_path / "x.csv", on_progress=stop)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.csv", "old")]


def test_a_bar_is_drawn_on_a_terminal_for_long_reads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stderr, count, drawn in (
        (Terminal(), 5 * PATIENCE, True),
        (Terminal(), 10, False),
        (io.StringIO(), 9999, False),
    ):
        monkeypatch.setattr("sys.stderr", stderr)
        with Bar("reading", lambda: 5 * PATIENCE) as bar:
            for done in range(0, count + 1, 100):
                bar(done)
        assert ("5000/5000" in stderr.getvalue()) is drawn
        assert bool(stderr.getvalue()) is drawn


@pytest.mark.parametrize("kind", frames.FORMATS)
def test_a_file_is_whole_or_not_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    with pytest.raises(S3QueueError, match="the store is gone"):
        frames.export(numbers(9000, fails_at=8000), kind, path)
    assert list(tmp_path.iterdir()) == []
    assert frames.export(numbers(20_000), kind, path) == 10_000
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_frame_has_a_limit_and_only_the_columns_asked_for() -> None:
    with pytest.raises(InvalidInput, match="more than 10 rows"):
        numbers(100).to_dataframe(max_rows=10)
    assert len(numbers(100).to_dataframe(max_rows=None)) == 50
    assert list(numbers(4).to_dataframe(columns=["at", "n"])) == ["at", "n"]
    with pytest.raises(InvalidSetting, match="no column 'x'"):
        numbers(4).to_dataframe(columns=["x"])
    assert numbers(10**9).head(2) == [{"n": 0, "at": 0}, {"n": 2, "at": 0}]


def test_bad_formats_and_paths_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSetting, match="no format 'xml'"):
        frames.export(numbers(1), "xml", tmp_path / "x")
    with pytest.raises(InvalidSetting, match="no format ''"):
        frames.export(numbers(1), None, tmp_path / "x")
    with pytest.raises(InvalidInput, match="text file"):
        frames.export(numbers(1), "parquet", io.StringIO())
    with pytest.raises(S3QueueError, match="cannot be written: No such file"):
        frames.export(numbers(1), "csv", tmp_path / "none" / "x.csv")
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr("builtins.__import__", without)
    with pytest.raises(S3QueueError, match=r"pip install 's3queue\[parquet\]'"):
        frames.export(numbers(1), "parquet", tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_left_out_and_told(site: Site) -> None:
    queue = worked(site)
    keys = queue.connect().keys
    site.store.put(keys.dlq + "notes.txt", b"mine", CREATE)
    site.store.put(keys.letter(letter_name(1, message_id_at("0" * 20, 0))), b"garbage", CREATE)
    assert len(frames.letters_frame(site.bucket)) == 2
