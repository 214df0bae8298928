"""What an import costs, where heavy libraries may be imported, and that no test sleeps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest

from tests.architecture.source import ROOT, Source, dotted, imported, sources

HEAVY = {"boto3", "botocore", "jinja2", "moto", "opentelemetry", "pandas", "prometheus_client", "redis", "textual"}
SLEEPS = {"time.sleep", "asyncio.sleep"}
HOME_OR_WORK_FOLDER = re.compile(r"(?<![\w.*})-])/(?:home|root|Users|work|workspaces?)/[\w.-]+|\b[A-Z]:\\+Users\b")


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after running this code."""
    report = "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code + report]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def sleeps(files: Iterable[Source]) -> list[str]:
    """Return where these files name a sleep of the standard library."""
    found = []
    for file in files:
        names = imported(file.tree)
        for node in ast.walk(file.tree):
            if isinstance(node, ast.Name | ast.Attribute):
                first, dot, rest = dotted(node).partition(".")
                if names.get(first, "") + dot + rest in SLEEPS:
                    found.append(f"{file.path}:{node.lineno}")
    return found


def statements(scope: ast.AST, inside: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Yield each node below ``scope`` with the function around it, or '' at module level; skip what only mypy reads."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node, inside
        function = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        yield from statements(node, function)


def pandas_imports(files: Iterable[Source]) -> list[str]:
    """Return where pandas is imported outside a function called to_dataframe."""
    return [
        f"{file.path}:{node.lineno}"
        for file in files
        for node, function in statements(file.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and function != "to_dataframe"
        and any(target.partition(".")[0] == "pandas" for target in imported(ast.Module([node], [])).values())
    ]


def project_texts() -> Iterator[Source]:
    """Yield the text files of the project: all that git tracks or would add."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=50, check=True).stdout.decode()
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        data = path.read_bytes() if path.is_file() else b"\0"
        if b"\0" not in data:
            yield Source(name, data.decode(errors="replace"))


def home_or_work_folders(files: Iterable[Source]) -> list[str]:
    return [f"{file.path}: {match.group()}" for file in files for match in HOME_OR_WORK_FOLDER.finditer(file.text)]


def test_importing_the_engine_loads_nothing_heavy() -> None:
    assert loaded_by("import s3queue") & HEAVY == set()


def test_a_queue_in_memory_needs_no_boto3() -> None:
    opened = "import s3queue; s3queue.Queue.from_url('memory://bucket/s3queue/emails')"
    assert loaded_by(opened) & HEAVY == set()


def test_what_an_import_loads_is_seen() -> None:
    assert {"boto3", "botocore"} <= loaded_by("import boto3") & HEAVY


def test_pandas_is_imported_inside_to_dataframe_alone() -> None:
    assert pandas_imports(sources("s3queue")) == []


def test_no_test_sleeps() -> None:
    files = sources("tests")
    assert "tests/architecture/test_imports.py" in {file.path for file in files}
    assert sleeps(files) == []


def test_no_file_names_a_home_or_work_folder() -> None:
    files = list(project_texts())
    assert "pyproject.toml" in {file.path for file in files}
    assert home_or_work_folders(files) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import time\ntime.sleep(1)", True),
        ("import time as t\nwait = t.sleep", True),
        ("from time import sleep as nap\nnap(1)", True),
        ("import asyncio\nasync def f(): await asyncio.sleep(1)", True),
        ("clock.sleep(1)", False),
        ("import time\ntime.monotonic()", False),
    ],
)
def test_a_sleep_is_found(text: str, found: bool) -> None:
    assert bool(sleeps([Source("a.py", text)])) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pandas as pd", True),
        ("def to_frame():\n    from pandas import DataFrame", True),
        ("class Q:\n    def to_dataframe(self):\n        import pandas as pd", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas as pd", False),
    ],
)
def test_an_early_import_of_pandas_is_found(text: str, found: bool) -> None:
    assert bool(pandas_imports([Source("a.py", text)])) is found


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (("", "home", "ann", "s3queue"), True),
        (("see ", "root", "x"), True),
        (("C:", "Users"), True),
        (("https://example.org", "home", "page"), False),
        (("s3://bucket", "work", "emails"), False),
        (("", "tmp", "s3queue"), False),
    ],
)
def test_a_home_or_work_folder_is_found(parts: tuple[str, ...], found: bool) -> None:
    separator = "\\" if parts[0] == "C:" else "/"
    assert bool(home_or_work_folders([Source("a.md", separator.join(parts))])) is found
