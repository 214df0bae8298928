"""Plots as inline SVG, drawn by pure functions, and as lines of text: no script, no font, no picture from elsewhere.

Colours are classes, which the page's style gives a light and a dark value. Whatever text goes in is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor, log10
from typing import Final, Literal

from s3queue_admin.text import html, plain

WIDTH: Final = 760
HEIGHT: Final = 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 24
_ROW: Final = 22
_LABEL: Final = 170
_VALUE: Final = 120
_LABEL_CHARS: Final = 26
_TICKS: Final = 6
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_BAR: Final = 40
_LEAST: Final = 1e-9
"""Less is drawn as nothing."""

Tone = Literal["s1", "s2", "s3", "s4", "bad"]


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of one kind, one for each span or label; None where there is none. ``tone``: which colour it has."""

    name: str
    values: tuple[float | None, ...]
    tone: Tone = "s1"


@dataclass(frozen=True, slots=True)
class TimePlot:
    """Series over time, as stacked ``bars`` or as ``lines``; each value is of ``step_s`` seconds from ``start`` on."""

    kind: Literal["bars", "lines"]
    unit: str
    start: datetime
    step_s: float
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class RankPlot:
    """One horizontal bar for each label."""

    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    tone: Tone = "s1"


Plot = TimePlot | RankPlot


