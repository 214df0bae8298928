"""What processes of a queue share beside messages: locks, schedules, results, history."""

from __future__ import annotations

from abc import ABC, abstractmethod

from s3queue.connection import Connection


class Sharing(ABC):
    """The part of :class:`s3queue.Queue` that is about things processes share."""

    @abstractmethod
    def connect(self) -> Connection:
        """Reach the store and return the connection."""
