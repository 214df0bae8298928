"""What each command that acts does: its plan on stderr, its result on stdout, its trace in the audit trail, its exit code."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from s3queue import Queue, StoreRefused
from s3queue.clock import SystemClock
from s3queue.protocol.dead_letters import DeadLetters
from s3queue.store.memory import MemoryStore
from s3queue.store.port import PutMode
from s3queue_admin import bucket as bucket_module
from tests.admin.conftest import EVIL, Admin, fill
from tests.admin.test_cli_looking import check

ACTS = (
    "replay orders error~timeout",
    "discard orders state:dead",
    "dlq replay orders --all",
    "dlq discard orders --all",
    "dlq purge orders",
    "dlq edit orders {dead} --payload null",
    "cancel orders --all",
    "purge orders",
    "release orders --all",
    "reset orders --all",
    "stuck reset orders --older-than 0",
    "priority mails --all --priority 7",
    "delay mails --all --by 0",
    "pause orders",
    "resume orders",
    "configure orders visibility_timeout=2m retry.cap=1h",
)


def stats(url: str, name: str = "orders") -> dict[str, Any]:
    return Queue.from_url(f"{url}/{name}").stats().as_dict()


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv"])
@pytest.mark.parametrize("command", ACTS)
def test_it_writes_harmless_data_in_each_form(admin: Admin, url: str, command: str, output: str) -> None:
    ids = fill(url)
    words = [*command.format(**ids).split(), "--url", url, "--output", output]
    before = [stats(url, name) | {"at_ms": 0, "oldest_age_s": 0} for name in ("orders", "mails")]
    plan = admin(*words, "--dry-run")
    assert plan.exit_code == 0, plan.stderr
    check(output, plan.stdout)
    assert plan.stderr.startswith("Plan: ")
    assert [stats(url, name) | {"at_ms": 0, "oldest_age_s": 0} for name in ("orders", "mails")] == before
    done = admin(*words, "--yes", "--reason", f"{EVIL} hunter2")
    assert done.exit_code == 0, done.stderr
    check(output, done.stdout)
    assert EVIL not in plan.stderr + done.stderr


def test_what_is_not_confirmed_is_not_done(admin: Admin, url: str) -> None:
    fill(url)
    for command in ("replay orders --all", "dlq purge orders", "purge orders", "reset orders --all"):
        result = admin(*command.split(), "--url", url)
        assert (result.exit_code, result.stdout) == (6, ""), command
        assert "Give --yes" in result.stderr
    assert (stats(url)["dead"], stats(url)["processing"], stats(url)["pending"]) == (3, 1, 1)
    assert admin("audit", "--url", url).stdout == "Nothing was done.\n"


def test_settings_are_shown_changed_and_taken_back(admin: Admin, url: str) -> None:
    fill(url)

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(admin("configure", "orders", "--url", url, "-o", "json").stdout)
        return found

    before = shown()
    assert (
        before | {"visibility_timeout": 30, "max_attempts": 1, "lanes": 1, "retry.cap": 300, "results": False} == before
    )
    assert "visibility_timeout  30s" in admin("configure", "orders", "--url", url).stdout
    assert "would be configured  orders" in admin("configure", "orders", "lanes=4", "--dry-run", "--url", url).stdout
    assert admin("configure", "orders", "lanes=4", "--url", url).exit_code == 6
    assert shown() == before
    words = ("visibility_timeout=2m", "lanes=auto", "retry.cap=1h", "results=yes", "max_attempts=1")
    done = admin("configure", "orders", *words, "--yes", "--reason", "slow", "--url", url, "-o", "json")
    assert "visibility_timeout: 30s → 2m" in done.stderr
    assert "lanes: 1 → auto" in done.stderr
    assert "max_attempts" not in done.stderr  # it is so already
    assert shown() == before | {"visibility_timeout": 120, "lanes": "auto", "retry.cap": 3600, "results": True}
    (entry,) = json.loads(admin("audit", "orders", "--url", url, "-o", "json").stdout)
    assert (entry["verb"], entry["reason"], entry["after"]["visibility_timeout_ms"]) == ("configure", "slow", 120_000)
    assert entry["options"]["retry"] == {"base_ms": 1000, "cap_ms": 3_600_000, "factor": 2.0, "jitter": 0.5}
    again = admin("configure", "orders", *words, "--url", url)
    assert (again.exit_code, "Nothing changes" in again.stderr) == (0, True)
    assert admin("undo", "orders", json.loads(done.stdout)["audit"], "--yes", "--url", url).exit_code == 0
    assert shown() == before


def test_a_dry_run_counts_and_prices_what_would_be_done(admin: Admin, url: str) -> None:
    fill(url)
    plan = json.loads(admin("replay", "orders", "error~timeout", "--dry-run", "--url", url, "-o", "json").stdout)
    assert (plan["count"], plan["where"], plan["dry_run"]) == (2, "error~timeout", True)
    assert plan["requests"] > 4
    assert 0 < plan["usd"] < 0.001
    assert len(plan["sample"]) == 2


def test_what_is_replayed_is_the_filtered_set_and_is_written_down(admin: Admin, url: str) -> None:
    fill(url)
    done = admin("replay", "orders", "error~timeout", "--yes", "--reason", "mended", "--url", url, "-o", "json")
    result = json.loads(done.stdout)
    assert (result["count"], result["refused"]) == (2, {})
    assert (stats(url)["dead"], stats(url)["pending"]) == (1, 3)
    (entry,) = json.loads(admin("audit", "orders", "--url", url, "-o", "json").stdout)
    assert (entry["id"], entry["verb"], entry["where"]) == (result["audit"], "replay", "error~timeout")
    assert (entry["reason"], entry["count"]) == ("mended", 2)
    told = admin("audit", "--url", url).stdout
    assert "replay orders: 2 done; by " in told
    assert "reason: mended" in told


def test_some_that_are_not_there_make_it_partly_done(admin: Admin, url: str) -> None:
    ids = fill(url)
    other = ids["waits"]
    result = admin("replay", "orders", "--id", ids["dead"], "--id", other, "--yes", "--url", url)
    assert result.exit_code == 5
    assert f"Refused: {other}: " in result.stderr
    assert "1 replayed, 1 refused." in result.stderr
    assert "replayed  1" in result.stdout
    nothing = admin("replay", "orders", "--id", other, "--yes", "--url", url)
    assert nothing.exit_code == 5


def test_a_store_that_fails_in_the_middle_tells_what_is_done(
    admin: Admin, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = Queue.from_url(f"{url}/orders", max_attempts=1)
    orders.enqueue_many([{"order": number} for number in range(3)])
    orders.process_once(_fail)
    whole = DeadLetters.discard_letters
    calls: list[int] = []

    def broken(self: DeadLetters, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise StoreRefused("No more.", reason="access-denied")
        return whole(self, *args, **options)

    monkeypatch.setattr(DeadLetters, "discard_letters", broken)
    monkeypatch.setattr("s3queue_admin.actions.costs.PER_COMMIT", 2)
    result = admin("discard", "orders", "--all", "--yes", "--url", url, "-o", "json")
    assert result.exit_code == 5
    facts = json.loads(result.stdout)
    assert (facts["count"], "No more." in facts["error"]) == (2, True)
    assert stats(url)["dead"] == 1


def _fail(payload: Any) -> None:
    raise TimeoutError(str(payload))


def test_a_letter_is_mended_and_moved(admin: Admin, url: str) -> None:
    ids = fill(url)
    assert (
        admin("dlq", "edit", "orders", ids["dead"], "--payload", '{"order": 9}', "--yes", "--url", url).exit_code == 0
    )
    words = ["replay", "orders", "--id", ids["evil"], "--to", "mails", "--patch", '{"evil": null}', "--yes"]
    assert admin(*words, "--url", url).exit_code == 0
    assert {"order": 9} in [message.payload for message in Queue.from_url(f"{url}/orders").peek()]
    moved = Queue.from_url(f"{url}/mails").peek()[0].payload
    assert moved == {"order": 3, "token": "hunter2"}  # what is hidden when shown is not changed


def test_an_editor_wants_a_terminal(admin: Admin, url: str) -> None:
    ids = fill(url)
    assert admin("dlq", "edit", "orders", ids["dead"], "--url", url).exit_code == 2


def test_stuck_claims_are_taken_back_and_the_living_keep_theirs(admin: Admin, url: str) -> None:
    fill(url)
    kept = admin("stuck", "reset", "orders", "--older-than", "0", "--yes", "--url", url, "-o", "json")
    assert json.loads(kept.stdout)["count"] == 0
    assert admin("audit", "--url", url).stdout == "Nothing was done.\n"  # about no message, so it was not begun
    assert (
        json.loads(admin("reset", "orders", "--older-than", "1h", "--yes", "--url", url, "-o", "json").stdout)["count"]
        == 0
    )
    assert json.loads(admin("reset", "orders", "--all", "--yes", "--url", url, "-o", "json").stdout)["count"] == 1
    assert stats(url)["processing"] == 0


def test_queues_are_paused_without_a_question_and_that_is_undone(admin: Admin, url: str) -> None:
    fill(url)
    entry = json.loads(admin("pause", "orders", "--url", url, "-o", "json").stdout)
    assert (stats(url)["paused"], entry["after"]) == (True, {"paused": True})
    assert admin("undo", "orders", entry["audit"], "--url", url).exit_code == 6
    assert admin("undo", "orders", entry["audit"], "--yes", "--url", url).exit_code == 0
    assert stats(url)["paused"] is False
    assert admin("undo", "orders", "nonsense", "--yes", "--url", url).exit_code == 1


def test_purge_leaves_dead_letters(admin: Admin, url: str) -> None:
    fill(url)
    assert admin("purge", "orders", "--yes", "--url", url).exit_code == 0
    assert (stats(url)["pending"], stats(url)["processing"], stats(url)["dead"]) == (0, 0, 3)


def test_ctrl_c_stops_after_what_is_under_way(admin: Admin, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(url)
    whole = DeadLetters.replay_letters

    def pressed(self: DeadLetters, names: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return whole(self, names)

    monkeypatch.setattr(DeadLetters, "replay_letters", pressed)
    monkeypatch.setattr("s3queue_admin.actions.costs.PER_COMMIT", 2)
    before = signal.getsignal(signal.SIGINT)
    result = admin("replay", "orders", "--all", "--yes", "--url", url, "-o", "json")
    assert result.exit_code == 5
    facts = json.loads(result.stdout)
    assert (facts["count"], facts["stopped"]) == (2, True)
    assert (stats(url)["dead"], signal.getsignal(signal.SIGINT)) == (1, before)
    assert "2 replayed, stopped." in result.stderr


class Denying(MemoryStore):
    """Grants what a viewer may: GET and LIST."""

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        if "/audit/" in key:
            raise StoreRefused(f"You may not write {key}.", reason="access-denied", key=key)
        return super().put(key, body, mode)


def test_what_may_not_be_written_down_is_not_done(admin: Admin, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Denying(SystemClock())
    orders = Queue("orders", store=store, prefix="", max_attempts=1)
    orders.enqueue({"order": 1})
    orders.process_once(_fail)
    monkeypatch.setattr(bucket_module, "raw_store", lambda *_: store)
    result = admin("discard", "orders", "--all", "--yes", "--url", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "You may not write" in result.stderr
    assert orders.stats().dead == 1
