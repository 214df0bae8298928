"""Strategies and makers of ledgers, messages and names for the tests of the core."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from s3queue.core.keys import ObjectName, dedup_mark, group_mark
from s3queue.core.ledger import Ledger, Line, Part, Rescue, Ticket
from s3queue.core.message import AttemptError, DeadLetter, Message
from s3queue.core.retry import STRATEGIES, RetryPolicy
from s3queue.core.settings import Settings
from s3queue.ids import encode

NOW = 1_750_000_000_000

text = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.integers(1, 9_999_999_999_999)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
ids = st.integers(0, 2**100 - 1).map(lambda number: encode(number, 20))


def object_names(max_count: int = 1000) -> st.SearchStrategy[ObjectName]:
    times_ms, groups = st.integers(0, 9_999_999_999_999), st.sampled_from(["", "", "0123456z", group_mark("a")])
    keys = st.sampled_from(["", "", dedup_mark("a")])
    return st.builds(ObjectName, st.integers(0, 9), times_ms, ids, st.integers(1, max_count), groups, keys)


def name(serial: int = 0, count: int = 1, *, rank: int = 9, at_ms: int = NOW) -> str:
    """Return the name of a message object."""
    return str(ObjectName(rank, at_ms, encode(serial, 20), count))


attempt_errors = st.builds(AttemptError, st.integers(1, 99), times, text, text, text, text)
policies = st.builds(
    lambda base_ms, more_s, factor, jitter: RetryPolicy(
        base_ms / 1000, factor, (base_ms + more_s * 1000) / 1000, jitter
    ),
    st.integers(0, 10_000),
    st.integers(0, 86_400),
    st.floats(1, 100),
    st.floats(0, 1),
)
messages = st.builds(
    Message,
    id=ids.map(lambda id_: f"{id_}-7"),
    payload=json_values,
    enqueued_at_ms=times,
    priority=st.integers(0, 9),
    attempts=st.integers(0, 50),
    max_attempts=st.none() | st.integers(1, 1000),
    retry=st.none() | policies,
    group=st.none() | text.filter(bool),
    headers=st.dictionaries(text, text, max_size=3),
    errors=st.lists(attempt_errors, max_size=3).map(tuple),
)
letters = st.builds(DeadLetter, messages, times, text, text)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    which = draw(object_names())
    cuts = sorted(draw(st.sets(st.integers(0, which.count), min_size=2, max_size=6)))
    ranges = tuple(zip(cuts[::2], cuts[1::2], strict=False))
    rescues = draw(st.lists(st.builds(Rescue, text, times, times), max_size=3))
    return Part(str(which), ranges, tuple(rescues))


@st.composite
def tickets(draw: st.DrawFn) -> Ticket:
    number, revision = draw(st.integers(1, 99)), draw(st.integers(1, 10**9))
    held = tuple(draw(st.lists(parts(), min_size=1, max_size=3)))
    if draw(st.booleans()):
        return Ticket(f"{revision}.{number}", held)
    claimed_at_ms = draw(times)
    return Ticket(
        f"{revision}.{number}", held, draw(text.filter(bool)), revision, claimed_at_ms, claimed_at_ms + draw(times)
    )


lines = st.builds(
    Line,
    id=text.filter(bool),
    kind=st.sampled_from(["retry", "dead", "replay", "tick"]),
    source=object_names().map(str),
    index=st.integers(0, 999),
    target=object_names().map(str),
    message_id=text.filter(bool),
    decided_at_ms=times,
    attempts=st.integers(0, 99),
    errors=st.lists(attempt_errors, max_size=2).map(tuple),
    reason=text,
    written=st.booleans(),
)


def _by_id(items: list[Any]) -> dict[str, Any]:
    return {item.id: item for item in items}


some_names = object_names().map(str)
ledgers = st.builds(
    Ledger,
    revision=st.integers(1, 10**12),
    write_id=ids,
    paused=st.booleans(),
    swept_at_ms=times,
    forgotten_at_revision=st.integers(0, 10**12),
    writers=st.dictionaries(text, st.tuples(st.integers(1, 10**9), times), max_size=3),
    cursors=st.dictionaries(st.integers(0, 9), some_names, max_size=3),
    tickets=st.lists(tickets(), max_size=3).map(_by_id),
    settled=st.dictionaries(some_names, times, max_size=3),
    outbox=st.lists(lines, max_size=3).map(_by_id),
    counters=st.dictionaries(text, st.integers(0, 10**12), max_size=4),
    latency_ms=st.dictionaries(st.integers(1, 2**40), st.integers(0, 10**9), max_size=4),
    held_back=st.dictionaries(st.sampled_from([group_mark("a"), group_mark("b")]), some_names),
    expected=st.dictionaries(some_names, times, max_size=2),
    ticks=st.dictionaries(text, times, max_size=3),
    scheduled_at_revision=st.integers(0, 10**12),
)

whole_seconds = st.integers(1, 14 * 86_400)
settings = st.builds(
    Settings,
    visibility_timeout_s=st.integers(1000, 43_200_000).map(lambda at_ms: at_ms / 1000),
    max_attempts=st.integers(1, 1000),
    failure=st.sampled_from(STRATEGIES),
    retry=policies,
    lanes=st.integers(1, 256),
    priorities=st.sets(st.integers(0, 9), min_size=1).map(lambda levels: tuple(sorted(levels, reverse=True))),
    results=st.booleans(),
    max_payload_bytes=st.integers(1, 64 << 20),
    probed_at_ms=st.integers(0, 10**13),
)


def renamed(message: Message, id_: str) -> Message:
    return replace(message, id=id_)
