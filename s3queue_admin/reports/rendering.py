"""From a page to HTML or Markdown, by jinja2 templates. Everything that a template prints is escaped unless it was made here."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from s3queue.errors import InvalidSetting
from s3queue_admin.reports import plots
from s3queue_admin.reports.page import Block, Cell, Figure, Page
from s3queue_admin.text import lines, plain

if TYPE_CHECKING:
    import jinja2

FORMATS: Final = {"html": "report.html.j2", "markdown": "report.md.j2"}
WIDTH: Final = 240
"""Longer texts of strangers are cut in cells."""
_LONG: Final = 800
"""And elsewhere."""
_SPECIAL = re.compile(
    r"[`\[|<]"
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # before letters a backslash is itself, as in \x1b and D:\temp
    r"|(?<!\s)[*~]|[*~](?!\s)|(?<![^\W_])_|_(?![^\W_])"  # 5 * 3 and snake_case are no emphasis
    r"|&(?=#?\w+;)|\$(?!\d)|@(?=\w)|#(?=#*\s*$)|^#"
    r"|(?<=\{)[{%:#]|(?<=[A-Za-z]):(?=/)|(?<=[Ww]{3})\."  # templates; what GitHub takes for an address
)
_WRITTEN: Final = {"<": "&lt;", "&": "&amp;", "$": "&#36;", "@": "`@`"}
"""Where a backslash would not do. GitHub looks for mail addresses and names in text that it has read: code is left alone."""
_FENCE = re.compile(r"`{3,}")


class Made(str):
    """Text that was made for this format, and is printed as it is."""

    __slots__ = ()


def render(page: Page, form: str) -> str:
    """Return the page as ``html`` (one file that asks for nothing else) or ``markdown``; InvalidSetting for another form."""
    check_format(form)
    style = resources.files("s3queue_admin.reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    return _environment(form).get_template(FORMATS[form]).render(page=page, style=style) + "\n"


def check_format(form: str) -> None:
    """Raise InvalidSetting for a format that there is none of."""
    if form not in FORMATS:
        raise InvalidSetting(f"There is no format {form!r}.", remedy=f"Use one of {', '.join(FORMATS)}.")


@lru_cache(len(FORMATS))
def _environment(form: str) -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    is_html = form == "html"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("s3queue_admin.reports"),
        autoescape=is_html,  # noqa: S701 - Markdown is no HTML: finalize escapes it
        finalize=_shown if is_html else _escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters |= {
        "cell": cell,
        "kind": _kind,
        "is_number": lambda value: isinstance(value, int | float),
        "svg": lambda figure: Markup(plots.svg(figure.plot, f"{figure.title}: {figure.scope}")),  # noqa: S704 - escaped there
        "fence": fenced,
        "drawn": lambda figure: fenced("\n".join(plots.lines_of(figure.plot))),
        "look": lambda value: Markup(_look(value)),  # noqa: S704 - one of three
        "lines": lambda text: Made(lines(text)),
        "made": Made,
        "series": _series,
    }
    return environment


def cell(value: Cell) -> str:
    """Return what a cell says: times in UTC, numbers as people read them, a stranger's text on one line, cut."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(value, WIDTH)
    return plots.number(value)


def _look(value: Cell) -> str:
    return ' class="n"' if isinstance(value, int | float) else ' class="d"' if isinstance(value, datetime) else ""


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _series(figure: Figure) -> tuple[plots.Series, ...]:
    """Return the series that need a legend."""
    plot = figure.plot
    return plot.series if isinstance(plot, plots.TimePlot) and len(plot.series) > 1 else ()


def _shown(value: Any) -> Any:
    """Return a value for HTML, on one line; autoescape makes it harmless."""
    return value if isinstance(value, Made) or hasattr(value, "__html__") else plain(value, _LONG)


def _escaped(value: Any) -> Any:
    return value if isinstance(value, Made) else markdown(str(value))


def markdown(text: str) -> str:
    """Return a stranger's text as Markdown that says just that, on one line: no markup, no HTML, no link, no mention.

    It must not begin a line of its own, where a number or a dash would make a list of it.
    """
    return _SPECIAL.sub(_replaced, plain(text, _LONG))


def _replaced(match: re.Match[str]) -> str:
    return _WRITTEN.get(match[0]) or f"\\{match[0]}"


def fenced(text: str) -> Made:
    """Return lines as a block of code, whose fence is longer than any in them."""
    shown = lines(text)
    longest = max((len(found) for found in _FENCE.findall(shown)), default=2)
    fence = "`" * (longest + 1)
    return Made(f"{fence}text\n{shown}\n{fence}")
