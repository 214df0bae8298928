"""What the README shows is so: its program runs, its options, variables, commands and exit codes exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from s3queue.cli.commands import cli
from s3queue.cli.options import FAILED, HELD, NOT_CONNECTED, PARTLY, REFUSED, Setting
from s3queue.runtime.tuning import Tuning

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_its_program_runs(tmp_path: Path) -> None:
    program = (
        fenced("python")[0]
        .replace(', bucket="prod"', "")
        .replace("Worker(q, handler, ", "Worker(q, handler, burst=True, ")
    )
    (tmp_path / "app.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"to {name}, attempt 1" for name in ("a@b.c", "d@e.f", "x@y.z")]


def test_the_example_runs_as_it_says(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "HELLO_FOLDER": str(tmp_path)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=40,
            check=True,
        )
        return done.stdout

    assert len(run(str(ROOT / "examples/hello.py")).split()) == 3
    run("-m", "s3queue", "worker", "examples.hello:handler", "--queue", "hello", "--burst")
    stats = json.loads(run("-m", "s3queue", "stats", "--queue", "hello", "--output", "json"))
    assert (stats["retried"], stats["dead"]) == (1, 1)
    (greetings,) = tmp_path.glob("greetings-*.txt")
    greeted = [line.split(" ", 1)[1] for line in greetings.read_text().splitlines()]
    assert greeted in (["Hello, Ada!"], ["Hello, Ada!", "Hello, Grace!"])  # hers is due within a second: in a slow run
    assert stats["completed"] == len(greeted)


def test_its_options_and_commands_exist() -> None:
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    commands = [*cli.commands.values(), *(command for group in groups for command in group.commands.values())]
    options = {name for command in commands for each in command.params for name in each.opts}
    known = options | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known
    assert set(re.findall(r"s3queue (worker|[a-z]+) (?=['\-a-z.:$])", "\n".join(fenced("sh")))) <= cli.commands.keys()
    table = README.split("| command | what it does |")[1].split("\n\n")[0]
    assert {
        name
        for line in table.splitlines()
        for name in re.findall(r"`([a-z]+)", line.split("|")[1] if "|" in line else "")
    } == (cli.commands.keys())


def test_its_variables_exist() -> None:
    variables = {
        each.envvar for command in cli.commands.values() for each in command.params if isinstance(each, Setting)
    }
    mentioned = set(re.findall(r"S3QUEUE_[A-Z_]+", README))
    assert len(mentioned) > 8
    assert mentioned <= variables


def test_its_defaults_are_those_of_the_worker() -> None:
    tuning = Tuning()
    assert (tuning.concurrency, tuning.executor, tuning.prefetch) == (8, "thread", 1000)
    assert (tuning.poll_interval, tuning.max_poll_interval, tuning.shutdown_grace) == (0.25, 5.0, 30.0)
    (connect_timeout,) = (each.default for each in cli.commands["worker"].params if each.name == "connect_timeout")
    assert connect_timeout == 10.0


def test_its_exit_codes_are_those_of_the_command_line() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    assert codes == {0, FAILED, 2, NOT_CONNECTED, HELD, PARTLY, REFUSED}


@pytest.mark.parametrize("block", fenced("json"))
def test_its_policy_is_json(block: str) -> None:
    policy = json.loads(block)
    actions = {
        action
        for one in policy["Statement"]
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    assert actions == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
