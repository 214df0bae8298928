"""Frames of what is known already: workers and tickets of a snapshot, bills, audit entries. Nothing is asked of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from s3queue.clock import to_ms
from s3queue.presets import MONTH_S
from s3queue.protocol.frames import UTC_TIME, Schema
from s3queue_admin.actions.model import AuditEntry
from s3queue_admin.cost.bill import HOUR_S, Bill
from s3queue_admin.rows import Row, Rows
from s3queue_admin.snapshot import BucketSnapshot, QueueSnapshot, TicketView, WorkerView
from s3queue_admin.text import Redactor

if TYPE_CHECKING:
    import pandas as pd

BY_DEFAULT: Final = Redactor()
WORKERS: Final[Schema] = {
    "queue": "str",
    "worker": "str",
    "state": ("alive", "late", "dead", "unlisted"),
    "host": "str",
    "pid": "Int64",
    "version": "str",
    "lanes": "str",
    "leads": "str",
    "capacity": "Int64",
    "held": "Int64",
    "claimed": "Int64",
    "processed": "Int64",
    "failed": "Int64",
    "commits": "Int64",
    "lost_races": "Int64",
    "requests": "Int64",
    "started_at": UTC_TIME,
    "beat_at": UTC_TIME,
    "due_at": UTC_TIME,
}
TICKETS: Final[Schema] = {
    "queue": "str",
    "lane": "Int64",
    "ticket": "str",
    "state": ("available", "assigned", "claimed", "stalled"),
    "size": "Int64",
    "worker": "str",
    "token": "Int64",
    "claimed_at": UTC_TIME,
    "expires_at": UTC_TIME,
    "assigned_until": UTC_TIME,
    "epoch": "Int64",
    "rescues": "Int64",
    "objects": "object",
}
COSTS: Final[Schema] = {
    "store": "str",
    "scope": "str",
    "period": "str",
    "prices_of": "str",
    "verb": "str",
    "purpose": "str",
    "requests_per_s": "float64",
    "usd_an_hour": "float64",
    "usd_a_month": "float64",
    "usd_per_million": "float64",
}
"""A row a kind of request; storage, transfer and what is free (less than 0) are rows without a verb: all add up to the bill."""
AUDIT: Final[Schema] = {
    "id": "str",
    "at": UTC_TIME,
    "queue": "str",
    "verb": "str",
    "who": "str",
    "reason": "str",
    "where": "str",
    "options": "object",
    "planned": "Int64",
    "ended_at": UTC_TIME,
    "count": "Int64",
    "refusals": "Int64",
    "unknown": "Int64",
    "stopped": "boolean",
    "error": "str",
    "ids": "object",
    "refused": "object",
    "before": "object",
    "after": "object",
    "requests": "Int64",
}
"""A row an action; ``ended_at`` is missing of one that is under way or died on its way."""


# -- snapshots --------------------------------------------------------------------------------------------------------


def _queues(snapshot: QueueSnapshot | BucketSnapshot) -> list[QueueSnapshot]:
    return [snapshot] if isinstance(snapshot, QueueSnapshot) else list(snapshot.queues.values())


def workers(snapshot: QueueSnapshot | BucketSnapshot) -> Rows:
    """Return rows of :data:`WORKERS` for the workers of a snapshot; asks nothing of the store."""
    return Rows(WORKERS, lambda: (_worker(each.queue, one) for each in _queues(snapshot) for one in each.workers))


def workers_frame(snapshot: QueueSnapshot | BucketSnapshot, **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`workers` as a frame; ``options``: see :meth:`s3queue_admin.rows.Rows.to_dataframe`."""
    return workers(snapshot).to_dataframe(**options)


def _worker(queue: str, view: WorkerView) -> Row:
    own = view.presence
    counts = ("pid", "capacity", "held", "processed", "failed", "commits", "lost_races")
    return {
        "queue": queue,
        "worker": view.worker,
        "state": view.state,
        "host": own.host if own else "",
        "version": own.version if own else "",
        "lanes": ",".join(map(str, own.lanes)) if own else "",
        "leads": ",".join(map(str, view.leads)),
        "claimed": view.claimed,
        "requests": sum(own.requests.values()) if own else None,
        "started_at": own.started_at_ms if own else None,
        "beat_at": _ms(view.beat_at),
        "due_at": _ms(view.due_at),
        **{name: getattr(own, name) if own else None for name in counts},
    }


