"""Operators who replay dead letters in storms: as they are, edited, into another queue; or discard them, all at once.

Each letter becomes one message, or none if it is discarded, whoever dies or sleeps in between and whatever is done next;
and no message comes back that has left the books, though the workers of one of the queues are away for hours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from s3queue.core.codec import decode_letter, decode_messages
from s3queue.core.keys import Keys, ObjectName, parse_ledger_key
from s3queue.core.ledger import Ledger
from s3queue.core.payload import Seal
from s3queue.errors import NonRetriable, S3QueueError
from s3queue.protocol import moves
from s3queue.queue import Queue
from s3queue.store.port import CREATE, Object, fetch
from s3queue_admin.actions import replaying
from s3queue_admin.text import Redactor
from tests.simulation.bucket import Faults
from tests.simulation.mutant import Mutant
from tests.simulation.mutants import _letter_journal_unread, _replay_twice
from tests.simulation.scenario import Outcome
from tests.simulation.storms import CALM
from tests.simulation.troupe import Troupe
from tests.simulation.world import START_S, Actor

MESSAGES = 8
STORM_S = 240.0
NIGHT_S = 2 * 3600.0
"""Longer than the journals are kept."""
CALM_S = 1200.0
STORMS = {
    "calm": Faults(),
    "crashes": Faults(crash_before=0.02, crash_after=0.02),
    "lost answers": Faults(lost_answer=0.1, crash_after=0.02),
    "late puts": Faults(late_put=0.05, crash_after=0.02),
    "pauses": Faults(pause=0.05, pause_s=40.0, lost_answer=0.02, crash_before=0.01),
}

_SITUATIONS = {"replay": "letters replayed", "discard": "letters discarded", "import": "taken in by another queue"}


@dataclass
class ReplaysRun(Troupe):
    """Two queues: messages of the first die, and are replayed in both. ``night``: the first has nobody for a while."""

    night: bool = False
    born: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    letters: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    thrown: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.runs = Counter[int]()
        self.numbers: dict[str, int] = {}
        self.away = False
        self.over_s = START_S + STORM_S
        self.roots = (self.root("a"), self.root("b"))
        self.bucket.on_put = self._note

    def play(self) -> None:
        """Run to the end."""
        self.spawn("p", self._produce)
        for name, run in (("wa", self._work), ("wb", self._work), ("op1", self._operate), ("op2", self._operate)):
            self.spawn(name, run)
        self.world.run(START_S + STORM_S / 2, 60_000)
        if self.night:
            self._go_away()
        self.world.run(self.over_s, 60_000)
        self.faults, self.away = CALM, False
        for name in ("wa", "wb"):
            self.spawn(name, self._work)
        self.spawn("op-last", self._resolve)
        self.world.run(self.over_s + CALM_S, 90_000)
        self.end()
        self._check()

    def _go_away(self) -> None:
        """Kill whoever has to do with the first queue's books; the workers of the second go on."""
        self.away, self.over_s = True, self.world.now_s + NIGHT_S + STORM_S / 2
        for actor in self.world.actors:
            if not actor.done and not actor.name.startswith(("wb", "p")):
                self.world.kill(actor)
        self.world.run(self.world.now_s + NIGHT_S, 60_000)
        self.away = False
        for name, run in (("wa", self._work), ("op1", self._operate), ("op2", self._operate)):
            self.spawn(name, run)

    def _check(self) -> None:
        for n in range(MESSAGES):
            thrown = sum(number == n for number in self.thrown.values())
            if len(self.born[n]) != 1 + len(self.letters[n]) - thrown:
                self.found.append(
                    f"a letter is one message: {n} was born {len(self.born[n])} times, of {len(self.letters[n])} letters "
                    f"{thrown} were discarded"
                )
        for key, ledger in self.ledgers.items():
            if ledger.outbox or ledger.tickets:
                self.found.append(f"liveness: {key} has {ledger.outbox} and {ledger.tickets}")

    # -- what happens in the bucket --

    def _note(self, key: str, before: Any, after: Object) -> None:  # noqa: ARG002 - the face of the hook
        root = next((root for root in self.roots if key.startswith(root)), "")
        if parse_ledger_key(key) is not None:
            self._on_ledger(*self.follow(key, after.body))
        elif key.startswith(f"{root}inbox/"):
            name = ObjectName.parse(key.removeprefix(f"{root}inbox/0000/").removesuffix(".json"))
            assert name is not None
            for message in decode_messages(after.body, key, name, Seal()):
                self.born[message.payload["n"]].add(key)
        elif key.startswith(f"{root}dlq/"):
            n = decode_letter(after.body, key, Seal()).payload["n"]
            self.letters[n].add(key)
            self.numbers[Keys(root).name_in(f"{root}dlq/", key)] = n

    def _on_ledger(self, before: Ledger, after: Ledger) -> None:
        for line in after.outbox.values():
            if line.id not in before.outbox:
                if line.kind in _SITUATIONS:
                    self.seen["letters replayed into another queue" if line.ledger else _SITUATIONS[line.kind]] += 1
                self.seen["of these, edited"] += bool(line.body) and not line.ledger
                if line.kind == "discard":
                    self.thrown[line.source] = self.numbers[line.source]

    # -- the actors --

    def revive(self, actor: Actor) -> None:
        if not self.away or actor.name.startswith("wb"):
            super().revive(actor)

    def _open(self, actor: Actor, name: str) -> Queue:
        return self.queue(actor, name, max_attempts=5)

    def _produce(self, actor: Actor) -> None:
        queue = self._open(actor, "a")
        for n in range(MESSAGES):
            if self.born[n]:
                continue  # by one that died, or was not told
            try:
                queue.enqueue({"n": n})
            except S3QueueError as error:
                self.world.note(f"{actor.name} is not told: {error}")
            self.world.park(actor, self.world.random.uniform(1, STORM_S / MESSAGES / 2))

    def _work(self, actor: Actor) -> None:
        queue = self._open(actor, actor.name[1])
        while True:
            try:
                queue.process_once(lambda payload: self._handle(actor, payload))
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            self.world.park(actor, self.world.random.uniform(1, 60 if self.away else 10))

    def _handle(self, actor: Actor, payload: Any) -> None:
        self.runs[payload["n"]] += 1
        self.world.note(f"{actor.name} runs {payload}")
        if "mended" not in payload and self.runs[payload["n"]] <= 2:
            raise NonRetriable("planned")

    def _operate(self, actor: Actor) -> None:
        """Do something to some letters; whoever died before may have begun with something else."""
        queue, other, random = self._open(actor, "a"), self._open(actor, "b"), self.world.random
        redactor = Redactor()
        while self.world.now_s < self.over_s - 20:
            try:
                names = list(queue.dlq.names())
                some = random.sample(names, min(len(names), random.choice((1, 2, 5))))
                act = random.choice(("plain", "edited", "edited", "to", "to", "to", "discard"))
                self.world.note(f"{actor.name} would {act} {some}")
                if act == "plain":
                    replaying.as_they_are(queue, some)
                elif act == "discard":
                    queue.dlq.discard_letters(some)
                elif some:
                    options = {"patch": {"mended": actor.name}} | ({"to": other} if act == "to" else {})
                    replaying.anew(queue, options, redactor, some)
            except S3QueueError as error:
                self.world.note(f"{actor.name} meets {type(error).__name__}: {error}")
            self.world.park(actor, random.uniform(1, 15))

    def _resolve(self, actor: Actor) -> None:
        """Replay what is left, until nothing is."""
        queue = self._open(actor, "a")
        while True:
            self.world.park(actor, 30)
            queue.dlq.replay(filter=lambda letter: True)


