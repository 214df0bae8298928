"""OpenTelemetry: spans and metrics of sending, receiving, processing and settling messages. Needs the extra ``otel``.

Names follow the semantic conventions for messaging (https://opentelemetry.io/docs/specs/semconv/messaging/). The context
in which a message was sent travels in its headers, as W3C Trace Context has them. As long as the process has not set up
a provider of spans or metrics, nothing is measured, nothing is imported, and headers stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3queue.clock import Clock, SystemClock
from s3queue.errors import InvalidSetting
from s3queue.options import MAX_HEADER_CHARS, MAX_HEADERS
from s3queue.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram, MeterProvider
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

    from s3queue.protocol.outcomes import Delivery, Recorded

PARENT, STATE = "traceparent", "tracestate"
"""The headers that carry a message's context. Whoever sets the first decides it."""
_SYSTEM = "s3queue"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_MAX_LINKS = 128
"""What the SDK keeps of a span's links unless it is told otherwise."""
_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Bucket boundaries of durations, as the conventions have them."""


@dataclass(frozen=True)
class Providers:
    """Where spans and metrics go, for a queue that is not to use the process' global providers; None: those."""

    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None


@dataclass(slots=True)
class Sending:
    """A send that goes on: ``headers`` to write with the messages; ``ids`` of those that are durable."""

    headers: Mapping[str, str]
    ids: Sequence[str] = ()


@dataclass(slots=True)
class Receiving:
    """A receive that goes on: what it got."""

    deliveries: Sequence[Delivery] = ()


@dataclass(frozen=True, slots=True)
class _Instruments:
    tracer: Tracer
    operation_s: Histogram
    process_s: Histogram
    sent: Counter
    consumed: Counter


@dataclass(slots=True)
class Processing:
    """A handler's run. ``carrier`` is its context for another process; '' in it while nothing is measured."""

    carrier: Mapping[str, str] = field(default_factory=dict)
    _span: Span | None = None
    _owner: Telemetry | None = None
    _started: float = 0.0

    def end(self, recorded: Recorded | None, error: BaseException | None = None) -> None:
        """Close the span with the outcome, or with what came in between."""
        if self._span is not None and self._owner is not None:
            self._owner.end_processing(self._span, self._started, recorded, error)
            self._span = None


