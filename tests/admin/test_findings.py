"""Findings: a healthy queue has none, each trouble has its own, and the docs name the same checks as the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest

from s3queue import NonRetriable, Queue, Worker
from s3queue.cli.commands import cli as engine
from s3queue.clock import to_datetime
from s3queue.core.ledger import Leader, Ledger, Line, Part, Rescue, Ticket
from s3queue.core.presence import Presence
from s3queue.core.settings import Settings
from s3queue.protocol.census import Stats
from s3queue.protocol.locks import LockInfo
from s3queue.protocol.schedules import Schedule
from s3queue.store.port import CREATE
from s3queue_admin import judging as module
from s3queue_admin.catalogue import KINDS, MAX_KEYS, TROUBLESHOOTING
from s3queue_admin.cli.commands import cli as admin
from s3queue_admin.cli.settings import read_changes
from s3queue_admin.judging import findings
from s3queue_admin.picture import Books, show_lane, show_workers
from s3queue_admin.snapshot import Problem, QueueSnapshot, Rates, Span
from tests.admin.test_snapshot import Site

ROOT = Path(__file__).resolve().parents[2]
NOW_MS = 1_750_000_000_000
NAME = f"9/{NOW_MS - 900_000:013d}-{'0' * 20}-1"
MESSAGE = "0" * 20 + "-0"


def at(ms_ago: int) -> datetime:
    return to_datetime(NOW_MS - ms_ago)


def presence(worker: str = "w1", **changes: Any) -> Presence:
    known = {"beat_at_ms": NOW_MS - 1000, "interval_ms": 20_000, "started_at_ms": NOW_MS - 7_200_000, "version": "1"}
    return Presence(worker, worker + "-process", capacity=10, **{**known, **changes})


def snapshot(
    ledger: Ledger | None = None,
    workers: tuple[Presence, ...] = (presence(),),
    settings: Settings | None = None,
    *,
    ms_ago: int = 0,
    ledger_bytes: int = 500,
    **changes: Any,
) -> QueueSnapshot:
    """A queue with nothing to do, one worker, who leads; but for what is changed."""
    leader = Leader("w1", "w1-process", 1, NOW_MS + 10_000)
    found = replace(ledger or Ledger(), leader=(ledger.leader if ledger else None) or leader)
    found = replace(found, swept_at_ms=found.swept_at_ms or NOW_MS - 20_000, revision=9)
    books = Books(0, "s3queue/jobs/ledger/0000.json", found, ledger_bytes)
    return replace(
        QueueSnapshot(
            queue="jobs",
            location="memory",
            root="s3queue/jobs/",
            taken_at=at(ms_ago),
            listed_at=at(ms_ago),
            took_s=0.1,
            requests={},
            settings=settings or Settings(probed_at_ms=1),
            stats=Stats(NOW_MS),
            spans={},
            lanes=(show_lane(books, NOW_MS),),
            workers=show_workers(workers, [books], NOW_MS),
            locks=(),
            schedules=(),
        ),
        **changes,
    )


def ticket(
    *, claimed_ago: int = 1000, expires_in: int = 20_000, rescues: tuple[Rescue, ...] = (), worker: str = "w1"
) -> Ledger:
    part = Part(NAME, ((0, 1),), rescues)
    return Ledger(tickets={"t": Ticket("t", (part,), worker, 3, NOW_MS - claimed_ago, NOW_MS + expires_in)})


def line(ms_ago: int) -> Line:
    return Line("l", "dead", NAME, 0, f"{NOW_MS - ms_ago:013d}-{MESSAGE}", MESSAGE, NOW_MS - ms_ago)


def stats(**numbers: Any) -> Stats:
    return Stats(NOW_MS, **numbers)


def schedule(next_at: datetime | None, last_at: datetime | None) -> Schedule:
    return Schedule("nightly", "0 * * * *", "UTC", 1, 0, None, {}, None, "one", next_at, last_at)


def lost(worker: str, claimed_ago: int) -> Rescue:
    return Rescue(worker, NOW_MS - claimed_ago, NOW_MS - claimed_ago + 30_000)


SOON = at(-60_000)
BUSY = {"PUT ledger ok": 60, "PUT ledger throttled": 7}
LEADERLESS = Ledger(leader=Leader("gone", "gone-process", 4, NOW_MS - 5_000))
TROUBLES: dict[str, Callable[[], QueueSnapshot]] = {
    "no-workers": lambda: snapshot(workers=(), stats=stats(pending=5, oldest_age_s=61)),
    "not-visible": lambda: snapshot(stats=stats(scheduled=5), spans={"scheduled": Span(5, SOON, SOON)}),
    "paused-backlog": lambda: snapshot(stats=stats(pending=5, paused=True), spans={"pending": Span(5, at(9000))}),
    "backlog-old": lambda: snapshot(stats=stats(pending=50, oldest_age_s=301), rates=Rates(10, completed=0.01)),
    "no-coordinator": lambda: snapshot(LEADERLESS, stats=stats(pending=1)),
    "stalled": lambda: snapshot(ticket(claimed_ago=50_000, expires_in=-1), stats=stats(processing=1)),
    "not-swept": lambda: snapshot(Ledger(swept_at_ms=NOW_MS - 301_000)),
    "held-long": lambda: snapshot(ticket(claimed_ago=301_000)),
    "worker-dead": lambda: snapshot(workers=(presence(), presence("w2", beat_at_ms=NOW_MS - 63_000))),
    "worker-late": lambda: snapshot(workers=(presence(), presence("w2", beat_at_ms=NOW_MS - 30_000))),
    "worker-unlisted": lambda: snapshot(ticket(worker="stranger")),
    "held-much": lambda: snapshot(workers=(presence(held=1000),)),
    "duplicates": lambda: snapshot(stats=stats(completed=900, rescued=12)),
    "lease-lost-alive": lambda: snapshot(ticket(rescues=(lost("w1", 90_000),))),
    "poison": lambda: snapshot(ticket(rescues=(lost("w8", 90_000), lost("w9", 40_000)))),
    "dead-letters": lambda: snapshot(stats=stats(dead=3), spans={"dead": Span(3, at(9_000_000), at(8_000_000))}),
    "dlq-grown": lambda: snapshot(stats=stats(dead=3), spans={"dead": Span(3, at(9_000_000), at(600_000))}),
    "dlq-growing": lambda: snapshot(stats=stats(dead=3), spans={"dead": Span(3, at(9_000_000), at(10_000))}),
    "failing": lambda: snapshot(stats=stats(completed=70, failed=30)),
    "missing": lambda: snapshot(stats=stats(missing=1)),
    "lost-races": lambda: snapshot(workers=(presence(commits=55, lost_races=45),)),
    "throttled": lambda: snapshot(workers=(presence(requests=BUSY),)),
    "requests-near-limit": lambda: snapshot(rates=Rates(1, requests={"GET ledger ok": 3000.0, "GET inbox ok": 1001.0})),
    "ledger-large": lambda: snapshot(ledger_bytes=2 << 20),
    "settled-left": lambda: snapshot(Ledger(settled={NAME: NOW_MS - 700_000}, cursors={9: NAME})),
    "outbox-old": lambda: snapshot(Ledger(outbox={"l": line(61_000)})),
    "results-on": lambda: snapshot(settings=Settings(probed_at_ms=1, results=True)),
    "history-on": lambda: snapshot(settings=Settings(probed_at_ms=1, history=True)),
    "visibility-short": lambda: snapshot(settings=Settings(probed_at_ms=1, visibility_timeout_s=5)),
    "lanes-many": lambda: snapshot(settings=Settings(probed_at_ms=1, lanes=4)),
    "strict-idle": lambda: snapshot(
        workers=tuple(presence(name) for name in ("w1", "w2", "w3")), settings=Settings(probed_at_ms=1, order="strict")
    ),
    "unprobed": lambda: snapshot(settings=Settings()),
    "versions-mixed": lambda: snapshot(workers=(presence(), presence("w2", version="2"))),
    "clock-skew": lambda: snapshot(workers=(presence(beat_at_ms=NOW_MS + 2_500),)),
    "lock-expired": lambda: snapshot(locks=(LockInfo("l", "w9", 3, at(9000), at(4000), expired=True),)),
    "schedule-never": lambda: snapshot(schedules=(schedule(None, None),)),
    "schedule-missed": lambda: snapshot(schedules=(schedule(SOON, at(2 * 3_600_000)),)),
    "foreign": lambda: snapshot(problems=(Problem("foreign", "x", "it is none of s3queue's"),)),
    "corrupt": lambda: snapshot(problems=(Problem("worker", "x", "not readable", "CorruptObject"),)),
    "newer-format": lambda: snapshot(problems=(Problem("ledger", "x", "newer", "NewerFormat"),)),
    "unread": lambda: snapshot(problems=(Problem("inbox", "x", "denied", "StoreRefused"),)),
}


@pytest.mark.parametrize("code", TROUBLES)
def test_each_trouble_has_its_finding_and_no_other(code: str) -> None:
    (found,) = findings(TROUBLES[code]())
    assert (found.code, found.queue, found.severity) == (code, "jobs", KINDS[code].severity)
    assert found.evidence
    assert found.remedy == KINDS[code].remedy.replace("QUEUE", "jobs")


@pytest.mark.parametrize(
    "healthy",
    [
        snapshot,
        lambda: snapshot(ticket(claimed_ago=299_000), stats=stats(processing=1)),
        lambda: snapshot(stats=stats(pending=50, oldest_age_s=301), rates=Rates(10, completed=1)),
        lambda: snapshot(workers=(presence(processed=72_000),), stats=stats(pending=50, oldest_age_s=301)),
        lambda: snapshot(stats=stats(completed=990, failed=10, rescued=9)),
        lambda: snapshot(Ledger(outbox={"l": line(10_000)}, settled={NAME: NOW_MS - 700_000})),  # above the cursor
        lambda: snapshot(workers=(presence(commits=90, lost_races=10, requests={"PUT ledger lost": 10}),)),
        lambda: snapshot(schedules=(schedule(SOON, at(400_000)),)),
        lambda: snapshot(ticket(rescues=(lost("w1", 9_000_000),))),  # its namesake, before this one began
    ],
)
def test_what_is_as_it_should_be_is_no_finding(healthy: Callable[[], QueueSnapshot]) -> None:
    assert findings(healthy()) == ()


def test_changes_are_judged_against_an_earlier_snapshot() -> None:
    before = snapshot(ms_ago=60_000, stats=stats(completed=100, died=1))
    churned = snapshot(Ledger(leader=Leader("w7", "i", 5, NOW_MS + 9000)))
    assert [found.code for found in findings(churned, before)] == ["coordinator-churn"]
    old = {"dead": Span(5, at(9_000_000), at(8_000_000))}
    dying = snapshot(stats=stats(completed=100, died=5, dead=5), spans=old)
    assert [found.code for found in findings(dying, before)] == ["dlq-growing"]
    crawling = snapshot(stats=stats(completed=101, died=1, pending=1000, oldest_age_s=400))
    assert [found.code for found in findings(crawling, before)] == ["backlog-old"]
    running = snapshot(stats=stats(completed=1000, died=1, pending=1000, oldest_age_s=400))
    assert findings(running, before) == ()


@pytest.mark.parametrize(
    ("ago_s", "code", "severity", "told"),
    [
        (10, "dlq-growing", "warning", "(0:00:10 ago)."),
        (61, "dlq-grown", "warning", "(0:01:01 ago)."),
        (3500, "dlq-grown", "warning", "(0:58:20 ago)."),
        (3600, "dead-letters", "info", "(1:00:00 ago)."),
        (200_000, "dead-letters", "info", "(2 days, 7:33:20 ago)."),
    ],
)
def test_deaths_are_told_with_their_age_and_matter_less_as_they_grow_old(
    ago_s: int, code: str, severity: str, told: str
) -> None:
    span = Span(1, at(ago_s * 1000), at(ago_s * 1000))
    (found,) = findings(snapshot(stats=stats(dead=1), spans={"dead": span}))
    assert (found.code, found.severity) == (code, severity)
    assert found.evidence.startswith("1 dead letter, the first of 2025-06-")
    assert found.evidence.endswith(told)


def test_the_worst_comes_first_and_many_keys_are_counted_and_cut() -> None:
    many = tuple(Problem("foreign", f"k{number}", "it is none of s3queue's") for number in range(1000))
    seen = findings(snapshot(problems=many, stats=stats(missing=1), settings=Settings(probed_at_ms=1, results=True)))
    assert [found.code for found in seen] == ["missing", "foreign", "results-on"]
    assert len(seen[1].keys) == MAX_KEYS
    assert "999 more" in seen[1].evidence


def test_every_check_has_a_trouble_that_shows_it() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in KINDS}
    assert named == {*TROUBLES, "coordinator-churn"}


@pytest.fixture
def site() -> Site:
    return Site()


def fail(payload: Any) -> None:
    raise NonRetriable(f"no {payload}")


def test_a_real_queue_tells_its_troubles(site: Site) -> None:
    queue = site.queue()
    Worker(queue, lambda _: None, burst=True).run()
    assert site.bucket.inspect("jobs").findings == ()
    queue.enqueue_many(range(5))
    queue.process_once(fail, max_messages=2)
    queue.receive(1)
    site.store.put(queue.root + "inbox/0000/notes.txt", b"", CREATE)
    site.store.put(queue.root + "workers/w.json", b'{"format":"s3queue.worker/99"}', CREATE)
    site.clock.advance(70)
    codes = {found.code: found for found in site.bucket.inspect("jobs", fresh=True).findings}
    assert codes.keys() == {"newer-format", "foreign", "dlq-growing", "stalled", "worker-unlisted"}
    assert codes["newer-format"].keys == (queue.root + "workers/w.json",)
    queue.pause()
    site.clock.advance(3600)
    later = {found.code for found in site.bucket.inspect("jobs", fresh=True).findings}
    assert {"paused-backlog", "dead-letters"} <= later


def test_the_inspector_remembers_a_snapshot_of_a_minute_ago(site: Site) -> None:
    queue: Queue = site.queue()
    queue.enqueue_many(range(3))
    site.bucket.inspect("jobs")
    site.clock.advance(900)
    queue.process_once(fail, max_messages=3)
    site.clock.advance(700)  # so that no letter is young
    (found,) = [each for each in site.bucket.inspect("jobs", fresh=True).findings if each.code == "dlq-growing"]
    assert "3 more since" in found.evidence


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of the table below a heading of docs/operator.md, by the first one."""
    text = (ROOT / "docs/operator.md").read_text(encoding="utf-8").split(f"\n### {heading}\n")[1].split("\n#")[0]
    lines = [row.strip("|").split(" | ") for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)[2:]]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_docs_map_the_troubleshooting_chapter_as_the_code_does() -> None:
    documented = {
        entry: tuple(re.findall(r"`([a-z-]+)`", cells[0])) for entry, cells in rows("Troubleshooting").items()
    }
    assert documented == dict(TROUBLESHOOTING)
    assert {code for codes in TROUBLESHOOTING.values() for code in codes} <= KINDS.keys()


