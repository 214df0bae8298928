"""Fixtures for all tests: real S3 servers, started once a test process and only if a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3queue.devserver import MiniStack
from tests import servers


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
