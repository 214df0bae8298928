"""Reports: true, scoped, and harmless whatever is in the bucket; one file that asks for nothing else."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from s3queue import InvalidName, InvalidSetting, NonRetriable, NotFound, Queue
from s3queue.clock import to_datetime, to_ms
from s3queue.core.keys import parse_letter
from s3queue.core.presence import Presence, encode_presence
from s3queue.store.memory import MemoryStore
from s3queue.store.port import CREATE, OVERWRITE
from s3queue_admin.bucket import Bucket
from s3queue_admin.reports import gather, report, write_up
from s3queue_admin.reports.facts import SPANS, Percentiles, Window
from s3queue_admin.reports.layout import end_of
from s3queue_admin.reports.plots import HEIGHT, RankPlot, Series, TimePlot, lines_of, svg
from s3queue_admin.reports.rendering import markdown
from s3queue_admin.text import plain
from tests.admin.test_past import copied
from tests.admin.test_snapshot import Site

ROOT = Path(__file__).resolve().parents[2]
START = to_datetime(1_750_000_000_000)
EVIL = (
    "EVIL<script>alert(1)</script>\"'><img src=x onerror=EVIL()> &lt; {{7*7}} {% EVIL %} [EVIL](http://evil) ![x](evil)"
    " `EVIL` **EVIL** | EVIL \\| EVIL https://evil.example www.evil.example me@evil.example @evil $EVIL$ <!-- EVIL"
    "\x1b[31mEVIL\x07\u202eEVIL\u2066\x00\r\n\n# EVIL\n```\n~~~\n<b>EVIL\n- EVIL\n|---|\n"
)


class Element(HTMLParser):
    """All elements of a page with their attributes, and the text in each kind of element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.everything = ""
        self.feed(page)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "line", "rect", "polyline"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "rect":
            return
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.everything += data
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def cells(page: str, caption: str) -> list[list[str]]:
    """Return the rows of the first Markdown table with this title."""
    block = page.split(f"**{caption}**", 1)[1].split("\n\n")[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]


def presence(worker: str, at_ms: int, **changes: Any) -> bytes:
    requests = {"PUT ledger": 40, "GET inbox": 20, "LIST inbox": 10}
    facts: dict[str, Any] = {"started_at_ms": at_ms - 60_000, "requests": requests} | changes
    return encode_presence(Presence(worker, "i1", at_ms, 20_000, 8, **facts))


