"""Who works on a queue: the registry says it, and a backend that has presence says who is there now."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner

from s3queue import Queue
from s3queue.cli.commands import cli
from s3queue.core.presence import BEAT_MS, Presence, encode_presence
from s3queue.events import Event
from tests.coordination.test_redis import Stamped
from tests.coordination.valkey import Valkey
from tests.queue.clocks import eventually
from tests.queue.places import heard, plant
from tests.worker.running import memory_url, running


def gone(queue: Queue, name: str, *, ago_ms: int) -> None:
    """Leave the entry of a worker that was killed."""
    at_ms = queue.connect().store.now_ms() - ago_ms
    entry = Presence(name, "an instance", at_ms, BEAT_MS, 8, at_ms, host="elsewhere", pid=7, held=3, running=("m1",))
    plant(queue, f"workers/{name}.json", encode_presence(entry))


def test_presence_tells_of_a_worker_that_is_gone_before_its_heartbeat_is_missed(valkey: Valkey) -> None:
    url = memory_url()
    with (
        Queue("jobs", url=url, coordination=valkey.url) as here,
        Queue("jobs", url=url, coordination=valkey.url, worker_id="alive") as there,
        running(there, Stamped()),
    ):
        gone(here, "killed", ago_ms=1000)
        gone(here, "long-dead", ago_ms=10 * BEAT_MS)
        assert eventually(lambda: [one.worker for one in here.workers() if one.present] == ["alive"])
        alive, killed, long_dead = here.workers()
        assert (alive.dead, alive.present, alive.pid, alive.lanes) == (False, True, os.getpid(), (0,))
        assert (killed.dead, killed.present, killed.host, killed.held, killed.running) == (
            False, False, "elsewhere", 3, ("m1",),
        )  # fmt: skip
        assert (long_dead.dead, long_dead.present) == (True, False)
        assert (killed.beat_at - long_dead.beat_at).total_seconds() > 100
        valkey.kill()
        assert [(one.worker, one.present) for one in here.workers()] == [
            ("alive", None), ("killed", None), ("long-dead", None),
        ]  # fmt: skip
    with Queue("jobs", url=url) as queue:
        assert [one.present for one in queue.workers()] == [None, None], "the registry alone; one has left it"


def test_an_entry_that_cannot_be_read_is_told_and_hides_no_other() -> None:
    with Queue("jobs", url=memory_url()) as queue:
        gone(queue, "w1", ago_ms=0)
        key = plant(queue, "workers/w0.json", b"{}")
        events: list[Event] = heard(queue, "error")
        assert [one.worker for one in queue.workers()] == ["w1"]
        assert key in str(events[0].error)


def test_they_are_shown(valkey: Valkey, tmp_path: Path) -> None:
    with Queue.from_url((tmp_path / "jobs").as_uri()) as queue:
        gone(queue, "killed", ago_ms=1000)
    arguments = ["workers", "--url", (tmp_path / "jobs").as_uri()]
    head, line = CliRunner().invoke(cli, arguments).stdout.splitlines()
    assert head.split()[:6] == ["worker", "host", "pid", "lanes", "heartbeat", "dead"]
    assert line.split()[:4] == ["killed", "elsewhere", "7", "0"]
    shown = CliRunner().invoke(cli, [*arguments, "--coordination", valkey.url, "--output", "json"])
    (one,) = json.loads(shown.stdout)
    assert (one["worker"], one["dead"], one["present"], one["running"]) == ("killed", False, False, ["m1"])
    assert one["beat_at"].endswith("Z")
