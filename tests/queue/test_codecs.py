"""Payload codecs: what they hide, and what happens to those who lack one."""

from __future__ import annotations

from typing import Any

import pytest

from s3queue import CorruptObject, Gzip, InvalidSetting
from tests.queue.clocks import ManualClock
from tests.queue.places import Place, body, heard, keys, payloads

SECRET = "the launch code is 0000"


class Xor:
    """A codec of a user: a stand-in for encryption."""

    def __init__(self, name: str = "xor", key: int = 0x5A) -> None:
        self.name = name
        self._key = key

    def encode(self, data: bytes) -> bytes:
        return bytes(byte ^ self._key for byte in data)

    def decode(self, data: bytes) -> bytes:
        return self.encode(data)


@pytest.mark.parametrize("codec", [Gzip(), Xor()])
def test_packed_payloads_come_back(place: Place, codec: Any) -> None:
    producer, consumer = place.open(codec=codec), place.open(codec=codec)
    producer.enqueue_many([SECRET, None, {"a": [1, 2]}])
    (key,) = keys(producer, "inbox/")
    assert SECRET.encode() not in body(producer, key)
    assert codec.name.encode() in body(producer, key)
    assert payloads(consumer) == [SECRET, None, {"a": [1, 2]}]


def test_gzip_makes_objects_smaller(place: Place) -> None:
    plain, packed = place.open("plain"), place.open("packed", codec=Gzip())
    sizes = []
    for queue in (plain, packed):
        queue.enqueue_many(["the same words again and again " * 10] * 100)
        sizes += [entry.size for entry in queue.connect().store.list(queue.root + "inbox/").entries]
    assert sizes[1] < sizes[0] / 10


def test_anyone_can_read_gzip_and_plain(place: Place) -> None:
    place.open(codec=Gzip()).enqueue(SECRET)
    assert payloads(place.open()) == [SECRET]
    place.open().enqueue("plain")
    assert payloads(place.open(codec=Xor())) == ["plain"]


def test_a_codec_goes_along_to_retries_and_dead_letters(place: Place, clock: ManualClock) -> None:
    queue = place.open(codec=Xor(), max_attempts=2)
    queue.enqueue(SECRET)

    def fail(payload: str) -> None:
        assert payload == SECRET
        raise ValueError("no")

    queue.process_once(fail)
    assert all(SECRET.encode() not in body(queue, key) for key in keys(queue, "inbox/"))
    clock.advance(60)
    queue.process_once(fail)
    (key,) = keys(queue, "dlq/")
    assert SECRET.encode() not in body(queue, key)
    assert queue.dlq.list()[0].payload == SECRET
    queue.dlq.replay(filter=lambda _: True)
    assert payloads(queue) == [SECRET]


@pytest.mark.parametrize(
    ("reader", "says"),
    [(None, "packed by codec 'xor', which this process does not have"), (Xor(key=1), "codec 'xor' cannot open it")],
)
def test_a_reader_without_the_codec_is_told_and_the_message_stays(place: Place, reader: Any, says: str) -> None:
    owner = place.open(codec=Xor())
    owner.enqueue(SECRET)
    owner.enqueue_many(["more"])
    stranger = place.open(**({"codec": reader} if reader else {}))
    events = heard(stranger, "error")
    stranger.enqueue("readable")
    assert payloads(stranger) == ["readable"]
    errors = [event.error for event in events]
    assert len(errors) == 2
    assert all(isinstance(error, CorruptObject) and says in str(error) for error in errors)
    assert {error.key.removeprefix(owner.root) for error in errors} <= set(keys(owner, "inbox/"))
    if reader is None:
        assert "codec=… whose name is 'xor'" in errors[0].remedy
    stranger.close()
    assert sorted(payloads(owner)) == ["more", SECRET]


def test_a_codec_needs_a_name(place: Place) -> None:
    with pytest.raises(InvalidSetting, match="`name` attribute"):
        place.open(codec=Xor(name="")).enqueue("a")
