from __future__ import annotations

import pytest

from tests.admin.tui.stage import Site


@pytest.fixture
def site() -> Site:
    return Site()
