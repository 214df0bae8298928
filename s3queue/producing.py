"""From payloads to durable messages: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from s3queue.connection import Connection
from s3queue.core.keys import ObjectName, check_label, dedup_mark, message_id_at, rank_of
from s3queue.core.message import Message
from s3queue.core.payload import check_payload
from s3queue.core.retry import RetryPolicy
from s3queue.core.settings import Settings
from s3queue.options import check_order, check_shape, chunks, visible_at_ms
from s3queue.protocol.arrivals import keep_place
from s3queue.protocol.dedup import enqueue_once
from s3queue.protocol.lane import Lane


def produce(
    connection: Connection,
    payloads: Iterable[Any],
    *,
    delay: float,
    visible_at: datetime | None,
    priority: int,
    max_attempts: int | None,
    retry: RetryPolicy | None,
    group: str | None,
    headers: Mapping[str, str] | None,
    dedup_id: str | None = None,
) -> list[str]:
    """Return the ids of the messages once all are durable; see :meth:`s3queue.Queue.enqueue_many`.

    With ``dedup_id`` there is one payload, and its id may be that of a message enqueued before.
    """
    check_label("dedup_id", dedup_id, 1000)
    settings = connection.register.current()
    lane = connection.lane
    items = list(payloads)
    sizes = [check_payload(payload, settings.max_payload_bytes) for payload in items]
    shape = check_shape(max_attempts, retry, group, headers)
    rank, mark = _kind(settings, priority, group, delay, visible_at)
    key = "" if dedup_id is None else dedup_mark(dedup_id)
    not_before_ms = visible_at_ms(lane.now_ms(), delay, visible_at)
    connection.register.serve(priority)
    ids: list[str] = []

    def lane_of(number: int) -> Lane:
        return connection.lanes.of(number).lane

    ttl_ms = int(settings.dedup_ttl_s * 1000)
    with lane.standing.telemetry.sending(shape["headers"], len(items)) as sending:
        shape["headers"] = sending.headers
        for start, stop in chunks(sizes):
            lane = lane_of(int(connection.lane.ids.random() * settings.lanes)) if settings.lanes > 1 else lane
            now = lane.now_ms()
            started = lane.clock.monotonic()
            name = lane.naming.name(rank, max(now, not_before_ms), stop - start, mark, key)
            made = [message_id_at(name.id, index) for index in range(stop - start)]
            messages = [
                Message(id_, payload, now, priority=priority, **shape)
                for id_, payload in zip(made, items[start:stop], strict=True)
            ]
            try:
                if key:
                    made = [enqueue_once(lane, name, messages[0], ttl_ms, lane_of=lane_of)]
                else:
                    lane.inbox.write(name, messages)
                    keep_place(lane, name, (lane.clock.monotonic() - started) * 1000)
            except Exception as error:
                error.add_note(f"{len(ids)} of {len(items)} messages are durable; not confirmed: {made[0]} and after.")
                raise
            lane.announce(not_before_ms)
            if lane.events.wanted("message-enqueued") and made[0] == messages[0].id:
                lane.events.emit("message-enqueued", ids=made, object=str(name))
            ids += made
        sending.ids = ids
    return ids


def place(
    connection: Connection,
    payload: Any,
    *,
    lane: int | None = None,
    priority: int,
    max_attempts: int | None,
    retry: RetryPolicy | None,
    group: str | None,
    headers: Mapping[str, str] | None,
) -> tuple[Lane, ObjectName, Message]:
    """Return the message that enqueueing would make, its object's name and its lane; the message is not written.

    ``lane``: its number; None for any in use. Raises as enqueueing does.
    """
    settings = connection.register.current()
    check_payload(payload, settings.max_payload_bytes)
    shape = check_shape(max_attempts, retry, group, headers)
    rank, mark = _kind(settings, priority, group)
    connection.register.serve(priority)
    number = int(connection.lane.ids.random() * settings.lanes) if lane is None else lane
    chosen = connection.lanes.of(number).lane
    now = chosen.now_ms()
    name = chosen.naming.name(rank, now, 1, mark)
    return chosen, name, Message(message_id_at(name.id, 0), payload, now, priority=priority, **shape)


def _kind(
    settings: Settings, priority: int, group: str | None, delay: float = 0, visible_at: datetime | None = None
) -> tuple[int, str]:
    """Return what an object's name says of its messages: their rank, and the mark of their group, if it is kept in order."""
    rank, mark = rank_of(priority), settings.group_mark(group)
    if mark:
        check_order(settings.order, delay, visible_at, priority)
    return rank, mark
