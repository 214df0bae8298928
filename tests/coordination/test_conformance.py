"""What every backend does, the fake one, a real server of Redis' kind, and SQS by HTTP."""

from __future__ import annotations

from s3queue.coordination import MESSAGES, TICKETS, Hint
from tests.coordination.backends import Backend
from tests.queue.clocks import eventually

GARBAGE = [
    b"garbage",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b"[" * 900,
    b'{"kind": "messages", "lane": -1, "worker": ""}',
    b'{"kind": "messages", "lane": true, "worker": ""}',
    b'{"kind": "messages", "lane": 0, "worker": {}}',
    b'{"kind": "format-disk", "lane": 0, "worker": ""}',
    b'{"kind": "messages", "lane": 0, "worker": "' + b"x" * 2000 + b'"}',
]


def test_a_hint_reaches_a_listener_elsewhere_as_it_was_sent(backend: Backend) -> None:
    heard: list[Hint] = []
    there, here = backend.open(), backend.open()
    there.listen(heard.append)
    assert eventually(lambda: there.up)
    sent = [Hint(MESSAGES, 3), Hint(TICKETS, 0, "worker-7")]
    for hint in sent:
        here.announce(hint)
    assert eventually(lambda: set(heard) == set(sent))
    assert eventually(lambda: here.up)
    assert backend.told.changes == []


def test_what_was_announced_before_the_end_is_sent(backend: Backend) -> None:
    heard: list[Hint] = []
    there, here = backend.open(), backend.open()
    there.listen(heard.append)
    assert eventually(lambda: there.up)
    here.announce(Hint(MESSAGES, 1))
    here.close()
    here.announce(Hint(MESSAGES, 2))  # forgotten, without a complaint
    assert eventually(lambda: heard == [Hint(MESSAGES, 1)])


def test_a_thousand_announcements_share_a_few_sends(backend: Backend) -> None:
    heard: list[Hint] = []
    there, here = backend.open(), backend.open()
    there.listen(heard.append)
    assert eventually(lambda: there.up)
    for _ in range(1000):
        here.announce(Hint(MESSAGES))
    here.close()
    assert eventually(lambda: len(heard) > 0)
    assert len(heard) < 100


def test_garbage_and_a_failing_listener_do_no_harm(backend: Backend) -> None:
    heard: list[Hint] = []

    def fails(hint: Hint) -> None:
        raise RuntimeError(hint)

    there = backend.open()
    there.listen(fails)
    there.listen(heard.append)
    assert eventually(lambda: there.up)
    for data in GARBAGE:
        backend.forge(data)
    backend.open().announce(Hint(MESSAGES, 5))
    assert eventually(lambda: Hint(MESSAGES, 5) in heard)
    assert heard == [Hint(MESSAGES, 5)]
    assert backend.told.changes == []


def test_who_stops_listening_hears_nothing_more(backend: Backend) -> None:
    before: list[Hint] = []
    after: list[Hint] = []
    there, here = backend.open(), backend.open()
    stop = there.listen(before.append)
    assert eventually(lambda: there.up)
    stop()
    there.listen(after.append)
    here.announce(Hint(MESSAGES, 1))
    assert eventually(lambda: after == [Hint(MESSAGES, 1)])
    assert before == []


def test_presence(backend: Backend) -> None:
    mine, theirs = backend.open(), backend.open()
    stop = mine.present("worker/1", {"room": 3}, 30)
    theirs.present("worker/2", {"room": 0}, 30)
    if not backend.shows:
        assert (mine.presence(), theirs.presence()) == (None, None)
        return
    assert eventually(lambda: mine.presence() == {"worker/1": {"room": 3}, "worker/2": {"room": 0}})
    stop()
    assert eventually(lambda: theirs.presence() == {"worker/2": {"room": 0}})
    theirs.close()
    assert mine.presence() == {}
