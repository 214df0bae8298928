"""Every action by its key: planned, asked, done, told; and what the engine says of the queue afterwards."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from threading import Event
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static, TextArea

from s3queue import InvalidInput, Queue, StoreUnavailable
from s3queue.core.invariants import violations
from s3queue.core.message import Failure
from s3queue.store.port import PutMode, fetch, walk
from s3queue_admin.actions import audit
from s3queue_admin.actions.running import LOCK
from s3queue_admin.tui.actions import ACTIONS, actions_on
from s3queue_admin.tui.app import Dashboard
from s3queue_admin.tui.widgets.confirm import Confirm
from s3queue_admin.tui.widgets.editor import Editor, json_lines, read_json
from s3queue_admin.tui.widgets.going import Going
from s3queue_admin.tui.widgets.outcome import Outcome
from s3queue_admin.tui.widgets.table import Table
from tests.admin.tui.pictures import screen_text
from tests.admin.tui.stage import EVIL, SMALL, TRACEBACK, Site, fail, play, press, settle, type_in
from tests.store.faulty import Wrapper

TABLE_KEYS = {"up", "k", "down", "j", "g", "G", "home", "end"}


def orders(site: Site, **options: Any) -> Queue:
    """Return a queue with five dead letters of two kinds; the last one is nasty."""
    queue = site.queue("orders", worker_id="w1", **options)
    queue.enqueue_many([{"order": number} for number in range(4)])
    queue.enqueue({"order": 4, "note": EVIL, "token": "hunter2"})
    for number, message in enumerate(queue.receive(5)):
        kind, text = ("TimeoutError", f"after {number} s") if number < 3 else ("KeyError", f"{EVIL} password=hunter2")
        fail(message, Failure(kind, text, TRACEBACK, retriable=False))
        site.clock.advance(1)
    assert queue.stats().dead == 5
    return queue


def payloads(queue: Queue, *states: str) -> list[Any]:
    """Return the payloads of the messages in these states, as the engine has them, its invariants intact."""
    for agents in queue.connect().lanes.all():
        agents.lane.committer.read()
        assert violations(agents.lane.committer.ledger) == []
    return sorted((view.payload for view in queue.messages(*states)), key=lambda payload: str(payload.get("order")))


def everything(site: Site) -> dict[str, bytes]:
    """Return all objects of the bucket."""
    return {key: fetch(site.store, key).body for key in walk(site.store, "")}


async def go(pilot: Pilot[None], name: str, queue: str = "orders") -> None:
    pilot.app.say(name, queue)  # type: ignore[attr-defined]
    await settle(pilot)


def act(site: Site, name: str, story: Callable[[Dashboard, Pilot[None]], Awaitable[None]], **options: Any) -> Dashboard:
    """Play a story on a screen of the queue, in a dashboard that may write."""
    size = options.pop("size", SMALL)
    app = site.dashboard(write=True, **options)

    async def begin(pilot: Pilot[None]) -> None:
        await go(pilot, name)
        await story(app, pilot)

    play(app, begin, size)
    return app


def table(app: Dashboard) -> Table[Any]:
    assert app.view is not None
    assert app.view.table is not None
    return app.view.table


def dialog(app: Dashboard) -> str:
    return "\n".join(str(each.render()) for each in app.screen.query(Static))


def toasts(app: Dashboard) -> str:
    return "\n".join(f"{told.title} {told.message}" for told in app._notifications)


def test_a_letter_is_replayed_with_plan_reason_and_an_entry_in_the_audit_trail(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "down", "A")
        assert isinstance(app.screen, Confirm)
        assert "Replay 1 message of orders?" in dialog(app)
        assert '{"order":3}' in dialog(app)
        assert "requests, $0.00" in dialog(app)
        assert queue.stats().dead == 5
        app.screen.query_one("#reason", Input).focus()
        await type_in(pilot, "mended")
        await press(pilot, "enter", "enter")
        assert "Replayed 1 message of orders." in toasts(app)
        assert len(table(app).rows) == 4

    act(site, "letters", story)
    assert payloads(queue, "pending") == [{"order": 3}]
    (entry,) = audit(queue)
    assert (entry.verb, entry.reason, entry.count, entry.error) == ("replay", "mended", 1, "")


def test_no_and_escape_change_nothing(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "X", "n")
        await press(pilot, "X", "escape")
        await press(pilot, "X", "enter")  # what a destructive dialog begins with is No
        assert app.view is app.screen

    act(site, "letters", story)
    assert (queue.stats().dead, list(audit(queue))) == (5, [])


def test_a_replay_is_as_quick_as_the_dialog_is_told(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "F")
        app.screen.query_one("#per-s", Input).focus()
        for wrong in ("0", "fast"):
            await type_in(pilot, wrong)
            assert app.screen.query_one("#yes", Button).disabled, wrong
            await press(pilot, *["backspace"] * len(wrong))
        await type_in(pilot, "2")
        assert "takes 2s" in dialog(app)
        began = site.clock.monotonic()
        await press(pilot, "enter", "enter")
        assert site.clock.monotonic() - began >= 2.0  # 2, 2 and 1 of them, a second apart

    act(site, "letters", story)
    assert queue.stats().dead == 0
    (entry,) = audit(queue)
    assert (entry.count, entry.options) == (5, {"per_s": 2.0})


def test_marks_and_filter_say_what_is_meant_and_survive(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "slash")
        await type_in(pilot, "timeout")
        await press(pilot, "enter")
        assert [row.view.payload["order"] for row in table(app).rows] == [2, 1, 0]
        await press(pilot, "space", "space", "A")
        assert "Replay 2 messages" in dialog(app)
        queue.dlq.replay(table(app).rows[0].view.id)  # while the dialog is open
        queue.process_once(lambda _: None)
        await press(pilot, "y")
        assert isinstance(app.screen, Outcome)
        assert "Replayed 1 message of orders; 1 refused." in dialog(app)
        assert "there is no letter of it" in dialog(app)
        await press(pilot, "escape")
        assert app.view is not None
        assert str(app.view.filter) == "timeout"
        assert [row.view.payload["order"] for row in table(app).rows] == [0]
        await press(pilot, "space", "F")
        assert "Replay 1 message" in dialog(app)
        await press(pilot, "n")
        assert len(table(app).marked) == 1
        await press(pilot, "Z", "y")
        assert table(app).empty == "None of them matches the filter."

    act(site, "letters", story)
    assert payloads(queue, "pending") == [{"order": 1}]
    assert [payload["order"] for payload in payloads(queue, "dead")] == [3, 4]
    assert {entry.verb: entry.where for entry in audit(queue)}["discard"] == "state:dead timeout"


def test_a_group_is_replayed_and_another_discarded(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        assert [kind.group.count for kind in table(app).rows] == [3, 2]
        await press(pilot, "A", "y")
        assert [kind.group.count for kind in table(app).rows] == [2]
        await press(pilot, "X")
        assert "Discard 2 messages of orders?" in dialog(app)
        assert "hunter2" not in screen_text(app)
        await press(pilot, "y")
        assert table(app).empty == "There are no dead letters."

    act(site, "dead", story)
    assert [payload["order"] for payload in payloads(queue, "pending")] == [0, 1, 2]
    assert queue.stats().dead == 0
    assert {entry.verb: entry.count for entry in audit(queue)} == {"replay": 3, "discard": 2}


def test_an_edited_letter_becomes_a_new_message_and_no_wrong_payload_is_written(site: Site) -> None:
    queue = orders(site, max_payload_bytes=1000)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "E")
        assert isinstance(app.screen, Editor)
        area, save = app.screen.query_one(TextArea), app.screen.query_one("#save", Button)
        assert "hunter2" in area.text  # it has to be written back
        assert area.text.replace("\n", "").isprintable()
        assert save.disabled
        for wrong in ('{"order": ', '{"a": 1, "a": 2}', '{"a": NaN}', "9" * 5000, "[" * 2000, '"' + "x" * 1000 + '"'):
            area.text = wrong
            await press(pilot, "ctrl+s")
            assert isinstance(app.screen, Editor), wrong
            assert save.disabled
        area.text = '{"order": 44, "note": "mended"}'
        await press(pilot, "escape")
        assert "will be lost" in dialog(app)
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Confirm)
        assert "they become new messages" in dialog(app)
        await press(pilot, "y")
        await press(pilot, "E", "escape")
        assert app.screen_stack[-1] is app.view

    act(site, "letters", story)
    assert payloads(queue, "pending") == [{"order": 44, "note": "mended"}]
    assert [payload["order"] for payload in payloads(queue, "dead")] == [0, 1, 2, 3]


def test_what_is_shown_to_be_edited_reads_back_as_it_was() -> None:
    values: tuple[Any, ...] = ({EVIL: [EVIL, "\\u202e", "ü\u2028\U000e0001", None, 1.5]}, "\ud800", [], None)
    for value in values:
        text = json_lines(value)
        assert text.replace("\n", "").isprintable()
        assert json.loads(text) == value
    with pytest.raises(InvalidInput, match="Line 2, column 3"):
        read_json("{\n  oops}", 1000)


def test_waiting_and_claimed_messages_are_cancelled_released_and_reset(site: Site) -> None:
    queue = site.queue("orders", worker_id="w1", visibility_timeout=30)
    queue.enqueue_many([{"order": number} for number in range(6)])
    queue.receive(3)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        first = [row.view.payload["order"] for row in table(app).rows]
        await press(pilot, "space", "space", "C")
        assert "Cancel 2 messages" in dialog(app)
        await press(pilot, "y")
        assert [row.view.payload["order"] for row in table(app).rows] == first[2:]
        app.go("messages", "orders", state="processing")
        await settle(pilot)
        held = [row.view.payload["order"] for row in table(app).rows]
        await press(pilot, "L")
        assert "their workers may be at work" in dialog(app)
        await press(pilot, "y")
        assert [row.view.payload["order"] for row in table(app).rows] == held[1:]
        await press(pilot, "B", "y")
        assert queue.stats().processing == 1
        await press(pilot, "V")
        assert "Nothing to reset" in dialog(app)  # its lease has not ended
        await press(pilot, "y", "escape")
        site.clock.advance(31)
        await press(pilot, "V", "y")
        await press(pilot, "r")
        assert not table(app).rows

    act(site, "messages", story)
    stats = queue.stats()
    assert (stats.pending + stats.scheduled, stats.processing) == (4, 0)
    assert sorted(entry.verb for entry in audit(queue)) == ["cancel", "release", "reset", "reset"]


def test_queues_are_paused_resumed_and_purged_several_at_once(site: Site) -> None:
    queue, mails = orders(site), site.queue("mails")
    mails.connect()

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        at = next(n for n, line in enumerate(table(app).rows) if line.name == "mails")
        await press(pilot, *["down"] * at, "space", "space", "H")
        assert "Pause 2 queues?" in dialog(app)
        await press(pilot, "y")
        assert "Paused mails, orders." in toasts(app)
        assert mails.stats().paused
        assert queue.stats().paused
        assert len(table(app).marked) == 2
        await press(pilot, "W", "y")
        assert not mails.stats().paused
        await press(pilot, "N")
        assert "Purge 5 messages of 2 queues?" in dialog(app)
        await press(pilot, "y")

    act(site, "overview", story)
    stats = queue.stats()
    assert (stats.dead, stats.paused) == (0, False)
    assert sorted(entry.verb for entry in audit(queue)) == ["pause", "purge", "resume"]
    assert sorted(entry.verb for entry in audit(mails)) == ["pause", "resume"]


def test_a_dashboard_that_reads_refuses_every_change_and_says_so(site: Site) -> None:
    queue = orders(site)
    app = site.dashboard()
    before = everything(site)

    async def story(pilot: Pilot[None]) -> None:
        for name in ("overview", "messages", "dead", "letters", "tickets", "workers"):
            await go(pilot, name)
            app.clear_notifications()
            writes = [action for action in actions_on(name) if action.write]
            await press(pilot, *(action.key for action in writes))
            assert app.screen is app.view, name
            for action in writes:
                assert f"start it with --write to {action.title}." in toasts(app), (name, action.name)
            assert "READ-ONLY" in screen_text(app)

    play(app, story)
    assert before == everything(site)
    assert queue.stats().dead == 5


def test_keys_that_change_are_never_a_slip_away_from_those_that_read() -> None:
    for screen in {name for action in ACTIONS for name in action.where}:
        keys = [(action, key) for action in actions_on(screen) for key in action.key.split(",")]
        assert len({key for _, key in keys}) == len(keys), screen
        reads = {key for action, key in keys if not action.write} | TABLE_KEYS
        for action, key in keys:
            if action.write:
                assert key.isupper(), action.name
                assert key.lower() not in reads, (screen, action.name)
            assert action.write or not key.isupper()


class Gate(Wrapper):
    """A store that waits before it writes a ledger, or fails then."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.store)
        self.shut, self.reached, self.fails, self.after = False, Event(), False, 0
        self.opened = Event()

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if "ledger" in key and self.shut:
            self.after -= 1
            if self.after < 0:
                self.reached.set()
                assert self.opened.wait(20)
                if self.fails:
                    raise StoreUnavailable("The store is gone.", maybe_applied=True)
        return self.inner.put(key, body, mode)


