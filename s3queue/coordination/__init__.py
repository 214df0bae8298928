"""Coordination backends: hints that make a queue quicker. Losing, repeating or inventing them costs time, never a message."""

from s3queue.coordination.ear import Ear
from s3queue.coordination.opening import Choice, open_hints, parse
from s3queue.coordination.port import MESSAGES, TICKETS, Hint, Hints, NoHints

__all__ = ["MESSAGES", "TICKETS", "Choice", "Ear", "Hint", "Hints", "NoHints", "open_hints", "parse"]
