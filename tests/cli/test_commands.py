"""What each command does, prints, and ends with; in this process, on stores in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import s3queue
from s3queue import Queue
from s3queue.cli import options, producing
from s3queue.clock import SystemClock
from s3queue.devserver import free_ports
from s3queue.errors import StoreRefused
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, PutMode, Store
from tests.cli.conftest import Run

_numbers = count()


@pytest.fixture
def url() -> str:
    """A queue of this test's own that does not exist yet."""
    return f"memory://commands-{next(_numbers)}/emails"


def fill(url: str, *payloads: Any) -> list[str]:
    with Queue.from_url(url) as queue:
        return queue.enqueue_many(payloads)


def stats(run: Run, url: str) -> dict[str, Any]:
    result = run("stats", "--url", url, "--output", "json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"s3queue {s3queue.__version__}\n"


def test_help_documents_the_exit_codes(run: Run) -> None:
    text = run("--help").stdout
    assert "Exit codes:" in text
    assert all(f"\n    {code}  " in text for code in (0, 1, 2, 3, 5, 6))


# -- enqueue --


def test_enqueue_prints_the_id_alone(run: Run, url: str) -> None:
    result = run("enqueue", "--url", url, '{"to": "a@b.c"}', "--priority", "3", "--header", "k=v=w", "--group", "eu")
    assert result.exit_code == 0
    (message,) = Queue.from_url(url).peek()
    assert result.stdout == f"{message.id}\n"
    assert (message.payload, message.priority, message.group) == ({"to": "a@b.c"}, 3, "eu")
    assert message.headers == {"k": "v=w"}


@pytest.mark.parametrize(("delay", "seconds"), [("1h", 3600), ("90.5", 90.5), (".5", 0.5)])
def test_enqueue_takes_a_delay_as_other_spans_of_time(run: Run, url: str, delay: str, seconds: float) -> None:
    assert run("enqueue", "--url", url, "1", "--delay", delay).exit_code == 0
    (message,) = Queue.from_url(url).messages("scheduled")
    assert message.visible_at_ms - message.message.enqueued_at_ms == pytest.approx(seconds * 1000, abs=1000)


def test_enqueue_reads_stdin_and_prints_json(run: Run, url: str) -> None:
    result = run("enqueue", "--url", url, "-", "--output", "json", "--delay", "60", input='\n ["ü"]\n')
    assert len(json.loads(result.stdout)["ids"]) == 1
    assert stats(run, url)["scheduled"] == 1


def test_lines_become_messages_of_few_objects(run: Run, url: str) -> None:
    result = run("enqueue", "--url", url, "-", "--lines", input="".join(f"{number}\n\n" for number in range(2500)))
    assert result.exit_code == 0
    assert len(set(result.stdout.split())) == 2500
    assert stats(run, url)["pending"] == 2500
    lane = Queue.from_url(url).connect().lane
    assert [name.rsplit("-", 1)[1] for name in lane.inbox.names(9)] == ["1000", "1000", "500"]


@pytest.mark.parametrize("arguments", [["-"], ["-", "--lines"]])
def test_a_byte_order_mark_is_no_part_of_the_payload(run: Run, url: str, arguments: list[str]) -> None:
    result = run("enqueue", "--url", url, *arguments, input=b'\xef\xbb\xbf{"a": 1}\r\n')
    assert result.exit_code == 0, result.stderr
    assert [message.payload for message in Queue.from_url(url).peek()] == [{"a": 1}]


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.parametrize("during", ["input", "put"])
def test_ctrl_c_tells_what_is_durable(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch, output: str, during: str
) -> None:
    inputs = iter([*([b"1\n"] * 1001)])
    enqueue_many = Queue.enqueue_many

    def write(queue: Queue, payloads: list[Any], **options: Any) -> list[str]:
        if len(payloads) == 1:
            raise KeyboardInterrupt
        return enqueue_many(queue, payloads, **options)

    def lines(*_: object) -> Iterator[bytes]:
        yield from inputs
        if during == "input":
            raise KeyboardInterrupt

    monkeypatch.setattr(producing, "read_lines", lines)
    monkeypatch.setattr(Queue, "enqueue_many", write)
    result = run("enqueue", "--url", url, "-", "--lines", "--output", output)
    ids = json.loads(result.stdout)["ids"] if output == "json" else result.stdout.split()
    assert (result.exit_code, len(ids)) == (5, 1000)
    assert f"1,000 messages are enqueued, {ids[0]} to {ids[-1]}, then: interrupted." in result.stderr
    assert ("The PUT of 1 more was under way" in result.stderr) is (during == "put")
    assert stats(run, url)["pending"] == 1000


def test_ctrl_c_before_anything_is_durable(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object, **__: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Queue, "enqueue_many", write)
    result = run("enqueue", "--url", url, "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Nothing is known to be enqueued, then: interrupted. The PUT of 1 more was under way" in result.stderr


def test_what_came_before_a_bad_line_is_enqueued_and_told(run: Run, url: str) -> None:
    result = run("enqueue", "--url", url, "-", "--lines", input="1\n" * 1000 + "2\n{bad\n")
    ids = result.stdout.split()
    assert (result.exit_code, len(ids)) == (5, 1000)
    assert f"1,000 messages are enqueued, {ids[0]} to {ids[-1]}, then: Line 1002 is not JSON" in result.stderr
    assert stats(run, url)["pending"] == 1000


def test_a_bad_line_in_the_first_thousand_stops_all(run: Run, url: str) -> None:
    result = run("enqueue", "--url", url, "-", "--lines", input="1\n{bad\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert not Queue.from_url(url).exists()


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (["-"], b"", "Error: stdin is empty."),
        (["-"], b" \n", "Error: stdin is empty."),
        (["-", "--lines"], b"", "Error: stdin is empty."),
        (["-", "--lines"], b"\n\n", "Error: stdin is empty."),
        (["-", "--lines"], b"1\n{bad", "Error: Line 2 is not JSON"),
        (["-", "--lines"], b"1\n\xef\xbb\xbf2", "Error: Line 2 is not JSON"),
        (["-"], b"{bad", "Error: stdin is not JSON"),
        ([""], b"", "Error: The payload is empty."),
        (["hello"], b"", "Error: The payload is not JSON"),
        (["NaN"], b"", "NaN is not JSON"),
        (['{"a": 1, "a": 2}'], b"", "the key 'a' is there twice"),
        (["[" * 100_000], b"", "nested too deeply"),
        (["9" * 5000], b"", "is not JSON"),
        (['"\\ud800"'], b"", "JSON cannot hold the payload"),
        (["-"], b"\xff", "is not UTF-8"),
        (["1", "--lines"], b"", "--lines reads stdin"),
        (["1", "--header", "novalue"], b"", "'novalue' is not a new NAME=VALUE"),
        (["1", "--header", "a=1", "--header", "a=2"], b"", "'a=2' is not a new NAME=VALUE"),
        (["1", "--priority", "10"], b"", "priority is 10"),
        (["1", "--delay", "-1"], b"", "delay is -1"),
        (["1", "--delay", "nan"], b"", "delay is nan"),
        (["1", "--delay", "0.5h"], b"", "'0.5h' is no span of time like 90m"),
        (["1", "--max-attempts", "0"], b"", "max_attempts is 0"),
        (["1", "-q", "../x"], b"", "cannot name a queue"),
        (["1", "-q", "a\nb"], b"", "cannot name a queue"),
        (["1", "-q", "é"], b"", "cannot name a queue"),
        (["1", "--url", "ftp://x/y"], b"", "is not a URL of a store"),
        (["1", "--bucket", "x", "-q", "y"], b"", "Both bucket and url are given"),
    ],
)
def test_bad_input(run: Run, url: str, arguments: list[str], data: bytes, message: str) -> None:
    result = run("enqueue", "--url", url, *arguments, input=data)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert Queue.from_url(url).peek() == []


def test_hostile_text_in_an_error_stays_one_line(run: Run, url: str) -> None:
    result = run("enqueue", "--url", url, "\x1b[2J\nforged")
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert "\x1b" not in result.stderr


# -- looking --


def test_stats_as_a_table(run: Run, url: str) -> None:
    fill(url, *range(1200))
    lines = run("stats", "--url", url).stdout.splitlines()
    assert lines[0].split() == ["queue", "emails"]
    assert [line.strip() for line in lines if not line.startswith(" ")][3:] == ["now", "ever"]
    assert lines[4].split() == ["pending", "1,200"]
    shown = {line.split()[0] for line in lines}
    assert set(Queue.from_url(url).stats().as_dict()) - shown == {"at_ms", "latency_ms", "oldest_age_s"}


def test_help_of_stats_explains_every_number(run: Run, url: str) -> None:
    fill(url, 1)
    text = run("stats", "--help").stdout
    assert {name for name in Queue.from_url(url).stats().as_dict() if name not in text} == {"paused"}


@pytest.mark.parametrize("command", ["stats", "peek", "pause", "resume", "purge"])
def test_a_queue_that_is_not_there_is_not_made(run: Run, url: str, command: str) -> None:
    result = run(command, "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no queue 'emails' at memory://" in result.stderr
    assert not Queue.from_url(url).exists()


def test_peek_shows_messages_and_claims_none(run: Run, url: str) -> None:
    ids = fill(url, *({"number": number} for number in range(5)))
    shown = json.loads(run("peek", "--url", url, "-n", "3", "--output", "json").stdout)
    assert [one["id"] for one in shown] == ids[:3]
    assert shown[0]["payload"] == {"number": 0}
    assert stats(run, url)["pending"] == 5


def test_peek_cannot_be_used_against_the_terminal(run: Run, url: str) -> None:
    fill(url, "\x1b]0;owned\x07\u202e\x9b2J", "two")
    for output in ("table", "json"):
        text = run("peek", "--url", url, "--output", output).stdout
        assert text.replace("\n", "").isprintable()
    assert len(run("peek", "--url", url).stdout.splitlines()) == 3


def test_peek_tells_the_last_error(run: Run, url: str) -> None:
    def fail(payload: Any) -> None:
        raise ValueError(f"no {payload}\nforged line")

    fill(url, "x")
    with Queue.from_url(url) as queue:
        queue.process_once(fail)
    lines = run("peek", "--url", url).stdout.splitlines()
    assert len(lines) == 2
    assert r"ValueError: no x\nforged line" in lines[1]


# -- operating --


def test_pause_and_resume(run: Run, url: str) -> None:
    fill(url, 1)
    assert json.loads(run("pause", "--url", url, "--output", "json").stdout) == {"queue": "emails", "paused": True}
    assert stats(run, url)["paused"] is True
    assert run("resume", "--url", url).stdout.split() == ["queue", "emails", "paused", "no"]
    assert stats(run, url)["paused"] is False


def test_purge_wants_a_yes(run: Run, url: str) -> None:
    fill(url, 1, 2)
    result = run("purge", "--url", url)
    assert (result.exit_code, result.stdout) == (6, "")
    assert "Throwing 2 messages of 'emails' away was not confirmed. Give --yes." in result.stderr
    assert stats(run, url)["pending"] == 2


def test_purge_names_the_dead_letters(run: Run, url: str) -> None:
    fill(url, 1)
    with Queue.from_url(url) as queue:
        queue.receive(1)[0].dead("no use")
    assert "Throwing 0 messages and 1 dead letter of" in run("purge", "--url", url, "--dead-letters").stderr
    assert "Throwing 0 messages (not the 1 dead letter: --dead-letters) of" in run("purge", "--url", url).stderr
    assert stats(run, url)["dead"] == 1


def test_purge_leaves_dead_letters_unless_told(run: Run, url: str) -> None:
    fill(url, 1, 2)
    with Queue.from_url(url) as queue:
        (message,) = queue.receive(1)
        message.dead("no use")
    assert json.loads(run("purge", "--url", url, "--yes", "--output", "json").stdout) == {"discarded": 1}
    assert stats(run, url)["dead"] == 1
    gone = run("purge", "--url", url, "--yes", "--dead-letters", "--output", "json")
    assert json.loads(gone.stdout) == {"discarded": 0, "dead_letters": 1}
    assert stats(run, url)["dead"] == 0


# -- stores --


class Careless(MemoryStore):
    """Takes conditions and ignores them, as many small servers do."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:  # noqa: ARG002
        return super().put(key, body, OVERWRITE)


class Full(MemoryStore):
    """Refuses the second message object."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if "/inbox/" in key:
            self.inbox_puts = getattr(self, "inbox_puts", 0) + 1
            if self.inbox_puts > 1:
                raise StoreRefused("The bucket is full.", reason="rejected", remedy="Make room.")
        return super().put(key, body, mode)


@pytest.fixture
def use_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], None]:
    def use(store: Store) -> None:
        monkeypatch.setattr(options, "raw_store", lambda *_: store)

    return use


