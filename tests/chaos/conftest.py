"""The fault proxy before the tests' MiniStack, started once a test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3queue.devserver import MiniStack
from tests.chaos.proxy import FaultProxy


@pytest.fixture(scope="session")
def proxy(ministack: MiniStack) -> Iterator[FaultProxy]:
    with FaultProxy(ministack.endpoint_url) as running:
        yield running
