"""Charts of frames for notebooks: the plots of the reports, without another library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from s3queue.errors import InvalidInput
from s3queue_admin.reports.plots import Series, TimePlot, Tone, lines_of, number, svg
from s3queue_admin.text import html, plain

if TYPE_CHECKING:
    import pandas as pd

MAX_SPANS: Final = 2_000
"""More bars than this are not drawn: nobody could tell them apart."""
_TONES: Final[tuple[Tone, ...]] = get_args(Tone)
_REST: Final = "others"
_COLOURS: Final = dict(zip(_TONES, ("#2a6fdb", "#0f8a6a", "#c47a00", "#7a5bd0", "#cf3338"), strict=True))
# A notebook has its own style, so all of this is bound to the chart; middling grey can be read on light and on dark.
_STYLE: Final = (
    "<style>.s3q-chart svg{width:100%;max-width:60rem;height:auto}"
    ".s3q-chart .g{stroke:#8884}.s3q-chart .t{fill:#888;font-size:11px}.s3q-chart span{margin-right:1rem}"
    + "".join(
        f".s3q-chart rect.{tone}{{fill:{colour}}}.s3q-chart i.{tone}{{color:{colour}}}"
        for tone, colour in _COLOURS.items()
    )
    + "</style>"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot that a notebook shows as a picture, and anybody else as lines of text; whatever is written in it is escaped."""

    plot: TimePlot
    title: str

    def _repr_html_(self) -> str:
        keys = "".join(
            f'<span><i class="{each.tone}">■</i> {html(each.name, 60)}: {number(sum(v or 0.0 for v in each.values))}</span>'
            for each in self.plot.series
        )
        box = '<div class="s3q-chart tex2jax_ignore mathjax_ignore">'
        return f"{_STYLE}{box}<p>{html(self.title, 200)}</p>{svg(self.plot, self.title)}<p>{keys}</p></div>"

    def __repr__(self) -> str:
        return "\n".join((plain(self.title, 120), *lines_of(self.plot)))


def timeline(
    frame: pd.DataFrame, at: str, by: str, *, span: str = "1min", unit: str = "letters", title: str = ""
) -> Chart:
    """Return how many rows of ``frame`` there are in each span of time, by what ``by`` says: stacked bars.

    ``at`` names a column of times, ``by`` one of words: the five most frequent have a colour of their own, or the first four
    and the others together. ``span`` is pandas' ("1min", "1h"). Raises InvalidInput if that makes more than
    :data:`MAX_SPANS` bars, or there is no time at all.
    """
    counts = per_span(frame, at, by, span=span)
    names = counts.sum().sort_values(ascending=False, kind="stable").index.tolist()
    shown = names if len(names) <= len(_TONES) else names[: len(_TONES) - 1]
    columns = {str(name): counts[name] for name in shown}
    if len(shown) < len(names):
        columns[_REST] = counts[names[len(shown) :]].sum(axis=1)
    series = tuple(
        Series(name, tuple(float(value) for value in column), tone)
        for tone, (name, column) in zip(_TONES, columns.items(), strict=False)
    )
    step_s = (counts.index[1] - counts.index[0]).total_seconds()
    return Chart(TimePlot("bars", unit, counts.index[0].to_pydatetime(), step_s, series), title or f"{unit} by {by}")


def per_span(frame: pd.DataFrame, at: str, by: str, *, span: str = "1min") -> pd.DataFrame:
    """Return the counts that :func:`timeline` draws: a row a span of time, none left out, and a column for each ``by``.

    The first and the last span are empty ones, before and after all there is.
    """
    import pandas as pd

    known = frame.dropna(subset=[at])
    if known.empty:
        raise InvalidInput("There is nothing to draw: no row has a time.", remedy="Widen the filter.")
    first, last = known[at].min().floor(span), known[at].max().floor(span)
    step = pd.Timedelta(span)
    if (last - first) / step > MAX_SPANS:
        raise InvalidInput(
            f"From {first} to {last} there are more than {MAX_SPANS:,} spans of {span}.",
            remedy="Use a longer span, or narrow the filter.",
        )
    counts = known.groupby([known[at].dt.floor(span), known[by].astype(str)]).size().unstack(fill_value=0)
    return counts.reindex(pd.date_range(first - step, last + step, freq=step), fill_value=0)


def onset(counts: pd.DataFrame | pd.Series[int]) -> pd.Timestamp:
    """Return the start of the span from which on there were more than before: where the cumulative sum turns up (CUSUM).

    ``counts`` has a row a span of time (:func:`per_span`), several columns are added up. A level that was there all the time
    does not matter; one change is looked for (E. S. Page, "Continuous inspection schemes", Biometrika, 1954).
    """
    import pandas as pd

    whole: Any = counts.sum(axis=1) if isinstance(counts, pd.DataFrame) else counts
    lowest = int((whole - whole.mean()).cumsum().argmin())
    found: pd.Timestamp = whole.index[min(lowest + 1, len(whole) - 1)]
    return found