def test_escape_stops_an_action_between_commits_and_what_was_done_is_told(site: Site) -> None:
    queue = site.queue("orders")
    queue.enqueue_many([{"order": number} for number in range(500)], delay=600)
    gate = Gate(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "tab")
        table(app).marked |= {row.view.id for row in table(app).rows[:400]}
        await press(pilot, "C")
        gate.shut = True
        await pilot.press("y")
        while not gate.reached.is_set():
            await pilot.pause(0.01)
        assert isinstance(app.screen, Going)
        await pilot.press("A", "q", "escape")  # keys are not for the screen below
        await pilot.pause()
        assert "stopping" in dialog(app)
        gate.opened.set()
        await settle(pilot)
        assert isinstance(app.screen, Outcome)
        assert "stopped" in dialog(app)

    act(site, "messages", story, store=gate)
    (entry,) = audit(queue)
    assert entry.stopped
    assert 0 < entry.count < 400
    assert len(payloads(queue, "scheduled")) == 500 - entry.count


def test_a_store_that_fails_in_the_middle_is_told_with_what_is_not_known(site: Site) -> None:
    queue, gate = orders(site), Gate(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "A")
        gate.shut = gate.fails = True
        gate.opened.set()
        await press(pilot, "y")
        assert isinstance(app.screen, Outcome)
        assert "broken off" in dialog(app)
        assert "was not answered" in dialog(app)
        assert "did not say whether" in dialog(app)
        gate.shut = False
        await press(pilot, "escape", "A", "y")
        assert app.screen_stack[-1] is app.view

    act(site, "letters", story, store=gate)
    assert queue.stats().dead == 4


def test_what_cannot_be_planned_or_begun_says_why(site: Site) -> None:
    queue = orders(site)

    async def story(app: Dashboard, pilot: Pilot[None]) -> None:
        with queue.lock(LOCK, ttl=60):
            await press(pilot, "A", "y")
            assert "Somebody else replays or discards" in dialog(app)
        await press(pilot, "escape", "slash")
        await type_in(pilot, "state:pending")
        await press(pilot, "enter", "F")
        assert "no such message matches" in dialog(app)
        await press(pilot, "escape", "A")
        assert "There is nothing to replay" in toasts(app)
        assert app.screen is app.view

    act(site, "letters", story)
    assert (queue.stats().dead, list(audit(queue))) == (5, [])