def test_the_docs_list_every_check_as_the_code_has_it() -> None:
    documented = {code.strip("`"): tuple(cells) for code, cells in rows("Checks").items()}
    assert documented == {kind.code: (kind.severity, kind.title, kind.remedy) for kind in KINDS.values()}


def command_of(words: list[str]) -> click.Command:
    """The command that a line of the shell names; its words are taken away."""
    found: click.Command = {"s3queue": engine, "s3queue-admin": admin}[words.pop(0)]
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    return found


COMMANDS = [
    (kind.code, line)
    for kind in KINDS.values()
    for line in re.findall("`(s3queue[^`]*)`", kind.found("", queue="jobs").remedy)
]


@pytest.mark.parametrize(("code", "line"), COMMANDS)
def test_commands_in_remedies_can_be_typed_as_they_stand(code: str, line: str) -> None:
    words = line.replace("…", "1").split()
    command = command_of(words)
    with click.Context(command) as ctx:
        given, _, _ = command.make_parser(ctx).parse_args(words)  # an option that there is none of raises
        assert command.name != "configure" or read_changes(given["pairs"], Settings())
    assert "QUEUE" not in line, code


def test_remedies_are_for_the_shell() -> None:
    assert not [kind.code for kind in KINDS.values() if "configure(" in kind.remedy]


def test_times_in_evidence_are_in_utc() -> None:
    (found,) = findings(TROUBLES["lock-expired"]())
    assert "2025-06-15 15:06:36 UTC" in found.evidence
