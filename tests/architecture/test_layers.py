"""Who may import whom: the contracts of pyproject.toml, and the two rules that need a longer sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.architecture.source import ROOT

S3_LIBRARIES = {"boto3", "botocore", "s3transfer"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("lint-imports"))
    command = [program, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def package(folder: Path, modules: dict[str, str]) -> None:
    """Write the packages that the contracts name, empty but for these modules: ``{"core.ledger": "import boto3"}``."""
    packages = ["coordination", "core", "protocol", "runtime", "store"]
    files = {f"{name}.__init__": "" for name in packages} | dict.fromkeys(["__init__", "errors", "clock", "ids"], "")
    for name, text in (files | modules).items():
        path = (folder / "s3queue" / name.replace(".", "/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "s3queue_admin").mkdir()
    (folder / "s3queue_admin/__init__.py").touch()


def test_the_layers_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("core.ledger", "from s3queue.store.port import Store", "core only decides"),
        ("core.ledger", "import threading", "core only decides"),
        ("core.ledger", "import s3queue.metrics", "core only decides"),
        ("store.memory", "from s3queue.core import ledger", "store knows nothing"),
        ("store.memory", "from s3queue.runtime import worker", "cli > runtime"),
        ("protocol.queue", "from s3queue.store import s3", "protocol sees"),
        ("protocol.queue", "import concurrent.futures", "only runtime"),
        ("protocol.queue", "from s3queue.runtime import worker", "cli > runtime"),
        ("runtime.worker", "import s3queue.cli", "cli > runtime"),
        ("coordination.redis", "from s3queue.protocol import queue", "cli > runtime"),
        ("protocol.queue", "from s3queue.coordination import redis", "cli > runtime"),
        ("coordination.redis", "from s3queue.core import ledger", "coordination carries"),
        ("errors", "import s3queue.core.ledger", "cli > runtime"),
        ("runtime.worker", "def show(): import s3queue_admin", "the engine"),
        ("metrics", "def show(): import textual", "the engine"),
    ],
)
def test_a_broken_layer_is_found(tmp_path: Path, module: str, text: str, broken: str) -> None:
    bystanders = [
        *("coordination.redis", "protocol.queue", "core.ledger", "store.port", "store.s3", "store.memory"),
        *("runtime.worker", "metrics", "cli"),
    ]
    package(tmp_path, dict.fromkeys(bystanders, "") | {module: text})
    result = lint_imports(tmp_path)
    verdicts = [line for line in result.stdout.splitlines() if line.endswith("BROKEN") and line.startswith(broken)]
    assert result.returncode == 1, result.stdout + result.stderr
    assert verdicts, result.stdout


def strangers_to_s3(graph: grimp.ImportGraph) -> set[str]:
    """Return the modules that import AWS's libraries without being part of the adapter for S3, or that for SQS."""
    importers = {
        importer
        for library in S3_LIBRARIES & graph.modules
        for importer in graph.find_modules_that_directly_import(library)
    }
    return {name for name in importers if not name.startswith("s3queue.store.s3")} - {"s3queue.coordination.sqs"}


def test_only_the_adapters_of_s3_and_sqs_import_boto3() -> None:
    graph = grimp.build_graph("s3queue", "s3queue_admin", include_external_packages=True, cache_dir=None)
    assert strangers_to_s3(graph) == set()


def test_another_importer_of_boto3_is_found() -> None:
    graph = grimp.ImportGraph()
    for importer in ("s3queue.store.s3", "s3queue.store.s3_errors", "s3queue.coordination.sqs", "s3queue.cli"):
        graph.add_import(importer=importer, imported="botocore")
    assert strangers_to_s3(graph) == {"s3queue.cli"}
