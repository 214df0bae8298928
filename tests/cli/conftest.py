"""The command line in this process, in an empty folder, with nobody's settings around it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from s3queue.cli.commands import cli

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Put logging back as it was: the command line configures it for its whole process."""
    loggers = [logging.getLogger(name) for name in ("", "s3queue", "boto3", "botocore", "urllib3")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no settings in the environment."""
    for name in os.environ:
        if name.startswith(("S3QUEUE_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:  # noqa: ARG001 - wanted for what it sets up
    """Run a command: ``run("stats", "-q", "a", input=…)``."""

    def invoke(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(cli, list(arguments), **options)

    return invoke