def test_an_unsafe_store_is_refused(run: Run, url: str, use_store: Callable[[Store], None]) -> None:
    use_store(Careless(SystemClock()))
    result = run("enqueue", "--url", url, "1")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "breaks conditional writes" in result.stderr
    assert "`s3queue probe` repeats this test" in result.stderr


def test_probe_shows_what_is_broken(run: Run, url: str, use_store: Callable[[Store], None]) -> None:
    use_store(Careless(SystemClock()))
    result = run("probe", "--url", url, "--output", "json")
    assert result.exit_code == 6
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert "create-only has exactly one winner" in {check["name"] for check in report["checks"] if not check["ok"]}
    assert "is not safe for s3queue" in result.stderr
    assert "BROKEN" in run("probe", "--url", url).stdout


def test_probe_of_a_good_store_leaves_nothing(run: Run, use_store: Callable[[Store], None]) -> None:
    store = MemoryStore(SystemClock())
    use_store(store)
    result = run("probe", "--url", "memory://x")
    assert result.exit_code == 0, result.stderr
    assert "held  create-only has exactly one winner" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 150
    assert store.list("").entries == ()


def test_a_store_that_fails_on_the_way(run: Run, url: str, use_store: Callable[[Store], None]) -> None:
    use_store(Full(SystemClock()))
    result = run("enqueue", "--url", url, "-", "--lines", input="1\n" * 1500)
    assert result.exit_code == 5
    assert len(result.stdout.split()) == 1000
    ids = result.stdout.split()
    assert f"1,000 messages are enqueued, {ids[0]} to {ids[-1]}, then: The bucket is full. Make room." in result.stderr


