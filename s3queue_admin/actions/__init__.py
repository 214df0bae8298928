"""Changing queues as an operator: plan, look, apply, and read in the audit trail what was done.

``plan(queue, "replay", parse("state:dead error~timeout")).apply(reason="mended")``: see docs/operator.md.
"""

from s3queue_admin.actions.auditing import audit, entry_of
from s3queue_admin.actions.model import VERBS, AuditEntry, Cost, Result, Sample
from s3queue_admin.actions.planning import LIMIT, Plan, paced, plan
from s3queue_admin.actions.undoing import undo

__all__ = [
    "LIMIT",
    "VERBS",
    "AuditEntry",
    "Cost",
    "Plan",
    "Result",
    "Sample",
    "audit",
    "entry_of",
    "paced",
    "plan",
    "undo",
]
