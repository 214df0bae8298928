"""Replays: of letters as they are, edited, or into another queue; all stand in the ledger of the letter's lane.

A line of that ledger says what becomes of a letter, and a letter has one line at a time. So whoever dies in between leaves
a move that the next sweep, or the next replay or discard of the letter, whatever it is, carries out as it was decided; see
docs/protocol.md, *Dead letters*. An edited letter, or one for another queue, becomes a new message, with an id of its own
and no errors of the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from s3queue.core.keys import ObjectName
from s3queue.core.message import DeadLetter, Message
from s3queue.errors import InvalidInput
from s3queue.producing import place
from s3queue.protocol.changing import Changed
from s3queue.protocol.lane import Lane
from s3queue.queue import Queue
from s3queue_admin.actions.options import editor
from s3queue_admin.text import Redactor, plain

ORIGIN: Final = "s3queue-replay-of"
"""The header of a message made of a letter: the id of the message that had died."""
MAX_ERROR: Final = 300


def as_they_are(queue: Queue, names: Sequence[str]) -> Changed:
    """Move the letters back as they are."""
    done = queue.dlq.replay_letters(names)
    return Changed(done.replayed, done.refused)


def anew(queue: Queue, options: Mapping[str, Any], redactor: Redactor, names: Sequence[str]) -> Changed:
    """Make new messages of the letters, in this queue or another one."""
    target: Queue = options.get("to") or queue
    edit = editor(options)

    def remake(lane: Lane, letter: DeadLetter) -> tuple[Lane, ObjectName, Message]:
        try:
            payload = letter.payload if edit is None else edit(letter.payload)
        except Exception as error:  # the edit is the operator's: what it raises concerns this letter alone
            raise _refused(redactor, f"the edit failed: {type(error).__name__}: {error}") from error
        old = letter.message
        try:
            return place(
                target.connect(),
                payload,
                lane=lane.number if target.root == queue.root else None,
                priority=old.priority,
                max_attempts=old.max_attempts,
                retry=old.retry,
                group=old.group,
                headers={**old.headers, ORIGIN: letter.id},
            )
        except InvalidInput as error:
            raise _refused(redactor, str(error)) from error

    done = queue.dlq.replay_letters(names, remake)
    return Changed(done.replayed, done.refused)


def _refused(redactor: Redactor, why: str) -> InvalidInput:
    """Return why a letter is refused, without its secrets and in one line: such texts quote payloads."""
    return InvalidInput(plain(redactor.text(why, "error"), MAX_ERROR))
