"""Rounds of chaos with real processes, a real server and real signals; see :mod:`tests.chaos.rounds`."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3queue.devserver import MiniStack
from tests.chaos.__main__ import brief, summary
from tests.chaos.handlers import MUTANT
from tests.chaos.proxy import KINDS, FaultProxy
from tests.chaos.rounds import CALM_EVERY, MESSAGES, PRODUCERS, Outcome, Round
from tests.servers import fresh_bucket

SLOW_ROUNDS = 50
MUTANT_ROUNDS = 8


def play(seeds: range, server: MiniStack, proxy: FaultProxy, folder: Path) -> list[Outcome]:
    bucket = fresh_bucket(server)
    return [Round(seed, server, proxy, bucket, folder / f"seed-{seed}").play() for seed in seeds]


def test_a_round_loses_nothing(ministack: MiniStack, proxy: FaultProxy, tmp_path: Path) -> None:
    (outcome,) = play(range(3, 4), ministack, proxy, tmp_path)
    assert not outcome.violations, brief(outcome)
    assert outcome.kills
    assert outcome.stops
    assert outcome.faults
    assert 0 < outcome.acknowledged <= outcome.messages <= PRODUCERS * MESSAGES
    assert outcome.executions > outcome.messages - outcome.dead
    assert not (tmp_path / "seed-3").exists(), "the folder of a round without violations is removed"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_rounds_lose_nothing(ministack: MiniStack, proxy: FaultProxy, tmp_path: Path) -> None:
    outcomes = play(range(1, SLOW_ROUNDS + 1), ministack, proxy, tmp_path)
    total = summary(outcomes)
    assert not total["violations"], total
    assert set(KINDS) <= total["faults"].keys(), "a kind of fault never came up"
    assert total["duplicates"], "no claim was ever lost: the storm was none"
    calm = [one for one in outcomes if one.seed % CALM_EVERY == 0]
    assert calm
    assert not any(one.duplicates or one.faults for one in calm)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "mutant",
    [
        "no fencing",
        "settled ignored",
        "deleted early",
        "unknown is committed",
        "unknown is lost",
        "struck unwritten",
        "line holds nothing",
    ],
)
def test_a_broken_rule_is_noticed(
    ministack: MiniStack, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    monkeypatch.setenv(MUTANT, mutant)
    for seed in range(1, MUTANT_ROUNDS + 1):
        if play(range(seed, seed + 1), ministack, proxy, tmp_path)[0].violations:
            return
    pytest.fail(f"{MUTANT_ROUNDS} rounds passed without the rule: {mutant}")
