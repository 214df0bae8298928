"""The screen of locks and schedules."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from s3queue import LockLost
from s3queue_admin.actions import audit
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


def test_a_lock_is_broken_and_a_schedule_removed_by_key_with_entries_in_the_audit_trail(site: Site) -> None:
    app = site.dashboard(write=True)
    lock = site.emails.lock("rollout", ttl=300, renew=False).acquire()

    def names() -> list[str]:
        assert app.view is not None
        assert app.view.table is not None
        return [row.name for row in app.view.table.rows]

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "down", "X")
        assert "Unlock rollout of emails?" in screen_text(app)
        assert "goes on until its next renewal" in screen_text(app)
        await press(pilot, "enter")  # what it begins with is No
        assert names() == ["digest", "rollout"]
        await press(pilot, "X", "y")
        assert names() == ["digest"]
        await press(pilot, "tab", "X")
        assert "Unschedule nightly of emails?" in screen_text(app)
        await press(pilot, "y")
        assert names() == []

    on_screen(app, "locks", story)
    with pytest.raises(LockLost):
        lock.renew()
    assert site.emails.schedules() == []
    entries = {entry.verb: entry for entry in audit(site.emails)}
    assert entries["unlock"].before["rollout"]["token"] == lock.token
    assert entries["unschedule"].before["nightly"]["cron"] == "0 3 * * *"


def test_a_lock_that_got_another_holder_meanwhile_is_left_to_him(site: Site) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "X")
        site.emails.break_lock("digest")
        site.emails.lock("digest", ttl=60, renew=False).acquire()
        await press(pilot, "y")
        assert "is not held like that any more" in screen_text(app)

    on_screen(app, "locks", story)
    assert [lock.expired for lock in site.emails.locks()] == [False]
