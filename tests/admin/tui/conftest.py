from __future__ import annotations

import pytest

from tests.admin.tui.stage import Site


@pytest.fixture
def site() -> Site:
    return Site()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the dashboard's tests to ``-m slow``: they are judged by a wall clock, which a busy machine does not keep."""
    for item in items:
        if "tests/admin/tui/" in item.path.as_posix():
            item.add_marker(pytest.mark.slow)
