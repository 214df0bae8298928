"""What really happened, seen from the bucket: every ledger version is checked, every message followed to its end.

Nothing here trusts the engine's own view of a run: the recorder sits beneath all actors, where objects change.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from s3queue.core.codec import decode_ledger, decode_letter, decode_messages, decode_settings
from s3queue.core.invariants import step_violations, violations
from s3queue.core.keys import Keys, ObjectName, count_of, parse_letter
from s3queue.core.ledger import Ledger
from s3queue.core.payload import Seal
from s3queue.core.presence import decode_presence
from s3queue.errors import CorruptObject
from s3queue.events import Event
from s3queue.protocol.outcomes import Delivery
from s3queue.store.port import Object
from tests.simulation.bucket import Bucket
from tests.simulation.duplicates import Duplicates, Spot
from tests.simulation.fleet import Fleet
from tests.simulation.world import World


@dataclass
class History:
    """The record of one run."""

    world: World
    bucket: Bucket
    keys: Keys
    lease_s: float
    max_attempts: int
    check_leases: bool = True
    operated: bool = False
    acked: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    """Messages that a lifecycle rule deleted: they may end as missing, or not at all."""
    executed: Counter[str] = field(default_factory=Counter)
    once: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The ids of the messages made for each deduplication key, and what producers were told (:attr:`told`)."""
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ended_under: dict[Spot, int] = field(default_factory=dict)
    ids: dict[Spot, str] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    ledgers: dict[int, Ledger] = field(default_factory=lambda: defaultdict(Ledger))
    """The books of every lane that ever was."""
    decided: Counter[str] = field(default_factory=Counter)
    """Moves put into the outbox, by kind."""
    _left: set[Spot] = field(default_factory=set)
    _claimed_at: dict[Spot, tuple[int, float]] = field(default_factory=dict)

    _lane_of: dict[str, int] = field(default_factory=dict)
    _holder: dict[tuple[int, int], str] = field(default_factory=dict)
    """By lane and token, which process made the claim, and what it calls itself (:attr:`_claimant`)."""
    _claimant: dict[tuple[int, int], str] = field(default_factory=dict)
    _present_until_s: dict[str, float] = field(default_factory=dict)
    """By worker, until when it may rely on its last heartbeat, at most: nine tenths of what may pass until it is dead."""

    def __post_init__(self) -> None:
        self.again = Duplicates(self.world, self.lease_s, self.violation)
        self.fleet = Fleet(self.world, self.violation, strict=self.check_leases)
        self.bucket.on_put = self._on_put
        self.bucket.on_delete = self._on_delete

    @property
    def ledger(self) -> Ledger:
        """The books of the first lane."""
        return self.ledgers[0]

    @property
    def unsettled(self) -> bool:
        """Whether a ticket or a line is left in the books of any lane."""
        return any(ledger.tickets or ledger.outbox for ledger in self.ledgers.values())

    def lane_of(self, key: str, folder: str) -> int | None:
        """Return the lane whose object in such a folder (or ledger) this key is; None if it is none."""
        prefix = f"{self.keys.root}{folder}/"
        number = key[len(prefix) : len(prefix) + 4]
        return int(number) if key.startswith(prefix) and number.isdigit() else None

    def violation(self, text: str) -> None:
        """Note that a rule was broken."""
        self.found.append(f"{self.world.now_s:.3f} {text}")
        self.world.note(f"VIOLATION {text}")
        self.world.halted = True

    # -- as it happens --

    def _on_put(self, key: str, before: Object | None, after: Object) -> None:
        try:
            if (lane := self.lane_of(key, "ledger")) is not None:
                self._on_ledger(lane, decode_ledger(after.body, key), overwrote=before)
            elif (lane := self.lane_of(key, "inbox")) is not None:
                self._on_born(lane, key, after)
            elif key.startswith(self.keys.workers):
                entry = decode_presence(after.body, key)
                # It counts from when it was composed, by a clock that may be a second behind.
                since_s = min(self.world.now_s, entry.beat_at_ms / 1000 + 1)
                self._present_until_s[entry.worker] = since_s + 0.9 * entry.silence_ms / 1000
            elif key == self.keys.settings:
                self.fleet.on_settings(decode_settings(after.body, key), self._is_busy)
        except CorruptObject:
            self.world.note(f"a corrupt object is put at {key}")

    def _on_born(self, lane: int, key: str, after: Object) -> None:
        name = ObjectName.parse(self.keys.name_in(self.keys.inbox(lane), key))
        if name is None:
            return
        if self._lane_of.setdefault(str(name), lane) != lane:
            self.violation(
                f"an object is in one lane: {name} is put into {lane}, and was in {self._lane_of[str(name)]}"
            )
        self.fleet.on_born(lane)
        for index, message in enumerate(decode_messages(after.body, key, name, Seal())):
            self.ids[str(name), index] = message.id
            if isinstance(message.payload, dict) and "once" in message.payload:
                self.once[message.payload["once"]].add(message.id)

    def _is_busy(self, lane: int) -> bool:
        """Whether there are messages in a lane."""
        ledger, inbox = self.ledgers[lane], self.keys.inbox(lane)
        names = (self.keys.name_in(inbox, key) for key in self.bucket.objects if key.startswith(inbox))
        return bool(ledger.tickets or ledger.outbox) or any(name not in ledger.settled for name in names)

    def _on_delete(self, key: str) -> None:
        if key.startswith(self.keys.workers):  # who has no entry is not taken for dead
            self._present_until_s = {
                name: at for name, at in self._present_until_s.items() if self.keys.worker(name) != key
            }
        lane = self.lane_of(key, "inbox")
        if lane is not None:
            name, ledger = self.keys.name_in(self.keys.inbox(lane), key), self.ledgers[lane]
            if name in ledger.held_names():
                self.violation(f"deletion follows settlement: {name} is deleted while it is held")
            elif name not in ledger.settled and name > ledger.cursor(int(name[0])):
                self.violation(f"deletion follows settlement: {name} is deleted unticketed")

    def _on_ledger(self, lane: int, after: Ledger, overwrote: Object | None) -> None:
        before = self.ledgers[lane]
        if overwrote is None and before.revision:
            self.violation("the ledger was created twice")
        if after.revision <= before.revision:
            self.violation(f"revision {after.revision} was written over {before.revision}: books were lost")
        for text in (*violations(after), *step_violations(before, after)):
            self.violation(text)
        anew = {(line.source, line.index, line.kind) for line in before.outbox.values()}
        self.decided.update(
            line.kind
            for id_, line in after.outbox.items()
            if id_ not in before.outbox and (line.source, line.index, line.kind) not in anew
        )
        was, now = _places(before), _places(after)
        were_lines, lines = _lines(before), _lines(after)
        for spot in was.keys() - now.keys():
            if spot in self._left:
                self.violation(f"{spot} leaves the books twice")
            self._left.add(spot)
            if spot not in were_lines:
                self.ended[self.ids.get(spot, "?")] += 1
            if was[spot]:
                self.ended_under[spot] = was[spot]
            self.fleet.on_settled(lane)
        for spot, token in was.items():
            if token and (spot not in now or spot in lines):
                self._check_fence(lane, spot, token)
        self._note_discards(before, after, was)
        for spot in now.keys() & self._left:
            self.violation(f"completes once: {spot} comes back after it was settled")
        lost = self._check_claims(lane, was, now, after)
        self.again.on_ledger(before, after, was=was, now=now, lost=lost, by=self.bucket.hand, lane=lane)
        self.fleet.on_ledger(lane, before, after, self.bucket.hand)
        self.bucket.dispatcher = self.bucket.hand if self.fleet.published(before, after) else ""
        self.ledgers[lane] = after

    def _check_fence(self, lane: int, spot: Spot, token: int) -> None:
        """A claimed message is given its outcome by its holder, or by an operator, and nobody else."""
        hand, holder = self.bucket.hand, self._holder.get((lane, token), "?")
        if hand and not hand.startswith("op") and hand != holder:
            self.violation(f"fencing: {hand} settles {spot}, which {holder} holds under token {token}")

    def _note_discards(self, before: Ledger, after: Ledger, was: dict[Spot, int]) -> None:
        """Objects that are settled without ever having been in a ticket were thrown away by an operator."""
        moving = {line.target: line.message_id for line in before.outbox.values() if line.kind != "dead"}
        still = _lines(after)
        elsewhere = {line.target for line in before.outbox.values() if (line.source, line.index) in still}
        self._left.update((name, 0) for name in elsewhere & (after.settled.keys() - before.settled.keys()))
        for name in after.settled.keys() - before.settled.keys():
            for spot in ((name, index) for index in range(count_of(name))):
                if spot not in was and spot not in self._left:
                    self._left.add(spot)
                    self.ended[self.ids.get(spot) or moving.get(name, "?")] += 1

    def _check_claims(self, lane: int, was: dict[Spot, int], now: dict[Spot, int], after: Ledger) -> set[Spot]:
        """Nobody is given a message while somebody else may rely on a claim of it, by true time. Return what was rescued."""
        before = self.ledgers[lane]
        claimed_at_s = {ticket.token: ticket.claimed_at_ms / 1000 for ticket in after.tickets.values()}
        for ticket in after.tickets.values():
            if ticket.claimed and ticket.id not in before.tickets:
                self._holder[lane, ticket.token] = self.bucket.hand or ticket.worker
                self._claimant[lane, ticket.token] = ticket.worker
        lost_before, lost_now = _lost_claims(before), _lost_claims(after)
        taken = self.bucket.hand.startswith("op")  # by an operator, who may
        lost = set()
        for spot, token in now.items():
            old = self._claimed_at.get(spot)
            if token > 0 and (old is None or old[0] != token):
                self._claimed_at[spot] = (token, claimed_at_s[token])
            if lost_now.get(spot, 0) > lost_before.get(spot, 0):
                lost.add(spot)
                if self.check_leases and not taken and old is not None and was.get(spot) == old[0]:
                    self._check_rescue(lane, spot, *old)
        if taken:
            self._note_reset(before, after)
        return lost

    def _check_rescue(self, lane: int, spot: Spot, token: int, claimed_at_s: float) -> None:
        held_s = self.world.now_s - claimed_at_s
        # Its holder may rely on it for nine tenths of the lease, and write down a time a second too early.
        if held_s < self.lease_s * 0.9 + 1:
            if self._taken_for_dead(self._claimant.get((lane, token), "")):
                self.fleet.seen["messages rescued from the dead"] += 1
            else:
                self.violation(f"one unexpired claim: {spot} is rescued {held_s:.2f} s after it was claimed")

    def _note_reset(self, before: Ledger, after: Ledger) -> None:
        """Note the claims that an operator has just taken from holders that may rely on them."""
        now_ms = int(self.world.now_s * 1000)
        for id_, ticket in before.tickets.items():
            if ticket.claimed and id_ not in after.tickets and ticket.expires_at_ms > now_ms:
                spots = [(part.name, index) for part in ticket.parts for index in part.indices()]
                ids = [self.ids[spot] for spot in spots if spot in self.ids]
                self.fleet.on_reset(ticket, ids, led=before.led_at(now_ms) is not None)

    def _taken_for_dead(self, worker: str) -> bool:
        """Whether a worker has been silent for so long, by true time, that it relies on none of its claims."""
        until_s = self._present_until_s.get(worker)
        return until_s is not None and until_s < self.world.now_s

    # -- what the engine says and does, held against the books --

    def on_run(self, delivery: Delivery) -> None:
        """Note that a handler begins, and check that its claim stands in the books."""
        self.executed[delivery.id] += 1
        self.again.on_run(delivery)
        if delivery.attempt > self.max_attempts:
            self.violation(f"attempts: {delivery.id} has attempt {delivery.attempt} of {self.max_attempts}")
        handle = delivery.handle
        ticket = self.ledgers[delivery.lease.lane].tickets.get(handle.ticket_id)
        holds = ticket is not None and ticket.token == handle.token
        if ticket is not None and self.check_leases and self._taken_for_dead(ticket.worker):
            self.violation(f"one unexpired claim: {delivery.id} runs on {ticket.worker}, which may be taken for dead")
        if not holds and self.check_leases and not self.operated:
            self.violation(f"one unexpired claim: {delivery.id} runs under token {handle.token}, which holds nothing")

    def on_lease_lost(self, event: Event) -> None:
        """Check that an outcome that is said to be refused is not in the books all the same."""
        self.fleet.on_refused(event)
        for spot, token in self.ended_under.items():
            if token == event.token and self.ids.get(spot) == event.id and not self.operated:
                self.violation(f"re-applying changes nothing: {event.id} is recorded, and said to be refused")

    def on_told(self, dedup_id: str, id_: str) -> None:
        """Note that a producer was told that this is the durable message of its key."""
        self.acked.add(id_)
        self.told[dedup_id].add(id_)

    # -- at the end --

    def letters(self) -> Counter[str]:
        """Return how many dead letters each message has."""
        found: Counter[str] = Counter()
        for key in self.bucket.objects:
            if key.startswith(self.keys.dlq) and parse_letter(self.keys.name_in(self.keys.dlq, key)):
                found[decode_letter(self.bucket.objects[key].body, key, Seal()).id] += 1
        return found

    def unfinished(self) -> set[str]:
        """Return the ids of messages that have not come to an end."""
        letters = self.letters()
        born = {*self.ids.values(), *self.acked} - self.expired
        return {id_ for id_ in born if not self.ended[id_] and not letters[id_]}

    def has_left(self, spot: Spot) -> bool:
        """Whether the message has left the books for good."""
        return spot in self._left

    def check_end(self) -> None:
        """Check a drained run: total queue, attempts, books equal to history."""
        letters = self.letters()
        for id_ in sorted({*self.ids.values(), *self.acked}):
            ends = self.ended[id_] + letters[id_]
            if ends == 0 and id_ not in self.expired:
                acked = "acknowledged" if id_ in self.acked else "written"
                self.violation(f"nothing is lost: {acked} message {id_} has no end")
            elif ends > 1:
                self.violation(f"completes once: {id_} ended {self.ended[id_]} times, with {letters[id_]} letters")
        for id_ in self.executed.keys() - set(self.ids.values()):
            self.violation(f"nothing is invented: {id_} was executed and never enqueued")
        for dedup_id in sorted({*self.once, *self.told}):
            made, told = self.once[dedup_id], self.told[dedup_id]
            if len(made) != 1 or not told <= made:
                self.violation(f"a key makes one message: {dedup_id} made {sorted(made)}, told were {sorted(told)}")
        self._check_counters()
        for lane, ledger in sorted(self.ledgers.items()):
            if ledger.tickets or ledger.outbox:
                left = f"{len(ledger.tickets)} tickets and {len(ledger.outbox)} lines are left"
                self.violation(f"liveness: {left} in lane {lane}")

    def _check_counters(self) -> None:
        """The engine's counters say what happened, unless objects vanished under moves that were counted."""
        if self.expired:
            return
        told: Counter[str] = Counter()
        for ledger in self.ledgers.values():
            told.update(ledger.counters)
        kinds = {"retried": "retry", "moved": "move", "dead": "dead", "replayed": "replay"}
        happened = {counter: self.decided[kind] for counter, kind in kinds.items()}
        for counter, count in happened.items():
            if told.get(counter, 0) != count:
                self.violation(
                    f"counters equal the history: {counter} is {told.get(counter, 0)}, it happened {count} times"
                )
        ended = sum(told.get(counter, 0) for counter in ("completed", "discarded", "missing"))
        if ended != sum(self.ended.values()):
            self.violation(f"counters equal the history: {ended} ended by the counters, {sum(self.ended.values())} did")


def _places(ledger: Ledger) -> dict[Spot, int]:
    """Return where each message of the books is, with the token of its claim (0: none)."""
    places = {
        (part.name, index): ticket.token
        for ticket in ledger.tickets.values()
        for part in ticket.parts
        for index in part.indices()
    }
    places.update(dict.fromkeys(_lines(ledger), 0))
    return places


def _lines(ledger: Ledger) -> set[Spot]:
    return {(line.source, line.index) for line in ledger.outbox.values() if line.holds_source}


def _lost_claims(ledger: Ledger) -> dict[Spot, int]:
    return {
        (part.name, index): len(part.rescues)
        for ticket in ledger.tickets.values()
        for part in ticket.parts
        if part.rescues
        for index in part.indices()
    }
