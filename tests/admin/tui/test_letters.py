"""Dead letters on the screen: by kind, drilled down, kept up with, harmless, and as they look."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from s3queue.core.message import Failure
from s3queue_admin.filters import parse
from s3queue_admin.grouping import group_errors
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.shelf import Shelf
from s3queue_admin.tui.themes import DARK, LIGHT
from s3queue_admin.tui.widgets.detail import Detail
from tests.admin.tui.pictures import check_picture, screen_text
from tests.admin.tui.stage import LARGE, SMALL, TRACEBACK, Site, fail, press, settle, type_in
from tests.admin.tui.test_acting import act, dialog, orders, table


def box(app: Dashboard) -> str:
    detail = app.screen.query_one("#sample", Detail)
    return str(detail.children[0].render()) if detail.display else ""


def note(app: Dashboard) -> str:
    return str(app.screen.query_one("#note").render())


def test_letters_are_grouped_as_the_sdk_groups_them_and_drilled_down_to_one(site: Site) -> None:
    queue = orders(site)
    wanted = [
        (each.fingerprint, each.count, each.first_at, each.last_at) for each in group_errors(queue.messages("dead"))
    ]

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        groups = [kind.group for kind in table(app).rows]
        assert [(each.fingerprint, each.count, each.first_at, each.last_at) for each in groups] == wanted
        assert note(app).startswith("5 letters of 2 kinds, read 0s ago")
        assert "3 of " in box(app)
        assert '{"order":2}, the last' not in box(app)
        assert '{"order":2}' in box(app)
        assert "smtp.connect(host)" in box(app)
        reads = sum(app.source.requests().values())
        await press(pilot, "enter")
        assert app.view is not None
        assert app.view.NAME == "letters"
        assert [letter.view.payload["order"] for letter in table(app).rows] == [2, 1, 0]
        assert sum(app.source.requests().values()) - reads <= 3  # none is read twice
        id_ = table(app).rows[1].view.id
        await press(pilot, "down", "enter")
        assert app.view.NAME == "message"
        assert f"message {id_}" in screen_text(app)
        await press(pilot, "A", "y", "escape")
        assert [letter.view.payload["order"] for letter in table(app).rows] == [2, 0]
        await press(pilot, "escape")
        assert [kind.group.count for kind in table(app).rows] == [2, 2]

    act(site, "dead", story)
    assert queue.stats().dead == 4


def test_what_dies_meanwhile_comes_with_the_next_look_and_is_read_alone(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        first = table(app).rows[0]
        await press(pilot, "down", "space")
        queue.dlq.discard(first.sample.view.id)
        queue.enqueue({"order": 9})
        (message,) = queue.receive(1)
        fail(message, Failure("ValueError", "no", TRACEBACK, retriable=False))
        before = dict(app.source.queue("orders").meter.snapshot())
        await press(pilot, "r")
        assert [(kind.group.type, kind.group.count) for kind in table(app).rows] == [
            *sorted([("TimeoutError", 2), ("KeyError", 2)], key=lambda pair: pair[0] != table(app).rows[0].group.type),
            ("ValueError", 1),
        ]
        assert [kind.group.type for kind in table(app).marked_rows] == ["KeyError"]
        assert table(app).rows[table(app).cursor].group.type != "ValueError"
        after = app.source.queue("orders").meter.snapshot()
        read = sum(n - before.get(line, 0) for line, n in after.items() if line[:2] == ("GET", "dlq"))
        assert read == 1

    act(site, "dead", story)


def test_the_filter_narrows_kinds_and_letters_and_is_taken_along(site: Site) -> None:
    orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "slash")
        await type_in(pilot, "payload.order>0")
        await press(pilot, "enter")
        assert sorted(kind.group.count for kind in table(app).rows) == [2, 2]
        assert note(app).startswith("4 of 5 letters of 2 kinds")
        await press(pilot, "s", "enter")
        assert app.view is not None
        assert app.view.filter == parse("payload.order>0")
        assert len(table(app).rows) == 2
        await press(pilot, "F")
        assert "Replay 2 messages" in dialog(app)
        await press(pilot, "n", "escape")
        assert len(table(app).rows) in (2, 3)  # without the filter all of the kind
        await press(pilot, "slash")
        await type_in(pilot, "payload.order>99")
        await press(pilot, "enter")
        assert table(app).empty == "None of them matches the filter."
        assert box(app) == ""

    act(site, "dead", story)


def test_what_strangers_wrote_does_no_harm_and_secrets_are_hidden(site: Site) -> None:
    orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        for keys in (["down"], ["enter"], ["X"], ["escape"]):
            await press(pilot, *keys)
            seen = screen_text(app)
            assert seen.replace("\n", "").isprintable()
            assert "hunter2" not in seen
        assert "[bold]x[/bold]" in screen_text(app)

    act(site, "dead", story, size=LARGE)


def test_a_bucket_that_does_not_answer_is_told_in_place_and_tried_again(site: Site) -> None:
    orders(site)
    reads = Shelf.fresh

    def refuse(*_: object) -> object:
        from s3queue.errors import StoreRefused

        raise StoreRefused("Access denied.", reason="access-denied")

    with pytest.MonkeyPatch.context() as patch:

        async def story(app: Dashboard, pilot: Pilot[None]) -> None:
            patch.setattr(Shelf, "fresh", refuse)
            app.say("letters", "orders")
            await settle(pilot)
            assert "Access denied" in table(app).empty
            patch.setattr(Shelf, "fresh", reads)
            await press(pilot, "r")
            assert len(table(app).rows) == 5

        act(site, "dead", story)


@pytest.mark.parametrize("theme", [DARK, LIGHT])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_how_it_looks(site: Site, theme: str, size: tuple[int, int]) -> None:
    queue = orders(site)
    end = f"{size[0]}-{theme.rpartition('-')[2]}"

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        app.theme = theme
        await press(pilot, "space")
        check_picture(app, f"dead-{end}")
        await press(pilot, "u", "enter", "down")
        check_picture(app, f"letters-{end}")
        await press(pilot, "X")
        check_picture(app, f"confirm-{end}")
        await press(pilot, "escape", "E")
        check_picture(app, f"editor-{end}")
        await press(pilot, "escape", "space", "space", "A")
        queue.dlq.discard(table(app).rows[1].view.id)
        await press(pilot, "y")
        assert app.view is not None
        app.view.tell()  # by now all requests are counted
        await settle(pilot)
        check_picture(app, f"outcome-{end}")

    act(site, "dead", story, size=size)
