"""The stores that the tests of queues run on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from s3queue import Queue
from tests.queue.clocks import ManualClock
from tests.queue.places import Place

_memories = count(1)


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store, once in memory and once in a folder."""
    url = f"memory://queue-tests-{next(_memories)}" if request.param == "memory" else tmp_path.as_uri()
    found = Place(url)
    yield found
    found.close()


@pytest.fixture
def clock(place: Place) -> ManualClock:
    return place.clock


@pytest.fixture
def queue(place: Place) -> Queue:
    return place.open(visibility_timeout=30)