@pytest.mark.parametrize("command", [["stats"], ["enqueue", "1"], ["probe"], ["worker", "json:loads"]])
def test_an_endpoint_that_is_down(run: Run, aws_keys: None, command: list[str]) -> None:  # noqa: ARG001 - set up after run
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    result = run(*command, "--bucket", "prod", "-q", "a", "--endpoint-url", endpoint, "--connect-timeout", "0")
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"{endpoint} cannot be reached" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_credentials(run: Run) -> None:
    result = run("stats", "--bucket", "prod", "-q", "a", "--endpoint-url", "http://127.0.0.1:9")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "No usable credentials" in result.stderr


def test_an_endpoint_without_a_bucket_is_no_local_folder(run: Run, folder: Path) -> None:
    result = run("enqueue", "-q", "a", "1", "--endpoint-url", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "Give --bucket too" in result.stderr
    assert list(folder.iterdir()) == []


def test_no_queue_is_named(run: Run) -> None:
    result = run("stats", "--bucket", "prod")
    assert result.exit_code == 2
    assert "Give --queue NAME" in result.stderr


def test_the_default_is_a_folder_below_the_current_one(run: Run, folder: Path) -> None:
    assert run("enqueue", "-q", "a", "1").exit_code == 0
    assert (folder / ".s3queue/a/queue.json").exists()


def test_a_traceback_only_with_verbose(run: Run, url: str) -> None:
    assert "Traceback" not in run("stats", "--url", url).stderr
    assert "Traceback" in run("stats", "--url", url, "--verbose").stderr


# -- worker --


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("nocolon", "'nocolon' names no handler. Write module:function"),
        (
            "no_such_module:handler",
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'. Run where",
        ),
        ("no_such_module.sub:handler", "Run where the module can be imported"),
        ("broken:handler", "cannot be imported: ZeroDivisionError: division by zero, at {folder}/broken.py:2. Mend it"),
        ("needs:handler", "No module named 'no_such_library', at {folder}/needs.py:1. Mend it"),
        ("misread:handler", "JSONDecodeError: Expecting value: line 1 column 1 (char 0), at {folder}/misread.py:2."),
        ("wrong:handler", "at {folder}/wrong.py:1. Mend it"),
        ("os:nothing", "The module 'os' has no 'nothing'."),
        ("os:sep", "The handler os:sep is a str, not callable."),
        ("operator:setitem", "does not take (payload) or (payload, ctx)"),
    ],
)
def test_a_handler_that_is_none(run: Run, folder: Path, url: str, handler: str, message: str) -> None:
    (folder / "broken.py").write_text("\n1 / 0\n")
    (folder / "needs.py").write_text("import no_such_library\n")
    (folder / "misread.py").write_text("import json\njson.loads('')\n")
    (folder / "wrong.py").write_text("def\n")
    result = run("worker", handler, "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message.format(folder=folder) in result.stderr
    assert not Queue.from_url(url).exists()


def test_an_option_out_of_range(run: Run, url: str) -> None:
    result = run("worker", "json:loads", "--url", url, "--concurrency", "0")
    assert result.exit_code == 2


def test_settings_of_an_existing_queue_are_not_changed_in_silence(run: Run, folder: Path, url: str) -> None:
    (folder / "quiet.py").write_text("def handler(payload): pass\n")
    fill(url, 1)
    result = run("worker", "quiet:handler", "--url", url, "--burst", "--visibility-timeout", "7", "--max-attempts", "3")
    assert result.exit_code == 0, result.stderr
    told = "the queue exists with {'visibility_timeout': 30.0}, which counts, not {'visibility_timeout': 7.0}"
    assert result.stderr.count(told) == 1
    assert stats(run, url)["completed"] == 1


def test_settings_of_a_new_queue(run: Run, folder: Path, url: str) -> None:
    (folder / "quiet.py").write_text("def handler(payload): pass\n")
    run("worker", "quiet:handler", "--url", url, "--burst", "--visibility-timeout", "7", "--max-attempts", "9")
    settings = Queue.from_url(url).settings
    assert (settings.visibility_timeout_s, settings.max_attempts) == (7, 9)
