"""Handlers that run in other processes; payloads tell them what to do, files tell the test what they did."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Event
from typing import Any

from s3queue import Context, NonRetriable, RetryLater
from tests.queue.clocks import eventually


def told(payload: dict[str, Any], ctx: Context) -> Any:
    """Do what the payload says."""
    if "mark" in payload:
        Path(payload["mark"]).write_text(str(os.getpid()))
    if "until" in payload:
        assert eventually(Path(payload["until"]).exists, 50)
    action = payload.get("do", "return")
    if action == "exit":
        os._exit(payload["code"])
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "hang":
        Event().wait()
    return _decide(action, payload, ctx)


def _decide(action: str, payload: dict[str, Any], ctx: Context) -> Any:
    errors = {
        "raise": ValueError("told to"),
        "system-exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "non-retriable": NonRetriable("hopeless"),
        "later": RetryLater("busy", after=3600),
        "unpicklable": Unpicklable(),
    }
    if action in errors:
        raise errors[action]
    if action == "dead":
        ctx.dead("decided")
    if action == "ack":
        ctx.ack()
    if action == "return-set":
        return {1}
    if action == "return-lambda":
        return lambda: None
    return {"pid": os.getpid(), "id": ctx.id, "attempt": ctx.attempt, "n": payload.get("n")}


class Unpicklable(Exception):
    """An error that cannot cross from one process to another."""

    def __reduce__(self) -> str:
        raise TypeError("stays here")


def pid(payload: Any) -> int:  # noqa: ARG001 - the face of a handler
    return os.getpid()
