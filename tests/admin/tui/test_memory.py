"""A dashboard that is open all day: what looks and screens leave behind, and how garbage is looked for meanwhile."""

from __future__ import annotations

import gc
import sys
from collections import Counter

import pytest
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.worker import Worker

from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.gentle import BULK, FEW, LOOK_S, MOST, SWITCH_S, Gentle, Memory
from s3queue_admin.tui.screens import PLACES
from tests.admin.tui.stage import Site, play, press, settle
from tests.queue.clocks import ManualClock

TOOLS = (Widget, Message, Timer, Worker)
REMEMBERED = {"Point"}
"""What the charts are made of: one a queue and look, six hundred looks at most."""


def alive() -> Counter[str]:
    """Return how many objects of each kind there are: this project's, and the toolkit's but for what its caches keep."""
    gc.unfreeze()
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    ours = (kind for kind in kinds if str(kind.__module__).startswith("s3queue") or issubclass(kind, TOOLS))
    return Counter(kind.__qualname__ for kind in ours)


def screens_alive() -> int:
    return sum(isinstance(each, Screen) for each in gc.get_objects())


def grown(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    return {
        kind: count - before[kind] for kind, count in after.items() if kind not in REMEMBERED and count > before[kind]
    }


def test_looks_leave_nothing_behind_but_what_charts_remember(site: Site) -> None:
    app = site.dashboard()

    async def look(pilot: Pilot[None], times: int) -> None:
        for number in range(times):
            site.emails.enqueue({"n": number})
            site.emails.process_once(lambda _: None, max_messages=1)
            site.clock.advance(1)
            app.feed.look()
            await settle(pilot)

    async def story(pilot: Pilot[None]) -> None:
        await look(pilot, 10)
        before = alive()
        await look(pilot, 30)
        kept = {kind: count for kind, count in grown(before, alive()).items() if count >= 15}
        assert not kept  # a look that leaves one thing behind every other time is a leak

    play(app, story)


def test_screens_that_were_closed_are_gone(site: Site) -> None:
    app = site.dashboard()

    async def visit(pilot: Pilot[None]) -> None:
        for name, place in PLACES.items():
            if not place.takes_id and name != "overview":
                app.say(name, "emails")
                await settle(pilot)
                app.go_back()
                await settle(pilot)

    async def story(pilot: Pilot[None]) -> None:
        await visit(pilot)  # styles and modules are kept once
        before, screens = alive(), screens_alive()
        await visit(pilot)
        after = alive()
        assert screens_alive() <= screens
        kept = {kind: count for kind, count in grown(before, after).items() if count >= len(PLACES) - 2}
        assert not kept

    play(app, story)


# -- reading in bulk --------------------------------------------------------------------------------------------------


def test_python_has_its_own_collector_and_switches_back_when_the_dashboard_ends(site: Site) -> None:
    was = sys.getswitchinterval(), gc.get_threshold()

    async def story(_pilot: Pilot[None]) -> None:
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        assert gc.get_threshold()[2] > was[1][2]

    play(site.dashboard(), story)
    assert (sys.getswitchinterval(), gc.get_threshold()) == was
    assert gc.get_freeze_count() == 0


def test_what_was_read_in_bulk_is_not_looked_through_until_it_is_let_go() -> None:
    memory, owner, few = Memory(), object(), object()
    memory.begin(0.0)
    try:
        read = [[number] for number in range(BULK)]
        memory.hold(few, 3)
        frozen = gc.get_freeze_count()
        memory.hold(owner, len(read))
        assert gc.get_freeze_count() >= frozen + BULK
        memory.tick(LOOK_S / 2)
        memory.tick(LOOK_S)
        assert gc.get_freeze_count() >= frozen + BULK  # still held
        read.clear()
        memory.let_go(few)
        memory.let_go(owner)
        ring: list[object] = []
        ring.append(ring)  # what only a look finds
        del ring
        memory.tick(LOOK_S + 1)  # at once, not in a minute
        assert gc.get_freeze_count() < frozen + BULK
    finally:
        memory.end()


def test_as_many_calls_at_a_time_as_the_bucket_takes_its_time() -> None:
    clock = ManualClock()
    slow, quick = Gentle(clock), Gentle(clock)

    def wait(number: int) -> int:
        clock.advance(0.05)  # the bucket's time; next to nothing is computed
        return number

    assert quick.spread(lambda number: sum(range(number)), range(50)) == [sum(range(number)) for number in range(50)]
    assert quick.abreast == FEW
    assert slow.spread(wait, range(50)) == list(range(50))
    assert slow.abreast == MOST


def test_an_error_is_raised_once_all_calls_under_way_have_ended() -> None:
    begun: list[int] = []

    def fail_at(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        Gentle(ManualClock()).spread(fail_at, range(100))
    assert len(begun) <= 4 + MOST


def test_rows_go_at_once_when_their_screen_is_closed(site: Site) -> None:
    app: Dashboard = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        app.say("messages", "emails")
        await settle(pilot)
        assert app.view is not None
        table = app.view.table
        assert table is not None
        assert table.rows
        app.go_back()
        await settle(pilot)
        assert not table.all_rows

    play(app, story)


def test_the_dashboard_looks_for_garbage_once_a_minute_unless_a_key_was_just_pressed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = site.dashboard()
    looks: list[float] = []

    async def story(pilot: Pilot[None]) -> None:
        monkeypatch.setattr(app.memory, "tick", looks.append)
        site.clock.advance(LOOK_S)
        await settle(pilot)
        assert looks
        looks.clear()
        await press(pilot, "down")
        assert not looks
        site.clock.advance(LOOK_S)
        await settle(pilot)
        assert looks

    play(app, story)
