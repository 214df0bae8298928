"""Moves interrupted at every request: whoever died, a sweep brings each message to exactly one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from s3queue.core.codec import decode_letter
from s3queue.core.keys import parse_letter
from s3queue.core.message import Failure
from s3queue.core.payload import Seal
from s3queue.errors import NotFound
from s3queue.protocol.moves import FRESH_S, ORPHANED_MS, finish_orphans
from s3queue.store.port import Store
from tests.protocol.rig import KEYS, Bucket, Deaths, Killed, Mortal, drain
from tests.store.faulty import Faulty

Story = Callable[[Bucket, Store], None]


def retry(bucket: Bucket, store: Store) -> None:
    """One of three messages fails and is put back."""
    process = bucket.process(store)
    first, *others = process.claim()
    process.fail(first)
    process.complete(*others)
    process.flush()


def die(bucket: Bucket, store: Store) -> None:
    """One of three messages is given up."""
    process = bucket.process(store)
    first, *others = process.claim()
    process.fail(first, retriable=False)
    process.complete(*others)
    process.flush()


def replay(bucket: Bucket, store: Store) -> None:
    """All dead letters go back."""
    process = bucket.process(store)
    process.dead_letters.replay(filter=bool)
    process.flush()


def with_three_messages() -> Bucket:
    bucket = Bucket.new()
    bucket.process().put("a", "b", "c")
    return bucket


def with_two_letters() -> Bucket:
    bucket = Bucket.new()
    process = bucket.process()
    process.put("a", "b")
    for delivery in process.claim():
        process.fail(delivery, retriable=False)
    process.flush()
    assert len(bucket.letters()) == 2
    return bucket


STORIES: dict[str, tuple[Story, Callable[[], Bucket], set[str], set[str]]] = {
    "retry": (retry, with_three_messages, {"a", "b", "c"}, set()),
    "dead": (die, with_three_messages, {"b", "c"}, {"a"}),
    "replay": (replay, with_two_letters, {"a", "b"}, set()),
}


def letters(bucket: Bucket) -> Counter[str]:
    return Counter(decode_letter(bucket.copy_of(KEYS.letter(name)), name, Seal()).payload for name in bucket.letters())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("label", STORIES)
def test_a_process_that_dies_at_any_request_neither_loses_nor_doubles(label: str, after: bool) -> None:
    story, prepare, completed, dead = STORIES[label]
    deaths = Deaths(after=after)
    for where in deaths:
        bucket = prepare()
        with deaths.of(bucket) as store:
            story(bucket, store)
        recorded = bucket.ledger().counters.get("completed", 0)
        again = drain(bucket)
        ledger = bucket.ledger()
        found = letters(bucket)
        assert all(count == 1 for count in again.values()), where
        assert all(count == 1 for count in found.values()), where
        if label == "dead" and "a" in again:  # it died before the verdict was recorded: the message lives
            found["a"] += 1
            again["a"] -= 1
        if label == "replay" and found:  # it died before the decision
            assert set(found) == completed, where
            assert not again
            continue
        assert set(found) == dead, where
        assert recorded + again.total() == len(completed), where
        assert ledger.outbox == {}, where
        assert ledger.tickets == {}, where
    assert deaths.at > 5, "the story has hardly any request"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("label", STORIES)
def test_a_sweeper_that_dies_at_any_request_is_followed_by_another(label: str, after: bool) -> None:
    """The decider dies right after its decision; the sweeper that takes over dies as well."""
    story, prepare, completed, dead = STORIES[label]
    deaths = Deaths(after=after)
    for where in deaths:
        bucket = prepare()
        decided = Mortal(bucket.memory)
        while True:  # dies at the first request after the commit that decided
            decided.dies_at = decided.calls + 1
            if bucket.ledger().outbox:
                break
            bucket = prepare()
            decided = Mortal(bucket.memory, dies_at=decided.dies_at, after=True)
            with pytest.raises(Killed):
                story(bucket, decided)
        bucket.clock.advance(2 * ORPHANED_MS / 1000 + 35)
        with deaths.of(bucket) as store:
            bucket.process(store).sweeper.sweep()
        recorded = bucket.ledger().counters.get("completed", 0)
        again = drain(bucket)
        assert all(count == 1 for count in again.values()), where
        assert letters(bucket) == Counter(dead), where
        assert recorded + again.total() == len(completed), where
        assert bucket.ledger().outbox == {}, where


def test_a_retry_lies_in_the_inbox_with_its_error_and_its_attempt() -> None:
    bucket = with_three_messages()
    process = bucket.process()
    first, *_ = process.claim()
    process.fail(first, "no luck")
    (again,) = process.claim()
    assert (again.message.payload, again.attempt) == ("a", 2)
    assert [error.message for error in again.message.errors] == ["no luck"]
    assert again.id == first.id


def test_a_letter_tells_where_it_came_from_and_why() -> None:
    bucket = with_three_messages()
    process = bucket.process()
    first, *_ = process.claim()
    process.fail(first, "poison", retriable=False)
    (name,) = bucket.letters()
    letter = decode_letter(bucket.copy_of(KEYS.letter(name)), name, Seal())
    assert (letter.id, letter.payload, letter.reason) == (first.id, "a", "non-retriable")
    assert letter.source == KEYS.message(0, first.handle.name)
    assert parse_letter(name) == (letter.dead_at_ms, first.id)


def test_a_move_that_cannot_be_written_is_told_and_left_to_a_sweep() -> None:
    bucket = with_three_messages()
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty)
    first, *others = process.claim()
    faulty.script(puts=["ok", "denied"])
    process.fail(first)
    assert len(process.errors()) == 1
    process.complete(*others)
    assert drain(bucket) == Counter({"a": 1})


def test_what_was_decided_long_ago_is_not_moved_from_memory() -> None:
    """The commit took so long that somebody else may have made the move, and more, since."""
    bucket = with_three_messages()
    faulty = Faulty(bucket.memory)
    process = bucket.process(faulty)
    first, *_ = process.claim()
    faulty.before_put = lambda: bucket.clock.advance(FRESH_S + 1)
    before = bucket.inbox()
    process.fail(first)
    assert bucket.inbox() == before
    assert len(bucket.ledger().outbox) == 1


def test_a_line_is_left_to_its_decider_at_first() -> None:
    bucket = with_three_messages()
    store = Mortal(bucket.memory)
    process = bucket.process(store)
    first, *_ = process.claim()
    store.dies_at, store.after = store.calls + 1, True
    with pytest.raises(Killed):
        process.fail(first)
    bucket.clock.advance(ORPHANED_MS / 1000 - 1)
    assert bucket.process().sweeper.sweep().moved == 0
    bucket.clock.advance(ORPHANED_MS / 1000 + 2)
    assert bucket.process().sweeper.sweep().moved == 1


def test_a_source_that_somebody_deleted_is_told_and_booked_as_missing() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    name = process.put("a")
    (delivery,) = process.claim()
    store = Faulty(bucket.memory)
    other = bucket.process(store)
    store.script(puts=["ok", "denied"])
    other.consumer.settle(other.consumer.failed(delivery, Failure("ValueError", "no")))
    bucket.memory.delete(KEYS.message(0, name))
    bucket.clock.advance(60)
    process.sweeper.sweep()
    assert bucket.ledger().counters["missing"] == 1
    assert bucket.ledger().outbox == {}
    assert name in process.errors()[-1]


def test_a_corrupt_source_stops_its_own_move_alone_and_is_left_untouched() -> None:
    bucket = Bucket.new()
    process = bucket.process()
    bad, good = process.put("bad"), process.put("good")
    store = Faulty(bucket.memory)
    other = bucket.process(store)
    deliveries = other.claim()
    for delivery in deliveries:
        store.script(puts=["ok", "denied"])
        other.fail(delivery)
    bucket.plant(KEYS.message(0, bad), b"{")
    bucket.clock.advance(60)
    assert process.sweeper.sweep().moved == 1
    assert bucket.copy_of(KEYS.message(0, bad)) == b"{"
    assert [line.source for line in bucket.ledger().outbox.values()] == [bad]
    assert bad in process.errors()[-1]
    assert good not in process.errors()[-1]


def test_two_replays_of_one_letter_move_it_once() -> None:
    bucket = with_two_letters()
    one, two = bucket.process(), bucket.process()
    store = Faulty(bucket.memory)
    rival = bucket.process(store)
    ran: list[object] = []

    def meanwhile() -> None:
        if not ran:
            ran.append(one.dead_letters.replay(filter=bool))

    store.before_put = meanwhile
    rival.dead_letters.replay(filter=bool)
    two.dead_letters.replay(filter=bool)
    assert drain(bucket) == Counter({"a": 1, "b": 1})
    assert bucket.ledger().counters["replayed"] == 2


def test_a_line_that_somebody_else_finished_meanwhile_is_no_error() -> None:
    bucket = with_three_messages()
    process, other = bucket.process(), bucket.process()
    first, *rest = process.claim()
    store = Faulty(bucket.memory)
    loser = bucket.process(store)
    store.script(puts=["ok", "denied"])
    loser.consumer.settle(loser.consumer.failed(first, Failure("ValueError", "no")))
    lines = list(bucket.ledger().outbox.values())
    process.complete(*rest)
    bucket.clock.advance(60)
    other.sweeper.sweep()
    other.janitor.retire([first.handle.name])
    with pytest.raises(NotFound):
        bucket.copy_of(KEYS.message(0, first.handle.name))
    late = bucket.process()
    assert finish_orphans(late.lane, [replace(line, written=False) for line in lines]) == 0
    assert late.errors() == []
    assert "missing" not in bucket.ledger().counters
