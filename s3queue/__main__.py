"""``python -m s3queue`` is the command line."""

from s3queue.cli import main

if __name__ == "__main__":  # processes of the worker's process executor import this module again
    main()
