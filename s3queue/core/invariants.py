"""What is always true of a ledger, each rule by name. Tests and the bucket check ask after every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from s3queue.core.keys import ObjectName, count_of, group_of, visible_at_ms_of
from s3queue.core.ledger import Ledger


def one_holder(ledger: Ledger) -> Iterator[str]:
    """A message is in one ticket at most, and not in an outbox line as well."""
    seen: set[tuple[str, int]] = set()
    for ticket in ledger.tickets.values():
        for part in ticket.parts:
            for index in part.indices():
                if (part.name, index) in seen:
                    yield f"message {index} of {part.name} is in two tickets"
                seen.add((part.name, index))
    for line in ledger.outbox.values():
        if line.holds_source and (line.source, line.index) in seen:
            yield f"message {line.index} of {line.source} is in a ticket and in outbox line {line.id}"


def within_object(ledger: Ledger) -> Iterator[str]:
    """A part names an object of the right form and only indices that it has."""
    for ticket in ledger.tickets.values():
        for part in ticket.parts:
            if ObjectName.parse(part.name) is None:
                yield f"ticket {ticket.id} holds {part.name!r}, which names no object"
            elif not part.ranges or part.ranges[-1][1] > count_of(part.name) or part.ranges[0][0] < 0:
                yield f"ticket {ticket.id} holds {part.ranges} of {part.name}"


def claim_is_whole(ledger: Ledger) -> Iterator[str]:
    """A claimed ticket has holder, times and a token no greater than the revision; an available one has none."""
    for ticket in ledger.tickets.values():
        held = (ticket.worker != "", ticket.claimed_at_ms > 0, ticket.expires_at_ms > ticket.claimed_at_ms)
        if ticket.claimed and (not all(held) or ticket.token > ledger.revision):
            yield f"claimed ticket {ticket.id} lacks holder, times or a lawful token"
        if not ticket.claimed and any(held):
            yield f"available ticket {ticket.id} has a holder"
        if not ticket.parts:
            yield f"ticket {ticket.id} holds nothing"


def settled_is_free(ledger: Ledger) -> Iterator[str]:
    """Nothing that is settled is needed by a ticket or an outbox line."""
    for name in ledger.settled.keys() & ledger.held_names():
        yield f"{name} is settled and still held"


def one_move(ledger: Ledger) -> Iterator[str]:
    """A message has one outbox line at most, and no two lines write one target."""
    sources: set[tuple[str, int]] = set()
    targets: set[str] = set()
    for line in ledger.outbox.values():
        if (line.source, line.index) in sources or line.target in targets:
            yield f"outbox line {line.id} repeats a source or a target"
        sources.add((line.source, line.index))
        targets.add(line.target)


def books_balance(ledger: Ledger) -> Iterator[str]:
    """Every message that was ever ticketed is in a ticket or has exactly one outcome."""
    count = ledger.counters.get
    inside = sum(ticket.size for ticket in ledger.tickets.values())
    outcomes = sum(count(kind, 0) for kind in ("completed", "retried", "moved", "dead", "discarded", "missing"))
    if count("ticketed", 0) != inside + outcomes:
        yield f"{count('ticketed', 0)} messages ticketed, but {inside} held and {outcomes} with an outcome"
    if any(value < 0 for value in ledger.counters.values()):
        yield f"a counter is negative: {dict(ledger.counters)}"


def one_in_flight_per_group(ledger: Ledger) -> Iterator[str]:
    """Of an ordered group one message at most is claimed."""
    held: dict[str, str] = {}
    for ticket in ledger.tickets.values():
        for part in ticket.parts if ticket.claimed else ():
            group = group_of(part.name)
            if group and (group in held or part.size > 1):
                yield f"group {group} has {part.name} in flight, and {held.get(group, 'more of it')}"
            held[group] = part.name


def turn_is_kept(ledger: Ledger) -> Iterator[str]:
    """What holds back a group is a single message of it without an outcome."""
    for group, name in ledger.held_back.items():
        if group_of(name) != group or count_of(name) != 1:
            yield f"group {group} is held back by {name}"
        if name in ledger.settled or any(line.source == name for line in ledger.outbox.values()):
            yield f"group {group} is held back by {name}, which has an outcome"


Invariant = Callable[[Ledger], Iterator[str]]

INVARIANTS: dict[str, Invariant] = {
    rule.__name__: rule
    for rule in (
        one_holder,
        within_object,
        claim_is_whole,
        settled_is_free,
        one_move,
        books_balance,
        one_in_flight_per_group,
        turn_is_kept,
    )
}


def violations(ledger: Ledger) -> list[str]:
    """Return every violation as ``rule: what``; empty for a lawful ledger."""
    return [f"{name}: {what}" for name, rule in INVARIANTS.items() for what in rule(ledger)]


def step_violations(before: Ledger, after: Ledger) -> list[str]:
    """Return what one commit may not do: go back in revision or cursor, claim a message before its time or out of its turn."""
    found = []
    if after is not before and after.revision != before.revision + 1:
        found.append(f"revision went from {before.revision} to {after.revision}")
    for rank, cursor in before.cursors.items():
        if after.cursor(rank) < cursor:
            found.append(f"cursor of rank {rank} went back from {cursor} to {after.cursor(rank)}")
    found += _too_early(after)
    found += _out_of_turn(before, after)
    return found


def _too_early(after: Ledger) -> Iterator[str]:
    """Tell what was claimed before it is visible."""
    for ticket in after.tickets.values():
        for part in ticket.parts if ticket.token == after.revision else ():
            if visible_at_ms_of(part.name) > ticket.claimed_at_ms:
                yield f"{part.name} is claimed at {ticket.claimed_at_ms}, before its time"


def _out_of_turn(before: Ledger, after: Ledger) -> Iterator[str]:
    """Tell what was claimed while an earlier message of its group was free, or while another's retry holds it back."""
    still = _free(after)
    free = {spot: group for spot, group in _free(before).items() if spot in still}
    for ticket in after.tickets.values():
        for part in ticket.parts if ticket.token == after.revision else ():
            group, spot = group_of(part.name), (part.name, part.ranges[0][0])
            first = before.held_back.get(group)
            if not group or part.name in (first, after.held_back.get(group)):
                continue
            if first is not None and after.held_back.get(group) == first:
                yield f"{spot} is claimed while {first} holds back group {group}"
            if any(mark == group and other < spot for other, mark in free.items()):
                yield f"{spot} is claimed while an earlier message of group {group} is free"


def _free(ledger: Ledger) -> dict[tuple[str, int], str]:
    """Return the messages of ordered groups that are free to be claimed, with their groups."""
    return {
        (part.name, index): group
        for ticket in ledger.tickets.values()
        for part in (() if ticket.claimed else ticket.parts)
        if (group := group_of(part.name))
        for index in part.indices()
    }
