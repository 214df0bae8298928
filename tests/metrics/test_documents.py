"""docs/observability.md names every event and every metric there is."""

from __future__ import annotations

from s3queue.events import EVENTS
from s3queue.metrics import Fleet, Leadership, Snapshot
from s3queue.prometheus import Collector
from tests.architecture.source import ROOT


def events() -> list[str]:
    """Return the rows of the table of events."""
    return [f"| `{name}` | {text} |" for name, text in EVENTS.items()]


def metrics() -> list[str]:
    """Return the rows of the table of metrics."""
    requests = {("PUT", "ledger", "ok"): 1}
    fleet = Fleet(leaders=(Leadership(0),))
    snapshot = Snapshot("w", "q", 0, requests=requests, requests_per_s={"PUT": 1.0}, fleet=fleet)
    rows = []
    for family in Collector(snapshot).collect():
        extra = sorted({name for sample in family.samples for name in sample.labels} - {"queue", "worker", "le"})
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = f" {{{', '.join(extra)}}}" if extra else ""
        rows.append(f"| `{name}{labels}` | {family.type} | {family.documentation} |")
    return rows


def test_every_event_and_metric_is_in_the_document() -> None:
    lines = (ROOT / "docs/observability.md").read_text("utf-8").splitlines()
    missing = [row for row in (*events(), *metrics()) if row not in lines]
    assert missing == []
    assert len(metrics()) > 15
