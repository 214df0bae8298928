"""The tickets' screen."""

from __future__ import annotations

from textual.pilot import Pilot

from s3queue_admin.tui.screens.messages import Messages
from s3queue_admin.tui.screens.tickets import Tickets
from s3queue_admin.tui.widgets.confirm import Confirm
from tests.admin.tui.frames import EACH_SIZE, check_frames, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import Site, press, settle, type_in


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    check_frames(site.dashboard(), "tickets", size)


def test_what_needs_attention_comes_first_and_keys_describe_filter_and_lead_to_the_messages(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Tickets)
        assert [(row.state, row.worker) for row in view.grid.rows] == [("stalled", "w2"), ("claimed", "w3")]
        assert "ended" in screen_text(app)
        await press(pilot, "down")
        assert "under fencing token" in screen_text(app)
        await press(pilot, "d")
        assert view.has_class("-full")
        assert not view.grid.region.height
        await press(pilot, "escape")
        assert view.grid.has_focus
        await press(pilot, "slash")
        await type_in(pilot, "worker:w2")
        await press(pilot, "enter")
        assert [row.worker for row in view.grid.rows] == ["w2"]
        await press(pilot, "r")
        assert str(view.filter) == "worker:w2"
        await press(pilot, "m")
        assert isinstance(app.screen, Messages)
        assert [entry.view.worker for entry in app.screen.table.rows] == ["w2"]  # type: ignore[union-attr]

    on_screen(app, "tickets", story)


def test_releasing_a_ticket_is_planned_asked_and_done(site: Site) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "L")
        assert isinstance(app.screen, Confirm)
        assert "Release 1 message of emails?" in screen_text(app)
        await press(pilot, "y")
        await settle(pilot)
        assert isinstance(app.screen, Tickets)
        assert [row.worker for row in app.screen.grid.rows if row.token] == ["w3"]

    on_screen(app, "tickets", story)
    assert site.emails.stats().processing == 1


def test_without_tickets_it_says_so(site: Site) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        assert "There are no tickets" in screen_text(app)
        await press(pilot, "d", "m")
        assert isinstance(app.screen, Tickets)
        assert not app.screen.has_class("-full")

    on_screen(app, "tickets", story, "reports")
