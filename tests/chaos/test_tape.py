"""The checks of a round see what they are for: a lawful tape passes, and each lie in it is found."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from s3queue import Context, NonRetriable, Queue, RetryPolicy
from s3queue.core.codec import decode_ledger
from s3queue.core.keys import Keys
from s3queue.store.memory import MemoryStore
from s3queue.store.port import Create, Object, Page, PutMode, Replace
from tests.chaos.tape import Account, Execution, Line, Refusal

ATTEMPTS = 3


class Taping:
    """A store in memory whose writes go on a tape, as those through the proxy do."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.tape: list[Line] = []

    @property
    def location(self) -> str:
        return self._store.location

    def now_ms(self) -> int:
        return self._store.now_ms()

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        return self._store.get(key, if_none_match)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        start_ns = time.time_ns()
        etag = self._store.put(key, body, mode)
        condition = {"create": isinstance(mode, Create), "if_match": mode.etag if isinstance(mode, Replace) else ""}
        self._note("PUT", key, start_ns, etag=etag, body=body.decode(), **condition)
        return etag

    def delete(self, key: str) -> None:
        self.delete_many([key])

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        start_ns = time.time_ns()
        left = self._store.delete_many(keys)
        for key in keys:
            self._note("DELETE", key, start_ns)
        return left

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        return self._store.list(prefix, after, limit)

    def close(self) -> None:
        self._store.close()

    def _note(self, verb: str, key: str, start_ns: int, **more: Any) -> None:
        self.tape.append({"verb": verb, "key": key, "start_ns": start_ns, "end_ns": time.time_ns()} | more)


@dataclass
class Evidence:
    """What a round leaves behind, to be tampered with."""

    keys: Keys
    tape: list[Line]
    ids: dict[str, str]
    runs: list[Execution]
    objects: dict[str, bytes]
    refusals: list[Refusal] = field(default_factory=list)

    def found(self) -> list[str]:
        account = Account(self.keys, 10.0, ATTEMPTS)
        account.replay(self.tape)
        account.check_end(set(self.ids.values()), self.runs, self.refusals, self.objects)
        return account.found

    def ledgers(self) -> list[int]:
        return [number for number, line in enumerate(self.tape) if line["key"] == self.keys.ledger(0)]

    def letter(self, plan: str) -> str:
        return next(key for key in self.objects if key.endswith(f"{self.ids[plan]}.json"))


@pytest.fixture(scope="module")
def lawful() -> Evidence:
    """Four messages, one of each plan, processed to their ends by the engine."""
    store, runs = Taping(), list[Execution]()

    def handler(payload: dict[str, Any], ctx: Context) -> None:
        runs.append((ctx.id, ctx.attempt, ctx.token))
        if payload["plan"] == "fail" or (payload["plan"] == "fail-once" and ctx.attempt == 1):
            raise ValueError("planned")
        if payload["plan"] == "never":
            raise NonRetriable("planned")

    queue = Queue("q", store=store, max_attempts=ATTEMPTS, retry=RetryPolicy(0, 1, 0, 0), probe=False)
    ids = {plan: queue.enqueue({"plan": plan}) for plan in ("ok", "fail", "never", "fail-once")}
    for _ in range(ATTEMPTS + 1):
        queue.process_once(handler)
    assert queue.stats().unfinished == 0
    keys = Keys(queue.root)
    entries = [*store.list(keys.dlq).entries, *store.list(keys.inbox(0)).entries]
    objects = {entry.key: found.body for entry in entries if (found := store.get(entry.key))}
    return Evidence(keys, store.tape, ids, runs, objects)


def test_a_lawful_round_passes(lawful: Evidence) -> None:
    assert len(lawful.runs) == 1 + ATTEMPTS + 1 + 2
    assert lawful.found() == []


def lose_a_message(it: Evidence) -> None:
    it.ids["ghost"] = "01m85yk47qb4wxz2qp1c-0"


def lose_a_letter(it: Evidence) -> None:
    del it.objects[it.letter("fail")]


def forget_an_error(it: Evidence) -> None:
    key = it.letter("fail")
    letter = json.loads(it.objects[key])
    errors = next(value for value in _dicts(letter) if "errors" in value)
    del errors["errors"][0]
    it.objects[key] = json.dumps(letter).encode()


