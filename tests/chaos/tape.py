"""What a round's tape says: every ledger version checked, every claim and message followed, by the simulation's checkers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3queue.core.codec import decode_letter, decode_messages
from s3queue.core.keys import Keys, ObjectName, parse_letter
from s3queue.core.ledger import Ledger
from s3queue.core.message import DeadLetter
from s3queue.core.payload import Seal
from s3queue.store.port import Object
from tests.simulation.bucket import Bucket
from tests.simulation.duplicates import Spot
from tests.simulation.history import History
from tests.simulation.world import World

Execution = tuple[str, int, int]
"""What a handler wrote down: message id, attempt, token."""
Refusal = tuple[str, int]
"""What a worker was told: that the outcome of this message id under this token was not recorded."""
Line = dict[str, Any]


def read_tape(path: Path) -> list[Line]:
    """Return the writes on a tape in an order in which they can have taken effect.

    A ledger version is put in place between its start and its end, and the PUT that replaces it names its ETag, so it
    starts later still: starts are in the order of the versions. Deletions count from their end: what they rest on must
    stand in a version that was begun by then.
    """
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted(lines, key=lambda line: int(line["start_ns"] if line["verb"] == "PUT" else line["end_ns"]))


@dataclass
class Account:
    """The checks of one round. ``found``: every violation, in words."""

    keys: Keys
    lease_s: float
    max_attempts: int
    versions: int = 0
    wasted: list[Execution] = field(default_factory=list)
    plans: dict[str, str] = field(default_factory=dict)
    once: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self._world, self._bucket = World(0), Bucket()
        self.history = History(self._world, self._bucket, self.keys, self.lease_s, self.max_attempts)
        self._etag = ""
        self._settled: set[tuple[Spot, int]] = set()
        self._lost: set[tuple[Spot, int]] = set()
        self._writers: dict[int, str] = {}

    @property
    def found(self) -> list[str]:
        return self.history.found

    # -- the tape --

    def replay(self, lines: Iterable[Line]) -> None:
        """Take in the writes, in order."""
        for line in lines:
            key = line["key"]
            if line["verb"] == "DELETE":
                self._world.now_s = line["end_ns"] / 1e9
                self._bucket.on_delete(key)
                continue
            self._world.now_s = line["start_ns"] / 1e9
            body = line.get("body", "").encode("utf-8", "surrogateescape")
            if key == self.keys.ledger(0):
                self._take_ledger(line, body)
            else:
                self._bucket.on_put(key, None, Object(body, line["etag"]))
                self._note_plans(key, body)

    def _take_ledger(self, line: Line, body: bytes) -> None:
        before = self.history.ledger
        if not line["create"] and line["if_match"] != self._etag:
            self.history.violation(f"a ledger was written on {line['if_match'] or 'no condition'}, not on {self._etag}")
        self._etag = line["etag"]
        self.versions += 1
        base = None if line["create"] else Object(b"", line["if_match"])
        self._bucket.on_put(line["key"], base, Object(body, self._etag))
        self._follow_claims(before, self.history.ledger)

    def _follow_claims(self, before: Ledger, after: Ledger) -> None:
        """Note of each claim that is over whether its message got an outcome by it, or it was lost.

        A token is the revision of the commit that made the claim, and each commit names its writer.
        """
        was, now = _claims(before), _claims(after)
        writer = next((name for name, entry in after.writers.items() if before.writers.get(name) != entry), "nobody")
        self._writers[after.revision] = writer
        for spot, token in was.items():
            if not token or now.get(spot) == token:
                continue
            (self._lost if spot in now else self._settled).add((spot, token))
            if spot not in now and self._writers.get(token) != writer:
                self.history.violation(f"fencing: {spot} is settled under token {token}, which another process holds")

    def _note_plans(self, key: str, body: bytes) -> None:
        inbox = self.keys.inbox(0)
        name = ObjectName.parse(self.keys.name_in(inbox, key)) if key.startswith(inbox) else None
        if name is not None:
            for message in decode_messages(body, key, name, Seal()):
                self.plans[message.id] = message.payload["plan"]
                if "once" in message.payload:
                    self.once[message.payload["once"]].add(message.id)

    # -- the end --

    def check_end(
        self, acked: set[str], runs: list[Execution], refusals: list[Refusal], objects: dict[str, bytes]
    ) -> None:
        """Check the round against what producers, handlers and workers wrote down, and what lies in the bucket."""
        history = self.history
        history.acked.update(acked)
        history.executed.update(id_ for id_, _, _ in runs)
        self._bucket.objects.update({key: Object(body, "") for key, body in objects.items()})
        history.check_end()
        self._check_runs(runs)
        self._check_refusals(refusals)
        for dedup_id, ids in self.once.items():
            if len(ids) > 1:
                history.violation(f"a key makes one message: {dedup_id} made {sorted(ids)}")
        letters = self._check_letters()
        self._check_fates(letters)
        self._check_counters(letters)
        self._check_rest(objects)

    def _check_runs(self, runs: list[Execution]) -> None:
        """A claim runs its message once, and is then settled, or was lost: then the execution was for nothing."""
        for (id_, token), count in Counter((id_, token) for id_, _, token in runs).items():
            if count > 1:
                self.history.violation(f"{id_} ran {count} times under the one token {token}")
        for id_, attempt, token in runs:
            if attempt > self.max_attempts:
                self.history.violation(f"attempts: {id_} had attempt {attempt} of {self.max_attempts}")
            if self._ended(self._lost, id_, token):
                self.wasted.append((id_, attempt, token))
            elif not self._ended(self._settled, id_, token):
                self.history.violation(f"{id_} ran under token {token}, which never held it")

    def _check_refusals(self, refusals: list[Refusal]) -> None:
        """An outcome that is in the books was not refused, whatever became of the answer."""
        for id_, token in refusals:
            if self._ended(self._settled, id_, token):
                self.history.violation(
                    f"re-applying changes nothing: {id_} is recorded under token {token}, and refused"
                )

    def _ended(self, claims: set[tuple[Spot, int]], id_: str, token: int) -> bool:
        return any(found == token and self.history.ids.get(spot) == id_ for spot, found in claims)

    def _check_letters(self) -> dict[str, DeadLetter]:
        letters = {}
        for key, found in self._bucket.objects.items():
            if not key.startswith(self.keys.dlq) or not parse_letter(self.keys.name_in(self.keys.dlq, key)):
                continue
            letter = letters[key] = decode_letter(found.body, key, Seal())
            attempts = [error.attempt for error in letter.errors]
            if attempts != list(range(1, len(attempts) + 1)) or not 0 < len(attempts) <= self.max_attempts:
                self.history.violation(f"errors are kept: the letter of {letter.id} has those of attempts {attempts}")
            if not letter.reason:
                self.history.violation(f"errors are kept: the letter of {letter.id} has no reason")
        return {letter.id: letter for letter in letters.values()}

    def _check_fates(self, letters: dict[str, DeadLetter]) -> None:
        """Each message ends as it was told to, unless its workers vanished in its last attempt."""
        for id_, plan in self.plans.items():
            letter = letters.get(id_)
            if letter is None:
                if plan in ("fail", "never"):
                    self.history.violation(f"{id_} was to fail ({plan}) and did not")
                if not self.history.executed[id_]:
                    self.history.violation(f"nothing is invented: {id_} completed and no handler ran")
                continue
            last = letter.errors[-1].type if letter.errors else "?"
            vanished = last == "LeaseExpired" and len(letter.errors) == self.max_attempts
            failed = last == "ValueError" and len(letter.errors) == self.max_attempts
            if not (vanished or (plan == "never" and last == "NonRetriable") or (plan == "fail" and failed)):
                self.history.violation(f"{id_} ({plan}) died of {last} in attempt {len(letter.errors)}")

    def _check_counters(self, letters: dict[str, DeadLetter]) -> None:
        count = self.history.ledger.counters.get
        told = {kind: count(kind, 0) for kind in ("completed", "dead", "missing", "discarded")}
        seen = {"completed": sum(self.history.ended.values()), "dead": len(letters), "missing": 0, "discarded": 0}
        if told != seen:
            self.history.violation(f"counters equal the history: the ledger says {told}, it was {seen}")

    def _check_rest(self, objects: dict[str, bytes]) -> None:
        """What still lies in the inbox is settled, and known to be."""
        inbox = self.keys.inbox(0)
        for key in objects:
            if key.startswith(inbox) and self.keys.name_in(inbox, key) not in self.history.ledger.settled:
                self.history.violation(f"liveness: {key} is left in the inbox")


def _claims(ledger: Ledger) -> dict[Spot, int]:
    """Return the token under which each message in a ticket is claimed (0: available)."""
    return {
        (part.name, index): ticket.token
        for ticket in ledger.tickets.values()
        for part in ticket.parts
        for index in part.indices()
    }
