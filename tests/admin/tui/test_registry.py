"""What the registries promise, one by one: each action by each of its keys on each of its screens, and how each screen looks."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import ModalScreen

from s3queue.store.port import fetch, walk
from s3queue_admin import tui
from s3queue_admin.actions import VERBS, audit, plan
from s3queue_admin.tui.actions import ACTIONS, EVERYWHERE, Action, actions_on
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.screens import PLACES, make_screen
from s3queue_admin.tui.screens.view import View
from s3queue_admin.tui.themes import DARK, LIGHT
from s3queue_admin.tui.widgets.confirm import Confirm
from s3queue_admin.tui.widgets.going import Going
from s3queue_admin.tui.widgets.table import Table
from tests.admin.tui.frames import EACH_SIZE
from tests.admin.tui.pictures import FOLDER, check_picture, screen_text
from tests.admin.tui.stage import LARGE, SMALL, Site, play, press, settle, type_in

NAMES = list(dict.fromkeys(make_screen(name, "emails").NAME for name in PLACES))
"""The screens; what is another begun elsewhere, as the schedules are, is that."""
VERB = {
    "edit": "replay", "replay_filtered": "replay", "discard_filtered": "discard", "reset_stuck": "reset", "take_away": "unlock",
}  # fmt: skip
"""Of actions that are not called as the verb of the SDK is which they do."""
BEFORE = {"unmark": ("space",), "as_measured": ("down", "down", "right"), "state_back": ("tab",)}
"""What is pressed first, so that there is something to be seen of an action."""


WALKED = ("overview", "letters", "locks")
"""The screens whose keys are pressed by default; the others' in the long tests."""


def test_each_action_that_changes_does_a_verb_of_the_sdk() -> None:
    for action in ACTIONS:
        if action.write:
            assert VERB.get(action.name, action.name) in VERBS, action.name
    assert VERB.keys() | BEFORE.keys() <= {action.name for action in ACTIONS}


async def open_on(app: Dashboard, pilot: Pilot[None], name: str, action: Action) -> None:
    """Go to the screen of that name, with something on it that the action is about."""
    app.go("overview")
    await press(pilot, "escape", "escape")  # whatever prompt or filter was left open there
    states = VERBS[VERB.get(action.name, action.name)] if action.write else ()
    state = states[0] if states else "all"
    if name == "message":
        view = next(iter(app.source.queue("emails").messages(*([state] if states else ["dead"]))))
        app.go("message", "emails", view=view)
    elif name == "messages":
        app.go(name, "emails", state=state)
    else:
        app.say(name, "emails")
    await settle(pilot)
    if action.name == "back" and name == "overview":  # there it takes the filter away
        await press(pilot, "slash")
        await type_in(pilot, "mail")
        await press(pilot, "enter")
    await press(pilot, *BEFORE.get(action.name, ()))
    app.clear_notifications()


def state_of(app: Dashboard) -> tuple[Any, ...]:
    """Return all that an action may change: what is on the screen, where keys go, how often was looked."""
    table = app.view.table if app.view is not None else None
    order = (table.sorted_by, table.descends, frozenset(table.marked)) if table is not None else ()
    told = [note.message for note in app._notifications]
    looks = (app.feed.standing.looks, app.feed.standing.paused)
    return [id(each) for each in app.screen_stack], id(app.focused), screen_text(app), app.theme, order, looks, told


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in WALKED else pytest.mark.slow) for name in NAMES]
)
def test_each_key_of_each_action_of_a_screen_does_something(site: Site, name: str) -> None:
    plan(site.emails, "pause").apply(reason="for the audit")
    site.emails.resume()
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        at = None
        for action in actions_on(name):
            first = NAMES[0] if action.where == EVERYWHERE else action.where[0]
            for key in action.key.split(",")[: None if name == first else 1]:  # on the others its first key alone
                if action.name == "quit":
                    continue
                wants = (app.view, VERB.get(action.name, action.name) if action.write else "", action.name == "back")
                if wants != at or action.name in BEFORE:  # else it is all there still
                    await open_on(app, pilot, name, action)
                at = (app.view, *wants[1:])
                before = state_of(app)
                await press(pilot, key)
                assert state_of(app) != before, (name, action.name, key)
                if app.screen is not app.view:  # a dialog, or the help
                    await press(pilot, "escape")
                if app.feed.standing.paused:
                    await press(pilot, "p")
        (leave,) = (action for action in ACTIONS if action.name == "quit")
        await open_on(app, pilot, name, leave)
        await press(pilot, "q")
        assert not app.is_running

    play(app, story)


