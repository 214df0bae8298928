"""A bucket that is slow, throttled, unreachable, forbidden or gone is a state of the screen, and recovers by itself."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest
from textual.pilot import Pilot

from s3queue.errors import S3QueueError, StoreRefused, StoreUnavailable
from s3queue.store.port import Object, Page, Store
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.feed import PATIENCE_S
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import Site, play, press, settle
from tests.store.faulty import Wrapper

Fault = Callable[[str], S3QueueError]


class Failing(Wrapper):
    """A store whose reading fails as long as there is a ``fault``, of the keys that have ``where`` in them; or waits."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.fault: Fault | None = None
        self.where = ""
        self.open = Event()
        self.open.set()

    def _meet(self, key: str) -> None:
        assert self.open.wait(20), "a test forgot to open the store"
        if self.fault is not None and self.where in key:
            raise self.fault(key)

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        self._meet(key)
        return super().get(key, if_none_match)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._meet(prefix)
        return super().list(prefix, after, limit)


FAULTS: dict[str, Fault] = {
    "throttled": lambda key: StoreUnavailable("503 Slow Down", key=key, throttled=True),
    "unreachable": lambda key: StoreUnavailable("no connection", key=key),
    "forbidden": lambda key: StoreRefused("403", reason="access-denied", key=key),
    "vanished": lambda key: StoreRefused("There is no such bucket.", reason="bucket-missing", key=key),
}


def failing(site: Site) -> tuple[Failing, Dashboard]:
    store = Failing(site.store)
    return store, site.dashboard(store=store)


@pytest.mark.parametrize("condition", FAULTS)
def test_what_was_seen_last_stays_with_its_time_until_the_bucket_is_back(site: Site, condition: str) -> None:
    store, app = failing(site)

    async def story(pilot: Pilot[None]) -> None:
        assert "● live" in screen_text(app)
        seen = app.feed.snapshot
        assert seen is not None
        store.fault = FAULTS[condition]
        await press(pilot, "r")
        shown = screen_text(app)
        assert f"▲ {condition}" in shown
        assert f"{seen.taken_at:%H:%M:%S}Z" in shown
        assert "emails" in shown  # the last good snapshot
        assert app.feed.snapshot is seen
        store.fault = None
        site.clock.advance(60)
        app.feed.look()  # as its own timer does
        await settle(pilot)
        assert "● live" in screen_text(app)
        assert app.feed.snapshot is not seen

    play(app, story)


@pytest.mark.parametrize("condition", FAULTS)
def test_it_opens_on_a_bucket_that_fails_and_shows_the_queues_once_it_answers(site: Site, condition: str) -> None:
    store, app = failing(site)
    store.fault = FAULTS[condition]

    async def story(pilot: Pilot[None]) -> None:
        assert f"▲ {condition}" in screen_text(app)
        assert "nothing was seen yet" in screen_text(app)
        assert "Nothing was seen yet." in screen_text(app)
        assert app.feed.standing.trouble.split()[0] in "".join(screen_text(app).splitlines()[:-1])  # what is wrong
        store.fault = None
        site.clock.advance(60)
        app.feed.look()
        await settle(pilot)
        assert "emails" in screen_text(app)

    play(app, story)


def test_books_that_cannot_be_read_do_not_empty_a_queue(site: Site) -> None:
    store, app = failing(site)

    async def story(pilot: Pilot[None]) -> None:
        assert app.feed.snapshot is not None
        before = app.feed.snapshot.queues["emails"].stats
        store.fault, store.where = FAULTS["throttled"], "emails/ledger"
        app.feed.look()  # so soon that the settings are not read again
        await settle(pilot)
        assert app.feed.standing.partly == ("emails",)
        assert app.feed.snapshot.queues["emails"].stats == before
        assert "stale" in screen_text(app)
        store.where = "ledger"
        app.feed.look()
        await settle(pilot)
        assert "▲ throttled" in screen_text(app)
        assert app.feed.snapshot.queues["emails"].stats == before

    play(app, story)


def test_it_looks_less_often_the_longer_a_bucket_fails_and_never_gives_up(site: Site) -> None:
    store, app = failing(site)
    app.feed.interval = 2.0

    async def story(pilot: Pilot[None]) -> None:
        store.fault = FAULTS["throttled"]
        waits = []
        for _ in range(6):
            app.feed.look()
            await settle(pilot)
            waits.append(app.feed.wait_s())
        assert waits == [2.0, 4.0, 8.0, 16.0, PATIENCE_S, PATIENCE_S]
        store.fault = None
        app.feed.look()
        await settle(pilot)
        assert app.feed.wait_s() == 2.0

    play(app, story)


def test_one_queue_that_is_forbidden_does_not_hide_the_others(site: Site) -> None:
    store, app = failing(site)

    async def story(pilot: Pilot[None]) -> None:
        store.fault, store.where = FAULTS["forbidden"], "billing/"
        site.clock.advance(60)
        await press(pilot, "r")
        shown = screen_text(app)
        assert app.feed.standing.partly == ("billing",)
        assert "● live" in shown
        assert "1 unread" in shown
        assert "billing" in shown  # as it was last seen

    play(app, story)


def test_a_look_that_takes_long_is_told_and_keys_go_on_working(site: Site) -> None:
    store, app = failing(site)
    app.feed.interval = 1.0

    async def story(pilot: Pilot[None]) -> None:
        store.open.clear()
        try:
            app.feed.look()
            site.clock.advance(10)
            await pilot.pause()
            app.feed.tick()
            assert app.feed.standing.condition == "slow"
            await pilot.press("question_mark")
            await pilot.pause()
            assert "On this screen" in screen_text(app)
            await pilot.press("escape")
        finally:
            app.feed.interval = 3600.0
            store.open.set()
        await settle(pilot)
        assert str(app.feed.standing.condition) == "live"

    play(app, story)


def test_the_messages_of_a_bucket_that_fails_come_once_it_answers(site: Site) -> None:
    store, app = failing(site)

    async def story(pilot: Pilot[None]) -> None:
        store.fault = FAULTS["forbidden"]
        app.go("messages", "emails")
        await settle(pilot)
        assert app.is_running
        assert "new0" not in screen_text(app)
        store.fault = None
        site.clock.advance(60)
        await press(pilot, "r")
        assert "new0" in screen_text(app)

    play(app, story)


def test_a_tick_while_the_program_ends_finds_no_screen(site: Site) -> None:
    app = site.dashboard()

    async def story(_: Pilot[None]) -> None:
        app._running = False  # as textual does it before widgets go one by one
        await app.screen.remove_children()
        app._tick()
        app._running = True

    play(app, story)
