"""The messages of a queue and one of them: every state, filtered, harmless, secrets hidden, never those of another tab."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from s3queue_admin.text import Redactor
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.screens.messages import TABS, Entry, Messages
from s3queue_admin.tui.screens.raw import object_text
from s3queue_admin.tui.screens.view import Stop
from s3queue_admin.tui.themes import DARK, LIGHT
from s3queue_admin.tui.widgets.filterbar import FilterBar
from s3queue_admin.tui.widgets.payload import MOST, PayloadTree
from tests.admin.tui.frames import EACH_SIZE, check_frames, is_harmless, on_screen
from tests.admin.tui.pictures import check_picture, screen_text
from tests.admin.tui.stage import Site, play, press, settle, type_in


def ids(app: Dashboard) -> list[str]:
    assert app.view is not None
    table = app.view.table
    assert table is not None
    return [entry.view.id for entry in table.rows]


@EACH_SIZE
def test_it_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    check_frames(site.dashboard(), "messages", size, "shift+tab", "down", "space")


@EACH_SIZE
def test_a_message_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        app.go("messages", "emails")
        await press(pilot, "shift+tab", "end", "enter")
        for theme, word in ((DARK, "dark"), (LIGHT, "light")):
            app.theme = theme
            await settle(pilot)
            check_picture(app, f"message-{size[0]}-{word}")

    play(app, story, size)


def test_tabs_show_what_the_engine_has_in_each_state(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        stats = site.emails.stats()
        for state in TABS:
            wanted = {view.id for view in site.emails.messages(*((state,) if state not in ("stalled", "all") else ()))}
            if state == "stalled":
                assert len(ids(app)) == stats.stalled == 1
            else:
                assert set(ids(app)) == wanted, state
            await press(pilot, "tab")
        assert set(ids(app)) == {view.id for view in site.emails.messages("pending")}  # round again
        await press(pilot, "shift+tab")
        assert len(ids(app)) == stats.pending + stats.scheduled + stats.processing + stats.dead

    on_screen(app, "messages", story)


def test_a_filter_narrows_survives_tabs_and_esc_takes_it_away(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "shift+tab", "slash")
        await type_in(pilot, "attempts>=1 error~smtp")
        assert len(ids(app)) == 2
        await press(pilot, "enter", "tab", "tab")
        assert app.view is not None
        assert str(app.view.filter) == "attempts>=1 error~smtp"
        assert len(ids(app)) == 2  # scheduled
        await press(pilot, "escape")
        assert len(ids(app)) == 3
        assert app.view.NAME == "messages"
        await press(pilot, "escape")
        assert app.view.NAME == "overview"

    on_screen(app, "messages", story)


def test_completion_knows_the_workers_of_the_queue(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "slash")
        await type_in(pilot, "work")
        await press(pilot, "tab")
        assert app.view is not None
        bar = app.view.query_one(FilterBar)
        assert bar.line.value == "worker:"
        await type_in(pilot, "w")
        assert {"worker:w1", "worker:w2", "worker:w3"} <= set(bar.candidates("worker:w", 8)[1])

    on_screen(app, "messages", story)


def test_what_strangers_wrote_does_no_harm_and_secrets_are_hidden(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "tab", "tab")
        assert is_harmless(app)
        await press(pilot, "enter")  # in detail
        assert is_harmless(app)
        await press(pilot, "y")  # as it is
        assert is_harmless(app)
        await press(pilot, "escape", "escape", "shift+tab")
        assert "hunter2" not in screen_text(app)
        await press(pilot, "y")
        assert "retry0" in screen_text(app)
        assert "hunter2" not in screen_text(app)
        assert app.is_running  # [@click=app.quit]

    async def begin(pilot: Pilot[None]) -> None:
        app.say("messages", "emails")
        await settle(pilot)
        await story(pilot)

    play(app, begin, (200, 60))


def test_answers_to_an_earlier_tab_come_too_late(site: Site) -> None:
    app, began, goes_on = site.dashboard(), Event(), Event()

    class Slow(Messages):
        """Reads nothing of *pending* before it is told to."""

        def _entries(self, state: str, stop: Stop) -> Iterator[Entry]:  # noqa: ARG002 - it never ends early
            found = list(super()._entries(state, lambda: False))
            if state == "pending":
                began.set()
                assert goes_on.wait(20)
            yield from found

    async def story(pilot: Pilot[None]) -> None:
        screen = Slow("emails")
        await app.push_screen(screen)
        while not began.is_set():
            await pilot.pause(0.005)
        screen.do_state()  # to another tab, while the first is read
        goes_on.set()
        await settle(pilot)
        assert {entry.view.state for entry in screen._table.rows} == {"scheduled"}

    play(app, story)


def test_a_message_is_explained_found_by_its_id_and_gone_when_it_is(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        (dead, *_) = site.emails.messages("dead")
        await press(pilot, "colon")
        await type_in(pilot, f"message {dead.id}")
        await press(pilot, "enter")
        assert app.view is not None
        assert app.view.NAME == "message"
        shown = screen_text(app)
        assert dead.key in str(app.screen.query_one("#facts", Static).render())
        assert "It died after 1 attempt" in shown
        await press(pilot, "tab")
        assert app.focused is not None
        assert app.focused.id == "past"
        await press(pilot, "tab")
        assert isinstance(app.focused, PayloadTree)
        site.emails.dlq.discard([dead.id])
        await press(pilot, "r")
        shown = str(app.view.query_one("#facts", Static).render())
        assert "It is not there any more" in shown
        assert "non-retriable" in shown  # what it was
        assert app.is_running
        await press(pilot, "colon")
        await type_in(pilot, "message nonsense")
        await press(pilot, "enter")
        assert "message's id is needed" in screen_text(app)

    on_screen(app, "messages", story)


def test_a_huge_payload_is_shown_a_part_at_a_time() -> None:
    site = Site()
    site.queue("reports").enqueue({"rows": [{"n": number} for number in range(5000)], "deep": _deep(60)})
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        assert app.view is not None
        tree = app.view.query_one(PayloadTree)
        rows = next(node for node in tree.root.children if "rows" in str(node.label))
        assert not rows.children  # not before it is opened
        rows.expand()
        await settle(pilot)
        assert len(rows.children) == MOST + 1
        assert "4,500 more" in str(rows.children[-1].label)

    on_screen(app, "messages", story, queue="reports")


def _deep(levels: int) -> Any:
    return {"in": _deep(levels - 1)} if levels else "bottom"


def test_an_object_that_is_no_json_is_told_by_its_size() -> None:
    assert "no JSON" in object_text(b"\x00\xff\x1b[31m" * 10, Redactor())
    assert "\x1b" not in object_text(b"\x1b[31m" * 10, Redactor())
    assert "gzip" in object_text(b"\x1f\x8b broken", Redactor())
    shown = object_text(b'{"password": "hunter2", "a": "\\u001b[31m"}', Redactor())
    assert "hunter2" not in shown
    assert "\x1b" not in shown


def test_payload_and_last_error_are_both_seen_at_once_on_a_small_screen(site: Site) -> None:
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        await press(pilot, "shift+tab", "end", "enter")
        shown = screen_text(app)
        assert "dead, non-retriable" in shown
        assert 'to: "user5@example.com"' in shown
        assert "NonRetriable: no mailbox user5@example.com" in shown

    on_screen(app, "messages", story)