class Busy(Site):
    """A site whose queue has a day behind it: quiet, then an hour of deaths of two kinds, then quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.emails = self.queue("emails", history=True, max_attempts=1)
        self.began_at = self._play()

    def _play(self) -> datetime:
        self._round(4, lambda _: None)
        self.clock.advance(6 * 3600)
        began = to_datetime(self.clock.now_ms())
        self._round(3, self._refuse)
        self._round(1, self._time_out)
        self.clock.advance(3600)
        self._round(5, lambda _: None)
        return began

    def _round(self, count: int, handler: Any) -> None:
        self.emails.enqueue_many([{"n": number, "password": "hunter2"} for number in range(count)])
        self.clock.advance(60)
        self.emails.process_once(handler, max_messages=count)
        self.clock.advance(60)

    def _refuse(self, payload: Any) -> None:
        self.clock.advance(0.5)
        raise NonRetriable(f"mailbox {payload['n']} is full, password=hunter2")

    def _time_out(self, payload: Any) -> None:
        raise TimeoutError(f"no answer from host-{payload['n']}")


@pytest.fixture(scope="module")
def busy() -> Busy:
    return Busy()


# -- what it says --


def test_a_report_tells_when_it_began_and_of_what(busy: Busy) -> None:
    facts = gather(busy.bucket, "emails")
    deaths = facts.queues["emails"].deaths
    assert (deaths.total, deaths.before, deaths.after, deaths.within, deaths.read) == (4, 0, 0, 4, 4)
    assert deaths.first_at is not None
    assert busy.began_at <= deaths.first_at <= busy.began_at + timedelta(seconds=70)
    assert [(kind.count, sum(kind.spans)) for kind in deaths.kinds] == [(3, 3), (1, 1)]
    first = next(number for number, count in enumerate(deaths.spans) if count)
    start = facts.window.starts()[first]
    assert start <= deaths.first_at < start + timedelta(seconds=facts.window.width_s)
    page = write_up(facts, format="markdown")
    found = cells(page, "Dead letters by error")
    assert found[0][1:4] == [
        "3",
        "NonRetriable: mailbox &lt;n> is full, password=\\[redacted]",
        f"{deaths.first_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    assert [row[1] for row in found] == ["3", "1"]
    assert "hunter2" not in page
    assert "[redacted]" in write_up(facts)


def test_throughput_and_latency_come_from_history(busy: Busy) -> None:
    activity = gather(busy.bucket, ["emails"]).queues["emails"].activity
    assert activity is not None
    sums = {outcome: sum(spans) for outcome, spans in activity.outcomes.items()}
    assert (sums, activity.records, activity.cut) == ({"completed": 9, "retry": 0, "dead": 4}, 13, False)
    assert activity.errors == {"NonRetriable": 3, "TimeoutError": 1}
    runs = [ms for ms in activity.run_ms["p95"] if ms is not None]
    assert 500 <= max(runs) <= 600
    waits = [ms for ms in activity.wait_ms["p50"] if ms is not None]
    assert all(60_000 <= ms <= 73_000 for ms in waits)


def test_a_window_leaves_out_what_is_before_it(busy: Busy) -> None:
    late = to_datetime(busy.clock.now_ms()) - timedelta(minutes=30)
    facts = gather(busy.bucket, since=late)
    deaths, activity = facts.queues["emails"].deaths, facts.queues["emails"].activity
    assert (deaths.total, deaths.before, deaths.within, deaths.kinds) == (4, 4, 0, ())
    assert activity is not None
    assert activity.records == 5
    assert "none died in this window" in write_up(facts)


def test_what_is_too_much_is_cut_and_says_so(busy: Busy) -> None:
    facts = gather(busy.bucket, max_letters=1, max_records=2)
    found = facts.queues["emails"]
    assert [kind.title.split(":")[0] for kind in found.deaths.kinds] == ["TimeoutError"]  # the newest
    assert found.activity is not None
    assert (found.activity.records, found.activity.cut) == (2, True)
    page = write_up(facts, format="markdown")
    assert "of the newest 1 of 4 dead letters" in page
    assert "the first 2 records of the window" in page


def test_every_number_has_its_scope_and_time() -> None:
    site = Busy()
    site.queue("other").enqueue(1)
    connection = site.emails.connect()
    site.store.put(connection.keys.worker("w1"), presence("w1", site.clock.now_ms()), CREATE)
    site.emails.lock("mine", ttl=60).acquire()
    site.emails.schedule("nightly", cron="0 3 * * *", payload=1)
    page = report(site.bucket, watch_s=30)
    elements = Element(page)
    titled = elements.texts["figcaption"] + elements.texts["summary"]
    assert len(titled) > 15
    for told in titled:
        assert "UTC" in told or "each at its time in the last column" in told, told
        assert "queue" in told or "snapshots of" in told, told
    headings = " ".join(elements.texts["figcaption"])
    for title in ("Findings", "Workers", "Coordinators", "Locks", "Schedules", "Outcomes", "Cost, as measured"):
        assert title in headings
    assert "a second, in the 30 s before" in page


def test_the_cost_is_that_of_the_workers_meters() -> None:
    site = Busy()
    now_ms = site.clock.now_ms()
    site.store.put(site.emails.connect().keys.worker("w1"), presence("w1", now_ms), CREATE)
    page = report(site.bucket, "emails", format="markdown")
    rows = {tuple(row[:2]): row[2:] for row in cells(page, "Cost, as measured")}
    assert rows["commits", "PUT"][0] == "0.667"  # 40 in 60 s
    assert float(rows["commits", "PUT"][2]) == pytest.approx(40 / 60 * 86_400 * 30 * 5 / 1e6, rel=0.01)
    assert float(rows["all", ""][0]) == pytest.approx(70 / 60, rel=0.01)


def test_a_report_on_a_copy_is_of_its_time(tmp_path: Path) -> None:
    site = Busy()
    last = to_datetime(site.clock.now_ms())
    assert isinstance(site.store, MemoryStore)
    url = copied(site.store, tmp_path / "<i>EVIL")
    site.clock.advance(10 * 86_400)
    with Bucket(url=url, clock=site.clock) as bucket:
        page, at = report(bucket), bucket.at
        with pytest.raises(InvalidSetting, match="does not change"):
            report(bucket, watch_s=1)
    assert "a copy, as of" in page
    assert at is not None
    assert last - timedelta(minutes=2) <= at <= last
    assert f"Taken at {at:%Y-%m-%d %H:%M:%S} UTC" in page
    assert "EVIL" in " ".join(Element(page).texts["p"])
    assert "i" not in {tag for tag, attributes in Element(page).found if "class" not in attributes}


def test_bad_input_is_refused_before_anything_is_read() -> None:
    site = Site()
    site.queue().enqueue(1)
    before = site.bucket.requests()
    with pytest.raises(InvalidSetting, match="format"):
        report(site.bucket, format="pdf")
    assert site.bucket.requests() == before
    with pytest.raises(NotFound):
        report(site.bucket, "none")
    with pytest.raises(InvalidName):
        report(site.bucket, ["../x"])
    now = to_datetime(site.clock.now_ms())
    for since, match in ((now + timedelta(hours=1), "earlier"), (now.replace(tzinfo=None), "aware"), ("1h", "aware")):
        with pytest.raises(InvalidSetting, match=match):
            report(site.bucket, since=since)  # type: ignore[arg-type]
    empty = Bucket(url="memory://x", store=MemoryStore(site.clock), clock=site.clock)
    assert "There was no queue" in report(empty)


def test_one_queue_that_cannot_be_read_does_not_keep_the_others_from_being_told() -> None:
    site = Busy()
    name = next(iter(site.emails.dlq.names()))
    site.store.put(site.emails.connect().keys.letter(name), b"garbage", OVERWRITE)
    at_ms = (parse_letter(name) or (0, ""))[0]
    future = site.emails.connect().keys.dlq + f"9999999999999-{name.partition('-')[2]}.json"
    site.store.put(future, b"{}", CREATE)
    site.store.put("broken/queue.json", b"garbage", CREATE)
    facts = gather(site.bucket)
    assert list(facts.queues) == ["emails"]
    deaths = facts.queues["emails"].deaths
    assert (deaths.within, deaths.read, deaths.unread, deaths.after) == (4, 3, 1, 1)
    assert to_ms(facts.window.since) <= at_ms
    page = write_up(facts, format="markdown")
    assert "1 dead letter of the window could not be read" in page
    assert "broken" in page


# -- what it must not do --


@pytest.fixture(scope="module")
def hostile() -> Bucket:
    """A bucket in which everything that strangers can write is hostile."""
    site = Site()
    queue = Queue("jobs", store=site.store, clock=site.clock, history=True, worker_id="EVIL<script>@`|[x](y)")
    kind = type("EVIL<b>|`x", (NonRetriable,), {})

    def handler(payload: Any) -> None:
        if payload["kind"]:
            exec(compile(f"raise kind({payload['evil']!r})", "EVIL<script>```.py", "exec"), {"kind": kind})  # noqa: S102
        raise NonRetriable("A" * 5 + "EVIL" * 250_000)

    queue.enqueue_many(
        [{"evil": EVIL, EVIL: EVIL, "kind": True}, {"kind": False, "long": "EVIL" * 250_000}], group=EVIL[:30]
    )
    queue.process_once(handler, max_messages=10)
    keys, now_ms = queue.connect().keys, site.clock.now_ms()
    site.store.put(keys.inbox(0) + EVIL[:60], b"", CREATE)
    for number, name in enumerate((EVIL, EVIL[:30] * 3000)):
        body = presence(name, now_ms, host=EVIL, version=EVIL, requests={"PUT ledger": 1, EVIL: 2})
        site.store.put(keys.workers + f"{number}.json", body, CREATE)
    site.store.put(keys.ledger(0) + EVIL, b"x", CREATE)
    queue.schedule("s", cron="* * * * *", payload=EVIL)
    site.clock.advance(1)
    return site.bucket


TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "p",
        "nav",
        "a",
        "main",
        "section",
        "div",
    ),
    *("table", "b", "span", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "br", "i", "svg"),
    *("text", "line", "rect", "polyline", "circle", "details", "summary", "pre"),
}
VALUES = re.compile(r"[\w .,:;#'/%=-]*")


def test_nothing_in_a_bucket_becomes_part_of_the_page(hostile: Bucket) -> None:
    page = report(hostile, title=EVIL)
    elements = Element(page)
    assert {tag for tag, _ in elements.found} <= TAGS
    for tag, attributes in elements.found:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert VALUES.fullmatch(value or ""), (tag, name, value)
            assert "evil" not in f"{name}{value}".lower()
    for shown in ("td", "title", "pre", "h1"):
        assert any("EVIL" in text for text in elements.texts[shown]), f"nothing of it is shown in {shown}"
    assert all(one.isprintable() or one == "\n" for one in page)
    assert "{{7*7}}" in page
    assert len(page) < 200_000
    assert "EVIL" * 300 not in page
    page.encode()


def test_a_page_asks_for_nothing_and_runs_nothing(hostile: Bucket) -> None:
    elements = Element(report(hostile))
    policies = [attributes["content"] for tag, attributes in elements.found if attributes.get("http-equiv") is not None]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    links = [
        value for _, each in elements.found for name, value in each.items() if name in ("href", "src", "xlink:href")
    ]
    assert links
    assert all(link is not None and re.fullmatch(r"#s\d+", link) for link in links)
    style = "".join(elements.texts["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    defined = [set(re.findall(r"--(\w+):", root)) for root in re.findall(r":root \{(.*?)\}", style, re.DOTALL)]
    assert defined[0] == defined[1] >= set(re.findall(r"var\(--(\w+)\)", style))


def test_nothing_in_a_bucket_becomes_markup_in_markdown(hostile: Bucket) -> None:
    page = report(hostile, format="markdown", title=EVIL)
    assert all(one.isprintable() or one == "\n" for one in page)
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_block", "em_open"}
    assert {token.content for token in inline if token.type == "code_inline"} == {"@"}
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    assert len(headings) == 4  # title, queues, attention, the queue
    strong = [after.content for token, after in pairwise(inline) if token.type == "strong_open"]
    assert not any("evil" in text.lower() for text in strong)
    fences = [token for token in tokens if token.type == "fence"]
    assert {token.info for token in fences} == {"text"}
    assert any("EVIL" in token.content for token in fences)
    assert not re.search(r"https?://|(?<![\w&;])www\.|@evil|\$EVIL", _outside_fences(page, fences))
    on_github = Element(github_flavored_markdown_to_html(page, Options.CMARK_OPT_UNSAFE))
    assert {tag for tag, _ in on_github.found} <= {*("h1", "h2", "p", "strong", "ul", "li", "pre", "code"), *GRID}
    assert {name for _, attributes in on_github.found for name in attributes} <= {"lang", "align"}
    for head, *rows in _tables(tokens):
        assert all(len(row) == len(head) for row in rows)
    assert any(token.type == "text" and "EVIL<script>" in token.content for token in inline)


GRID = ("table", "thead", "tbody", "tr", "th", "td")


def read_by(reader: str, text: str) -> list[Element]:
    """What a reader of Markdown makes of a text in a cell, in a paragraph, in strong letters and in a heading."""
    forms = (f"| {text} | b |\n| --- | --- |\n| {text} | b |", f"Note: {text}", f"**{text}** (x)", f"# {text}")
    if reader == "github":
        return [Element(github_flavored_markdown_to_html(form, Options.CMARK_OPT_UNSAFE)) for form in forms]
    rules = {"commonmark": MarkdownIt("commonmark").enable("table"), "gfm": MarkdownIt("gfm-like")}[reader]
    if rules.linkify is not None:
        rules.linkify.set({"fuzzy_link": False, "fuzzy_email": True})
    return [Element(rules.render(form)) for form in forms]


SCRAPS = st.lists(
    st.one_of(
        st.sampled_from([
            *r"\`*_{}[]()#+-.!|<>~&@$:/='^%", " ", "  ", "a", "1", "é", "x_y", "a@b.com", "http://x.com", "www.x.com", "&lt;",
            "&#64;", "<b>", "[x](javascript:alert(1))", "![x](y)", "``", "**", "~~", "\n", "\\|", "{{", "# ", "<!--",
            "mailto:a@b.de", "https://a.de/b?c=1&d=2",
        ]),
        st.text(max_size=3),
    ),
    max_size=8,
)  # fmt: skip


@pytest.mark.parametrize("reader", ["github", "commonmark", "gfm"])
@settings(max_examples=300, deadline=None)
@given(SCRAPS)
def test_a_text_is_read_as_just_that_text(reader: str, scraps: list[str]) -> None:
    text = "".join(scraps)
    for element in read_by(reader, markdown(text)):
        assert {tag for tag, _ in element.found} <= {"h1", "p", "strong", "code", *GRID}, text
        assert set(element.texts.get("code", ())) <= {"@"}
        shown = "".join("".join(plain(text).split()))
        assert "".join(element.everything.split()).count(shown) >= 1, (text, markdown(text), element.everything)


@pytest.mark.parametrize(
    "text",
    [
        "max_attempts of user_id=42 is 5 * 3 (line #3), 100 %",
        'payload: {"user_id": 7, "tags": ["a"], "x": {"y": null}}'.replace("[", "").replace("]", ""),
        r"D:\temp\me: \x1b, \u202e -> it's done!",
        "costs $0.0012 & more; 12:30:05 UTC, a/b/c.py, about ~ 5 s",
        "e-mail_jobs: KeyError('order')",
    ],
)
def test_ordinary_text_stays_readable_in_markdown(text: str) -> None:
    assert markdown(text) == text


def test_what_could_be_markup_is_written_so_that_it_is_none() -> None:
    assert markdown("a | b <c> [d](e) *f* `g` h@i.j k&amp;l {{m}} http://n") == (
        r"a \| b &lt;c> \[d](e) \*f\* \`g\` h`@`i.j k&amp;amp;l {\{m}} http\://n"
    )


def _outside_fences(page: str, fences: list[Any]) -> str:
    lines = page.split("\n")
    for token in fences:
        for number in range(*token.map):
            lines[number] = ""
    return "\n".join(lines)


def _tables(tokens: list[Any]) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = []
    for token in tokens:
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("td_open", "th_open"):
            tables[-1][-1].append("")
    return tables


def test_what_the_hook_hides_is_in_no_report(busy: Busy) -> None:
    def hide(path: Any, value: Any) -> Any:
        return "HIDDEN" if path[:1] in (("payload",), ("error",), ("traceback",)) else value

    bucket = Bucket(url="memory://x", store=busy.store, clock=busy.clock, redact=hide)
    for form in ("html", "markdown"):
        page = report(bucket, format=form)
        assert "HIDDEN" in page
        assert "mailbox" not in page
        assert "hunter2" not in page


def test_of_a_long_traceback_the_end_is_shown() -> None:
    shown = end_of("".join(f"{number} {'x' * 1000}\n" for number in range(5000)) + "last")
    assert shown.endswith("\nlast")
    assert len(shown) <= 4000
    assert len(end_of("a\n" * 500).splitlines()) == 20


# -- plots --


def test_bars_are_stacked_to_scale() -> None:
    plot = TimePlot("bars", "x", START, 60, (Series("a", (1.0, 4.0, None)), Series("b", (3.0, 6.0, 0.0), "bad")))
    drawn = svg(plot, "t")
    rects = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn)
    assert [tone for tone, _, _, _ in rects] == ["s1", "bad", "s1", "bad"]
    heights = [float(high) for _, _, _, high in rects]
    whole = HEIGHT - 34  # what ten, the upper end of the axis, takes
    assert heights == pytest.approx([whole * share for share in (0.1, 0.3, 0.4, 0.6)], abs=0.1)
    tops = [float(y) for _, _, y, _ in rects]
    assert tops[1] + heights[1] == pytest.approx(tops[0], abs=0.2)
    assert tops[3] == pytest.approx(10, abs=0.1)
    assert "2025-06-15 15:07:40 UTC: 4 a" in drawn


def test_lines_have_gaps_where_nothing_is_known() -> None:
    plot = TimePlot("lines", "ms", START, 60, (Series("p50", (1.0, 2.0, None, 5.0)),))
    drawn = svg(plot, "t")
    assert [len(points.split()) for points in re.findall(r'points="([^"]*)"', drawn)] == [2, 1]
    assert drawn.count("<circle") == 3
    assert lines_of(plot)[0].startswith("p50          |▂▃ █| most 5 ms")


@settings(max_examples=50)
@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1e15), st.integers(0, 3)), max_size=70),
    st.sampled_from(["bars", "lines"]),
)
def test_any_numbers_make_a_plot_that_stays_within_its_box(values: list[float | None], kind: Any) -> None:
    plot = TimePlot(kind, EVIL, START, 60, (Series(EVIL, tuple(values)),))
    elements = Element(svg(plot, EVIL))
    for tag, attributes in elements.found:
        if tag == "rect":
            y, high = float(attributes["y"] or 0), float(attributes["height"] or 0)
            assert y >= 0
            assert y + high <= HEIGHT
    assert {tag for tag, _ in elements.found} <= TAGS
    assert all("\n" not in line and line.isprintable() for line in lines_of(plot))


def test_a_rank_shows_each_label_with_its_bar() -> None:
    plot = RankPlot("$", ("polling", "<b>"), (2.0, 0.0))
    drawn = svg(plot, "t")
    assert "&lt;b&gt;" in drawn
    widths = [float(wide) for wide in re.findall(r'<rect[^>]* width="([\d.]+)"', drawn)]
    assert widths[0] > 400
    assert widths[1] == 0
    assert lines_of(plot)[0].count("█") == 40


@given(st.integers(1, 400 * 86_400), st.integers(0, 86_400_000), st.floats(0, 1))
def test_every_time_of_a_window_has_its_span(seconds: int, offset_ms: int, share: float) -> None:
    since = START + timedelta(milliseconds=offset_ms)
    window = Window.of(since, since + timedelta(seconds=seconds))
    assert 1 <= window.spans <= SPANS + 1
    at_ms = to_ms(window.since) + round(share * seconds * 1000)
    span = window.index(min(at_ms, to_ms(window.until)))
    assert span is not None
    assert 0 <= span < window.spans
    assert to_ms(window.starts()[span]) <= at_ms
    assert window.index(to_ms(window.since) - 1) is None
    assert window.index(to_ms(window.until) + 1) is None


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_percentiles_are_upper_bounds_within_a_fifth(times: list[int]) -> None:
    found = Percentiles(2)
    for ms in times:
        found.add(1, ms)
    empty, top = found.at(1.0)
    assert empty is None
    assert top is not None
    assert max(times) <= top <= max(times) * 1.2 + 1


def test_the_wheel_has_the_templates() -> None:
    included = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    names = {path.name for path in (ROOT / "s3queue_admin/reports/templates").iterdir()}
    assert names == {"report.html.j2", "report.md.j2", "style.css"}
    assert {f"s3queue_admin/reports/templates/{name}" for name in names} <= included
