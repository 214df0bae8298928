"""What a payload may be."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import pytest
from hypothesis import given

from s3queue.core.codec import decode_messages, encode_messages
from s3queue.core.keys import ObjectName
from s3queue.core.message import Message
from s3queue.core.payload import MAX_DEPTH, PLAIN, Gzip, Plain, Seal, check_codec, check_payload
from s3queue.errors import CorruptObject, InvalidPayload, InvalidSetting
from tests.core.samples import NOW, json_values

LIMIT = 1 << 20


class Colour(enum.Enum):
    RED = 1


def nested(depth: int, leaf: Any = None) -> Any:
    for level in range(depth):
        leaf = [leaf] if level % 2 else {"k": leaf}
    return leaf


def circle() -> Any:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


@pytest.mark.parametrize(
    "bad",
    [
        math.nan,
        math.inf,
        {"a": [-math.inf]},
        {1, 2},
        frozenset(),
        b"bytes",
        bytearray(b"x"),
        object(),
        Colour.RED,
        1 + 2j,
        iter([1]),
        circle(),
        {1: "a"},
        {None: "a"},
        {True: 1},
        {1.5: 1},
        {("a",): 1},
        {"a": {"b": [{"c": ({2: "deep"},)}]}},
        "\ud800",
        {"\udfff": 1},
        ["ok", {"k": "\udc80"}],
        10**5000,
        nested(100_000),
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_what_json_cannot_hold_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidPayload):
        check_payload(bad, LIMIT)


def test_a_key_that_is_no_string_is_named_with_its_place() -> None:
    with pytest.raises(InvalidPayload, match=r"key 7 in payload\['a'\]\[1\] is of type int"):
        check_payload({"a": ["x", {7: 1}]}, LIMIT)


def test_nesting_has_a_limit_that_does_not_hang_on_the_caller() -> None:
    check_payload(nested(MAX_DEPTH), LIMIT)
    with pytest.raises(InvalidPayload, match="levels deep"):
        check_payload(nested(MAX_DEPTH + 1), LIMIT)


def test_what_is_nested_as_deeply_as_may_be_is_read_far_down_a_call_stack() -> None:
    which = ObjectName(9, NOW, "0" * 20, 1)
    payload = nested(MAX_DEPTH)
    body = encode_messages(which, [Message(f"{which.id}-0", payload, NOW)])

    def read(frames: int) -> Any:
        if frames:
            return read(frames - 1)
        return decode_messages(body, "key", which, Seal())[0].payload

    assert read(500) == payload


def test_size_is_counted_in_bytes_of_json_and_the_limit_is_the_last_that_fits() -> None:
    assert check_payload("ä" * 10, 22) == 22
    with pytest.raises(InvalidPayload, match=r"23 bytes as JSON; the limit is 22"):
        check_payload("ä" * 10 + "a", 22)


@given(json_values)
def test_every_json_value_passes_with_its_size(value: Any) -> None:
    assert check_payload(value, LIMIT) == len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ((1, (2,)), [1, [2]]),
        (2**200, 2**200),
        (-(10**4000), -(10**4000)),
        (5e-324, 5e-324),
        (None, None),
        ("\0\u2028\U0001f600", "\0\u2028\U0001f600"),
        (True, True),
    ],
    ids=["tuple", "big", "huge", "tiny", "none", "text", "bool"],
)
def test_what_passes_comes_back_as_json_has_it(value: Any, read: Any) -> None:
    check_payload(value, LIMIT)
    which = ObjectName(9, NOW, "0" * 20, 1)
    body = encode_messages(which, [Message(f"{which.id}-0", value, NOW)])
    assert decode_messages(body, "key", which, Seal())[0].payload == read


def test_gzip_packs_the_same_bytes_each_time() -> None:
    data = b"abc" * 1000
    assert Gzip().encode(data) == Gzip().encode(data)
    assert len(Gzip().encode(data)) < 100
    assert Gzip().decode(Gzip().encode(data)) == data
    assert Plain().decode(Plain().encode(data)) == data


def test_a_codec_without_a_name_is_refused() -> None:
    class Nameless(Plain):
        pass

    with pytest.raises(InvalidSetting, match="has no name"):
        check_codec(Nameless())
    assert check_codec(PLAIN) is PLAIN


def test_a_codec_that_is_not_there_is_named() -> None:
    with pytest.raises(CorruptObject, match=r"codec 'rot13'.*this process does not have") as caught:
        Seal().find("rot13", "the/key")
    assert caught.value.key == "the/key"
