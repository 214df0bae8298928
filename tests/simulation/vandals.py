"""What strangers do to a bucket: corrupt an object, leave their own, delete by a lifecycle rule."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from s3queue.core.keys import ObjectName, count_of
from s3queue.store.port import Object
from tests.simulation.bucket import Bucket
from tests.simulation.causes import EVERYBODY, Blow
from tests.simulation.history import History
from tests.simulation.world import World

GARBAGE = b'{"format":"s3queue.messages/1","id":'


@dataclass
class Vandals:
    """Their deeds, undone in the end; what they left must not have been touched by anybody."""

    world: World
    bucket: Bucket
    history: History
    corrupted: dict[str, Object] = field(default_factory=dict)
    foreign: dict[str, bytes] = field(default_factory=dict)
    ledgers: dict[str, Object] = field(default_factory=dict)
    """Ledgers that cannot be read at the moment, as they were."""

    def come(self, at_s: float) -> None:
        """Come at a virtual time."""
        deeds = (self._corrupt, self._corrupt, self._corrupt_ledger, self._litter, self._expire)
        deed = self.world.random.choice(deeds)
        self.world.at(at_s, deed)

    def _waiting(self) -> list[str]:
        """Return the keys of objects that nobody has been given yet."""
        history = self.history
        held = {lane: ledger.held_names() for lane, ledger in history.ledgers.items()}
        found = []
        for key in self.bucket.objects:
            lane, name = history.lane_of(key, "inbox"), self._name(key)
            if lane is None or ObjectName.parse(name) is None or key in self.corrupted:
                continue
            ledger = history.ledgers[lane]
            known = name in held.get(lane, ()) or name in ledger.settled
            if not known and name > ledger.cursor(int(name[0])):
                found.append(key)
        return found

    def _name(self, key: str) -> str:
        """Return the name of a message object, whatever its lane."""
        return self.history.keys.name_in(self.history.keys.inbox(self.history.lane_of(key, "inbox") or 0), key)

    def _corrupt(self) -> None:
        waiting = self._waiting()
        if waiting:
            key = self.world.random.choice(waiting)
            self.world.faults["corrupt"] += 1
            self.world.note(f"somebody corrupts {key}")
            self.corrupted[key] = self.bucket.objects[key]
            self.bucket.objects[key] = Object(GARBAGE, hashlib.md5(GARBAGE, usedforsecurity=False).hexdigest())

    def _corrupt_ledger(self) -> None:
        """Make the books of a lane unreadable for a while: what is not in that lane goes on."""
        key = self.history.keys.ledger(self.world.random.choice(sorted(self.history.ledgers)))
        if key in self.bucket.objects and not self.ledgers:
            self.world.faults["corrupt_ledger"] += 1
            self.world.note(f"somebody corrupts {key}")
            self.world.causes.befell(Blow(self.world.now_s, EVERYBODY, "corrupt_ledger", key))
            self.ledgers[key] = self.bucket.objects[key]
            self.bucket.objects[key] = Object(GARBAGE, hashlib.md5(GARBAGE, usedforsecurity=False).hexdigest())
            self.world.at(self.world.now_s + self.world.random.uniform(5, 60), lambda: self._mend_ledger(key))

    def _mend_ledger(self, key: str) -> None:
        """Put the books back as they were, as an operator would; nobody has written over what they could not read."""
        was = self.ledgers.pop(key, None)
        if was is None:
            return
        if key not in self.bucket.objects or self.bucket.objects[key].body != GARBAGE:
            self.history.violation(f"corrupt objects are left alone: {key} was deleted or written over")
        self.world.note(f"somebody mends {key}")
        self.bucket.objects[key] = was
        self.world.causes.answered(EVERYBODY, self.world.now_s)

    def _litter(self) -> None:
        keys = self.history.keys
        for key in (f"{keys.inbox(0)}9/README.txt", f"{keys.dlq}notes.json", f"{keys.journal(0)}old", f"{keys.root}x"):
            if key not in self.bucket.objects:
                self.world.faults["foreign"] += 1
                self.foreign[key] = f"left by {self.world.now_s}".encode()
                self.bucket.plant(key, self.foreign[key])

    def _expire(self) -> None:
        waiting = self._waiting()
        if waiting:
            key = self.world.random.choice(waiting)
            self.world.faults["expired"] += 1
            self.world.note(f"a lifecycle rule deletes {key}")
            name = self._name(key)
            self.history.expired.update(self.history.ids[name, index] for index in range(count_of(name)))
            self.bucket.uproot(key)

    def mend(self) -> None:
        """Put right what was corrupted, as an operator would from a backup."""
        for key in list(self.ledgers):
            self._mend_ledger(key)
        for key, was in self.corrupted.items():
            found = self.bucket.objects.get(key)
            if found is None and self.history.operated:
                continue  # truncated: that is what truncating is for
            if found is None:
                self.history.violation(f"corrupt objects are left alone: {key} was deleted")
            elif found.body != GARBAGE:
                self.history.violation(f"corrupt objects are left alone: {key} was written over")
            else:
                self.bucket.objects[key] = was

    def check(self) -> None:
        """Check that what is foreign is still there as it was."""
        for key, body in self.foreign.items():
            found = self.bucket.objects.get(key)
            if found is None or found.body != body:
                self.history.violation(f"foreign objects are left alone: {key} is not as it was")
