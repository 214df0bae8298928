"""What undoes actions: letters put back from the versions that the bucket keeps, and a queue as it was before.

A letter comes back under a name one millisecond later than its own, as that stands in the journal of letters that are gone,
and sweeps delete it for an hour. It is written create-only, and not if that name ever was: so it comes back once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from s3queue.clock import to_datetime, to_ms
from s3queue.core.codec import decode_letter, encode_letter
from s3queue.core.keys import lane_of_letter, letter_name, parse_letter
from s3queue.errors import InvalidInput, PreconditionFailed, S3QueueError
from s3queue.protocol.changing import Changed
from s3queue.protocol.lane import Lane
from s3queue.queue import Queue
from s3queue.store.port import CREATE
from s3queue.store.versions import ObjectVersion, Versioned, versioned, walk_versions
from s3queue_admin.actions.auditing import entry_of, parts_of
from s3queue_admin.actions.configuring import change_queue, keywords, settings_of
from s3queue_admin.actions.model import AuditEntry
from s3queue_admin.actions.running import LOCK_TTL_S, Run, id_of_letter

SLACK_MS: Final = 5_000
"""How far the times of versions, whole seconds of the store's clock, may lie from those of the audit trail."""
KILLED_MS: Final = int(LOCK_TTL_S * 1000)
"""How long after the last letters that a killed action was about to delete these are taken for deleted by it: until others
may act on letters, and by when sweeps have carried out what it had decided."""
NOT_KEPT = "the bucket keeps no version of it"
THERE = "it is there"
BACK_BEFORE = "it was put back before"
NOT_OURS = "its versions do not say that this action took it away"


def back(queue: Queue, entry: AuditEntry) -> tuple[str, dict[str, Any]]:
    """Return the verb and the options that take the queue back; InvalidInput if it is not as the action left it."""
    if not entry.after:
        raise InvalidInput(f"The {entry.verb} changed nothing.", remedy="There is nothing to undo.")
    if entry.verb == "configure":
        wire = settings_of(queue)
        if any(wire.get(name) != value for name, value in entry.after.items()):
            raise InvalidInput("The settings were changed since.", remedy="Look at them, and configure what is wanted.")
        return "configure", keywords(entry.before)
    committer = queue.connect().lane.committer
    committer.read()
    if committer.ledger.paused != entry.after["paused"] or entry.before == entry.after:
        raise InvalidInput("The queue is not as the action left it.", remedy="There is nothing to undo.")
    return ("pause" if entry.before["paused"] else "resume"), {}


def carry_out(run: Run) -> None:
    """Undo what the plan says."""
    plan = run.plan
    entry = entry_of(plan.queue, str(plan.options["entry"]))
    if entry.verb in ("discard", "purge"):
        if entry.ended_at is None or entry.error:  # it broke off, and what it had decided was done by others
            last_ms = max((at_ms for at_ms, _ in parts_of(plan.queue, entry.id)), default=to_ms(entry.at))
            entry = replace(entry, ended_at=to_datetime(last_ms + KILLED_MS))
        run.each(plan.letters, partial(restore, plan.queue, entry), id_of_letter)
    else:
        verb, options = back(plan.queue, entry)
        change_queue(plan.queue, verb, options, run.tally)


def restore(queue: Queue, entry: AuditEntry, names: Sequence[str]) -> Changed:
    """Put letters back that an action has deleted: two LISTs, a GET and a PUT each."""
    connection = queue.connect()
    store, lane = versioned(connection.store), connection.lane
    done: list[str] = []
    refused: dict[str, str] = {}

    def one(name: str) -> str:
        try:
            return _restore(store, lane, entry, name)
        except S3QueueError as error:
            return str(error)

    for name, why in zip(names, lane.spread(one, names), strict=True):
        if why:
            refused[id_of_letter(name)] = why
        else:
            done.append(id_of_letter(name))
    return Changed(tuple(done), refused)


def _restore(store: Versioned, lane: Lane, entry: AuditEntry, name: str) -> str:
    """Put one letter back and return '', or why it is not."""
    parsed = parse_letter(name)
    if parsed is None:
        return NOT_OURS
    key = lane.keys.letter(name)
    found, why = _taken_by(entry, list(walk_versions(store, key)))
    if found is None:
        return why
    again = letter_name(parsed[0] + 1, parsed[1], lane_of_letter(name))
    if any(walk_versions(store, lane.keys.letter(again))):
        return BACK_BEFORE
    letter = decode_letter(store.get_version(key, found.id).body, key, lane.seal)
    letter = replace(letter, dead_at_ms=letter.dead_at_ms + 1)
    try:
        lane.store.put(lane.keys.letter(again), encode_letter(letter, lane.codec), CREATE)
    except PreconditionFailed:
        return BACK_BEFORE
    return ""


def _taken_by(entry: AuditEntry, versions: Iterable[ObjectVersion]) -> tuple[ObjectVersion | None, str]:
    """Return the version that the action took away, or why there is none. ``versions``: newest first."""
    deleted: ObjectVersion | None = None
    for version in versions:
        if not version.is_deletion:
            if deleted is None:
                return None, THERE
            began_ms, ended_ms = to_ms(entry.at), to_ms(entry.ended_at or entry.at)
            if not began_ms - SLACK_MS <= deleted.written_at_ms <= ended_ms + SLACK_MS:
                return None, NOT_OURS
            return version, ""
        deleted = version
    return None, NOT_KEPT