def number(value: float) -> str:
    """Return a number as people read it: three digits of those below a thousand, commas above."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def svg(plot: Plot, title: str) -> str:
    """Return the plot as an ``<svg>`` element; ``title`` says what it shows, for those who cannot see it."""
    if isinstance(plot, RankPlot):
        height = _ROW * max(1, len(plot.labels)) + 4
        return _element(height, title, _rank(plot))
    return _element(HEIGHT, title, _frame(plot) + "".join(_bars(plot) if plot.kind == "bars" else _lines(plot)))


def _element(height: int, title: str, inner: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{html(title, 200)}</title>{inner}</svg>"
    )


def _rank(plot: RankPlot) -> str:
    most = max(plot.values, default=0.0) or 1.0
    room = WIDTH - _LABEL - _VALUE
    rows = []
    for row, (label, value) in enumerate(zip(plot.labels, plot.values, strict=True)):
        y, length = row * _ROW + 2, max(1.0, value / most * room) if value > 0 else 0.0
        rows.append(
            f'<text class="t" x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{html(label, _LABEL_CHARS)}</text>'
            f'<rect class="{plot.tone}" x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 6}"/>'
            f'<text class="t" x="{_LABEL + length + 6:.1f}" y="{y + 14}">{number(value)} {html(plot.unit, 20)}</text>'
        )
    return "".join(rows)


def _top(plot: TimePlot) -> float:
    """Return the value at the upper end of the axis: a round one, not below the highest."""
    sums = _sums(plot) if plot.kind == "bars" else [value or 0.0 for each in plot.series for value in each.values]
    most = max(sums, default=0.0)
    if most <= _LEAST:
        return 1.0
    power = 10.0 ** floor(log10(most))
    return next(factor * power for factor in (1, 2, 4, 5, 8, 10, 20) if factor * power >= most)


def _sums(plot: TimePlot) -> list[float]:
    return [
        sum(value or 0.0 for value in values) for values in zip(*(each.values for each in plot.series), strict=True)
    ]


def _spans(plot: TimePlot) -> int:
    return max((len(each.values) for each in plot.series), default=0) or 1


def _frame(plot: TimePlot) -> str:
    """Return the axes: three lines across, and times below."""
    top, spans, bottom = _top(plot), _spans(plot), HEIGHT - _BOTTOM
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - _TOP)
        parts.append(
            f'<line class="g" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="t" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(share * top)}</text>'
        )
    every = max(1, -(-spans // _TICKS))
    for index in range(0, spans, every):
        at = plot.start + timedelta(seconds=plot.step_s * index)
        parts.append(
            f'<text class="t" x="{_x(plot, index):.1f}" y="{HEIGHT - 6}">{_tick(at, plot.step_s * spans)}</text>'
        )
    return "".join(parts)


def _tick(at: datetime, seconds: float) -> str:
    if seconds <= 600:
        return f"{at:%H:%M:%S}"
    return f"{at:%H:%M}" if seconds <= 93_600 else f"{at:%m-%d %H:%M}" if seconds <= 1_209_600 else f"{at:%Y-%m-%d}"


def _x(plot: TimePlot, index: float) -> float:
    return _LEFT + index / _spans(plot) * (WIDTH - _LEFT - _RIGHT)


def _y(plot: TimePlot, value: float) -> float:
    bottom = HEIGHT - _BOTTOM
    return bottom - value / _top(plot) * (bottom - _TOP)


def _bars(plot: TimePlot) -> Iterator[str]:
    bottom = HEIGHT - _BOTTOM
    for index in range(len(_sums(plot))):
        x, wide, base = _x(plot, index), max(1.0, _x(plot, 1) - _x(plot, 0) - 1), 0.0
        for each in plot.series:
            value = each.values[index] or 0.0
            if value <= _LEAST:
                continue
            y, high = _y(plot, base + value), max(1.0, (value / _top(plot)) * (bottom - _TOP))
            yield (
                f'<rect class="{each.tone}" x="{x:.1f}" y="{min(y, bottom - 1):.1f}" width="{wide:.1f}" '
                f'height="{high:.1f}"><title>{_when(plot, index)}: {number(value)} {html(each.name, 60)}</title></rect>'
            )
            base += value


def _lines(plot: TimePlot) -> Iterator[str]:
    for each in plot.series:
        points = [
            (_x(plot, index + 0.5), _y(plot, value), index, value)
            for index, value in enumerate(each.values)
            if value is not None
        ]
        for run in _runs(points):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in run)
            yield f'<polyline class="l {each.tone}" points="{path}"/>'
        for x, y, index, value in points:
            told = f"{_when(plot, index)}: {html(each.name, 60)} {number(value)} {html(plot.unit, 20)}"
            yield f'<circle class="{each.tone}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"><title>{told}</title></circle>'


def _runs(points: Sequence[tuple[float, float, int, float]]) -> Iterator[list[tuple[float, float, int, float]]]:
    """Yield the points that follow each other without a gap."""
    run: list[tuple[float, float, int, float]] = []
    for point in points:
        if run and point[2] != run[-1][2] + 1:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _when(plot: TimePlot, index: int) -> str:
    at = plot.start + timedelta(seconds=plot.step_s * index)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# -- text --


def lines_of(plot: Plot) -> list[str]:
    """Return the plot as lines of text, for where no picture can be."""
    if isinstance(plot, RankPlot):
        most, unit = max(plot.values, default=0.0) or 1.0, plain(plot.unit, 20)
        return [
            f"{plain(label, _LABEL_CHARS):<{_LABEL_CHARS}} {'█' * round(value / most * _BAR)} {number(value)} {unit}"
            for label, value in zip(plot.labels, plot.values, strict=True)
        ]
    found = []
    for each in plot.series:
        known = [value for value in each.values if value is not None]
        most = max(known, default=0.0)
        total = f", {number(sum(known))} in all" if plot.kind == "bars" else ""
        found.append(
            f"{plain(each.name, 12):<12} |{_spark(each.values, most)}| most {number(most)} {plain(plot.unit, 20)}{total}"
        )
    step = timedelta(seconds=plot.step_s)
    ends = f"{_when(plot, 0)} to {_when(plot, _spans(plot))}"
    return [*found, f"{'':<12} {ends}, {step} a column"]


def _spark(values: Sequence[float | None], most: float) -> str:
    drawn = []
    for value in values:
        level = 0 if not value or most <= 0 else max(1, round(value / most * (len(_BLOCKS) - 1)))
        drawn.append(_BLOCKS[level])
    return "".join(drawn)