def _dicts(value: Any) -> list[dict[str, Any]]:
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    own = [value] if isinstance(value, dict) else []
    return own + [found for item in inside for found in _dicts(item)]


def lose_an_update(it: Evidence) -> None:
    del it.tape[it.ledgers()[1]]


def create_the_ledger_twice(it: Evidence) -> None:
    it.tape.append(it.tape[it.ledgers()[0]])


def delete_too_early(it: Evidence) -> None:
    line = next(line for line in it.tape if line["verb"] == "DELETE" and "/inbox/" in line["key"])
    it.tape.remove(line)
    it.tape.insert(it.ledgers()[0] + 1, line)


def run_twice_under_a_token(it: Evidence) -> None:
    it.runs.append(it.runs[0])


def run_under_no_claim(it: Evidence) -> None:
    id_, attempt, _ = it.runs[0]
    it.runs.append((id_, attempt, 10_000))


def run_once_too_often(it: Evidence) -> None:
    it.runs.append((it.ids["fail"], ATTEMPTS + 1, 10_000))


def run_what_was_never_enqueued(it: Evidence) -> None:
    it.runs.append(("01m85yk47qb4wxz2qp1c-0", 1, 1))


def complete_without_running(it: Evidence) -> None:
    it.runs = [run for run in it.runs if run[0] != it.ids["ok"]]


def complete_what_must_fail(it: Evidence) -> None:
    for line in it.tape:
        line["body"] = line.get("body", "").replace('"plan":"ok"', '"plan":"fail"')


def kill_what_must_complete(it: Evidence) -> None:
    for line in it.tape:
        line["body"] = line.get("body", "").replace('"plan":"fail"', '"plan":"ok"')


def leave_something_in_the_inbox(it: Evidence) -> None:
    it.objects[it.keys.message(0, "9/1700000000000-01m85yk47qb4wxz2qp1c-1")] = b"{}"


def enqueue_a_key_twice(it: Evidence) -> None:
    for line in it.tape:
        line["body"] = line.get("body", "").replace('{"plan":', '{"once":"key","plan":')


def settle_for_another(it: Evidence) -> None:
    for number in it.ledgers()[1::2]:
        (writer,) = decode_ledger(it.tape[number]["body"].encode(), "").writers
        it.tape[number]["body"] = it.tape[number]["body"].replace(writer, "01m85yk47qb4wxz2qp1c")


def refuse_what_is_recorded(it: Evidence) -> None:
    it.refusals += [(id_, token) for id_, _, token in it.runs if id_ == it.ids["ok"]]


def stop_in_the_middle(it: Evidence) -> None:
    bodies = ((number, it.tape[number]["body"].encode()) for number in it.ledgers())
    claimed = next(number for number, body in bodies if decode_ledger(body, "").tickets)
    it.tape = it.tape[: claimed + 1]


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (lose_a_message, "nothing is lost"),
        (lose_a_letter, "nothing is lost"),
        (forget_an_error, "errors are kept"),
        (lose_an_update, "a ledger was written on"),
        (create_the_ledger_twice, "the ledger was created twice"),
        (delete_too_early, "deletion follows settlement"),
        (run_twice_under_a_token, "ran 2 times under the one token"),
        (run_under_no_claim, "ran under token 10000, which never held it"),
        (run_once_too_often, "attempts:"),
        (run_what_was_never_enqueued, "nothing is invented"),
        (complete_without_running, "completed and no handler ran"),
        (complete_what_must_fail, "was to fail (fail) and did not"),
        (kill_what_must_complete, "(ok) died of ValueError"),
        (leave_something_in_the_inbox, "is left in the inbox"),
        (enqueue_a_key_twice, "a key makes one message"),
        (settle_for_another, "fencing"),
        (refuse_what_is_recorded, "re-applying changes nothing"),
        (stop_in_the_middle, "liveness"),
    ],
)
def test_a_lie_is_found(lawful: Evidence, tamper: Callable[[Evidence], None], told: str) -> None:
    evidence = copy.deepcopy(lawful)
    tamper(evidence)
    assert any(told in text for text in evidence.found()), evidence.found()
