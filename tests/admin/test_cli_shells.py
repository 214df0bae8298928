"""Completion in the shells themselves, on a terminal; and what each shell would ask, where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner

from s3queue.cli.commands import cli as engine
from s3queue_admin.cli.commands import cli as admin_cli
from tests.admin.conftest import fill

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"s3queue": ("s3queue.cli", engine), "s3queue-admin": ("s3queue_admin.cli", admin_cli)}
SHELLS = {
    "bash": (["--norc", "--noprofile"], "PS1='READY''> '", 'eval "$({} completion bash)"'),
    "zsh": (["-f"], "PS1='READY''> '; autoload -Uz compinit; compinit -u -D", 'eval "$({} completion zsh)"'),
    "fish": (["--no-config"], "function fish_prompt; echo READY'> '; end", "{} completion fish | source"),
}
TYPED = (
    ("s3queue enq", "enqueue", "s3queue enqueue"),
    ("s3queue-admin ls or", "orders", "s3queue-admin ls orders"),
    ("s3queue-admin ls orders state:de", "state:dead", "s3queue-admin ls orders state:dead"),
    ("s3queue-admin ls orders attem", "attempts>=", r"s3queue-admin ls orders attempts\>="),
    ("s3queue-admin configure orders failure=hy", "failure=hybrid", "s3queue-admin configure orders failure=hybrid"),
)
"""What is typed, what the program answers, and what stands there then."""


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds both programs, and a bucket."""
    for program, (module, _) in PROGRAMS.items():
        path = tmp_path / program
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from {module} import main; main()" "$@"\n')
        path.chmod(0o755)
    fill(f"file://{tmp_path}/b")
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "S3QUEUE_URL": f"file://{tmp_path}/b",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_what_is_typed(shell: str, place: dict[str, str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options, ready, source = SHELLS[shell]
    child = pexpect.spawn(shell, [*options, "-i"], env=place, dimensions=(24, 200), encoding="utf-8", timeout=20)
    try:
        child.sendline(ready)
        child.expect_exact("READY> ")
        for program in PROGRAMS:
            child.sendline(
                f"{source.format(program)}; echo {program} is' 'known"
            )  # the line as typed is not the answer
            child.expect_exact(f"{program} is known")
        for typed, _, whole in TYPED:
            child.send(f"{typed}\t")
            child.expect_exact(whole[len(typed) :])
            child.send("\x15")  # erases the line
    finally:
        child.close(force=True)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_script_asks_the_program_that_answers(shell: str, program: str, place: dict[str, str]) -> None:
    script = CliRunner().invoke(PROGRAMS[program][1], ["completion", shell]).stdout
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    assert f"{variable}={shell}_complete" in script
    for typed, value, _ in (each for each in TYPED if each[0].startswith(program + " ")):
        word = typed.rpartition(" ")[2] if shell == "fish" else str(typed.count(" "))
        done = subprocess.run(
            [f"{place['HOME']}/{program}"],
            env={**place, "COMP_WORDS": typed, "COMP_CWORD": word, variable: f"{shell}_complete"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert value in done.stdout.replace("\\", ""), (typed, done.stderr)


Complete = Callable[[str], str]


@pytest.fixture
def bash(place: dict[str, str]) -> Complete:
    """What bash puts in place of the end of a line."""
    script = CliRunner().invoke(admin_cli, ["completion", "bash"]).stdout
    asked = "compopt() { :; }; COMP_LINE=$1; COMP_POINT=${#1}; _s3queue_admin_completion; echo ${COMPREPLY[@]}"

    def complete(line: str) -> str:
        command = ["bash", "-c", f"{script}\n{asked}", "bash", line]
        return subprocess.run(command, env=place, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    return complete


def test_bash_gets_what_follows_where_it_splits_a_word_and_no_redirection(bash: Complete) -> None:
    assert bash("s3queue-admin ls orders state:de") == "dead"
    assert bash(r"s3queue-admin ls orders attempts\>=3 state:de") == "dead"
    assert bash("s3queue-admin ls orders attem").split()[0].startswith("attempts")
    assert "attempts\\>=" in bash("s3queue-admin ls orders attem")
    assert "attempts>=" in bash("s3queue-admin ls orders 'attem")
