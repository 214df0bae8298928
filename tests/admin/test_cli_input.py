"""Bad input, stores that are not there, settings, completion; and what the command line costs to start."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

import s3queue_admin
from s3queue import Queue, StoreRefused
from s3queue.clock import SystemClock
from s3queue.devserver import free_ports
from s3queue.store.memory import MemoryStore
from s3queue.store.port import OVERWRITE, Object, Page
from s3queue_admin import bucket as bucket_module
from s3queue_admin.cli.commands import cli
from tests.admin.conftest import Admin, fill
from tests.architecture.test_imports import HEAVY, loaded_by

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/operator.md").read_text("utf-8")
_WRITING = [
    "configure orders", "configure orders lanes=2", "replay orders --all", "pause orders", "purge orders", "undo a",
    "dlq purge orders", "stuck reset orders",
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "told"),
    [
        *((f"{verb} --at 1h", "--at shows what was") for verb in _WRITING),
        ("ls order", "Did you mean 'orders'?"),
        ("ls nothing-like-it", "There are mails, orders"),
        ("ls ../x", "queue"),
        ("replay orders", "Say which"),
        ("replay orders --all error~x", "Say which"),
        ("reset orders --id a --older-than 5m", "Say which"),
        ("cancel orders state:dead --yes", "no such message matches"),
        ("replay orders --all --payload {} --patch {} --yes", "Give one of them"),
        ("replay orders --all --payload { --yes", "this is no JSON"),
        ("replay orders --all --to nowhere --yes", "nowhere"),
        ("delay mails --all --by soon --yes", "no span of time"),
        ("reset orders --older-than -5 --yes", "no span of time"),
        ("priority mails --all --priority 10 --yes", "10"),
        ("show orders nope", "no message's id"),
        ("cost estimate worker=1", "worker"),
        ("cost estimate workers", "NAME=VALUE"),
        ("cost estimate workers=1,2", "several values"),
        ("cost estimate --store nowhere", "no prices of 'nowhere'"),
        ("cost measured orders --over 0 --prices no.toml", "cannot be read"),
        ("audit --since tomorrow", "neither a time"),
        ("watch --interval 0", "more than 0"),
        ("status --endpoint-url http://127.0.0.1:1", "endpoint"),
        ("ls orders order:1", "payload.order"),
        ("ls orders -state:dead", "comes after --, or say NOT"),
        ("--bucket prod status", "behind the command"),
        ("configure orders visibilty=1", "Did you mean 'visibility_timeout'?"),
        ("configure orders results=maybe --yes", "results cannot be 'maybe'"),
        ("configure orders result_ttl=long --yes", "result_ttl cannot be 'long': for how long: 7d."),
        ("configure orders lanes=0 --yes", "Use 1 to 256 lanes"),
        ("configure orders lanes=2 order=strict --yes", "has one lane"),
        ("configure orders retry.cap=1ms --yes", "retry.cap cannot be '1ms'"),
        ("configure orders retry.factor=0 --yes", "is not a backoff"),
        ("configure orders lanes", "is not a new NAME=VALUE"),
        ("configure orders lanes=1 lanes=2", "is not a new NAME=VALUE"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(admin: Admin, url: str, command: str, told: str) -> None:
    fill(url)
    before = Queue.from_url(f"{url}/orders").stats().as_dict() | {"at_ms": 0, "oldest_age_s": 0}
    result = admin(*command.split(), "--url", url)
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert told in result.stderr
    assert Queue.from_url(f"{url}/orders").stats().as_dict() | {"at_ms": 0, "oldest_age_s": 0} == before


def test_a_doctor_of_no_queues_says_so(admin: Admin, url: str) -> None:
    assert f"there are no queues in {url}" in admin("doctor", "--url", url).stdout


@pytest.mark.parametrize("command", ["ls", "dlq list", "dlq groups", "replay", "export messages"])
def test_a_filter_that_cannot_be_read_is_pointed_at(admin: Admin, url: str, command: str) -> None:
    fill(url)
    result = admin(*command.split(), "orders", "state:dead", "atempts>3", "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    *_, text, caret = result.stderr.rstrip("\n").splitlines()
    assert text[caret.index("^") :].startswith("atempts>3")
    assert "attempts" in result.stderr


def test_an_endpoint_that_does_not_answer(admin: Admin, aws_keys: None) -> None:  # noqa: ARG001 - set up after admin
    place = ("--bucket", "prod", "--endpoint-url", f"http://127.0.0.1:{free_ports(1)[0]}", "--connect-timeout", "0.1")
    for command in ("status", "ls jobs", "audit"):
        result = admin(*command.split(), *place)
        assert (result.exit_code, result.stdout) == (3, ""), command
        assert "127.0.0.1" in result.stderr


class Denied(MemoryStore):
    """Refuses some verbs; at first, those that read."""

    verbs: tuple[str, ...] = ("GET", "LIST")

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        if "GET" in self.verbs:
            raise StoreRefused(f"GET of {key} is denied.", reason="access-denied", key=key)
        return super().get(key, if_none_match)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        if "LIST" in self.verbs:
            raise StoreRefused(f"LIST of {prefix} is denied.", reason="access-denied")
        return super().list(prefix, after, limit)


@pytest.mark.parametrize(
    ("verb", "command", "code", "out"),
    [
        ("LIST", "status", 3, ""),
        ("LIST", "status orders", 5, "queue"),
        ("LIST", "stuck list orders", 5, "Nothing is stuck."),  # as far as it is known
        ("LIST", "locks orders", 5, "No lock is held."),
        ("LIST", "ls orders", 3, ""),
        ("LIST", "report orders --format markdown", 5, "# s3queue report"),
        ("LIST", "doctor", 1, "ERROR"),
        ("GET", "status", 5, "memory"),
        ("GET", "status orders", 3, ""),
        ("GET", "workers", 5, "Nobody works."),
        ("GET", "report --format markdown", 5, "# s3queue report"),
        ("GET", "doctor", 1, "ERROR"),
    ],
)
def test_a_role_without_one_verb_is_told_what_is_missing(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, *, url: str, verb: str, command: str, code: int, out: str
) -> None:
    store = Denied(SystemClock())
    store.verbs = ()
    for name in ("orders", "mails"):
        Queue(name, store=store).enqueue(1)
    store.verbs = (verb,)
    monkeypatch.setattr(bucket_module, "raw_store", lambda *_: store)
    result = admin(*command.split(), "--url", url)
    assert result.exit_code == code, result.output
    assert result.stdout.startswith(out)
    assert bool(out) == bool(result.stdout)
    assert f"{verb} of" in (result.stdout if command == "doctor" else result.stderr)


def test_a_store_that_refuses(admin: Admin, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "raw_store", lambda *_: Denied(SystemClock()))
    for command in ("status", "status orders", "dlq list orders", "replay orders --all --yes"):
        result = admin(*command.split(), "--url", url)
        assert (result.exit_code, result.stdout) == (3, ""), command
        assert "is denied" in result.stderr
    seen = admin("doctor", "--url", url)
    assert seen.exit_code == 1
    assert "permission-list" in seen.stdout


def test_one_queue_that_cannot_be_read_does_not_hide_the_others(admin: Admin, url: str) -> None:
    fill(url)
    store = Queue.from_url(f"{url}/orders").connect().store
    store.put("orders/queue.json", b"\x00", OVERWRITE)
    result = admin("status", "--url", url)
    assert result.exit_code == 5
    assert "mails" in result.stdout
    assert "cannot be read" in result.stdout
    assert "orders" in result.stderr


# -- settings ---------------------------------------------------------------------------------------------------------


def test_flag_wins_over_environment_over_file(
    admin: Admin, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(url)
    (folder / "s3queue.toml").write_text(f'url = "{url}"\n[worker]\nconcurrency = 3\n[admin]\noutput = "csv"\n')
    assert admin("status").stdout.startswith("queue,pending")
    monkeypatch.setenv("S3QUEUE_OUTPUT", "json")
    assert admin("status").stdout.startswith("[")
    assert admin("status", "-o", "table").stdout.startswith("memory://")
    (folder / "s3queue.toml").write_text("[admin]\nconcurency = 3\n")
    wrong = admin("status")
    assert (wrong.exit_code, "admin.concurency" in wrong.stderr) == (2, True)


def test_the_engine_leaves_the_admin_table_alone(folder: Path) -> None:
    from click.testing import CliRunner

    from s3queue.cli.commands import cli as engine

    (folder / "s3queue.toml").write_text('[admin]\noutput = "csv"\n')
    assert CliRunner().invoke(engine, ["presets"]).exit_code == 0


# -- completion -------------------------------------------------------------------------------------------------------


def complete(words: str) -> list[str]:
    from click.shell_completion import ShellComplete

    made = ShellComplete(cli, {}, "s3queue-admin", "_S3QUEUE_ADMIN_COMPLETE")
    *args, incomplete = words.split(" ")
    return [item.value for item in made.get_completions(args, incomplete)]


def test_queues_and_filters_are_completed(url: str) -> None:
    fill(url)
    assert complete(f"ls --url {url} or") == ["orders"]
    assert complete(f"status --url {url} ") == ["mails", "orders"]
    assert complete("ls orders state:de") == ["state:dead"]
    assert complete(f"ls --url {url} orders queue:m") == ["queue:mails"]
    assert "attempts>=" in complete("dlq list orders att")
    assert complete("cost estimate messages_") == ["messages_per_s="]
    assert complete("configure orders hist") == ["history=", "history_ttl="]
    assert complete("configure orders order=s") == ["order=strict", "order=strict-group"]
    assert complete("ls --bucket NOT/A/BUCKET or") == []


# -- documented, light ------------------------------------------------------------------------------------------------


def test_every_command_is_in_the_guide() -> None:
    table = GUIDE.partition("| command | what it does |")[2].partition("\n\n")[0]
    named = set(
        re.findall(r"`([a-z0-9-]+)", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert set(cli.commands) - {"tui"} == named - {"tui"}
    for name, command in cli.commands.items():
        if isinstance(command, click.Group):
            line = next(line for line in table.splitlines() if line.startswith(f"| `{name}`"))
            assert all(f"`{inner}" in line for inner in command.commands), name


def test_the_exit_codes_are_in_help_and_guide(admin: Admin) -> None:
    text = admin("--help").stdout
    for code in (0, 1, 2, 3, 5, 6):
        assert f"\n    {code}  " in text
        assert f"\n| {code} | " in GUIDE


def test_the_package_installs_the_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts["s3queue-admin"] == "s3queue_admin.cli:main"


def test_every_command_has_help(admin: Admin) -> None:
    def walk(command: click.Command, words: tuple[str, ...]) -> None:
        result = admin(*words, "--help", terminal_width=80)
        assert result.exit_code == 0, words
        assert command.get_short_help_str(), words
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*words, name))

    walk(cli, ())


def test_the_command_line_starts_without_what_is_heavy() -> None:
    light = HEAVY | {"pyarrow", "regex", "rich"}
    assert loaded_by("import s3queue_admin.cli.commands") & light == set()


def test_it_does_without_the_extra_until_it_is_needed(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/b"
    fill(url)
    blocked = (
        "import sys, importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('pandas', 'textual', 'jinja2', 'rich', 'regex', 'pyarrow'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from click.testing import CliRunner\n"
        "from s3queue_admin.cli.commands import cli\n"
        "for words in ('status', 'ls orders', 'dlq groups orders', 'stuck list orders', 'fsck orders', 'report'):\n"
        f"    result = CliRunner().invoke(cli, [*words.split(), '--url', {url!r}])\n"
        "    print(result.exit_code, result.stderr.strip())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, timeout=40, check=True
    )
    *fine, report = done.stdout.splitlines()
    assert fine == ["0 "] * 5
    assert report.startswith("1 Error: A report needs jinja2")
    assert "s3queue[admin]" in report


def test_public_names_are_there_and_are_no_modules() -> None:
    assert sorted(s3queue_admin._HOME) == s3queue_admin.__all__
    modules = {path.stem for path in (ROOT / "s3queue_admin").iterdir()}
    assert modules.isdisjoint(s3queue_admin.__all__)
    found: dict[str, Any] = {name: getattr(s3queue_admin, name) for name in s3queue_admin.__all__}
    assert all(callable(value) for value in found.values())
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = s3queue_admin.nothing
    assert loaded_by("import s3queue_admin; s3queue_admin.Bucket") & HEAVY == set()


WANTED = "Bucket, doctor, fsck, findings, plan, audit, undo, stuck, explain, recover_stuck, what_if, measured, report"


def test_what_a_notebook_imports_are_functions_whatever_was_imported_before() -> None:
    code = (
        f"from s3queue_admin.cli.commands import cli; import s3queue_admin.tui; from s3queue_admin import {WANTED}\n"
        f"print(*(callable(each) for each in ({WANTED})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=40, check=True
    )
    assert set(done.stdout.split()) == {"True"}
