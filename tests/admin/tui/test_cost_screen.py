"""The cost screen: measured, and what if."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from s3queue_admin.cost import estimate_usage
from s3queue_admin.tui.screens.cost import Cost
from s3queue_admin.tui.shown import dollars
from s3queue_admin.tui.widgets.slider import Slider
from tests.admin.tui.frames import EACH_SIZE, check_frames, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import SMALL, Site, play, press, settle

REQUESTS = {"PUT ledger": 80, "GET ledger": 320, "LIST inbox": 60, "PUT ledger lost": 42}


def work(site: Site) -> None:
    """Let a minute pass in which a worker works."""
    site.clock.advance(60)
    site.emails.process_once(lambda _: None, max_messages=4)
    site.beat("w1", commits=80, lost_races=42, processed=7, failed=5, requests=REQUESTS)


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    check_frames(site.dashboard(), "cost", size, "down", "down", "right", ready=lambda: work(site))


def test_what_was_measured_is_what_the_meters_say(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        work(site)
        await press(pilot, "r")
        found = app.screen._measured  # type: ignore[attr-defined]
        assert found.heard.between == 1
        seconds = app.feed.chronicle.beats("emails", "w1").seconds  # type: ignore[union-attr]
        rates = {(rate.verb, rate.purpose.value): rate.per_second for rate in found.rates}
        assert rates["PUT", "lost races"] == pytest.approx(40 / seconds)
        spent = {line: count for (_, spent) in [app.feed.chronicle.since("emails")] for line, count in spent.items()}  # type: ignore[misc]
        watched = sum(rate for (_, purpose), rate in rates.items() if purpose == "watching")
        assert watched == pytest.approx(sum(spent.values()) / (found.to_at - found.from_at).total_seconds())
        assert "lost races" in screen_text(app)

    on_screen(app, "cost", story)


def test_sliders_reckon_as_they_move_and_n_takes_them_back(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Cost)
        settings, load = view._base or pytest.fail("nothing was measured")
        await press(pilot, "down", "end", "down", *"37")
        assert view.query_one("#workers", Slider).value == 37
        wanted = estimate_usage(settings, load, messages_per_s=10_000, workers=37)
        assert dollars(wanted.bill("s3").usd_a_month) in screen_text(app)
        assert "×" in screen_text(app)
        await press(pilot, "up", "up", "right", "right")
        assert view.store == "r2"
        assert "Cloudflare R2" in screen_text(app)
        await press(pilot, "n")
        assert "as it is now" in screen_text(app)
        assert view.query_one("#workers", Slider).value == load.workers
        before = view.query_one("#cost").scroll_offset.y
        await press(pilot, "pagedown")
        assert view.query_one("#cost").scroll_offset.y > before
        await press(pilot, "pageup")

    on_screen(app, "cost", story)


def test_a_slider_takes_digits_within_its_bounds_and_clicks(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        app.say("cost", "emails")
        await settle(pilot)
        workers, batch = app.screen.query_one("#workers", Slider), app.screen.query_one("#batch", Slider)
        batch.focus()
        await press(pilot, *"0")
        assert batch.value == 1  # nobody enqueues none at a time
        await press(pilot, "backspace", *"7")
        assert batch.value == 7
        await press(pilot, "left")
        assert batch.value == 5
        await press(pilot, *"9999")
        assert batch.value == 999  # what goes past the end does not count
        await pilot.click(workers, offset=(13, 0))
        await settle(pilot)
        assert workers.value == 1
        await pilot.click(workers, offset=(workers.size.width - 13, 0))
        await settle(pilot)
        assert workers.value == 1000

    play(app, story, SMALL)


def test_what_cannot_be_is_told_beside_the_sliders(site: Site) -> None:
    site.queue("strict", order="strict").connect()
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        app.screen.query_one("#lanes", Slider).focus()
        await press(pilot, "right")
        assert "A strictly ordered queue has one lane" in str(app.screen.query_one("#would", Static).content)

    on_screen(app, "cost", story, "strict")


def test_without_workers_it_says_so(site: Site) -> None:
    app = site.dashboard()

    async def story(_pilot: Pilot[None]) -> None:
        assert "no worker reports" in screen_text(app)

    on_screen(app, "cost", story, "billing")
