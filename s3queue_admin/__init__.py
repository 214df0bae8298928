"""Tools for operators: look into queues, explain what is stuck, repair it. Built on the engine, never imported by it.

The names below are imported when they are first asked for, and nothing heavy (pandas, jinja2) before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from s3queue_admin.actions import AuditEntry, Plan, Result, audit, plan, undo
    from s3queue_admin.bucket import Bucket
    from s3queue_admin.checkup import doctor
    from s3queue_admin.cost import Estimate, Load, Measured, estimate_usage, load_prices, measured, what_if
    from s3queue_admin.deploy import lifecycle, manifests, policy
    from s3queue_admin.filters import Filter, FilterError, parse
    from s3queue_admin.frames import (
        audit_frame,
        costs_frame,
        export,
        history_frame,
        letters_frame,
        matching,
        messages_frame,
        tickets_frame,
        workers_frame,
    )
    from s3queue_admin.grouping import ErrorGroup, fingerprint, group_errors
    from s3queue_admin.invariants import FsckReport, fsck
    from s3queue_admin.judging import findings
    from s3queue_admin.missing import NoQueue
    from s3queue_admin.reports import report
    from s3queue_admin.snapshot import BucketSnapshot, Finding, QueueSnapshot
    from s3queue_admin.stalls import Explanation, Stuck, explain, recover_stuck, stuck
    from s3queue_admin.text import redact_secrets, show_all

_NAMES: Final = {
    "actions": ("AuditEntry", "Plan", "Result", "audit", "plan", "undo"),
    "bucket": ("Bucket",),
    "checkup": ("doctor",),
    "cost": ("Estimate", "Load", "Measured", "estimate_usage", "load_prices", "measured", "what_if"),
    "deploy": ("lifecycle", "manifests", "policy"),
    "filters": ("Filter", "FilterError", "parse"),
    "frames": (
        "audit_frame", "costs_frame", "export", "history_frame", "letters_frame", "matching", "messages_frame",
        "tickets_frame", "workers_frame",
    ),
    "grouping": ("ErrorGroup", "fingerprint", "group_errors"),
    "invariants": ("FsckReport", "fsck"),
    "judging": ("findings",),
    "missing": ("NoQueue",),
    "reports": ("report",),
    "snapshot": ("BucketSnapshot", "Finding", "QueueSnapshot"),
    "stalls": ("Explanation", "Stuck", "explain", "recover_stuck", "stuck"),
    "text": ("redact_secrets", "show_all"),
}  # fmt: skip
"""Public names by the module that each is in."""
_HOME: Final = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "AuditEntry", "Bucket", "BucketSnapshot", "ErrorGroup", "Estimate", "Explanation", "Filter", "FilterError",
    "Finding", "FsckReport", "Load", "Measured", "NoQueue", "Plan", "QueueSnapshot", "Result", "Stuck", "audit",
    "audit_frame", "costs_frame", "doctor", "estimate_usage", "explain", "export", "findings", "fingerprint",
    "fsck", "group_errors", "history_frame", "letters_frame", "lifecycle", "load_prices", "manifests", "matching",
    "measured", "messages_frame", "parse", "plan", "policy", "recover_stuck", "redact_secrets", "report",
    "show_all", "stuck", "tickets_frame", "undo", "what_if", "workers_frame",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
