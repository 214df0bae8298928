"""The coordinators' screen, and what is remembered of terms."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.admin.tui.frames import EACH_SIZE, check_frames, is_harmless, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import EVIL, Site, press


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    def ready() -> None:
        site.clock.advance(7)
        site.lead("w3", epoch=6)

    check_frames(site.dashboard(), "coordinator", size, ready=ready)


def test_terms_are_remembered_as_they_were_seen(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        chronicle = app.feed.chronicle
        for worker, epoch in (("w1", 3), ("w3", 4), ("w1", 7)):
            site.clock.advance(10)
            site.lead(worker, epoch=epoch)
            await press(pilot, "r")
        told = [(term.worker, term.epoch, term.ended, term.missed) for term in chronicle.terms("emails", 0)]
        assert told == [("w1", 7, False, 2), ("w3", 4, True, 0), ("w1", 3, True, 0)]
        first = chronicle.terms("emails", 0)[-1]
        assert (first.seen_at - first.from_at).total_seconds() == 10
        assert "2 terms before it began and ended between two looks" in screen_text(app)
        site.clock.advance(4_000)  # the lease runs out
        await press(pilot, "r")
        assert chronicle.terms("emails", 0)[0].ended
        assert "it has ended" in screen_text(app)

    on_screen(app, "coordinator", story)


def test_a_hostile_coordinator_does_no_harm(site: Site) -> None:
    app = site.dashboard()
    site.lead(EVIL)

    async def story(pilot: Pilot[None]) -> None:
        assert is_harmless(app)
        await press(pilot, "enter")
        assert is_harmless(app)

    on_screen(app, "coordinator", story)


def test_without_a_coordinator_it_says_so(site: Site) -> None:
    app = site.dashboard()

    async def story(_pilot: Pilot[None]) -> None:
        assert "None so far: workers list and claim for themselves." in screen_text(app)

    on_screen(app, "coordinator", story, "reports")
