"""How hard a worker works: its options, with their defaults and limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from s3queue.core.checking import check_number
from s3queue.errors import InvalidSetting
from s3queue.presets import worker_options

_RANGES: dict[str, tuple[float, float]] = {
    "concurrency": (1, 1000),
    "prefetch": (1, 10_000),
    "poll_interval": (0.01, 3600),
    "max_poll_interval": (0.01, 3600),
    "handler_timeout": (0.001, 86_400),
    "shutdown_grace": (0, 86_400),
    "health_port": (0, 65_535),
}
_WHOLE = ("concurrency", "prefetch", "health_port")


@dataclass(frozen=True, slots=True)
class Tuning:
    """A worker's options; intervals and times in seconds. InvalidSetting for one out of range."""

    concurrency: int = 8
    executor: str = "thread"
    handler_timeout: float | None = None
    poll_interval: float = 0.25
    max_poll_interval: float = 5.0
    prefetch: int = 1000
    shutdown_grace: float = 30.0
    health_port: int | None = None
    health_host: str = "127.0.0.1"
    coordinate: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name in _RANGES:
                _check(item.name, getattr(self, item.name))
        if self.executor not in ("thread", "process"):
            raise InvalidSetting(f"executor is {self.executor!r}.", remedy="Use 'thread' or 'process'.")
        if not isinstance(self.health_host, str) or not self.health_host.isprintable() or not self.health_host:
            raise InvalidSetting(
                f"health_host is {self.health_host!r}.", remedy="Use an address of this machine, as in 127.0.0.1."
            )

    @classmethod
    def of(cls, preset: str | None, **options: Any) -> Tuning:
        """Return the options that are given (not None), else the preset's, else the defaults."""
        given = {name: value for name, value in options.items() if value is not None}
        return cls(**{**worker_options(preset), **given})


def _check(name: str, value: Any) -> None:
    if value is None and name in ("handler_timeout", "health_port"):
        return
    check_number(name, value, *_RANGES[name], unit="", whole=name in _WHOLE)
