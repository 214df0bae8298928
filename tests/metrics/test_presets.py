"""Presets: valid, found, overruled by what is given; their figures against a fleet that idles, and in the documents."""

from __future__ import annotations

import json
from itertools import count

import pytest

from s3queue import InvalidSetting, Queue, Worker
from s3queue.core.presence import IDLE_BEAT_MS, Presence
from s3queue.presets import COLUMNS, MONTH_S, PRESETS, Plugin, find, rows
from s3queue.protocol.coordinator import LEASE_MS, TRUST
from s3queue.protocol.registry import Registration
from s3queue.runtime.pace import Polling
from s3queue.runtime.tuning import Tuning
from s3queue.store.metered import billed, usd
from tests.architecture.source import ROOT
from tests.cli.conftest import Run, _log_as_before, folder, run
from tests.queue.clocks import ManualClock
from tests.worker.running import memory_url

__all__ = ["_log_as_before", "folder", "run"]  # fixtures
_numbers = count()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_suits_a_worker_and_a_queue(name: str) -> None:
    preset = find(name)
    queue = Queue("jobs", url=memory_url(), preset=name)
    Worker(queue, print, preset=name)
    tuning, settings = Tuning.of(name), queue.settings
    assert {option: getattr(tuning, option) for option in preset.worker} == preset.worker
    assert settings.visibility_timeout_s == preset.queue.get("visibility_timeout", 30)
    assert settings.max_attempts == preset.queue.get("max_attempts", 3)
    assert settings.lanes == preset.queue.get("lanes", 1)


@pytest.mark.parametrize("name", PRESETS)
def test_an_idle_coordinator_looks_often_enough_to_stay_one(name: str) -> None:
    longest_s = 1.25 * max(find(name).worker["poll_interval"], find(name).worker["max_poll_interval"])
    assert longest_s < TRUST * LEASE_MS / 1000


def test_what_is_given_wins() -> None:
    tuning = Tuning.of("heavy", concurrency=7, max_poll_interval=None)
    assert (tuning.concurrency, tuning.poll_interval, tuning.max_poll_interval) == (7, 10, 10)
    queue = Queue("jobs", url=memory_url(), preset="heavy", max_attempts=9)
    assert (queue.settings.max_attempts, queue.settings.visibility_timeout_s) == (9, 1800)


@pytest.mark.parametrize("name", ["", "Heavy", "fleet", 3])
def test_an_unknown_preset_is_refused(name: str) -> None:
    queue = Queue("jobs", url=memory_url())
    for use in (lambda: Worker(queue, print, preset=name), lambda: Queue("jobs", url=memory_url(), preset=name)):
        with pytest.raises(InvalidSetting, match="fleet-10-25"):
            use()


def test_the_plugin_s_published_estimate_is_met() -> None:
    """100 pods with its optimised settings: 6.7 PUT, 50 LIST and 2,500 GET a second, 67 % less than 10 + 100 + 5,000."""
    plugin = find("fleet-50-100").plugin
    assert plugin is not None
    load = plugin.load(100)
    assert (round(load.put_list, 1), load.get) == (56.7, 2500)
    assert round(load.usd_a_month()) == round((56.67 * 5 + 2500 * 0.4) * MONTH_S / 1e6)
    before = Plugin(1, 1.0, 10.0).load(100)
    assert (before.put_list, before.get) == (110, 5000)


