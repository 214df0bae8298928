"""Fixtures for all tests: real S3 servers, started once a test process and only if a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3queue.devserver import ACCESS_KEY_ID, SECRET_ACCESS_KEY, MiniStack
from tests import servers


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, and a region, where boto3 looks for them; any stand-in for AWS takes them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """A MiniStack; :func:`tests.servers.fresh_bucket` and :func:`tests.servers.open_store` go with it."""
    with MiniStack(folder=tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.SeaweedFS]:
    """A SeaweedFS, used in the same way."""
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server