def play_replays(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Play a seed: the storms take turns, every other round with a night."""
    faults = list(STORMS.values())[seed % len(STORMS)]
    run = ReplaysRun(seed, faults, keep_trace, night=seed // len(STORMS) % 2 == 1)
    run.play()
    return run.outcome(sum(map(len, run.born.values())))


# -- what must be noticed --


def _not_in_their_books() -> Any:
    """Write into another queue's inbox what its ledger does not await."""

    def hand_over(lane: Any, ledger: str, lines: Any) -> list[Any]:
        for line in lines:
            if moves._is_there(lane, line.body):
                there, body = lane.abroad(ledger), fetch(lane.store, line.body).body
                if not moves._is_there(lane, there.inbox.key(line.target)):
                    lane.store.put(there.inbox.key(line.target), body, CREATE)
        lane.store.delete_many([line.body for line in lines])
        return list(lines)

    return patch.object(moves, "_hand_over", hand_over)


def _staged_deleted_early() -> Any:
    """Take for moved what was staged for another queue, whether it was or not."""
    original = moves._hand_over

    def hand_over(lane: Any, ledger: str, lines: Any) -> list[Any]:
        lane.store.delete_many([line.body for line in lines])
        return original(lane, ledger, lines)

    return patch.object(moves, "_hand_over", hand_over)


REPLAY_MUTANTS = (
    Mutant("decided twice", "of a letter there is one line at a time", _replay_twice),
    Mutant("letters forgotten", "a letter that is gone is known for an hour", _letter_journal_unread, ("late puts",)),
    Mutant(
        "not in their books",
        "another queue's ledger awaits what is written into its inbox",
        _not_in_their_books,
        ("pauses",),
        40,
    ),
    Mutant("staged deleted early", "what was staged is there until its target is", _staged_deleted_early),
)
"""Each must be caught; :mod:`tests.simulation.test_mutants` says how."""
