"""What strangers do to a bucket: corrupt an object, leave their own, delete by a lifecycle rule."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from s3queue.core.keys import ObjectName, count_of
from s3queue.store.port import Object
from tests.simulation.bucket import Bucket
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

    def come(self, at_s: float) -> None:
        """Come at a virtual time."""
        deed = self.world.random.choice((self._corrupt, self._corrupt, self._litter, self._expire))
        self.world.at(at_s, deed)

    def _waiting(self) -> list[str]:
        """Return the keys of objects that nobody has been given yet."""
        history, inbox = self.history, self.history.keys.inbox(0)
        held, settled = history.ledger.held_names(), history.ledger.settled
        found = []
        for key in self.bucket.objects:
            name = history.keys.name_in(inbox, key) if key.startswith(inbox) else ""
            ours = bool(name) and ObjectName.parse(name) is not None and key not in self.corrupted
            known = name in held or name in settled
            if ours and not known and name > history.ledger.cursor(int(name[0])):
                found.append(key)
        return found

    def _corrupt(self) -> None:
        waiting = self._waiting()
        if waiting:
            key = self.world.random.choice(waiting)
            self.world.faults["corrupt"] += 1
            self.world.note(f"somebody corrupts {key}")
            self.corrupted[key] = self.bucket.objects[key]
            self.bucket.objects[key] = Object(GARBAGE, hashlib.md5(GARBAGE, usedforsecurity=False).hexdigest())

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
            name = self.history.keys.name_in(self.history.keys.inbox(0), key)
            self.history.expired.update(self.history.ids[name, index] for index in range(count_of(name)))
            self.bucket.uproot(key)

    def mend(self) -> None:
        """Put right what was corrupted, as an operator would from a backup."""
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
