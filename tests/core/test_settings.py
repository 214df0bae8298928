"""Settings: their ranges, and what a file of them may not say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from s3queue.core.codec import decode_settings, encode_settings
from s3queue.core.settings import MAX_VISIBILITY_S, Settings
from s3queue.errors import CorruptObject, InvalidSetting


@pytest.mark.parametrize(
    "bad",
    [
        {"visibility_timeout_s": 0.5},
        {"visibility_timeout_s": MAX_VISIBILITY_S + 1},
        {"visibility_timeout_s": math.nan},
        {"visibility_timeout_s": "30"},
        {"visibility_timeout_s": True},
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"lanes": 0},
        {"lanes": 257},
        {"lanes": 1.5},
        {"max_payload_bytes": 0},
        {"max_payload_bytes": (64 << 20) + 1},
        {"failure": "shrug"},
        {"failure": None},
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_name(bad: dict[str, Any]) -> None:
    (field,) = bad
    with pytest.raises(InvalidSetting, match=field.removesuffix("_s")):
        Settings(**bad)


def test_a_priority_joins_the_others_most_urgent_first() -> None:
    assert Settings().with_priority(5).with_priority(9).with_priority(5).priorities == (9, 5, 0)


def test_the_lease_is_in_milliseconds() -> None:
    assert Settings(visibility_timeout_s=1.5).lease_ms == 1500


@pytest.mark.parametrize(
    ("field", "junk"),
    [
        ("max_attempts", "3"),
        ("max_attempts", 2.5),
        ("visibility_timeout_ms", None),
        ("failure", ["hybrid"]),
        ("retry", {}),
        ("retry", None),
        ("lanes", 10**400),
    ],
)
def test_a_file_with_a_bad_setting_is_corrupt(field: str, junk: Any) -> None:
    document = json.loads(encode_settings(Settings())) | {field: junk}
    with pytest.raises(CorruptObject, match="the/key"):
        decode_settings(json.dumps(document).encode(), "the/key")


@pytest.mark.parametrize("junk", [["high"], [10], [-1], "0", [], [True], [1.5]])
def test_a_file_with_bad_priorities_is_corrupt(junk: Any) -> None:
    document = json.loads(encode_settings(Settings())) | {"priorities": junk}
    with pytest.raises(CorruptObject, match="the/key"):
        decode_settings(json.dumps(document).encode(), "the/key")
