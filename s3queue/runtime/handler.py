"""Handlers: how they are found, called and judged. One message runs through a few small steps."""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys
import sysconfig
import traceback as tracebacks
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3queue.core.message import Failure
from s3queue.core.payload import check_payload
from s3queue.errors import CorruptObject, InvalidPayload, InvalidSetting, LeaseLost, RetryLater
from s3queue.protocol import results
from s3queue.protocol.lanes import Consumer
from s3queue.protocol.outcomes import Delivery, Recorded
from s3queue.runtime.context import COMPLETED, Context, Decision, failed

Handler = Callable[..., Any]


def load(spec: str) -> Handler:
    """Return the handler named ``module:function``; InvalidSetting says what is wrong with it.

    The current folder is searched first, as ``python -m`` does.
    """
    module_name, colon, attribute = spec.partition(":")
    if not colon or not module_name or not attribute:
        raise InvalidSetting(f"{spec!r} names no handler.", remedy="Write module:function, as in app:handler.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it raises is why there is no handler
        raise _not_imported(module_name, error) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise InvalidSetting(
                f"The module {module_name!r} has no {attribute!r}.", remedy="Write module:function, as in app:handler."
            )
        found = getattr(found, name)
    return check(found, spec)


def _not_imported(module: str, error: BaseException) -> InvalidSetting:
    """Return what to say of a module that is not found, or of a line in it that raised."""
    said = f"The handler's module {module!r} cannot be imported: {type(error).__name__}: {error}"
    missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
    place = None if missing else _place(error)
    if place is None:
        remedy = "Run where the module can be imported (its folder, PYTHONPATH, an installed package)."
        return InvalidSetting(f"{said}.", remedy=remedy)
    return InvalidSetting(
        f"{said}, at {place}.", remedy=f"Mend it, so that it can be imported: `python -c 'import {module}'` tells all."
    )


def _place(error: BaseException) -> str | None:
    """Return file and line of the user's code where an import failed; of a library if none of it is the user's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in tracebacks.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in (__file__, importlib.__file__)
    ]
    libraries = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),)
    mine = [frame for frame in frames if not frame.filename.startswith(libraries)]
    last = (mine or frames)[-1:]
    return f"{last[0].filename}:{last[0].lineno}" if last else None


def check(handler: Any, name: str = "") -> Handler:
    """Return ``handler`` if it can be called with a message; raise InvalidSetting otherwise."""
    name = name or getattr(handler, "__qualname__", repr(handler))
    if not callable(handler):
        raise InvalidSetting(
            f"The handler {name} is a {type(handler).__name__}, not callable.", remedy="Give a function of the payload."
        )
    if inspect.iscoroutinefunction(handler):
        raise InvalidSetting(
            f"The handler {name} is a coroutine function; s3queue is synchronous.",
            remedy="Wrap it: lambda payload: asyncio.run(handler(payload)).",
        )
    arity(handler, name)
    return handler  # type: ignore[no-any-return]


def check_sendable(handler: Handler) -> None:
    """Raise InvalidSetting if the handler cannot be run in another process."""
    try:
        pickle.dumps(handler)
    except Exception as error:
        raise InvalidSetting(
            f"The handler {handler!r} cannot be sent to another process: {error}.",
            remedy="Use a function at the top of a module, or executor='thread'.",
        ) from error


def arity(handler: Handler, name: str = "") -> int:
    """Return 1 or 2: whether the handler takes the payload alone, or the context too."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 1  # built in C, no signature to be had
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [item for item in parameters if item.kind in kinds]
    required = [item for item in positional if item.default is item.empty]
    needs_keywords = [item for item in parameters if item.kind is item.KEYWORD_ONLY and item.default is item.empty]
    varargs = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    if len(required) > 2 or needs_keywords or (not positional and not varargs):
        raise InvalidSetting(
            f"The handler {name or handler!r} does not take (payload) or (payload, ctx).",
            remedy="Give it one parameter for the payload, and a second if it wants the context.",
        )
    return 2 if len(required) == 2 or (len(positional) >= 2 and positional[1].name in ("ctx", "context")) else 1


def call(handler: Handler, takes: int, payload: Any, context: Context, *, manual: bool) -> tuple[Decision, Any]:
    """Run the handler and return its decision and its value."""
    try:
        value = handler(payload, context) if takes == 2 else handler(payload)
    except Exception as error:  # noqa: BLE001 - the handler is the user's: every exception is a failed attempt
        return context.decision or failed(error), None
    if context.decision is not None:
        return context.decision, value
    if manual:
        return failed(RetryLater("the handler ended without ack or nack in manual mode")), value
    return COMPLETED, value


def store_result(consumer: Consumer, delivery: Delivery, value: Any) -> Recorded:
    """Keep what the handler returned and return the outcome; a value that JSON cannot hold makes a dead letter.

    The result is written before the completion is recorded, so a completed message always has one; by whoever still has
    the claim, as far as can be told, and never over that of a later claim.
    """
    lane = consumer.lane_of(delivery)
    try:
        check_payload(value, lane.settings().max_payload_bytes)
    except InvalidPayload as error:
        return consumer.failed(delivery, unkept(delivery.id, value, error))
    try:
        if not consumer.is_trusted(delivery):
            consumer.extend(delivery)  # a worker that was too slow finds out here
        results.keep(lane, delivery, value)
    except LeaseLost:
        pass  # so is what follows; the ledger will say so
    except CorruptObject as error:  # the message is done all the same, and whoever asks for its result is told
        lane.events.emit("error", error=error, doing="keeping a result")
    return consumer.completed(delivery)


def unkept(message_id: str, value: Any, error: Exception) -> Failure:
    """Return the failure of a handler whose value cannot be kept as a result; trying again is no use."""
    problem = InvalidPayload(
        f"The handler of message {message_id} returned a {type(value).__name__} that JSON cannot hold: {error}.",
        remedy="Return JSON values, or configure the queue with results=False.",
    )
    return Failure("InvalidPayload", str(problem), retriable=False)


class Runner:
    """Runs a handler on one delivery after the other and returns what to record; many threads may share it."""

    def __init__(self, handler: Handler, consumer: Consumer, *, queue: str, manual: bool = False) -> None:
        self.handler = check(handler)
        self._takes = arity(handler)
        self.consumer = consumer
        self.queue = queue
        self.manual = manual

    def run(self, delivery: Delivery) -> Recorded:
        """Run the handler in this thread and return the outcome."""
        self.announce(delivery)
        telemetry = self.consumer.lane.standing.telemetry
        if not telemetry.measures:
            return self._run(delivery)
        with telemetry.processing(delivery) as processing:
            recorded = self._run(delivery)
            processing.end(recorded)
        return recorded

    def _run(self, delivery: Delivery) -> Recorded:
        context = Context(self.consumer, delivery, self.consumer.lane.worker, self.queue)
        decision, value = call(self.handler, self._takes, delivery.message.payload, context, manual=self.manual)
        return self.conclude(delivery, decision, value)

    def announce(self, delivery: Delivery) -> None:
        """Tell that the handler begins."""
        delivery.started_at_ms = self.consumer.lane.now_ms()
        events = self.consumer.lane.events
        if events.wanted("message-processing"):
            events.emit("message-processing", id=delivery.id, attempt=delivery.attempt)

    def conclude(self, delivery: Delivery, decision: Decision, value: Any) -> Recorded:
        """Return the outcome of a decision; with results on, completing stores the value first."""
        if decision == COMPLETED and self.consumer.lane.settings().results:
            return store_result(self.consumer, delivery, value)
        return decision(self.consumer, delivery)
