"""Replays: as they are, through the ledger's outbox; or as new messages, edited or in another queue.

A plain replay moves each letter exactly once, whoever dies in between, and keeps id and errors. A new message is enqueued
under a deduplication key made of the letter's key, then the letter is discarded. Who dies in between leaves a letter whose
message is enqueued already; the next replay of it finds the key, makes no second message, and discards the letter.

Limits: the key is kept for the ``dedup_ttl`` of the queue that the message goes to, a day unless configured otherwise; until
then the first edit counts, whatever the next one is. What broke off must be done again into the same queue, edited: a plain
replay, or one into a third queue, does not ask for that key, and makes a second message. Whoever replays by other means than
these actions (``q.dlq.replay``) does not take their lock, and may replay a letter between the two steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from s3queue.core.keys import parse_letter
from s3queue.core.message import DeadLetter
from s3queue.errors import InvalidInput, S3QueueError
from s3queue.protocol.changing import Changed
from s3queue.protocol.dead_letters import NO_LETTER
from s3queue.queue import Queue
from s3queue_admin.actions.options import editor

ORIGIN: Final = "s3queue-replay-of"
"""The header of a message made of a letter: the id of the message that had died."""


class PartlyChanged(S3QueueError):
    """A batch that the store broke off; ``changed`` is what was done before."""

    def __init__(self, changed: Changed, error: S3QueueError) -> None:
        super().__init__(str(error))
        self.changed = changed


def plain(queue: Queue, names: Sequence[str]) -> Changed:
    """Move the letters back as they are."""
    done = queue.dlq.replay_letters(names)
    return Changed(done.replayed, done.refused)


def anew(queue: Queue, options: Mapping[str, Any], names: Sequence[str]) -> Changed:
    """Make new messages of the letters, then discard these."""
    target: Queue = options.get("to") or queue
    edit = editor(options)
    made: dict[str, str] = {}
    refused: dict[str, str] = {}
    moving = queue.dlq.moving(names)
    found = dict(queue.dlq.letters(names))
    broken: S3QueueError | None = None
    for name in names:
        letter = found.get(name)
        if letter is None or name in moving:
            refused[_id(name)] = moving.get(name, NO_LETTER)
            continue
        try:
            _enqueue(queue, target, name, letter, edit(letter.payload) if edit is not None else letter.payload)
        except InvalidInput as error:
            refused[letter.id] = str(error)
        except S3QueueError as error:
            broken = error
            break
        except Exception as error:  # noqa: BLE001 - the edit is the operator's: what it raises concerns this letter alone
            refused[letter.id] = f"the edit failed: {type(error).__name__}: {error}"
        else:
            made[name] = letter.id
    try:
        left = queue.dlq.discard_letters(list(made)).refused if made else {}
    except S3QueueError as error:
        broken, left = broken or error, dict.fromkeys(made, str(error))
    refused |= {made[name]: f"it is enqueued anew, and its letter is left: {why}" for name, why in left.items()}
    changed = Changed(tuple(made.values()), refused)
    if broken is not None:
        raise PartlyChanged(changed, broken) from broken
    return changed


def _enqueue(queue: Queue, target: Queue, name: str, letter: DeadLetter, payload: Any) -> None:
    message = letter.message
    target.enqueue(
        payload,
        priority=message.priority,
        max_attempts=message.max_attempts,
        retry=message.retry,
        group=message.group,
        headers={**message.headers, ORIGIN: letter.id},
        dedup_id=f"s3queue-replay:{queue.root}{name}",
    )


def _id(name: str) -> str:
    parsed = parse_letter(name)
    return parsed[1] if parsed is not None else name
