"""Charts and traits: what they count, what they leave out, and that strangers' words stay words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from s3queue import InvalidInput
from s3queue_admin.charts import Chart, onset, per_span, timeline
from s3queue_admin.traits import MAX_VALUES, MISSING, TRAITS, traits

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def frame(*deaths: tuple[float, str]) -> pd.DataFrame:
    """Return a frame of what died: minutes after noon, and of what."""
    minutes = pd.to_timedelta([minute for minute, _ in deaths], unit="min")
    return pd.DataFrame({"dead_at": pd.DatetimeIndex([NOON] * len(deaths)) + minutes, "kind": [k for _, k in deaths]})


def test_no_span_is_left_out() -> None:
    counts = per_span(frame((0.2, "a"), (0.9, "a"), (3, "b")), "dead_at", "kind")
    assert counts["a"].tolist() == [0, 2, 0, 0, 0, 0]
    assert counts["b"].tolist() == [0, 0, 0, 0, 1, 0]
    assert counts.index[1] == NOON


@pytest.mark.parametrize("steady", [0, 1, 3])
def test_the_onset_is_where_the_level_rises(steady: int) -> None:
    usual = [(minute, "usual") for minute in range(30) for _ in range(steady)]
    burst = [(minute, "new") for minute in range(17, 30) for _ in range(5)]
    assert onset(per_span(frame(*usual, *burst), "dead_at", "kind")) == pd.Timestamp(NOON) + pd.Timedelta("17min")


def test_the_rarest_kinds_are_drawn_together() -> None:
    deaths = [(0, f"kind {number}") for number in range(7) for _ in range(10 - number)]
    drawn = timeline(frame(*deaths), "dead_at", "kind").plot
    assert [each.name for each in drawn.series] == ["kind 0", "kind 1", "kind 2", "kind 3", "others"]
    assert sum(value or 0 for value in drawn.series[-1].values) == 6 + 5 + 4
    assert len({each.tone for each in drawn.series}) == 5


def test_a_chart_shows_hostile_names_as_text() -> None:
    chart = timeline(frame((0, "<script>x</script>\x1b[31m")), "dead_at", "kind", title="<b>\u202e")
    page = chart._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert not any(sign in text for text in (page, repr(chart)) for sign in ("\x1b", "\u202e"))


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(InvalidInput, match="nothing to draw"):
        timeline(frame(), "dead_at", "kind")
    with pytest.raises(InvalidInput, match="longer span"):
        timeline(frame((0, "a"), (60 * 24 * 365, "a")), "dead_at", "kind")
    assert isinstance(timeline(frame((0, "a"), (60 * 24 * 365, "a")), "dead_at", "kind", span="1D"), Chart)


def letter(kind: str, worker: str = "w1", **payload: Any) -> dict[str, Any]:
    return {"fingerprint": kind, "worker": worker, "payload": payload, "headers": {}}


def found(rows: list[dict[str, Any]], **options: Any) -> list[tuple[Any, ...]]:
    return list(traits(rows, **options).itertuples(index=False, name=None))


def test_traits_tell_one_kind_from_the_others() -> None:
    rows = [letter("a", "w3", region="eu", id=number) for number in range(4)]
    rows += [
        letter("b", "w1", region="eu", user={"plan": "free"}),
        letter("b", "w2", region="us", user={"plan": "free"}),
    ]
    assert found(rows) == [
        ("a", "payload.user.plan", MISSING, 4, 1.0, 0.0),
        ("a", "worker", "w3", 4, 1.0, 0.0),
        ("a", "payload.region", "eu", 4, 1.0, 0.5),
        *((("a", "payload.id", str(number), 1, 0.25, 0.0)) for number in range(2)),
        ("b", "payload.id", MISSING, 2, 1.0, 0.0),
        ("b", "payload.user.plan", "free", 2, 1.0, 0.0),
        ("b", "payload.region", "us", 1, 0.5, 0.0),
        ("b", "worker", "w1", 1, 0.5, 0.0),
        ("b", "worker", "w2", 1, 0.5, 0.0),
    ]


def test_fields_that_are_ids_and_payloads_of_any_form_do_not_matter() -> None:
    rows = [letter("a", id=number) for number in range(MAX_VALUES + 1)]
    odd: list[Any] = [None, 7, "text", ["list"], {"\x1b<b>": {"x": {"y": {"too": "deep"}}}}, {"many": list(range(9))}]
    rows += [letter("b") | {"payload": each} for each in odd]
    assert {row[1] for row in found(rows)} == {"payload"}
    assert traits([]).columns.tolist() == list(TRAITS)
