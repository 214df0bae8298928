"""History: a record for each recorded attempt, in few objects, read back in order."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from s3queue.clock import to_datetime
from s3queue.core.kept import HistoryRecord, decode_history, encode_history, history_name, parse_history
from s3queue.core.message import Failure, storable
from s3queue.core.transitions import Reset
from s3queue.errors import CorruptObject, InvalidSetting, LeaseLost, NewerFormat, StoreError
from s3queue.protocol import history
from s3queue.protocol.history import COLUMNS, HistoryRecords
from tests.protocol.rig import KEYS, Bucket, Killed, Mortal, Process
from tests.store.faulty import Faulty

HOUR_S = 3600
SAMPLE = HistoryRecord("id-0", "9/1-x-1", 1, "completed", 10, 20, 30, 45, 20, 15, "", "", "w", None, 0)


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket.new()
    bucket.clock.advance(HOUR_S - bucket.clock.now_ms() % (HOUR_S * 1000) / 1000)  # a full hour
    return bucket


def read(process: Process, **limits: Any) -> list[HistoryRecord]:
    given = {"since": None, "until": None, "limit": None, **limits}
    return list(HistoryRecords(lambda: process.lane, **given))


def write(process: Process) -> int:
    return process.connection.history.step(flush=True)


def complete(process: Process, count: int) -> None:
    process.put(*range(count))
    process.complete(*process.claim(count))


def test_each_recorded_attempt_has_a_record(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    process.put("a", "b", "c")
    first, second, third = process.claim()
    bucket.clock.advance(2)
    first.started_at_ms = bucket.clock.now_ms()
    bucket.clock.advance(3)
    process.complete(first)
    process.fail(second, "try again")
    process.fail(third, "no use", retriable=False)
    assert write(process) == 3
    completed, retried, dead = read(bucket.process())
    assert (completed.outcome, completed.wait_ms, completed.run_ms) == ("completed", 2000, 3000)
    assert (completed.id, completed.object, completed.attempt) == (first.id, first.handle.name, 1)
    assert (completed.worker, completed.error_type) == (process.lane.worker, "")
    assert (retried.outcome, retried.error_type, retried.error) == ("retry", "ValueError", "try again")
    assert (dead.outcome, dead.error, dead.ended_at_ms) == ("dead", "no use", bucket.clock.now_ms())


def test_only_what_was_recorded_is_in_it(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    process.put("a")
    (delivery,) = process.claim()
    process.lane.committer.commit(Reset(frozenset({delivery.handle.ticket_id})), fresh=True)
    with pytest.raises(LeaseLost):
        process.complete(delivery)
    assert write(process) == 0
    assert bucket.listed("history/") == []


def test_without_history_nothing_is_gathered(bucket: Bucket) -> None:
    process = bucket.process()
    complete(process, 3)
    process.flush()
    assert bucket.listed("history/") == []


def test_records_are_written_a_minute_after_the_first_or_a_thousand_at_once(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    complete(process, 2)
    bucket.clock.advance(59)
    assert process.connection.history.step() == 0
    bucket.clock.advance(2)
    assert process.connection.history.step() == 2
    assert process.connection.history.step() == 0
    complete(process, history.FLUSH_AT)
    assert len(bucket.listed("history/")) == 2
    complete(process, 1)
    process.flush()
    assert len(bucket.listed("history/")) == 3
    assert len(read(process)) == history.FLUSH_AT + 3


def test_an_object_holds_one_hour(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    for _ in range(3):
        complete(process, 2)
        bucket.clock.advance(HOUR_S)
    assert write(process) == 6
    keys = bucket.listed("history/")
    assert len(keys) == 3
    for key in keys:
        assert {record.ended_at_ms // 3_600_000 for record in decode_history(bucket.copy_of(key), key)} == {
            int(key.rsplit("/", 1)[1][:13]) // 3_600_000
        }
        assert key.startswith(f"{KEYS.history}{to_datetime(int(key.rsplit('/', 1)[1][:13])):%Y-%m-%d/%H/}")


def test_records_of_many_processes_come_in_order_and_within_their_limits(bucket: Bucket) -> None:
    processes = [bucket.process(history=True) for _ in range(3)]
    for number in range(30):
        bucket.clock.advance(301)
        complete(processes[number % 3], 1)
        if number % 4 == 3:
            write(processes[number % 3])
    for process in processes:
        process.flush()
    every = read(processes[0])
    times = [record.ended_at_ms for record in every]
    assert times == sorted(times)
    assert len(times) == 30
    since, until = to_datetime(times[7]), to_datetime(times[20])
    assert read(processes[1], since=since, until=until) == every[7:20]
    assert read(processes[1], since=since, limit=3) == every[7:10]


def test_reading_stops_where_the_limit_is(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    for _ in range(20):
        complete(process, 1)
        write(process)
        bucket.clock.advance(10)
    mortal = Mortal(bucket.memory)
    reader = bucket.process(mortal)
    reader.lane.settings()
    before = mortal.calls
    assert len(read(reader, limit=2)) == 2
    assert mortal.calls - before <= 4


@pytest.mark.parametrize("word", ["lost", "late", "down"])
def test_a_write_without_an_answer_is_neither_lost_nor_doubled(bucket: Bucket, word: str) -> None:
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty, history=True)
    complete(process, 3)
    faulty.script(puts=[word] * 30)
    with suppress(StoreError):
        write(process)
    faulty.puts.clear()
    bucket.clock.advance(10)
    write(process)
    faulty.land()
    assert len(read(process)) == 3


def test_a_store_that_is_down_holds_up_no_message_and_is_not_asked_at_each(bucket: Bucket) -> None:
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty, history=True)
    process.put(*range(1000))
    deliveries = process.claim(1000)
    process.put("last")
    puts: list[str] = []

    def deny() -> None:
        puts.append("put")
        if len(puts) > 1:
            faulty.puts.append("denied")

    faulty.before_put = deny  # the settlement is the first; history comes after it
    for delivery in deliveries:
        process.consumer.record(process.consumer.completed(delivery))
    process.consumer.exchange(0)
    faulty.before_put = lambda: None
    assert len(puts) == 2
    assert any("403" in text for text in process.errors())
    assert bucket.ledger().counters["completed"] == 1000
    assert process.connection.history.step() == 0
    bucket.clock.advance(6)
    assert process.connection.history.step() == 1000


def test_what_cannot_be_written_for_long_is_given_up_and_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_KEPT", 2)
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty, history=True)
    for _ in range(4):
        complete(process, 5)
        bucket.clock.advance(61)
        faulty.script(puts=["denied"])
        with pytest.raises(Exception, match="403"):
            process.connection.history.step()
    assert any("5 records of history are lost" in text for text in process.errors())
    bucket.clock.advance(6)
    process.connection.history.step()
    assert len(read(process)) == 10


@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_dies_loses_what_it_gathered_and_no_more(bucket: Bucket, after: bool) -> None:
    process = bucket.process(history=True)
    complete(process, 2)
    write(process)
    mortal = Mortal(bucket.memory, after=after)
    dying = bucket.process(mortal, history=True)
    complete(dying, 3)
    mortal.dies_at = mortal.calls + 1
    with pytest.raises(Killed):
        write(dying)
    assert len(read(process)) == (5 if after else 2)


HOSTILE = "line\nbreak \u2028 \x1b[2J \x00 ' \" \\ ä \ud800"


def test_hostile_error_text_stays_in_its_line(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    process.put("a")
    (delivery,) = process.claim()
    kept = Failure("Bad\nType", HOSTILE.encode(errors="backslashreplace").decode(), retriable=False)
    process.consumer.settle(process.consumer.failed(delivery, kept))
    write(process)
    (key,) = bucket.listed("history/")
    (line,) = zlib.decompress(bucket.copy_of(key), 31).split(b"\n")
    assert json.loads(line)["format"] == "s3queue.attempt/1"
    (record,) = read(process)
    assert (record.error_type, record.error) == ("Bad\nType", HOSTILE.replace("\ud800", "\\ud800"))
    assert storable(HOSTILE) == record.error


def test_what_is_foreign_or_corrupt_is_told_and_passed_over(bucket: Bucket) -> None:
    process = bucket.process(history=True)
    complete(process, 1)
    write(process)
    (good,) = bucket.listed("history/")
    folder, data = good.rsplit("/", 1)[0], bucket.copy_of(good)
    for number, body in enumerate([b"", b"garbage", data[:-5], data + data, zlib.compress(b"{}", wbits=31)]):
        bucket.plant(f"{folder}/{bucket.clock.now_ms():013d}-{number:020d}.jsonl.gz", body)
    bucket.plant(f"{folder}/notes.txt", b"mine")
    assert len(read(process)) == 1
    assert len(process.errors()) == 6


def test_bad_fields_newer_records_and_bombs_are_corrupt() -> None:
    assert decode_history(encode_history([SAMPLE, SAMPLE]), "k") == [SAMPLE, SAMPLE]
    for changes in ({"attempt": "1"}, {"id": None}, {"group": 3}, {"run_ms": True}):
        with pytest.raises(CorruptObject):
            decode_history(encode_history([replace(SAMPLE, **changes)]), "k")
    newer = zlib.decompress(encode_history([SAMPLE]), 31).replace(b"attempt/1", b"attempt/2")
    packer = zlib.compressobj(wbits=31)
    with pytest.raises(NewerFormat):
        decode_history(packer.compress(newer) + packer.flush(), "k")
    packer = zlib.compressobj(wbits=31)
    with pytest.raises(CorruptObject, match="unpacks to over"):
        decode_history(packer.compress(bytes(65 << 20)) + packer.flush(), "k")


def test_names_lead_back_to_their_hour() -> None:
    at_ms = int(datetime(2026, 1, 31, 7, 59, 59, tzinfo=UTC).timestamp() * 1000) + 999
    name = history_name(at_ms, "0" * 20)
    assert name == f"2026-01-31/07/{at_ms}-{'0' * 20}"
    assert parse_history(name) == at_ms
    assert parse_history(name.replace("/07/", "/08/")) is None
    assert parse_history(name + "\n") is None


@pytest.mark.parametrize(
    "limits",
    [
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - wanted: naive
        {"since": 5},
        {"until": "yesterday"},
        {"limit": 0},
        {"limit": True},
        {"limit": 1.5},
        {"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
def test_bad_limits_are_refused_before_anything_is_read(bucket: Bucket, limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        read(bucket.process(), **limits)


def test_a_frame_has_the_same_columns_with_and_without_rows(bucket: Bucket) -> None:
    pytest.importorskip("pandas")
    process = bucket.process(history=True)
    empty = HistoryRecords(lambda: process.lane, None, None, None).to_dataframe()
    complete(process, 2)
    write(process)
    frame = HistoryRecords(lambda: process.lane, None, None, None).to_dataframe()
    assert list(frame.columns) == list(empty.columns) == list(COLUMNS)
    assert frame.dtypes.equals(empty.dtypes)
    assert list(frame["outcome"]) == ["completed"] * 2
    assert frame["ended_at"].iloc[0].to_pydatetime() == to_datetime(bucket.clock.now_ms())
