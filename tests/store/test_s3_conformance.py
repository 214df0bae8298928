"""The contract of the port, kept by the S3 adapter over two real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3queue.devserver import MiniStack
from s3queue.store.s3 import S3Store
from tests.servers import SeaweedFS, fresh_bucket, open_store
from tests.store.conformance import StoreConformance


@pytest.fixture(scope="module")
def on_ministack(ministack: MiniStack) -> Iterator[S3Store]:
    store = open_store(ministack, fresh_bucket(ministack))
    yield store
    store.close()


@pytest.fixture(scope="module")
def on_seaweedfs(seaweedfs: SeaweedFS) -> Iterator[S3Store]:
    store = open_store(seaweedfs, fresh_bucket(seaweedfs))
    yield store
    store.close()


class TestMiniStack(StoreConformance):
    @pytest.fixture
    def store(self, on_ministack: S3Store) -> S3Store:
        return on_ministack


class TestSeaweedFS(StoreConformance):
    ROUNDS = 3  # losers of a race wait a second or more

    @pytest.fixture
    def store(self, on_seaweedfs: S3Store) -> S3Store:
        return on_seaweedfs
