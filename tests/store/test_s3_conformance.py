"""The contract of the port, kept by the S3 adapter over two real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3queue.devserver import MiniStack
from s3queue.store.s3 import S3Store
from tests.servers import SeaweedFS, fresh_bucket, open_store
from tests.store.conformance import StoreConformance


class TestMiniStack(StoreConformance):
    @pytest.fixture(scope="class")
    def opened(self, ministack: MiniStack) -> Iterator[S3Store]:
        store = open_store(ministack, fresh_bucket(ministack))
        yield store
        store.close()

    @pytest.fixture
    def store(self, opened: S3Store) -> S3Store:
        return opened


class TestSeaweedFS(StoreConformance):
    ROUNDS = 3  # losers of a race wait a second or more

    @pytest.fixture(scope="class")
    def opened(self, seaweedfs: SeaweedFS) -> Iterator[S3Store]:
        store = open_store(seaweedfs, fresh_bucket(seaweedfs))
        yield store
        store.close()

    @pytest.fixture
    def store(self, opened: S3Store) -> S3Store:
        return opened
