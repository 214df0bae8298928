"""Other priorities and times for messages that wait: what they hold is read again, batch by batch, when they are moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from s3queue.core.changing import ENDED
from s3queue.core.message import Message
from s3queue.errors import CorruptObject, NotFound
from s3queue.protocol.changing import Changed
from s3queue.protocol.viewing import MessageView
from s3queue.queue import Queue


def move(queue: Queue, change: Callable[[Sequence[MessageView]], Changed], views: Sequence[MessageView]) -> Changed:
    """Do ``change`` to views of a plan, which are bare of what their messages hold; a GET for each object."""
    lanes = queue.connect().lanes
    spots = list(dict.fromkeys((view.lane, view.name) for view in views if not view.line))
    read = dict(zip(spots, lanes.first.lane.spread(lambda spot: _read(queue, *spot), spots), strict=True))
    whole: list[MessageView] = []
    refused: dict[str, str] = {}
    for view in views:
        found = read.get((view.lane, view.name))
        if isinstance(found, str):
            refused[view.id] = found
        else:  # a move that is not made yet is made anew from its source
            whole.append(view if found is None else replace(view, message=found[view.index]))
    changed = change(whole) if whole else Changed()
    return Changed(changed.done, {**refused, **changed.refused})


def _read(queue: Queue, lane: int, name: str) -> list[Message] | str:
    """Return the messages of an object, or why they cannot be had."""
    try:
        return queue.connect().lanes.of(lane).lane.inbox.read(name, partly=True)
    except NotFound:
        return ENDED
    except CorruptObject as error:
        return str(error)