class Idlers:
    """Workers that have nothing to do, in one thread and in time that passes as fast as it can."""

    def __init__(self, preset: str, workers: int) -> None:
        self.clock, url = ManualClock(), f"memory://idle-{next(_numbers)}"
        self.queues = [
            Queue("jobs", url=url, clock=self.clock, probe=False, worker_id=f"w{number}", preset=preset)
            for number in range(workers)
        ]
        self.tuning = Tuning.of(preset)
        self.polls = [Polling(self.tuning.poll_interval, self.tuning.max_poll_interval) for _ in self.queues]
        self.entries = [Registration(queue.connect().lane, lambda: Presence("", "", 0, 0, 8)) for queue in self.queues]
        for queue in self.queues:
            queue.connect().consumer.coordinate(max_poll_s=self.tuning.max_poll_interval)

    def _turn(self, index: int) -> None:
        connection, poll, now = self.queues[index].connect(), self.polls[index], self.clock.monotonic()
        consumer = connection.consumer
        if now >= poll.due_at:
            consumer.exchange(8)
            poll.max_interval_s = consumer.idle_poll_s if consumer.led else self.tuning.max_poll_interval
            poll.found(now, 0, 8, consumer.lane.ids.random())
        for agents in connection.lanes.all():
            agents.janitor.tick()
            agents.sweep()
            agents.flush_deferred()
        self.entries[index].step()
        connection.duties.step()

    def idle(self, seconds: float) -> dict[tuple[str, str, str], int]:
        """Let time pass, and return what was asked of the store."""
        before, end = self._counts(), self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for index in range(len(self.queues)):
                self._turn(index)
            self.clock.advance(0.5)
        return {line: number - before.get(line, 0) for line, number in self._counts().items()}

    def _counts(self) -> dict[tuple[str, str, str], int]:
        total: dict[tuple[str, str, str], int] = {}
        for queue in self.queues:
            for line, number in queue.meter.snapshot().items():
                total[line] = total.get(line, 0) + number
        return total


@pytest.mark.parametrize(("name", "workers"), [("balanced", 1), ("fleet-10-25", 10)])
def test_what_idle_workers_cost_is_what_the_preset_says(name: str, workers: int) -> None:
    idlers, seconds = Idlers(name, workers), 1200
    idlers.idle(2 * IDLE_BEAT_MS / 1000)  # until heartbeats are as seldom as they get
    counts, said = idlers.idle(seconds), find(name).idle_load(workers)
    sums = billed(counts)
    assert sums["put_list"] / seconds == pytest.approx(said.put_list, rel=0.1)
    assert sums["get"] / seconds == pytest.approx(said.get, rel=0.1)
    assert usd(counts) * MONTH_S / seconds == pytest.approx(said.usd_a_month(), rel=0.1)


def test_a_hundred_idle_workers_cost_less_than_twenty_dollars_a_month() -> None:
    assert find("fleet-50-100").idle_load(100).usd_a_month() < 20


def test_the_command_prints_the_table(run: Run) -> None:
    shown = run("presets")
    assert shown.exit_code == 0
    for row in (COLUMNS, *rows()):
        assert all(cell in shown.stdout for cell in row)
    data = json.loads(run("presets", "--output", "json").stdout)
    assert list(data) == list(PRESETS)
    assert data["fleet-50-100"]["s3db.js"]["requests_per_s"] == pytest.approx(2556.7, abs=0.1)
    assert data["fleet-200-1000"]["s3db.js"] is None


def test_the_document_has_the_table_of_the_code() -> None:
    text = (ROOT / "docs/tuning.md").read_text("utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    start = lines.index(list(COLUMNS))
    assert [tuple(line) for line in lines[start + 2 : start + 2 + len(PRESETS)]] == rows()
    assert all(f"`{preset.name}`: {preset.use}" in text for preset in PRESETS.values())


def test_the_worker_command_takes_a_preset(run: Run) -> None:
    url = f"memory://presets-{next(_numbers)}/jobs"
    done = run("worker", "builtins:print", "--url", url, "--burst", "--preset", "reliable", "--max-attempts", "7")
    assert done.exit_code == 0, done.stderr
    settings = Queue.from_url(url).settings
    assert (settings.visibility_timeout_s, settings.max_attempts) == (300, 7)
    again = run("worker", "builtins:print", "--url", url, "--burst", env={"S3QUEUE_PRESET": "heavy"})
    assert "the queue exists with {'visibility_timeout': 300.0" in again.stderr
    assert run("worker", "builtins:print", "--url", url, "--preset", "huge").exit_code == 2
