"""A backend that fails: told once, tried again with patience, and nobody waits for it."""

from __future__ import annotations

from random import random
from threading import Event
from time import monotonic
from typing import Any

import pytest

from s3queue import InvalidSetting
from s3queue.coordination import MESSAGES, Hint
from s3queue.coordination.link import MAX_PENDING, Link, Patience, pause_s
from tests.coordination.backends import Hub, HubTransport, Told
from tests.queue.clocks import ManualClock, eventually


def test_a_failure_is_told_once_and_its_end_once() -> None:
    hub, told = Hub(broken=True), Told()
    link = Link(HubTransport(hub), tell=told, random=random)
    heard: list[Hint] = []
    link.listen(heard.append)
    for lane in range(20):
        link.announce(Hint(MESSAGES, lane))
    link.present("me", {"room": 1}, 30)
    assert eventually(lambda: told.changes == ["ConnectionError: out of order"])
    assert not link.up
    assert link.presence() is None
    hub.broken = False
    assert eventually(lambda: link.up)
    assert eventually(lambda: link.presence() == {"me": {"room": 1}})
    link.announce(Hint(MESSAGES, 99))
    assert eventually(lambda: Hint(MESSAGES, 99) in heard)
    assert {hint.lane for sent in hub.sends for hint in sent} == {*range(20), 99}
    assert told.changes == ["ConnectionError: out of order", ""]
    link.close()


def test_it_is_told_again_the_next_time_even_if_there_is_nothing_to_send_meanwhile() -> None:
    hub, told = Hub(), Told()
    link = Link(HubTransport(hub), tell=told, random=random)
    for round_ in (1, 2):
        hub.broken = True
        link.announce(Hint(MESSAGES))
        assert eventually(lambda: len(told.changes) == 2 * round_ - 1)  # noqa: B023 - asked at once
        hub.broken = False
        assert eventually(lambda: len(told.changes) == 2 * round_)  # noqa: B023 - asked at once
    link.close()


class Stuck(HubTransport):
    """A backend that takes what is sent and never answers."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.entered, self.let_go = Event(), Event()

    def send(self, *_: Any) -> None:
        self.entered.set()
        self.let_go.wait(20)


def test_nobody_waits_for_a_backend_that_hangs() -> None:
    transport = Stuck(Hub())
    link = Link(transport, tell=Told(), random=random)
    link.announce(Hint(MESSAGES))
    assert transport.entered.wait(10)
    began = monotonic()
    for lane in range(10_000):
        link.announce(Hint(MESSAGES, lane))
    assert monotonic() - began < 1
    assert len(link._pending) == MAX_PENDING
    link.close()
    assert monotonic() - began < 5
    transport.let_go.set()


def test_pauses_grow_to_seconds_and_shrink_after_a_steady_time() -> None:
    assert pause_s(1, 0.0) == 0.05
    assert pause_s(10_000, 0.999) < 7.5
    clock = ManualClock()
    patience = Patience(clock, lambda: 0.5)
    assert [patience.failed() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    clock.advance(10)
    assert patience.failed() == 5
    clock.advance(30)
    assert patience.failed() == 0.1


def test_a_card_that_is_too_large_is_refused() -> None:
    link = Link(HubTransport(Hub()), tell=Told(), random=random)
    with pytest.raises(InvalidSetting, match="bytes"):
        link.present("me", {"work": "x" * 70_000}, 30)


def test_a_card_is_renewed_until_it_is_taken_away() -> None:
    hub = Hub()
    link = Link(HubTransport(hub), tell=Told(), random=random)
    stop = link.present("me", {"room": 1}, 0.3)
    assert eventually(lambda: len(hub.sends) >= 4)
    stop()
    assert eventually(lambda: not hub.cards)
    sends = len(hub.sends)
    link.announce(Hint(MESSAGES))
    assert eventually(lambda: len(hub.sends) > sends)
    assert hub.cards == {}
    link.close()


def test_who_is_told_may_announce() -> None:
    hub, changes = Hub(broken=True), list[str]()

    def tell(_: str, error: str) -> None:
        link.listen(lambda hint: None)
        link.announce(Hint(MESSAGES))
        changes.append(error)

    link = Link(HubTransport(hub), tell=tell, random=random)
    link.announce(Hint(MESSAGES))
    assert eventually(lambda: len(changes) == 1)
    hub.broken = False
    assert eventually(lambda: len(changes) == 2)
    link.close()
