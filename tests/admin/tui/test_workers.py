"""The workers' screen."""

from __future__ import annotations

from dataclasses import replace

from textual.pilot import Pilot

from s3queue.core.presence import Presence, encode_presence
from s3queue.store.port import OVERWRITE
from s3queue_admin.tui.chronicle import Beats
from s3queue_admin.tui.screens.messages import Messages
from s3queue_admin.tui.screens.workers import Workers, by_purpose
from s3queue_admin.tui.widgets.confirm import Confirm
from tests.admin.tui.frames import EACH_SIZE, check_frames, is_harmless, on_screen
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import EVIL, Site, press

REQUESTS = {"PUT ledger": 80, "GET ledger": 320, "LIST inbox": 60, "PUT ledger lost": 42}


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    def ready() -> None:
        site.clock.advance(20)
        site.beat("w1", commits=80, lost_races=42, processed=203, failed=6, requests=REQUESTS, running=("m-1", "m-2"))

    check_frames(site.dashboard(), "workers", size, "down", ready=ready)


def test_rates_are_those_between_two_heartbeats(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        site.clock.advance(20)
        site.beat("w1", processed=203, failed=5, requests=REQUESTS)
        await press(pilot, "r")
        beats = app.feed.chronicle.beats("emails", "w1")
        assert beats is not None
        assert beats.before is not None
        assert beats.processed_per_s == (203 - 3) / beats.seconds
        assert beats.requests_per_s == (sum(REQUESTS.values()) - 222) / beats.seconds
        assert {name: value for name, value, _ in by_purpose(beats)} == {
            "polling": 200 / beats.seconds, "commits": 40 / beats.seconds, "lost races": 40 / beats.seconds,
        }  # fmt: skip
        site.beat("w1", processed=7)  # a worker that began anew with nothing asked for yet
        await press(pilot, "r")
        assert app.feed.chronicle.beats("emails", "w2") is not None

    on_screen(app, "workers", story)


def test_a_heartbeat_alone_tells_rates_since_the_start_and_another_process_is_not_compared() -> None:
    entry = Presence("w", "w-1", 100_000, 20_000, 1, started_at_ms=90_000, processed=20)
    assert Beats(None, entry).processed_per_s == 2
    assert Beats(replace(entry, beat_at_ms=80_000, processed=30), entry).processed_per_s == 0
    assert Beats(None, replace(entry, started_at_ms=0)).processed_per_s is None


def test_keys_lead_to_what_it_holds_and_give_it_back(site: Site) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Workers)
        assert next((row.worker, row.state) for row in view.grid.rows) == ("w2", "dead")
        await press(pilot, "m")
        assert isinstance(app.screen, Messages)
        assert [entry.view.worker for entry in app.screen.table.rows] == ["w2"]  # type: ignore[union-attr]
        await press(pilot, "escape", "escape")
        assert isinstance(app.screen, Workers)
        await press(pilot, "B")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "y")
        assert isinstance(app.screen, Workers)

    on_screen(app, "workers", story)
    assert site.emails.stats().processing == 1


def test_hostile_names_do_no_harm(site: Site) -> None:
    app = site.dashboard(write=True)
    entry = Presence(EVIL, EVIL, site.clock.now_ms(), 20_000, 10, host=EVIL, version=EVIL, running=(EVIL,),
                     requests={EVIL: 3})  # fmt: skip
    site.store.put("emails/workers/evil.json", encode_presence(entry), OVERWRITE)
    site.lead(EVIL)

    async def story(pilot: Pilot[None]) -> None:
        view = app.screen
        assert isinstance(view, Workers)
        view.grid.action_go([row.worker for row in view.grid.rows].index(EVIL))
        for key in ("r", "d"):
            await press(pilot, key)
            assert is_harmless(app)
        await press(pilot, "escape", "L")
        assert "Nothing to release" in screen_text(app)

    on_screen(app, "workers", story)


def test_without_workers_it_says_so(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        assert "There are no workers" in screen_text(app)
        await press(pilot, "m", "d")
        assert isinstance(app.screen, Workers)

    on_screen(app, "workers", story, "billing")
