"""``python -m s3queue_admin``: the operator's command line."""

from s3queue_admin.cli import main

main()
