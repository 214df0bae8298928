"""Spans and metrics as OpenTelemetry's SDK collects them, and that nothing is left behind where it is not wanted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from s3queue import InvalidPayload, NonRetriable, Queue, RetryPolicy, StoreUnavailable
from s3queue.options import MAX_HEADERS
from s3queue.telemetry import Providers, resumed, with_context
from tests.architecture.source import ROOT
from tests.queue.clocks import eventually
from tests.worker.handlers import pid
from tests.worker.running import FastClock, memory_url, running
from tests.worker.test_trouble import Switch

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Watched:
    """A queue whose spans and metrics are kept in memory."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.providers = Providers(self.tracers, MeterProvider([self.reader]))

    def open(self, url: str = "", **options: Any) -> Queue:
        defaults: dict[str, Any] = {"worker_id": "me", "retry": RetryPolicy(base_s=0), "telemetry": self.providers}
        return Queue("jobs", url=url or memory_url(), **defaults | options)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(name)]

    def points(self, name: str) -> dict[str, tuple[float, str]]:
        """Return a metric's (count or value, error type) by operation."""
        data = self.reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return {
            str(dict(point.attributes or {})["messaging.operation.name"]): (
                getattr(point, "count", getattr(point, "value", 0)),
                str(dict(point.attributes or {}).get("error.type", "")),
            )
            for metric in metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def watched() -> Watched:
    return Watched()


def of(span: ReadableSpan) -> str:
    """Return a span's identity as headers carry it."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}-{context.span_id:016x}"


def links(span: ReadableSpan) -> list[str]:
    return [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links]


def parent(span: ReadableSpan) -> str | None:
    return f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" if span.parent else None


def test_a_message_is_one_trace_from_enqueue_to_handler(watched: Watched) -> None:
    queue, inner = watched.open(), watched.tracers.get_tracer("app")

    def handler(_payload: str) -> None:
        with inner.start_as_current_span("work"):
            pass

    with inner.start_as_current_span("request"):
        id_ = queue.enqueue("a", headers={"mine": "kept"})
    (message,) = queue.peek()
    with running(queue, handler):
        assert eventually(lambda: bool(watched.spans("settle")))
    (send,), (process,), (work,), (request,), (settle,) = (
        watched.spans(name) for name in ("send jobs", "process jobs", "work", "request", "settle jobs")
    )
    assert list(message.headers) == ["mine", "traceparent"]
    assert message.headers["traceparent"].startswith(f"00-{of(send)}-0")
    assert (parent(send), parent(process), parent(work)) == (of(request), of(send), of(process))
    assert links(process) == links(settle) == [of(send)]
    assert (send.kind, process.kind, settle.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT)
    common = {"messaging.system": "s3queue", "messaging.destination.name": "jobs", "messaging.client.id": "me"}
    assert send.attributes == common | {
        "messaging.operation.name": "send", "messaging.operation.type": "send", "messaging.message.id": id_
    }  # fmt: skip
    assert process.attributes == common | {
        "messaging.operation.name": "process", "messaging.operation.type": "process", "messaging.message.id": id_,
        "messaging.s3queue.message.attempt": 1,
    }  # fmt: skip
    assert settle.attributes == common | {
        "messaging.operation.name": "settle", "messaging.operation.type": "settle", "messaging.batch.message_count": 1
    }  # fmt: skip
    assert process.status.status_code is StatusCode.UNSET
    assert settle.start_time is not None
    assert settle.end_time is not None
    assert settle.start_time <= settle.end_time


def test_metrics_follow_the_conventions(watched: Watched) -> None:
    queue = watched.open()
    queue.enqueue_many(range(3))
    queue.enqueue(3)
    with running(queue, lambda _: None):
        assert eventually(lambda: queue.stats().completed == 4)
    queue.enqueue("pulled")
    (message,) = queue.receive()
    message.ack()
    assert watched.points("messaging.client.sent.messages") == {"send": (5, "")}
    assert watched.points("messaging.client.consumed.messages") == {"process": (4, ""), "receive": (1, "")}
    assert watched.points("messaging.process.duration") == {"process": (4, "")}
    durations = watched.points("messaging.client.operation.duration")
    assert durations["send"] == (3, "")
    assert durations["receive"] == (1, "")
    assert durations["settle"][0] >= 2
    (batch,) = [span for span in watched.spans("send") if "messaging.batch.message_count" in (span.attributes or {})]
    assert (batch.attributes or {})["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in (batch.attributes or {})


def test_every_attempt_is_a_child_of_the_send_and_says_how_it_failed(watched: Watched) -> None:
    queue = watched.open(max_attempts=3)
    queue.enqueue("a")
    tries: list[int] = []

    def handler(_payload: str) -> None:
        tries.append(1)
        raise ValueError("first") if len(tries) == 1 else NonRetriable("enough")

    with running(queue, handler):
        assert eventually(lambda: queue.stats().dead == 1)
    (send,), (first, second) = watched.spans("send"), watched.spans("process")
    assert parent(first) == parent(second) == of(send)
    for span, attempt, kind, words in ((first, 1, "ValueError", "first"), (second, 2, "NonRetriable", "enough")):
        attributes = span.attributes or {}
        assert (attributes["error.type"], attributes["messaging.s3queue.message.attempt"]) == (kind, attempt)
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, words)
        (event,) = span.events
        assert f"raise ValueError({words!r})"[:10] in str((event.attributes or {})["exception.stacktrace"])
    assert watched.points("messaging.process.duration")["process"][1] in ("ValueError", "NonRetriable")


def test_a_receive_is_linked_to_the_sends_of_what_it_got(watched: Watched) -> None:
    queue = watched.open()
    queue.enqueue("a")
    queue.enqueue("b")
    for message in queue.receive():
        message.ack()
    (receive,), settles = watched.spans("receive"), watched.spans("settle")
    assert sorted(links(receive)) == sorted(of(span) for span in watched.spans("send"))
    assert receive.kind is SpanKind.CLIENT
    assert (receive.attributes or {})["messaging.batch.message_count"] == 2
    assert len(settles) == 2


def test_in_the_scope_of_another_span_processing_stays_there(watched: Watched) -> None:
    queue = watched.open()
    queue.enqueue("a")
    with watched.tracers.get_tracer("app").start_as_current_span("cron"):
        assert queue.process_once(lambda _: None) == 1
    (send,), (process,), (cron,) = (watched.spans(name) for name in ("send", "process", "cron"))
    assert (parent(process), links(process)) == (of(cron), [of(send)])


def test_a_handler_in_a_process_of_its_own_is_measured(watched: Watched) -> None:
    queue = watched.open()
    id_ = queue.enqueue("a")
    with running(queue, pid, executor="process", concurrency=1):
        assert eventually(lambda: queue.stats().completed == 1, 40)
    (send,), (process,) = watched.spans("send"), watched.spans("process")
    assert (parent(process), (process.attributes or {})["messaging.message.id"]) == (of(send), id_)


def test_what_a_handler_measures_in_another_process_hangs_on_its_run(watched: Watched) -> None:
    with resumed({"traceparent": PARENT}), watched.tracers.get_tracer("app").start_as_current_span("work"):
        pass
    with resumed({}), watched.tracers.get_tracer("app").start_as_current_span("alone"):
        pass
    (work,), (alone,) = watched.spans("work"), watched.spans("alone")
    assert (parent(work), parent(alone)) == (PARENT[3:-3], None)


def test_who_brings_a_context_keeps_it(watched: Watched) -> None:
    queue = watched.open()
    queue.enqueue("a", headers={"traceparent": PARENT, "tracestate": "v=1"})
    (message,) = queue.peek()
    assert message.headers == {"traceparent": PARENT, "tracestate": "v=1"}
    queue.process_once(lambda _: None)
    (send,), (process,) = watched.spans("send"), watched.spans("process")
    assert links(send) == links(process) == [parent(process)] == [PARENT[3:-3]]
    assert send.kind is SpanKind.CLIENT, "its context is not the message's"


@pytest.mark.parametrize("header", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 2000])
def test_a_context_that_is_none_is_passed_over(watched: Watched, header: str) -> None:
    queue = watched.open()
    queue.enqueue("a", headers={"traceparent": header})
    assert queue.process_once(lambda _: None) == 1
    (process,) = watched.spans("process")
    assert (parent(process), links(process)) == (None, [])


def test_the_limits_of_headers_hold(watched: Watched) -> None:
    queue = watched.open()
    full = {f"h{number}": "x" for number in range(MAX_HEADERS)}
    queue.enqueue("a", headers=full)
    (message,) = queue.peek()
    assert message.headers == full
    state = trace.TraceState([(f"k{number}", "v" * 200) for number in range(20)])
    context = trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert list(with_context({})) == ["traceparent"], "a state that is too long stays behind"


def test_what_fails_is_told(watched: Watched) -> None:
    clock = FastClock()
    store = Switch(clock)
    queue = watched.open("memory://unused", store=store, clock=clock, probe=False)
    with pytest.raises(InvalidPayload):
        queue.enqueue(object())
    assert not watched.spans("send"), "nothing was sent"
    store.error = StoreUnavailable("The store is down.", maybe_applied=False)
    with pytest.raises(StoreUnavailable):
        queue.enqueue("a")
    (send,) = watched.spans("send")
    assert ((send.attributes or {})["error.type"], send.status.status_code) == ("StoreUnavailable", StatusCode.ERROR)
    assert watched.points("messaging.client.operation.duration") == {"send": (1, "StoreUnavailable")}
    assert watched.points("messaging.client.sent.messages") == {"send": (1, "StoreUnavailable")}


def test_it_can_be_switched_off(watched: Watched) -> None:
    queue = watched.open(telemetry=False)
    with watched.tracers.get_tracer("app").start_as_current_span("request"):
        queue.enqueue("a")
    (message,) = queue.peek()
    assert queue.process_once(lambda _: None) == 1
    assert (message.headers, [span.name for span in watched.spans()]) == ({}, ["request"])


SCRIPT = """
import sys
from s3queue import Queue
{setup}
queue = Queue("jobs", url="memory://x")
queue.enqueue("a")
print(dict(queue.peek()[0].headers), queue.process_once(lambda _: None), "opentelemetry" in sys.modules)
"""


PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
"""


@pytest.mark.parametrize(
    ("setup", "told"),
    [
        ("", "{} 1 False"),
        ("sys.modules['opentelemetry'] = sys.modules['opentelemetry.trace'] = None", "{} 1 True"),
        ("import opentelemetry.trace, opentelemetry.metrics", "{} 1 True"),
        (PROVIDER, "{'traceparent': '00-"),
    ],
    ids=["not-imported", "not-installed", "no-provider", "provider"],
)
def test_the_process_own_provider_is_used_if_there_is_one(setup: str, told: str) -> None:
    command = [sys.executable, "-c", SCRIPT.format(setup=setup)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert result.stdout.startswith(told), result.stderr
