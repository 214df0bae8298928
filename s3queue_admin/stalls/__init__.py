"""What is stuck and why, where any message is, and getting it going again: see docs/operator.md."""

from s3queue_admin.stalls.causes import Stuck, stuck
from s3queue_admin.stalls.explaining import Explanation, explain
from s3queue_admin.stalls.recovering import recover_stuck, recovery

__all__ = ["Explanation", "Stuck", "explain", "recover_stuck", "recovery", "stuck"]