class Telemetry:
    """What one queue object measures. ``client`` is its worker id."""

    def __init__(
        self, queue: str, client: str, *, providers: Providers | bool = True, clock: Clock | None = None
    ) -> None:
        if not isinstance(providers, Providers | bool):
            raise InvalidSetting(
                f"telemetry is {providers!r:.80}.", remedy="Use True, False or s3queue.telemetry.Providers."
            )
        self._queue = queue
        self._attributes = {"messaging.system": _SYSTEM, "messaging.destination.name": queue}
        self._client = {"messaging.client.id": client}
        self._enabled = providers is not False
        self._providers = providers if isinstance(providers, Providers) else None
        self._clock: Clock = clock or SystemClock()
        self._made: _Instruments | None = None

    # -- what is measured --

    @contextmanager
    def sending(self, headers: Mapping[str, str], count: int) -> Iterator[Sending]:
        """Measure a send of ``count`` messages; its context goes into their headers unless they have one."""
        sending, made = Sending(headers), self._instruments()
        if made is None:
            yield sending
            return
        from opentelemetry.trace import SpanKind

        links = _links([headers])
        kind = SpanKind.CLIENT if PARENT in headers else SpanKind.PRODUCER
        attributes = self._named("send")
        try:
            with self._operation(made, attributes, kind, links) as span:
                if count != 1:
                    span.set_attribute("messaging.batch.message_count", count)
                sending.headers = with_context(headers)
                yield sending
                if count == 1:
                    span.set_attribute("messaging.message.id", sending.ids[0])
        finally:
            made.sent.add(count, attributes)

    @contextmanager
    def receiving(self) -> Iterator[Receiving]:
        """Measure a receive; it is linked to the sends of what it got."""
        receiving, made = Receiving(), self._instruments()
        if made is None:
            yield receiving
            return
        from opentelemetry.trace import SpanKind

        attributes = self._named("receive")
        with self._operation(made, attributes, SpanKind.CLIENT, []) as span:
            yield receiving
            for link in _links([delivery.message.headers for delivery in receiving.deliveries]):
                span.add_link(link.context)
            span.set_attribute("messaging.batch.message_count", len(receiving.deliveries))
            made.consumed.add(len(receiving.deliveries), attributes)

    def settled(self, batch: Sequence[Recorded], started: float) -> None:
        """Measure that outcomes were recorded, by a commit begun at monotonic time ``started``."""
        made = self._instruments()
        if made is None or not batch:
            return
        from opentelemetry.trace import SpanKind

        took_s, now_ns = self._clock.monotonic() - started, self._clock.now_ms() * 1_000_000
        attributes = self._named("settle")
        span = made.tracer.start_span(
            f"settle {self._queue}",
            kind=SpanKind.CLIENT,
            attributes=attributes | self._client | {"messaging.batch.message_count": len(batch)},
            links=_links([item.delivery.message.headers for item in batch]),
            start_time=now_ns - int(took_s * 1_000_000_000),
        )
        span.end(now_ns)
        made.operation_s.record(took_s, attributes)

    def begin(self, delivery: Delivery, *, delivered: bool = True) -> Processing:
        """Begin to measure a handler's run; :meth:`Processing.end` ends it.

        The span is a child of the one that is current; without one (in a worker), of the message's send. It is linked to
        that in any case. ``delivered``: the message was not counted as received before.
        """
        made = self._instruments()
        if made is None:
            return Processing()
        from opentelemetry import trace

        headers = delivery.message.headers
        ambient = trace.get_current_span().get_span_context().is_valid
        attributes = self._named("process")
        span = made.tracer.start_span(
            f"process {self._queue}",
            context=None if ambient else _context_in(headers),
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes
            | self._client
            | {"messaging.message.id": delivery.id, "messaging.s3queue.message.attempt": delivery.attempt},
            links=_links([headers]),
        )
        if delivered:
            made.consumed.add(1, attributes)
        return Processing(_carrier(trace.set_span_in_context(span)), span, self, self._clock.monotonic())

    @property
    def measures(self) -> bool:
        """Whether anybody is told."""
        return self._instruments() is not None

    @contextmanager
    def processing(self, delivery: Delivery, *, delivered: bool = True) -> Iterator[Processing]:
        """Measure the block as a handler's run, its span being the current one; the block ends it with the outcome."""
        processing = self.begin(delivery, delivered=delivered)
        span = processing._span  # noqa: SLF001 - of this module
        if span is None:
            yield processing
            return
        from opentelemetry import trace

        try:
            with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
                yield processing
        except BaseException as error:
            processing.end(None, error)
            raise

    def end_processing(
        self, span: Span, started: float, recorded: Recorded | None, error: BaseException | None
    ) -> None:
        """Close a handler's span with its outcome; for :class:`Processing`."""
        made = self._instruments()
        attributes = self._named("process")
        line = recorded.outcome.line if recorded is not None else None
        if error is not None:
            attributes |= _failed(span, type(error).__qualname__, str(error), "")
        elif recorded is not None and recorded.outcome.kind != "completed" and line is not None and line.errors:
            last = line.errors[-1]
            attributes |= _failed(span, last.type, last.message, last.traceback)
        span.end()
        if made is not None:
            made.process_s.record(self._clock.monotonic() - started, attributes)

    # -- inside --

    @contextmanager
    def _operation(
        self, made: _Instruments, attributes: dict[str, Any], kind: Any, links: Sequence[Link]
    ) -> Iterator[Span]:
        """Measure the block as an operation of a client; what it raises is added to ``attributes``, and goes on."""
        started, name = self._clock.monotonic(), attributes["messaging.operation.name"]
        with made.tracer.start_as_current_span(
            f"{name} {self._queue}", kind=kind, attributes=attributes | self._client, links=links
        ) as span:
            try:
                yield span
            except BaseException as error:
                attributes["error.type"] = type(error).__qualname__
                span.set_attribute("error.type", type(error).__qualname__)
                raise
            finally:
                made.operation_s.record(self._clock.monotonic() - started, attributes)

    def _named(self, operation: str) -> dict[str, Any]:
        return self._attributes | {"messaging.operation.name": operation, "messaging.operation.type": operation}

    def _instruments(self) -> _Instruments | None:
        """Return what to measure with; None while there is nobody to tell."""
        if self._made is None and self._enabled and (self._providers is not None or _somebody_listens()):
            self._made = _make(self._providers or Providers())
        return self._made


