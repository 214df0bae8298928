"""All queues on one screen: true to the engine's counts, moved about by keys and mouse, harmless, and never in the way."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from textual.pilot import Pilot

from s3queue_admin.tui.actions import ACTIONS, EVERYWHERE
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.screens import PLACES
from s3queue_admin.tui.screens.help import Help
from s3queue_admin.tui.themes import DARK, LIGHT
from s3queue_admin.tui.widgets.table import Table
from tests.admin.tui.frames import EACH_SIZE, check_frames
from tests.admin.tui.pictures import check_picture, screen_text
from tests.admin.tui.stage import SMALL, Site, play, press, settle, type_in


def table(app: Dashboard) -> Table[Any]:
    assert app.view is not None
    found = app.view.table
    assert found is not None
    return found


def current(app: Dashboard) -> str:
    line = table(app).current
    assert line is not None
    return str(line.name)


def names(app: Dashboard) -> list[str]:
    return [line.name for line in table(app).rows]


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    check_frames(site.dashboard(), "overview", size, "down", ready=lambda: site.clock.advance(2))


@EACH_SIZE
def test_it_looks_as_it_should_after_many_looks(site: Site, size: tuple[int, int]) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        await site.look_on(pilot, 12)
        await press(pilot, "end")
        check_picture(app, f"overview-busy-{size[0]}-dark")

    play(app, story, size)


def test_the_counts_are_the_engines_and_a_look_shows_what_has_changed(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        assert names(app) == ["billing", "emails", "reports"]
        stats = site.emails.stats()
        line = table(app).rows[1]
        shown = {state: line.count(state) for state in ("pending", "scheduled", "processing", "stalled", "dead")}
        assert shown == {state: getattr(stats, state) for state in shown}
        site.queue("reports").enqueue_many(range(7))
        site.clock.advance(2)
        await press(pilot, "r")
        assert table(app).rows[2].count("pending") == 7

    play(app, story)


def test_keys_sort_turn_mark_filter_and_lead_to_the_messages(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "s", "s")  # by queue, then by what waits
        assert names(app) == ["billing", "emails", "reports"]
        await press(pilot, "o")
        assert names(app) == ["reports", "emails", "billing"]
        await press(pilot, "home", "space", "space")
        assert table(app).marked == {"reports", "emails"}
        await press(pilot, "u")
        assert not table(app).marked
        await press(pilot, "slash")
        await type_in(pilot, "mail")
        assert names(app) == ["emails"]
        await press(pilot, "enter", "r")
        assert names(app) == ["emails"]  # the filter outlives a look
        await press(pilot, "enter")
        assert app.view is not None
        assert (app.view.NAME, app.view.queue) == ("messages", "emails")
        await press(pilot, "escape", "escape")
        assert names(app) == ["reports", "emails", "billing"]  # esc took the filter away
        await press(pilot, "home", "j")
        assert current(app) == "emails"
        await press(pilot, "c")
        assert not app.view.query_one("#charts").display

    play(app, story)


def test_a_click_sorts_moves_and_two_open(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await pilot.click(Table, offset=(4, 0))
        await settle(pilot)
        assert table(app).sorted_by == 0
        await pilot.click(Table, offset=(4, 3))
        await settle(pilot)
        assert current(app) == "reports"
        await pilot.click(Table, offset=(4, 1), times=2)
        await settle(pilot)
        assert app.view is not None
        assert (app.view.NAME, app.view.queue) == ("messages", "billing")
        await pilot.click("KeysLine", offset=(2, 0))
        await settle(pilot)
        assert app.view.query_one("#filter").display

    play(app, story)


def test_pause_theme_help_command_and_quit(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "p")
        assert app.feed.standing.paused
        assert "paused" in screen_text(app)
        looks = app.feed.standing.looks
        await press(pilot, "p")
        assert app.feed.standing.looks == looks + 1
        await press(pilot, "t")
        assert app.theme == LIGHT
        await press(pilot, "t")
        assert app.theme == DARK
        await press(pilot, "question_mark")
        assert isinstance(app.screen, Help)
        await press(pilot, "escape", "colon")
        await type_in(pilot, "mess")
        await press(pilot, "tab")
        await type_in(pilot, " bil")
        await press(pilot, "tab", "enter")
        assert app.view is not None
        assert (app.view.NAME, app.view.queue) == ("messages", "billing")
        await press(pilot, "colon")
        await type_in(pilot, "overveiw")
        await press(pilot, "enter")
        assert "Did you mean overview?" in screen_text(app)
        await press(pilot, "escape", "q")
        assert not app.is_running

    play(app, story)


def test_a_filter_that_is_wrong_is_told_where_and_what_is_shown_stays(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "slash")
        await type_in(pilot, "state:ded")
        await press(pilot, "enter")
        shown = screen_text(app)
        assert "^" in shown
        assert "dead" in shown  # what was meant
        await press(pilot, "escape")
        assert len(names(app)) == 3  # as before: what was only tried is taken back
        assert app.view is not None
        assert app.focused is table(app)

    play(app, story)


def test_help_and_palette_know_every_action_of_the_screen(site: Site) -> None:
    from s3queue_admin.tui.screens.help import help_text

    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        await settle(pilot)
        assert app.view is not None
        titles = [command.title for command in app.get_system_commands(app.view)]
        console = Console(width=200, file=StringIO())
        console.print(help_text("overview", write=True))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        for action in ACTIONS:
            if action.is_on("overview"):
                assert any(action.title.lower() in title.lower() for title in titles), action
                assert action.title in shown, action
        for name in PLACES:
            assert f":{name}" in shown

    play(app, story)


def test_every_action_of_a_screen_has_its_method(site: Site) -> None:
    from s3queue_admin.tui.screens import make_screen

    app = site.dashboard()
    for name in PLACES:
        screen = make_screen(name, "emails")
        for action in ACTIONS:
            if action.where != EVERYWHERE and action.is_on(name):
                assert hasattr(screen, f"do_{action.name}"), (name, action.name)
            elif action.where == EVERYWHERE:
                assert hasattr(screen, f"do_{action.name}") or hasattr(app, f"do_{action.name}"), action.name


def test_the_badge_says_what_may_be_done_on_every_screen(site: Site) -> None:
    for write, badge in ((False, "READ-ONLY"), (True, "WRITE")):
        app = site.dashboard(write=write)

        async def story(pilot: Pilot[None], app: Dashboard = app, badge: str = badge) -> None:
            for name, place in PLACES.items():
                if not place.takes_id:
                    app.say(name, "emails")
                    await settle(pilot)
                    assert badge in screen_text(app).splitlines()[-1], name

        play(app, story)


@pytest.mark.parametrize("size", [(20, 6), (1, 1), (300, 100)])
def test_any_size_is_safe(site: Site, size: tuple[int, int]) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(*size)
        await press(pilot, "down", "enter")
        await pilot.resize_terminal(*SMALL)
        await press(pilot, "escape")
        assert "billing" in screen_text(app)

    play(app, story)


def test_it_looks_less_often_while_nobody_looks(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        app.feed.blur(blurred=True)
        assert app.feed.wait_s() > app.feed.interval
        looks = app.feed.standing.looks
        app.feed.blur(blurred=False)
        await settle(pilot)
        assert app.feed.standing.looks == looks + 1  # at once

    play(app, story)
