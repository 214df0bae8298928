"""The books against the bucket: invariants checked on a queue that is in use, by reading alone.

A bucket has no moment: while it is read, others write. So everything is looked at twice, and only what was seen both times
is told. :mod:`.check` makes the report, :mod:`.scan` is one look, :mod:`.index` keeps ids on disk.
"""

from s3queue_admin.invariants.check import FsckReport, fsck

__all__ = ["FsckReport", "fsck"]
