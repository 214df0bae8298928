"""The screen of the audit trail."""

from __future__ import annotations

from textual.pilot import Pilot

from s3queue_admin.actions import audit, plan
from s3queue_admin.tui.screens.audit import Audit
from s3queue_admin.tui.widgets.confirm import Confirm
from tests.admin.tui.frames import EACH_SIZE, check_frames, is_harmless, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import EVIL, Site, press, type_in


def act(site: Site) -> None:
    """Do things worth writing down: discard a letter, pause, resume; the last alone can be undone."""
    (letter, *_) = [view.id for view in site.emails.messages("dead")]
    plan(site.emails, "discard", [letter]).apply(reason="no such mailbox", who="ann@desk")
    site.clock.advance(60)
    plan(site.emails, "replay", ["none-such"]).apply(reason="", who="bob@laptop")
    site.clock.advance(60)
    plan(site.emails, "pause").apply(reason="smtp is down", who="ann@desk")
    site.clock.advance(1)


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    act(site)
    check_frames(site.dashboard(), "audit", size)


def test_newest_first_filtered_described_and_read_further_back(site: Site) -> None:
    act(site)
    site.clock.advance(10 * 86_400)
    plan(site.emails, "resume").apply(reason="smtp is back", who="cat@desk")
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Audit)
        assert [row.verb for row in view.grid.rows] == ["resume"]
        await press(pilot, "b")
        assert [row.verb for row in view.grid.rows] == ["resume", "pause", "replay", "discard"]
        await press(pilot, "slash")
        await type_in(pilot, "mailbox")
        await press(pilot, "enter")
        assert [row.verb for row in view.grid.rows] == ["discard"]
        await press(pilot, "d")
        assert "no such mailbox" in screen_text(app)
        assert "ann@desk" in screen_text(app)

    on_screen(app, "audit", story)


def test_undo_is_planned_asked_done_and_written_down(site: Site) -> None:
    act(site)
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Audit)
        assert view.grid.current is not None
        assert view.grid.current.verb == "pause"
        await press(pilot, "I")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "y")
        assert isinstance(app.screen, Audit)
        assert [row.verb for row in view.grid.rows][:2] == ["undo", "pause"]

    on_screen(app, "audit", story)
    assert not site.emails.stats().paused
    assert [entry.verb for entry in audit(site.emails)] == ["discard", "replay", "pause", "undo"]


def test_undo_is_refused_where_it_cannot_be_and_to_who_only_reads(site: Site) -> None:
    act(site)
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "down", "I")
        assert "cannot be undone" in screen_text(app)

    on_screen(app, "audit", story)
    reader = site.dashboard()

    async def refused(pilot: Pilot[None]) -> None:
        await press(pilot, "I")
        assert reader.screen.NAME == "audit"  # type: ignore[attr-defined]
        assert [told.message for told in reader._notifications if "only reads" in told.message]

    on_screen(reader, "audit", refused)
    assert site.emails.stats().paused


def test_hostile_reasons_do_no_harm(site: Site) -> None:
    plan(site.emails, "pause").apply(reason=EVIL, who=EVIL)
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        for key in ("r", "d"):
            await press(pilot, key)
            assert is_harmless(app)

    on_screen(app, "audit", story, "")


def test_without_any_it_says_so(site: Site) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        assert "No operator changed anything here in the last 7 days" in screen_text(app)
        await press(pilot, "b", "b", "b", "b", "I", "d")
        assert "No operator changed anything here ever." in screen_text(app)

    on_screen(app, "audit", story)
