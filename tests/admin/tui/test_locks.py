"""The screen of locks and schedules."""

from __future__ import annotations

from textual.pilot import Pilot

from s3queue_admin.tui.screens.locks import Locks
from tests.admin.tui.frames import EACH_SIZE, check_frames, is_harmless, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import EVIL, Site, press, type_in


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    check_frames(site.dashboard(), "locks", size, "tab")


def test_keys_are_about_the_table_that_has_the_focus_and_a_filter_is_about_both(site: Site) -> None:
    app = site.dashboard()
    site.emails.lock("rollout", ttl=30, renew=False).acquire()
    site.emails.schedule("digest", cron="*/5 * * * *", payload={"token": "hunter2"})
    site.clock.advance(40)

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Locks)
        assert [(row.name, row.expired) for row in view.grid.rows] == [("digest", False), ("rollout", True)]  # type: ignore[union-attr]
        await press(pilot, "down")
        assert "others may take it" in screen_text(app)
        await press(pilot, "tab", "space")
        assert [row.name for row in view.table.marked_rows] == ["digest"]
        await press(pilot, "home")
        assert "hunter2" not in screen_text(app)
        assert "[redacted]" in screen_text(app)
        await press(pilot, "slash")
        await type_in(pilot, "id:digest")
        await press(pilot, "enter")
        assert [row.name for table in view.query("Table") for row in table.rows] == ["digest", "digest"]  # type: ignore[attr-defined]
        await press(pilot, "d")
        assert view.has_class("-full")
        await press(pilot, "escape")
        assert view.grid.id == "schedules"

    on_screen(app, "locks", story)


def test_schedules_begin_at_the_schedules_and_hostile_payloads_do_no_harm(site: Site) -> None:
    app = site.dashboard()
    site.emails.schedule("evil", cron="0 0 * * *", payload=EVIL, headers={"x": EVIL})

    async def story(pilot: Pilot[None]) -> None:
        assert isinstance(app.screen, Locks)
        assert app.screen.grid.id == "schedules"
        await press(pilot, "home")
        assert is_harmless(app)

    on_screen(app, "schedules", story)


def test_without_any_it_says_so(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "tab", "d")
        assert "There are no locks" in screen_text(app)
        assert "There are no schedules." in screen_text(app)

    on_screen(app, "locks", story, "billing")
