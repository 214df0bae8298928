"""Locks: rules that hold after any sequence of requests, by clocks that differ; and documents that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3queue.core import lease
from s3queue.core.lease import Bid, LockState, Refused, decode_lock, encode_lock
from s3queue.errors import CorruptObject, NewerFormat

KEY = "q/locks/a.json"
TTL_MS = 10_000
NOW = 1_700_000_000_000
SKEW_MS = lease.MARGIN_MS // 2
ACTS = ("acquire", "renew", "release", "break", "doom", "delete")


def bid(nonce: str) -> Bid:
    return Bid("a", f"w{nonce[0]}", nonce, TTL_MS)


def held(nonce: str = "0-1", now: int = NOW) -> LockState:
    state = lease.acquire(None, bid(nonce), now)
    assert isinstance(state, LockState)
    return state


class Story:
    """Three processes with clocks of their own, and the object as each request leaves it."""

    def __init__(self, skews: tuple[int, int, int]) -> None:
        self.skews = skews
        self.now = NOW
        self.state: LockState | None = None
        self.trusted: dict[str, float] = {}
        self.broken: set[str] = set()
        self.highest = 0
        self.serial = 0
        self.bodies: list[bytes] = []

    def act(self, act: str, who: int, passed_ms: int) -> None:
        self.now += passed_ms
        now, before = self.now + self.skews[who], self.state
        mine = [nonce for nonce in self.trusted if nonce.startswith(f"{who}-")]
        after: LockState | Refused | None = None
        if act == "acquire":
            self.serial += 1
            after = lease.acquire(before, bid(f"{who}-{self.serial}"), now)
        elif act == "renew" and mine:
            after = lease.renew(before, mine[-1], TTL_MS, now)
        elif act == "release" and mine:
            after = lease.release(before, mine[-1], now)
            self.trusted.pop(mine[-1])
        elif act == "break":
            self.serial += 1
            after = lease.take_away(before, f"operator-{self.serial}", now)
            self.broken |= {before.nonce} if after and before else set()
        elif act == "doom":
            after = lease.doom(before, now)
        elif act == "delete" and before is not None and before.doomed_at_ms:
            self.state = None
        if isinstance(after, LockState) and after != before:
            self.become(after, act)

    def become(self, after: LockState, act: str) -> None:
        if act == "acquire":
            assert after.token > self.highest, "tokens grow, whatever was released, broken, expired or deleted"
        self.highest = max(self.highest, after.token)
        if act in ("acquire", "renew"):
            self.trusted[after.nonce] = self.now + lease.TRUST * TTL_MS
        body = encode_lock(after)
        assert body not in self.bodies
        self.bodies.append(body)
        assert decode_lock(body, KEY) == after
        self.state = after

    def trusting(self) -> list[str]:
        return [nonce for nonce, until in self.trusted.items() if self.now < until and nonce not in self.broken]


@given(
    st.tuples(*[st.integers(-SKEW_MS, SKEW_MS)] * 3),
    st.lists(
        st.tuples(
            st.sampled_from(ACTS),
            st.integers(0, 2),
            st.sampled_from((1, 400, 3_000, 9_000, 10_999, 13_000, 960_000, 2 * lease.KEPT_MS)),
        ),
        max_size=30,
    ),
)
def test_tokens_grow_and_one_holder_at_most_relies_on_a_lock(skews: Any, acts: list[tuple[str, int, int]]) -> None:
    story = Story(skews)
    for act in acts:
        story.act(*act)
        assert len(story.trusting()) <= 1


def test_a_lock_is_left_to_its_holder_for_the_margin() -> None:
    state = held()
    end = state.expires_at_ms + lease.MARGIN_MS
    refused = lease.acquire(state, bid("1-1"), end - 1)
    assert isinstance(refused, Refused)
    assert (refused.holder, refused.token, refused.until_ms) == ("w0", state.token, state.expires_at_ms)
    assert isinstance(lease.acquire(state, bid("1-1"), end), LockState)


def test_renewing_late_is_fine_until_somebody_else_has_had_the_lock() -> None:
    state = held()
    late = state.expires_at_ms + 60_000
    renewed = lease.renew(state, "0-1", TTL_MS, late)
    assert renewed == replace(state, expires_at_ms=late + TTL_MS)
    taken = lease.acquire(state, bid("1-1"), late)
    assert isinstance(taken, LockState)
    for there, why in [
        (taken, "'w1' holds it"),
        (lease.release(taken, "1-1", late), "others have had it"),
        (lease.take_away(state, "op", late), "it was broken"),
        (replace(state, doomed_at_ms=late), "being deleted"),
        (lease.release(state, "0-1", late), "it was released"),
        (None, "gone"),
    ]:
        assert not isinstance(there, Refused)
        refused = lease.renew(there, "0-1", TTL_MS, late)
        assert isinstance(refused, Refused)
        assert why in refused.why


def test_a_renewal_never_moves_the_end_back() -> None:
    state = held()
    renewed = lease.renew(state, "0-1", TTL_MS, NOW - 5_000)
    assert isinstance(renewed, LockState)
    assert renewed.expires_at_ms > state.expires_at_ms


def test_a_lock_is_doomed_only_when_end_and_token_are_a_day_past() -> None:
    state = held()
    free = state.expires_at_ms + lease.KEPT_MS
    assert lease.doom(state, free - 1) is None
    doomed = lease.doom(state, free)
    assert doomed is not None
    assert lease.doom(replace(state, token=free), free) is None, "its token is of a clock that was ahead"
    assert isinstance(lease.acquire(doomed, bid("1-1"), free + lease.DOOMED_MS - 1), Refused)
    assert lease.doom(doomed, free + lease.DOOMED_MS - 1) is None
    assert isinstance(lease.acquire(doomed, bid("1-1"), free + lease.DOOMED_MS), LockState)


@pytest.mark.parametrize(
    "change",
    [{"token": "7"}, {"token": True}, {"holder": None}, {"expires_at_ms": 1.5}, {"nonce": 3}, {"name": "b"}],
)
def test_a_document_that_is_no_lock_is_corrupt(change: dict[str, Any]) -> None:
    wire = json.loads(encode_lock(held())) | change
    with pytest.raises(CorruptObject, match="a field is missing or wrong"):
        decode_lock(json.dumps(wire).encode(), KEY)
    with pytest.raises(NewerFormat):
        decode_lock(json.dumps(wire | {"format": "s3queue.lock/2"}).encode(), KEY)
