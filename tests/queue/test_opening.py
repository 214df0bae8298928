"""Opening, closing and naming queues."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from s3queue import InvalidName, InvalidSetting, Queue
from tests.queue.places import Place, keys, payloads


def test_nothing_is_asked_of_the_store_before_it_is_needed(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    Queue("jobs", url=folder.as_uri())
    assert not folder.exists()
    Queue("jobs", bucket="no-such-bucket", endpoint_url="http://127.0.0.1:9")


def test_a_queue_exists_once_it_was_used(place: Place) -> None:
    queue, other = place.open(), place.open()
    assert not other.exists()
    queue.enqueue("a")
    assert other.exists()
    assert keys(other, "queue.json") == ["queue.json"]


def test_two_queues_in_one_place_do_not_meet(place: Place) -> None:
    first, second, third = place.open("emails"), place.open("emails-2"), place.open("email")
    for number, queue in enumerate((first, second, third)):
        queue.enqueue_many([number] * 3)
    first.receive()[0].dead("no")
    assert (second.count("dead"), third.count("pending")) == (0, 3)
    assert payloads(second) == [1, 1, 1]
    assert payloads(third) == [2, 2, 2]


@pytest.mark.parametrize("url", ["{base}/jobs", "{base}/jobs/"])
def test_a_whole_url_names_the_queue(place: Place, url: str) -> None:
    place.open().enqueue("a")
    same = Queue.from_url(url.format(base=place.url), clock=place.clock)
    assert same.name == "jobs"
    assert payloads(same) == ["a"]


def test_a_url_of_s3_holds_bucket_prefix_and_name() -> None:
    queue = Queue.from_url("s3://prod/team/a/emails")
    assert (queue.name, queue.root) == ("emails", "team/a/emails/")
    assert repr(queue) == "<Queue 'emails' in s3://prod/team/a/emails/>"


@pytest.mark.parametrize(
    ("prefix", "root"), [(None, "s3queue/jobs/"), ("", "jobs/"), ("a/b", "a/b/jobs/"), ("a/", "a/jobs/")]
)
def test_a_prefix_comes_before_the_name(prefix: str | None, root: str) -> None:
    assert Queue("jobs", bucket="prod", prefix=prefix).root == root


def test_without_a_place_the_queue_lies_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Queue("jobs") as queue:
        queue.enqueue("a")
    assert (tmp_path / ".s3queue" / "jobs" / "queue.json").is_file()


@pytest.mark.parametrize(
    "url", ["", "prod/emails", "http://prod/emails", "s3:///emails", "s3://emails", "file:///", "memory://"]
)
def test_a_url_that_names_no_queue_is_refused(url: str) -> None:
    with pytest.raises((InvalidSetting, InvalidName), match=r"Use|End it"):
        Queue.from_url(url)


def test_bucket_and_url_exclude_each_other() -> None:
    with pytest.raises(InvalidSetting, match="Give one of them"):
        Queue("jobs", bucket="prod", url="memory://x")


def test_a_context_manager_closes_and_the_queue_can_be_used_again(place: Place) -> None:
    with place.open() as queue:
        queue.enqueue_many(range(3))
        queue.receive(1)[0].ack()
    assert len(keys(queue, "inbox/")) == 1
    assert payloads(queue) == [1, 2]
    queue.close()
    queue.close()
    assert queue.count("pending") == 0


def test_closing_an_unused_queue_asks_for_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    Queue("jobs", url=folder.as_uri()).close()
    assert not folder.exists()


def test_an_error_inside_the_context_comes_through(place: Place) -> None:
    with pytest.raises(RuntimeError, match="mine"), place.open():
        raise RuntimeError("mine")


def test_another_process_goes_on_where_this_one_stopped(tmp_path: Path) -> None:
    with Queue("jobs", url=tmp_path.as_uri()) as queue:
        queue.enqueue_many([1, 2, 3])
    code = (
        "import sys; from s3queue import Queue\n"
        "with Queue('jobs', url=sys.argv[1]) as queue:\n"
        "    queue.process_once(lambda payload: print(payload))"
    )
    command = [sys.executable, "-c", code, tmp_path.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=Path.cwd())
    assert (result.stdout.split(), result.stderr) == (["1", "2", "3"], "")
    assert queue.stats().completed == 3


@pytest.mark.parametrize("worker_id", ["", "a\nb", "x" * 201, 7])
def test_a_bad_worker_id_is_refused(place: Place, worker_id: Any) -> None:
    with pytest.raises(InvalidName, match="worker id"):
        place.open(worker_id=worker_id)