def tickets(snapshot: QueueSnapshot | BucketSnapshot) -> Rows:
    """Return rows of :data:`TICKETS` for the tickets of a snapshot; asks nothing of the store."""
    return Rows(TICKETS, lambda: (_ticket(each.queue, one) for each in _queues(snapshot) for one in each.tickets))


def tickets_frame(snapshot: QueueSnapshot | BucketSnapshot, **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`tickets` as a frame; ``options``: see :meth:`s3queue_admin.rows.Rows.to_dataframe`."""
    return tickets(snapshot).to_dataframe(**options)


def _ticket(queue: str, view: TicketView) -> Row:
    return {
        "queue": queue,
        "lane": view.lane,
        "ticket": view.id,
        "state": view.state,
        "size": view.size,
        "worker": view.worker,
        "token": view.token or None,
        "claimed_at": _ms(view.claimed_at),
        "expires_at": _ms(view.expires_at),
        "assigned_until": _ms(view.assigned_until),
        "epoch": view.epoch or None,
        "rescues": view.rescues,
        "objects": list(view.objects),
    }


def _ms(at: datetime | None) -> int | None:
    return to_ms(at) if at is not None else None


# -- costs ------------------------------------------------------------------------------------------------------------


def costs(bills: Iterable[Bill]) -> Rows:
    """Return rows of :data:`COSTS` for bills: those of ``measured(…).bills``, or of ``estimate_usage(…).bills``."""
    known = tuple(bills)
    return Rows(COSTS, lambda: (row for bill in known for row in _charges(bill)))


def costs_frame(bills: Iterable[Bill], **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`costs` as a frame; ``options``: see :meth:`s3queue_admin.rows.Rows.to_dataframe`."""
    return costs(bills).to_dataframe(**options)


def _charges(bill: Bill) -> Iterator[Row]:
    head = {"store": bill.store, "scope": bill.scope, "period": bill.period, "prices_of": bill.as_of.isoformat()}
    for charge in bill.charges:
        yield head | asdict(charge) | {"purpose": charge.purpose.value}
    others = (
        ("storage", bill.storage_usd_a_month),
        ("transfer", bill.transfer_usd_a_month),
        ("free", -bill.free_usd_a_month),
    )
    for purpose, usd in others:
        if usd:
            yield head | {
                "verb": "",
                "purpose": purpose,
                "requests_per_s": 0.0,
                "usd_an_hour": usd * HOUR_S / MONTH_S,
                "usd_a_month": usd,
                "usd_per_million": None,
            }


# -- audit ------------------------------------------------------------------------------------------------------------


def audit(entries: Iterable[AuditEntry], redactor: Redactor = BY_DEFAULT) -> Rows:
    """Return rows of :data:`AUDIT` for audit entries; ``redactor``: that of the bucket, if it has its own hook.

    Given an iterator, they can be read once.
    """
    return Rows(AUDIT, lambda: (_entry(entry, redactor) for entry in entries), label="reading the audit")


def audit_frame(entries: Iterable[AuditEntry], redactor: Redactor = BY_DEFAULT, **options: Any) -> pd.DataFrame:
    """Return the rows of :func:`audit` as a frame; ``options``: see :meth:`s3queue_admin.rows.Rows.to_dataframe`."""
    return audit(entries, redactor).to_dataframe(**options)


def _entry(entry: AuditEntry, redactor: Redactor) -> Row:
    texts = {name: redactor.text(getattr(entry, name), name) for name in ("reason", "where", "error")}
    values = {
        name: redactor.value(dict(getattr(entry, name)), name) for name in ("options", "before", "after", "refused")
    }
    counts = ("id", "queue", "verb", "who", "planned", "count", "refusals", "unknown", "stopped")
    return {
        **{name: getattr(entry, name) for name in counts},
        **texts,
        **values,
        "at": _ms(entry.at),
        "ended_at": _ms(entry.ended_at),
        "ids": list(entry.ids),
        "requests": sum(entry.requests.values()),
    }
