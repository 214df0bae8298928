"""The worker with processes: real parallel work, handlers that crash, hang, or return what cannot be sent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from s3queue import InvalidSetting, Queue, RetryPolicy, Worker
from s3queue.protocol.outcomes import Recorded
from s3queue.runtime.handler import Runner
from s3queue.runtime.processes import ProcessExecutor
from s3queue.store.memory import MemoryStore
from s3queue.store.port import PutMode
from tests.queue.clocks import eventually
from tests.store.faulty import Wrapper
from tests.worker.handlers import pid, told
from tests.worker.running import FastClock, memory_url, process, running


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue("jobs", url=memory_url(), results=True, max_attempts=1, retry=RetryPolicy(base_s=0)) as found:
        yield found


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_handlers_run_in_processes_of_their_own(queue: Queue, tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(2)]
    # Each waits for the other: they can only end if they run at the same time.
    ids = [queue.enqueue({"mark": str(mine), "until": str(other)}) for mine, other in (marks, marks[::-1])]
    ids += queue.enqueue_many([{"n": number} for number in range(20)])
    with running(queue, told, concurrency=2, executor="process"):
        assert eventually(lambda: queue.count("completed") == 22, 40)
    results = [queue.result(id_) for id_ in ids]
    assert len({result["pid"] for result in results}) == 2
    assert os.getpid() not in {result["pid"] for result in results}
    assert [result["n"] for result in results[2:]] == list(range(20))
    assert [result["id"] for result in results] == ids


ENDINGS = {
    "raise": ("ValueError", "told to"),
    "non-retriable": ("NonRetriable", "hopeless"),
    "dead": ("NonRetriable", "decided"),
    "system-exit": ("SystemExit", "3"),
    "interrupt": ("KeyboardInterrupt", ""),
    "unpicklable": ("Unpicklable", ""),
    "return-lambda": ("InvalidPayload", "returned a function that JSON cannot hold"),
    "return-set": ("InvalidPayload", "returned a set that JSON cannot hold"),
    "exit": ("HandlerCrashed", "exit code 7"),
    "kill": ("HandlerCrashed", "exit code -9"),
    "hang": ("HandlerTimeout", "its process was killed"),
}


def test_every_bad_end_costs_its_own_message_an_attempt_and_no_more(queue: Queue, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    for number, ending in enumerate(ENDINGS):
        queue.enqueue({"do": ending, "code": 7} | ({"mark": str(mark)} if ending == "hang" else {}))
        queue.enqueue({"n": number})
    with running(queue, told, concurrency=2, executor="process", handler_timeout=3):
        assert eventually(lambda: not queue.stats().unfinished, 50)
        assert eventually(lambda: not alive(int(mark.read_text())))
    assert queue.stats().completed == len(ENDINGS)
    letters = {letter.payload["do"]: letter for letter in queue.dlq.list()}
    assert letters.keys() == ENDINGS.keys()
    for ending, (kind, says) in ENDINGS.items():
        (error,) = letters[ending].errors
        assert says in error.message, ending
        assert kind in (None, error.type), ending


def test_the_process_ends_with_the_worker(queue: Queue) -> None:
    message_id = queue.enqueue("a")
    with running(queue, pid, concurrency=1, executor="process"):
        assert eventually(lambda: queue.count("completed") == 1, 40)
    child = queue.result(message_id)
    assert eventually(lambda: not alive(child))


class GatedResults(Wrapper):
    """A store whose writes of results wait for a gate."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.gate, self.arrived = Event(), Event()

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if "/results/" in key:
            self.arrived.set()
            assert self.gate.wait(40)
        return super().put(key, body, mode)


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_a_stop_waits_for_an_outcome_that_is_on_its_way(executor: str) -> None:
    store = GatedResults()
    queue = Queue("jobs", url="memory://unused", store=store, results=True, probe=False)
    queue.enqueue("a")
    with running(queue, pid, concurrency=1, executor=executor) as run:
        assert store.arrived.wait(40)
        run.worker.stop(wait=False)
        assert not run.ended.wait(1)
        store.gate.set()
        assert run.ended.wait(20)
    stats = queue.stats()
    assert (stats.completed, stats.processing) == (1, 0)


def test_a_handler_that_other_processes_cannot_import_is_refused_with_the_remedy(queue: Queue) -> None:
    handler: Any = lambda payload: payload  # noqa: E731
    with pytest.raises(InvalidSetting, match=r"cannot be sent to another process.*top of a module"):
        Worker(queue, handler, executor="process")


def test_a_child_killed_from_outside_is_told_and_replaced(queue: Queue, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    queue.enqueue({"do": "hang", "mark": str(mark)})
    with running(queue, told, concurrency=1, executor="process"):
        assert eventually(lambda: mark.exists() and bool(mark.read_text()), 40)
        os.kill(int(mark.read_text()), signal.SIGKILL)
        queue.enqueue({"n": 1})
        assert eventually(lambda: queue.count("completed") == 1, 40)
    assert queue.dlq.list()[0].errors[0].type == "HandlerCrashed"


def test_handlers_do_not_outlive_a_worker_that_was_killed(tmp_path: Path) -> None:
    mark, folder = tmp_path / "pid", f"file://{tmp_path}/queue"
    with Queue("jobs", url=folder, visibility_timeout=3600) as queue:
        queue.enqueue({"do": "hang", "mark": str(mark)})
    with process(folder, concurrency=1, executor="process") as child:
        assert eventually(lambda: mark.exists() and bool(mark.read_text()), 40)
        handler_pid = int(mark.read_text())
        child.kill()
        child.wait(20)
        assert eventually(lambda: not Path(f"/proc/{handler_pid}").exists(), 20)


def test_a_message_that_is_claimed_again_while_its_handler_runs_has_two_outcomes(tmp_path: Path) -> None:
    clock, tokens = FastClock(), list[int]()

    def done(recorded: Recorded | None, _seconds: float) -> None:
        assert recorded is not None
        tokens.append(recorded.delivery.handle.token)

    with Queue("jobs", url=memory_url(), clock=clock, visibility_timeout=30) as queue:
        queue.enqueue({"until": str(tmp_path / "go")})
        consumer = queue.connect().consumer
        runner = Runner(told, consumer, queue="jobs", manual=False)
        executor = ProcessExecutor(runner, done, concurrency=2, timeout_s=None, clock=clock)
        try:
            for _ in range(2):
                (delivery,) = consumer.exchange(1)
                executor.submit(delivery)
                clock.sleep(60)  # nothing was heard of this process: others, or it itself, may claim again
            (tmp_path / "go").touch()
            assert eventually(lambda: len(tokens) == 2 and not executor.busy())
            assert len(set(tokens)) == 2
        finally:
            executor.stop()
