"""Deduplication keys used and forgotten in storms: within its time a key stands for one message, whoever dies or sleeps."""

from __future__ import annotations

import pytest

from s3queue.protocol import dedup, forgetting
from tests.simulation.forgetting import STORMS, play_forgetting

FIRST = {storm: seed for seed, storm in enumerate(STORMS)}


@pytest.mark.parametrize("storm", STORMS)
def test_no_storm_gives_a_key_two_messages_at_a_time(storm: str) -> None:
    outcome = play_forgetting(FIRST[storm])
    assert outcome.violations == []
    assert outcome.messages > 20
    assert outcome.situations["reservations forgotten"] > 5


def test_without_the_look_at_the_notice_it_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "wait_until_kept", lambda lane, key: None)
    monkeypatch.setattr(forgetting, "_unchanged", lambda lane, key, etag: True)
    seeds = range(FIRST["pauses"], 10 * len(STORMS), len(STORMS))
    assert any(play_forgetting(seed).violations for seed in seeds)