OFF = Telemetry("", "", providers=False)
"""Measures nothing."""


@contextmanager
def resumed(carrier: Mapping[str, str]) -> Iterator[None]:
    """Run the block in the context that was carried here from another process, if this one measures at all."""
    if not carrier or not _imported():
        yield
        return
    from opentelemetry import context

    token = context.attach(_context_in(carrier))
    try:
        yield
    finally:
        context.detach(token)


def with_context(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers with the current context added, as far as there is room and they have none of their own."""
    if PARENT in headers or STATE in headers:
        return headers
    merged = dict(headers)
    for name, value in _carrier(None).items():
        if len(merged) < MAX_HEADERS and len(value) <= MAX_HEADER_CHARS:
            merged[name] = value
    return merged if PARENT in merged else headers


def _imported() -> bool:
    return sys.modules.get("opentelemetry.trace") is not None or sys.modules.get("opentelemetry.metrics") is not None


def _somebody_listens() -> bool:
    """Whether a provider has been set up in this process. To set one up is to import the package."""
    if not _imported():
        return False
    from opentelemetry import metrics, trace

    meters = type(metrics.get_meter_provider()).__name__
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider) or meters != "_ProxyMeterProvider"


def _make(providers: Providers) -> _Instruments:
    from opentelemetry import metrics, trace

    tracer = trace.get_tracer("s3queue", __version__, providers.tracer_provider, _SCHEMA)
    meter = metrics.get_meter("s3queue", __version__, providers.meter_provider, _SCHEMA)

    def seconds(name: str, text: str) -> Histogram:
        return meter.create_histogram(
            name, unit="s", description=text, explicit_bucket_boundaries_advisory=list(_BOUNDS_S)
        )

    return _Instruments(
        tracer,
        seconds("messaging.client.operation.duration", "Duration of a messaging operation of a client."),
        seconds("messaging.process.duration", "Duration of processing a message."),
        meter.create_counter("messaging.client.sent.messages", "{message}", "Messages that were to be sent."),
        meter.create_counter("messaging.client.consumed.messages", "{message}", "Messages given to the application."),
    )


def _carrier(context: Context | None) -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return carrier


def _context_in(headers: Mapping[str, str]) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(headers, Context())


def _links(many: Sequence[Mapping[str, str]]) -> list[Link]:
    """Return links to the contexts in headers, each once, as many as a span keeps."""
    from opentelemetry.trace import Link, get_current_span

    links: dict[str, Link] = {}
    for headers in many:
        name = headers.get(PARENT)
        if name is not None and name not in links and len(links) < _MAX_LINKS:
            context = get_current_span(_context_in(headers)).get_span_context()
            if context.is_valid:
                links[name] = Link(context)
    return list(links.values())


def _failed(span: Span, kind: str, message: str, trace: str) -> dict[str, Any]:
    """Mark a span as failed and return the attribute that says so in metrics."""
    from opentelemetry.trace import Status, StatusCode

    told = {"exception.type": kind, "exception.message": message}
    span.add_event("exception", told | ({"exception.stacktrace": trace} if trace else {}))
    span.set_status(Status(StatusCode.ERROR, message))
    span.set_attribute("error.type", kind)
    return {"error.type": kind}