@pytest.mark.parametrize("action", [action for action in ACTIONS if action.write], ids=lambda action: action.name)
def test_each_change_is_planned_asked_done_and_written_down(site: Site, action: Action) -> None:
    plan(site.emails, "pause").apply(reason="smtp is down")
    site.clock.advance(1)
    known = {entry.id for entry in audit(site.emails)}
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        before = bucket_of(site)
        await open_on(app, pilot, action.where[0], action)
        if action.where[0] == "overview":
            await press(pilot, "down")  # billing comes first
        await press(pilot, action.key)
        if action.name == "edit":
            area = app.screen.query_one("TextArea")
            area.text = '{"mended": true}'  # type: ignore[attr-defined]
            await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Confirm)
        assert bucket_of(site) == before, "it was done before it was asked"
        await press(pilot, "y")
        assert bucket_of(site) != before

    play(app, story)
    verbs = [entry.verb for entry in audit(site.emails) if entry.id not in known]
    assert verbs == [VERB.get(action.name, action.name)]


def bucket_of(site: Site) -> dict[str, bytes]:
    return {key: fetch(site.store, key).body for key in walk(site.store, "")}


# -- how it looks -----------------------------------------------------------------------------------------------------


def dialogs() -> Iterator[str]:
    """Yield the names of all dialogs of the package."""
    for module in pkgutil.walk_packages(tui.__path__, f"{tui.__name__}."):
        if "widgets" in module.name or "screens" in module.name:
            importlib.import_module(module.name)
    todo = list(ModalScreen.__subclasses__())
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith(tui.__name__):
            yield kind.__name__.lower()


def test_each_screen_and_each_dialog_has_been_looked_at_in_both_themes_and_sizes() -> None:
    for name in (*PLACES, *dialogs()):
        for size in (SMALL, LARGE):
            for theme in ("dark", "light"):
                path = FOLDER / f"{name}-{size[0]}-{theme}.txt"
                assert path.exists(), f"There is no picture {path.name}: see tests/admin/tui/pictures.py."


@EACH_SIZE
def test_what_has_no_test_of_its_own_looks_as_it_should(site: Site, size: tuple[int, int]) -> None:
    app = site.dashboard(write=True)
    going = Going("Replay orders …", total=1000)

    async def look(pilot: Pilot[None], name: str) -> None:
        for theme, word in ((DARK, "dark"), (LIGHT, "light")):
            app.theme = theme
            await settle(pilot)
            check_picture(app, f"{name}-{size[0]}-{word}")

    async def story(pilot: Pilot[None]) -> None:
        app.say("schedules", "emails")
        await look(pilot, "schedules")
        await press(pilot, "question_mark")
        await look(pilot, "help")
        await press(pilot, "escape")
        app.go("messages", "emails", state="dead")
        await settle(pilot)
        await press(pilot, "y")
        await look(pilot, "raw")
        await press(pilot, "escape")
        app.push_screen(going)
        await settle(pilot)
        going.tell(350, 1000)
        await look(pilot, "going")

    play(app, story, size)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200])
def test_no_title_is_cut_and_no_line_is_wider_than_the_screen(site: Site, width: int) -> None:
    app = site.dashboard(write=True)

    async def story(pilot: Pilot[None]) -> None:
        for name in NAMES:
            if name != "message":
                app.say(name, "emails")
                await settle(pilot)
            for table in app.screen.query(Table):
                for column, wide, _gap in table._plan:
                    assert len(column.title) <= wide, (name, column.title)
                if width >= SMALL[0]:
                    assert sum(wide + gap for _, wide, gap in table._plan) + 2 <= width, name
                    table.sort_by(next(n for n, column in enumerate(table.columns) if column.order))
                    head = table._head().text
                    assert all(column.title in head for column, _, _ in table._plan), (name, head)

    play(app, story, (width, 24))


def test_what_was_closed_answers_nothing_any_more(site: Site) -> None:
    """A screen loses its widgets before it is gone; what is told to it meanwhile must not end the dashboard."""
    app = site.dashboard()

    async def story(pilot: Pilot[None]) -> None:
        app.say("audit", "emails")
        await settle(pilot)
        closing = app.view
        assert isinstance(closing, View)
        app.go_back()
        closing.tell()
        closing.renew()
        await settle(pilot)
        closing.tell()
        closing.renew()
        assert not closing.is_made

    play(app, story)
