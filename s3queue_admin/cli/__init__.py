"""The operator's command line. stdout carries data alone; plans, progress, notes and errors go to stderr.

Only the entry is here, so that Ctrl-C is caught while everything else is still being imported.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with this process's arguments, and exit."""
    try:
        from s3queue_admin.cli.commands import cli

        cli.main(prog_name="s3queue-admin")
    except KeyboardInterrupt:
        sys.exit("Aborted!")  # as click says it later on; exit code 1
