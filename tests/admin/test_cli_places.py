"""Where queues are said to be: URLs of queues, queues that are not there, folders of strangers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3queue_admin
from s3queue import InvalidInput, NotFound, Queue
from s3queue.store.port import OVERWRITE
from s3queue_admin import NoQueue, doctor, fsck, messages_frame, report
from tests.admin.conftest import Admin, fill


def test_a_place_that_is_not_said(admin: Admin) -> None:
    for command in ("status", "ls orders", "doctor"):
        result = admin(*command.split())
        assert (result.exit_code, result.stdout) == (2, ""), command
        assert "Give --bucket or --url" in result.stderr


SEEING = (
    "status", "status orders", "watch", "ls orders", "doctor", "doctor --write", "doctor orders", "fsck orders", "report",
    "report orders", "stuck list orders", "audit", "workers", "locks orders", "export letters orders", "dlq groups orders",
    "cost measured orders", "replay orders --all --yes", "pause orders", "configure orders", "tui --once",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_url_of_a_queue_is_told_from_that_of_a_bucket(admin: Admin, url: str, folder: Path, kind: str) -> None:
    place = url if kind == "memory" else f"{folder.as_uri()}/b"
    fill(place)
    before = sorted(folder.rglob("*"))
    for command in SEEING:
        for words in ([*command.split(), "--url", f"{place}/orders"], [*command.split(), "--url", f"{place}/orders/"]):
            result = admin(*words)
            assert (result.exit_code, result.stdout) == (2, ""), words
            assert f"which is then {place}, and name the queue: orders." in result.stderr, words
    assert sorted(folder.rglob("*")) == before


def test_a_stranger_s_queue_json_does_not_make_a_queue_of_a_bucket(admin: Admin, url: str) -> None:
    fill(f"{url}/all")
    store = Queue.from_url(f"{url}/all/orders").connect().store
    store.put("all/queue.json", b'{"jobs": []}', OVERWRITE)
    assert [row["queue"] for row in json.loads(admin("status", "--url", f"{url}/all", "-o", "json").stdout)] == [
        "mails",
        "orders",
    ]


ON_A_QUEUE = (
    "status", "watch", "ls", "dlq list", "dlq groups", "dlq purge --yes", "stuck list", "stuck reset --older-than 5m --yes",
    "fsck", "report", "audit", "workers", "tickets", "locks", "schedules", "cost measured", "export history", "pause",
    "resume", "purge --yes", "replay --all --yes", "cancel --all --yes", "configure", "configure lanes=2 --yes", "tui --once",
)  # fmt: skip


@pytest.mark.parametrize("command", ON_A_QUEUE)
def test_a_queue_that_is_not_there_is_told_with_the_nearest(admin: Admin, url: str, command: str) -> None:
    fill(url)
    words = command.split()
    at = 2 if words[0] in ("dlq", "stuck", "cost", "export") else 1
    result = admin(*words[:at], "order", *words[at:], "--url", url)
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert f"There is no queue 'order' in {url}/. Did you mean 'orders'?" in result.stderr


def test_a_stranger_s_folder_is_no_queue_and_a_queue_without_settings_is_missed(admin: Admin, url: str) -> None:
    fill(url)
    store = Queue.from_url(f"{url}/orders").connect().store
    for key in ("photos/a.jpg", "notes.txt", "b c/queue.json"):
        store.put(key, b"x", OVERWRITE)
    for command in ("status", "audit", "workers", "export history mails", "tui --once"):
        result = admin(*command.split(), "--url", url)
        assert (result.exit_code, "photos" in result.output) == (0, False), (command, result.output)
    store.delete("mails/queue.json")
    lost = admin("status", "--url", url)
    assert lost.exit_code == 5
    assert "mails/queue.json is not: restore that" in lost.stderr
    assert "Did you mean" not in lost.stderr


def test_a_queue_that_is_not_there_is_told_to_scripts(url: str) -> None:
    fill(url)
    with s3queue_admin.Bucket(url=url) as bucket:
        asked: list[Callable[[str], Any]] = [
            bucket.inspect,
            bucket.queue,
            lambda name: fsck(bucket, name),
            lambda name: report(bucket, name),
            lambda name: messages_frame(bucket, name),
        ]
        for ask in asked:
            with pytest.raises(NoQueue, match="Did you mean 'orders'") as refused:
                ask("order")
            assert (refused.value.near, refused.value.key) == ("orders", "order/queue.json")
        assert isinstance(refused.value, NotFound)  # as who asks the engine expects
        assert isinstance(refused.value, InvalidInput)
        assert "Did you mean" in bucket.snapshot(["order"]).failed["order"]
        (found,) = [each for each in doctor(bucket, "order") if each.code == "no-queue"]
        assert "Did you mean" in found.evidence
    with s3queue_admin.Bucket(url=f"{url}/nothing") as empty, pytest.raises(NoQueue, match="no queues at all"):
        empty.inspect("order")
