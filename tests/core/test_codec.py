"""Bytes to values and back; what cannot be read is named, and never costs more than itself."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3queue.core import codec
from s3queue.core.kept import (
    Forgetting,
    Result,
    decode_forgetting,
    decode_result,
    encode_forgetting,
    encode_result,
)
from s3queue.core.keys import ObjectName, message_id_at
from s3queue.core.ledger import Ledger, Line, Part, Rescue, Ticket
from s3queue.core.message import AttemptError, DeadLetter, Message
from s3queue.core.payload import PLAIN, Gzip, PayloadCodec, Seal
from s3queue.core.retry import RetryPolicy
from s3queue.core.schedule import CATCH_UP, Definition
from s3queue.core.settings import Settings
from s3queue.errors import CorruptObject, NewerFormat
from tests.core.samples import NOW, json_values, ledgers, letters, messages, name, settings, some_names, text, times

KEY = "q/the/key.json"
WHICH = ObjectName(9, NOW, "0123456789abcdefghjk", 3)


class Rot13:
    name = "rot13"

    def encode(self, data: bytes) -> bytes:
        return bytes((byte + 13) % 256 for byte in data)

    def decode(self, data: bytes) -> bytes:
        return bytes((byte - 13) % 256 for byte in data)


CODECS = [PLAIN, Gzip(), Rot13()]
SEAL = Seal([Rot13()])


# --- round trips


@given(ledgers)
def test_a_ledger_reads_back(ledger: Ledger) -> None:
    assert codec.decode_ledger(codec.encode_ledger(ledger), KEY) == ledger


@given(st.lists(messages, min_size=1, max_size=4), st.sampled_from(CODECS), st.data())
def test_messages_read_back_with_every_field(found: list[Message], packed: PayloadCodec, data: st.DataObject) -> None:
    which = replace(WHICH, count=len(found))
    own_id = [data.draw(st.booleans()) for _ in found]
    found = [
        message if own else replace(message, id=message_id_at(which.id, index))
        for index, (message, own) in enumerate(zip(found, own_id, strict=True))
    ]
    assert codec.decode_messages(codec.encode_messages(which, found, packed), KEY, which, SEAL) == found


@given(letters, st.sampled_from(CODECS))
def test_a_letter_reads_back(letter: DeadLetter, packed: PayloadCodec) -> None:
    assert codec.decode_letter(codec.encode_letter(letter, packed), KEY, SEAL) == letter


schedules = st.builds(Definition, text, text, text, text, messages, st.sampled_from(CATCH_UP), times, text, times)


@given(schedules, st.sampled_from(CODECS))
def test_a_schedule_reads_back(found: Definition, packed: PayloadCodec) -> None:
    definition = replace(found, message=replace(found.message, id=found.id))
    assert codec.decode_schedule(codec.encode_schedule(definition, packed), KEY, SEAL) == definition


@given(settings)
def test_settings_read_back(value: Settings) -> None:
    found = codec.decode_settings(codec.encode_settings(value), KEY)
    assert found.visibility_timeout_s == pytest.approx(value.visibility_timeout_s, abs=0.0011)
    assert found.retry.base_s == pytest.approx(value.retry.base_s, abs=0.0011)
    assert found.retry.cap_s == pytest.approx(value.retry.cap_s, abs=0.0011)
    same = {"visibility_timeout_s": found.visibility_timeout_s, "retry": found.retry}
    assert found == replace(value, **same)  # type: ignore[arg-type]


@given(st.lists(some_names, max_size=5))
def test_a_journal_reads_back(names: list[str]) -> None:
    assert codec.decode_journal(codec.encode_journal(names), KEY) == set(names)


@given(json_values)
def test_a_result_reads_back(value: Any) -> None:
    result = Result("id", value, NOW, 1, 7, NOW - 5)
    assert decode_result(encode_result(result), KEY) == result


def test_plain_payloads_can_be_read_with_any_client() -> None:
    body = codec.encode_messages(WHICH, [Message(message_id_at(WHICH.id, i), {"to": "ä"}, NOW) for i in range(3)])
    assert json.loads(body)["payloads"] == [{"to": "ä"}] * 3
    assert "ä".encode() in body


def test_packed_payloads_name_their_codec_and_show_nothing() -> None:
    body = codec.encode_messages(replace(WHICH, count=1), [Message("x", "secret", NOW)], Rot13())
    assert json.loads(body)["codec"] == "rot13"
    assert b"secret" not in body


# --- what cannot be read


@dataclass(frozen=True)
class Kind:
    name: str
    body: bytes
    decode: Callable[[bytes], Any]


ERROR = AttemptError(1, NOW, "ValueError", "no", "Traceback …", "w1")
PACKED = Message("x", ["payload"], NOW, 3, 1, 5, RetryPolicy(2.0), "group", {"h": "v"}, (ERROR,))
THREE = [Message(message_id_at(WHICH.id, 0), 1, NOW), PACKED, Message(message_id_at(WHICH.id, 2), None, NOW + 5)]
LEDGER = Ledger(
    revision=7,
    write_id="w",
    swept_at_ms=NOW,
    forgotten_at_revision=3,
    writers={"a": (4, NOW)},
    cursors={9: name(1)},
    tickets={
        "6.1": Ticket("6.1", (Part(name(2, 9), ((0, 2), (4, 9)), (Rescue("w", NOW, NOW + 1),)),)),
        "7.1": Ticket("7.1", (Part(name(3), ((0, 1),)),), "w", 7, NOW, NOW + 30_000),
    },
    settled={name(4): NOW},
    outbox={"l": Line("l", "retry", name(5, 3), 2, name(6), "m", NOW, 1, (ERROR,), "why")},
    counters={"ticketed": 8},
    latency_ms={64: 2},
)
NOTICE = Forgetting("n", frozenset({"a" * 32, "b" * 32}), NOW)
KINDS = [
    Kind("ledger", codec.encode_ledger(LEDGER), lambda body: codec.decode_ledger(body, KEY)),
    Kind(
        "messages",
        codec.encode_messages(WHICH, THREE),
        lambda body: codec.decode_messages(body, KEY, WHICH, SEAL),
    ),
    Kind(
        "messages",
        codec.encode_messages(WHICH, THREE, Gzip()),
        lambda body: codec.decode_messages(body, KEY, WHICH, SEAL),
    ),
    Kind(
        "letter",
        codec.encode_letter(DeadLetter(PACKED, NOW, "why", "from")),
        lambda body: codec.decode_letter(body, KEY, SEAL),
    ),
    Kind(
        "schedule",
        codec.encode_schedule(Definition("s", "job", "0 3 * * *", "UTC", replace(PACKED, id="s"), "one", NOW, "w")),
        lambda body: codec.decode_schedule(body, KEY, SEAL),
    ),
    Kind("queue", codec.encode_settings(Settings()), lambda body: codec.decode_settings(body, KEY)),
    Kind("settled", codec.encode_journal([name(1), name(2)]), lambda body: codec.decode_journal(body, KEY)),
    Kind("result", encode_result(Result("id", {"a": 1}, NOW)), lambda body: decode_result(body, KEY)),
    Kind("forgetting", encode_forgetting(NOTICE), lambda body: decode_forgetting(body, KEY)),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def with_format(kind: Kind, text: Any) -> bytes:
    return json.dumps({**json.loads(kind.body), "format": text}).encode()


@every_kind
def test_the_sample_is_readable(kind: Kind) -> None:
    assert kind.decode(kind.body) is not None
    assert json.loads(kind.body)["format"] == f"s3queue.{kind.name}/1"


@every_kind
def test_a_body_cut_off_anywhere_is_corrupt(kind: Kind) -> None:
    for length in {*range(0, len(kind.body), 7), *range(20), len(kind.body) - 1}:
        with pytest.raises(CorruptObject) as caught:
            kind.decode(kind.body[:length])
        assert caught.value.key == KEY
        assert KEY in str(caught.value)


NO_DOCUMENTS = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"7",
    b'"s3queue.ledger/1"',
    b"{}",
    b"\xff\xfe\x00",
    b"\x80abc",
    b"<html>404</html>",
    b"PK\x03\x04",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"1" * 5000,
    b'{"format":' + b"9" * 5000 + b"}",
]


@every_kind
@pytest.mark.parametrize("body", NO_DOCUMENTS, ids=range(len(NO_DOCUMENTS)))
def test_what_is_no_document_is_corrupt(kind: Kind, body: bytes) -> None:
    with pytest.raises(CorruptObject) as caught:
        kind.decode(body)
    assert not isinstance(caught.value, NewerFormat)
    assert caught.value.key == KEY


@every_kind
@pytest.mark.parametrize(
    "text", [None, 1, "", "s3queue", "ledgers/1", "s3queue.other/1", "s3queue.{}/", "s3queue.{}/x", "s3queue.{}/²"]
)
def test_a_foreign_format_is_corrupt_and_named(kind: Kind, text: Any) -> None:
    found = text.format(kind.name) if isinstance(text, str) else text
    with pytest.raises(CorruptObject, match="foreign") as caught:
        kind.decode(with_format(kind, found))
    assert not isinstance(caught.value, NewerFormat)


@every_kind
@pytest.mark.parametrize("version", ["2", "99", "1000000", "9" * 5000])
def test_a_newer_format_is_told_as_such(kind: Kind, version: str) -> None:
    with pytest.raises(NewerFormat, match="upgrade s3queue") as caught:
        kind.decode(with_format(kind, f"s3queue.{kind.name}/{version}"))
    assert caught.value.key == KEY


def test_another_kind_of_object_is_foreign() -> None:
    for kind in KINDS:
        for other in KINDS:
            if kind.name != other.name:
                with pytest.raises(CorruptObject, match="foreign"):
                    kind.decode(other.body)


@every_kind
def test_every_field_taken_away_or_replaced_is_corrupt_or_harmless(kind: Kind) -> None:
    """Whatever a field becomes, the answer is a value or CorruptObject, and nothing else."""
    document = json.loads(kind.body)
    for place in places(document):
        for junk in [*JUNK, GONE]:
            reads_or_is_corrupt(kind, dumps(replaced(document, place, junk)))


@every_kind
def test_random_damage_is_corrupt_or_harmless(kind: Kind) -> None:
    luck = random.Random(kind.name)
    for _ in range(300):
        body = bytearray(kind.body)
        for _ in range(luck.randrange(1, 4)):
            body[luck.randrange(len(body))] = luck.randrange(256)
        document = json.loads(kind.body)
        for _ in range(luck.randrange(1, 4)):
            document = replaced(document, luck.choice(places(document) or [()]), luck.choice([*JUNK, GONE]))
        reads_or_is_corrupt(kind, bytes(body))
        reads_or_is_corrupt(kind, dumps(document))


def reads_or_is_corrupt(kind: Kind, body: bytes) -> None:
    try:
        kind.decode(body)
    except CorruptObject as error:
        if error.key != KEY:
            raise AssertionError(f"{error} does not name its key") from error


GONE = object()
JUNK: list[Any] = [
    None,
    True,
    -1,
    10**400,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    [],
    [[]],
    [None],
    {},
    {"": {}},
    "\ud800",
    [["x", 1]],
]


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document, the outermost fields first."""
    if isinstance(document, dict):
        inner = [(key, value) for key, value in document.items() if at or key != "format"]
    elif isinstance(document, list):
        inner = list(enumerate(document))
    else:
        return []
    return [(*at, key) for key, _ in inner] + [place for key, value in inner for place in places(value, (*at, key))]


def replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of ``document`` with the value at ``place`` replaced, or taken out."""
    copy = json.loads(json.dumps(document))
    if not place:
        return copy
    inside = copy
    for key in place[:-1]:
        inside = inside[key]
    if value is GONE:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return copy


def dumps(document: Any) -> bytes:
    return json.dumps(document).encode()


# --- objects that are readable and still not what they should be


def test_a_message_object_under_another_key_is_refused() -> None:
    body = codec.encode_messages(WHICH, THREE)
    with pytest.raises(CorruptObject, match="not what its key says"):
        codec.decode_messages(body, KEY, replace(WHICH, id="0" * 20), SEAL)
    with pytest.raises(CorruptObject, match="holds 3 messages"):
        codec.decode_messages(body, KEY, replace(WHICH, count=4), SEAL)


@pytest.mark.parametrize(
    ("field", "junk"),
    [
        ("max_attempts", "5"),
        ("max_attempts", 2.5),
        ("max_attempts", True),
        ("priority", "high"),
        ("group", 7),
        ("headers", ["h"]),
        ("id", 7),
        ("attempts", "x"),
        ("errors", [{"attempt": 1}]),
    ],
)
def test_a_message_field_of_the_wrong_type_does_not_reach_a_worker(field: str, junk: Any) -> None:
    document = json.loads(codec.encode_messages(WHICH, THREE))
    document["messages"][1][field] = junk
    with pytest.raises(CorruptObject, match="a field is missing or wrong"):
        codec.decode_messages(dumps(document), KEY, WHICH, SEAL)


@pytest.mark.parametrize(
    ("place", "junk"),
    [
        (("tickets", "7.1", "messages", 0, 0), "../../etc"),
        (("tickets", "7.1", "messages", 0, 0), 7),
        (("tickets", "7.1", "worker"), 7),
        (("settled",), {"x": 1}),
        (("cursors",), {"9": "x"}),
        (("outbox", "l", "kind"), "steal"),
        (("outbox", "l", "source"), None),
        (("outbox", "l", "index"), "0"),
        (("write_id",), None),
    ],
)
def test_a_ledger_field_that_would_break_a_worker_is_corrupt(place: tuple[Any, ...], junk: Any) -> None:
    with pytest.raises(CorruptObject, match="a field is missing or wrong"):
        codec.decode_ledger(dumps(replaced(json.loads(codec.encode_ledger(LEDGER)), place, junk)), KEY)


@pytest.mark.parametrize("sealed", ["not base64!", base64.b64encode(b"not gzip").decode(), ""])
def test_payloads_that_their_codec_cannot_open_are_corrupt(sealed: str) -> None:
    document = json.loads(codec.encode_messages(WHICH, THREE, Gzip()))
    document["sealed"] = sealed
    with pytest.raises(CorruptObject, match="codec 'gzip' cannot open it"):
        codec.decode_messages(dumps(document), KEY, WHICH, SEAL)


def test_payloads_of_a_codec_that_is_not_there_are_left_to_those_who_have_it() -> None:
    body = codec.encode_messages(WHICH, THREE, Rot13())
    with pytest.raises(CorruptObject, match=r"Open the queue with codec=… whose name is 'rot13'"):
        codec.decode_messages(body, KEY, WHICH, Seal())
    assert codec.decode_messages(body, KEY, WHICH, SEAL) == THREE


def test_a_codec_of_the_user_that_fails_is_told_with_its_cause() -> None:
    class Broken(Rot13):
        def decode(self, data: bytes) -> bytes:
            raise RuntimeError(f"no key for {len(data)} bytes")

    body = codec.encode_messages(WHICH, THREE, Rot13())
    with pytest.raises(CorruptObject, match="RuntimeError: no key") as caught:
        codec.decode_messages(body, KEY, WHICH, Seal([Broken()]))
    assert isinstance(caught.value.__cause__, RuntimeError)
