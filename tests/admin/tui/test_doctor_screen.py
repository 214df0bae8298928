"""The doctor's screen."""

from __future__ import annotations

from textual.pilot import Pilot

from s3queue import StoreUnavailable
from s3queue.store.port import CREATE, Page
from s3queue_admin.tui.screens.doctor import Doctor
from tests.admin.tui.frames import EACH_SIZE, check_frames, is_harmless, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import EVIL, Site, press, type_in
from tests.store.faulty import Wrapper


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    check_frames(site.dashboard(), "doctor", size, "x", "f")


def test_it_shows_what_the_looks_found_in_all_queues_or_one(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Doctor)
        seen = {(row.finding.queue, row.finding.code) for row in view.grid.rows}
        assert ("billing", "paused-backlog") in seen
        assert ("emails", "stalled") in seen
        await press(pilot, "slash")
        await type_in(pilot, "queue:billing")
        await press(pilot, "enter")
        assert {row.finding.queue for row in view.grid.rows} == {"billing"}
        assert "Resume it when the reason is gone" in screen_text(app)
        await press(pilot, "d")
        assert view.has_class("-full")

    on_screen(app, "doctor", story, "")


def test_the_doctor_and_the_check_of_the_books_are_asked_in_threads_and_their_cost_is_counted(site: Site) -> None:
    app = site.dashboard()
    site.store.put("emails/inbox/0000/9/not-a-name", b"?", CREATE)

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Doctor)
        spent = sum(app.source.requests().values())
        await press(pilot, "x")
        after_doctor = sum(app.source.requests().values())
        assert after_doctor > spent + 4  # three GETs and a LIST, and the queues
        assert "doctor: " in screen_text(app)
        assert "not asked yet (f)" in screen_text(app)
        await press(pilot, "f")
        (report,) = view._reports
        assert sum(app.source.requests().values()) == after_doctor + sum(report.requests.values())
        assert not report.deep
        assert {row.finding.code for row in view.grid.rows if row.source == "books"} == {
            finding.code for finding in report.findings
        }
        await press(pilot, "e")
        assert view._reports[0].deep
        assert "every object read" in screen_text(app)

    on_screen(app, "doctor", story)


def test_a_hostile_key_does_no_harm(site: Site) -> None:
    site.store.put(f"emails/inbox/0000/{EVIL}", b"?", CREATE)
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Doctor)
        view.grid.action_go([row.finding.code for row in view.grid.rows].index("foreign"))
        for key in ("r", "d"):
            await press(pilot, key)
            assert is_harmless(app)

    on_screen(app, "doctor", story)


class Broken(Wrapper):
    """Refuses listings once it is told to."""

    is_down = False

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        if self.is_down:
            raise StoreUnavailable("the store does not answer")
        return super().list(prefix, after, limit)


def test_a_check_that_fails_is_told_in_the_screen_and_may_be_asked_again(site: Site) -> None:
    store = Broken(site.store)
    app = site.dashboard(store=store)

    async def story(pilot: Pilot[None]) -> None:
        store.is_down = True
        await press(pilot, "f")
        assert "the store does not answer" in screen_text(app)
        store.is_down = False
        await press(pilot, "f")
        assert "check of the books: not asked" not in screen_text(app)
        assert app.screen._reports  # type: ignore[attr-defined]

    on_screen(app, "doctor", story)


def test_where_nothing_is_wrong_it_says_so(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        assert "Nothing is wrong, as far as the last look tells." in screen_text(app)
        await press(pilot, "d")

    on_screen(app, "doctor", story, "reports")
