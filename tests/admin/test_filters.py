"""The filter language: what is written is what is meant, and what cannot be read says where and why."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3queue.errors import InvalidInput
from s3queue.protocol.census import STATES
from s3queue_admin.filters import FIELDS, FilterError, completions, parse, word_start
from s3queue_admin.grouping import fingerprint
from tests.admin.views import NOW_MS, seen

TIMEOUT = seen(
    payload={
        "user": {"id": 42, "vip": True, "name": "Ann (x)"},
        "tags": ["urgent", "eu"],
        "at": "2026-01-31",
        "n": None,
    },
    error=("TimeoutError", "Read of db-7 timed out after 30 s"),
    traceback="File orders.py, line 7",
    attempts=3,
    group="eu",
    reason="failed 3 of 3 attempts",
    id="0abc",
    headers={"trace": "t-1"},
)
HELD = seen("processing", [1, 2], queue="jobs", worker="w1", claimed_at_ms=NOW_MS - 90_000, expires_at_ms=NOW_MS - 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "state:dead error~timeout age>=1m attempts>=3",
        "state=dead state!=pending -state:pending NOT (state:pending OR state:scheduled)",
        "worker:w9 queue:emails group:eu group:e* group!=EU id:0a?c key:*dlq*",
        "error:TimeoutError error:Read* error:'TimeoutError: Read*' error~/db-\\d+ TIMED/ error!=Other",
        "traceback~orders.py reason:'failed 3 of 3 attempts' reason~FAILED",
        "payload.user.id=42 payload.user.id:42 payload.user.id>41 payload.user.id<=42.0 payload.user.id!=43",
        "payload.user.vip=true payload.user.name:'Ann (x)' payload.user.name~ann payload.n=null payload.user.*=42",
        'payload."user".id=42 payload.tags:urgent payload.tags.1=eu payload.tags~eu payload~"\\"vip\\":true"',
        "payload.at>2026-01 payload.at<'2026-02' payload.none!=1 -payload.none:* payload.user:* headers.trace=t-1",
        "timed 'ann (x)' 0abc -nothing db-7 urgent",
        "enqueued_at<now enqueued_at>-2h dead_at>-1m1s dead_at>=-1m dead_at<=-1m -claimed_at>-100w -claimed_at<now",
        "enqueued_at:2025-06-15 enqueued_at=2025-06-15T14 enqueued_at>=2025-06-15T16:00+02:00 -enqueued_at>2025-06-15",
        "enqueued_at>2025-06-14 enqueued_at<2025-06-16 enqueued_at<=2025-06-15 -enqueued_at<2025-06-15",
        "size>10 size<1kb size<=1KiB lane:0 priority=0 rescues=0 attempts<4 attempts!=2 ticket:''",
        "state:pending OR state:dead timed OR error~nothing",
        "(state:pending OR state:dead) AND timed",
        "NOT NOT state:dead NOT -(state:dead)",
    ],
)
def test_it_matches(text: str) -> None:
    assert parse(text).matches(TIMEOUT, NOW_MS)
    if text:
        assert not parse(f"NOT ({text})").matches(TIMEOUT, NOW_MS)


@pytest.mark.parametrize(
    "text",
    [
        "state:pending",
        "state:stalled",
        "group:EU",
        "id:0abc*x",
        "id=0a*",
        "error:timeout",
        'payload.user.id="42"',
        "payload.user.vip=1",
        "payload.user.id=42x",
        "payload.user.id>x",
        "payload.user.name>1",
        "payload.tags.2:*",
        "payload.tags.urgent:*",
        "payload.user.id.more:*",
        "age<1m",
        "dead_at>-1m",
        "state:dead nothing",
        "nothing OR -timed",
    ],
)
def test_it_does_not_match(text: str) -> None:
    assert not parse(text).matches(TIMEOUT, NOW_MS)


def test_stalled_is_processing_past_the_lease() -> None:
    late, in_time = HELD, replace(HELD, expires_at_ms=NOW_MS)
    assert [parse("state:stalled").matches(view, NOW_MS) for view in (late, in_time)] == [True, False]
    assert [parse("-state:stalled").matches(view, NOW_MS) for view in (late, in_time)] == [False, True]
    assert parse("state:processing age>1m worker:w1 payload=2 queue:jobs").matches(late, NOW_MS)


def test_a_worker_is_who_has_it_or_else_had_it_last() -> None:
    assert parse("worker:w2").matches(seen("pending", assigned_to="w2", error=("E", "x")), NOW_MS)
    assert not parse("worker:w9").matches(seen("processing", worker="w2", error=("E", "x")), NOW_MS)
    assert parse('worker:""').matches(seen("pending"), NOW_MS)


def test_a_fingerprint_is_told_by_its_beginning() -> None:
    digits = fingerprint(TIMEOUT)
    for text in (f"fingerprint:{digits[:4]}", f"fingerprint={digits.upper()}", f"fingerprint:{digits}"):
        assert parse(text).matches(TIMEOUT, NOW_MS)
    assert not parse(f"fingerprint!={digits}").matches(TIMEOUT, NOW_MS)
    assert parse('fingerprint:""').matches(HELD, NOW_MS)


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("", STATES),
        ("state:dead error~x", ("dead",)),
        ("state:stalled", ("processing",)),
        ("-state:stalled", STATES),
        ("-state:pending", ("scheduled", "processing", "dead")),
        ("state:dead OR age>1m", STATES),
        ("NOT (state:dead OR state:pending x)", ("pending", "scheduled", "processing")),
        ("state:dead state:pending", ()),
    ],
)
def test_states_that_cannot_match_need_not_be_read(text: str, states: tuple[str, ...]) -> None:
    assert parse(text).states == states


def test_queues_that_cannot_match_need_not_be_read() -> None:
    found = parse("(queue:em* state:dead) OR queue:jobs x")
    assert [queue for queue in ("emails", "jobs", "other") if found.admits(queue)] == ["emails", "jobs"]
    assert parse("state:dead").admits("any")


@pytest.mark.parametrize(
    ("text", "position", "problem", "remedy"),
    [
        ("state:dead stat:x", 11, "no field 'stat'", "Did you mean state:?"),
        ("Body.user=1", 0, "no field 'Body'", "payload.user="),
        ("zzzz:1", 0, "no field", "Use one of state, queue"),
        ("state:daed", 6, "no state 'daed'", "Did you mean dead?"),
        ("state~dead", 5, "'~' cannot be asked of state", "Use one of : = !="),
        ("group>3", 5, "cannot be asked of group", ""),
        ("age.x>3m", 3, "nothing below it", ""),
        ("age>10", 4, "not a duration, such as 10m", ""),
        ("age>10m5", 4, "not a duration", ""),
        ("attempts>=three", 10, "not a number", ""),
        ("size>3zb", 5, "not a size", ""),
        ("dead_at>2026-02-30", 8, "not a time", ""),
        ("dead_at>yesterday", 8, "not a time", ""),
        ("fingerprint:xyz", 12, "hex digits", ""),
        ("error~/(/", 6, "regular expression cannot be used", ""),
        ("error~/" + "a" * 1001 + "/", 6, "the limit is 1000", ""),
        ("error~/a\\", 6, "does not end", ""),
        ("error~/abc", 6, "does not end", "Add /"),
        ("state:dead 'abc", 11, "quotes that begin here do not end", ""),
        ('"a"b', 3, "a space is missing", ""),
        ("attempts >= 3", 9, "no field before '>='", "without spaces"),
        ("group: eu", 6, "a value is missing", '"" is empty'),
        ("payload.=1", 8, "a name is missing", ""),
        ('payload."a"x', 11, "operator is missing", ""),
        ("(state:dead", 0, "does not close", ""),
        ("state:dead)", 10, "closes none", ""),
        ("a ()", 2, "nothing in the brackets", ""),
        ("a OR", 4, "something is missing", ""),
        ("OR a", 0, "nothing before OR", ""),
        ("a NOT", 5, "something is missing", ""),
        ("timeout or lost", 8, "'or' may be a word", "Write OR"),
        ("NOT " * 60 + "a", 204, "More than 50 levels", ""),
        ("x" * 10_001, 10_000, "the limit is 10,000", ""),
    ],
)
def test_what_cannot_be_read_says_where_and_why(text: str, position: int, problem: str, remedy: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    error = caught.value
    assert (error.position, error.text) == (position, text)
    assert isinstance(error, InvalidInput)
    said, shown, caret = str(error).split("\n")
    assert problem in said
    assert remedy in said
    assert caret.endswith("^")
    if position < 60:
        assert len(caret) - 1 == position + 2
        assert shown[2:].startswith(text[:position])


def test_the_caret_stands_right_though_the_text_is_hostile() -> None:
    with pytest.raises(FilterError) as caught:
        parse("\x1b[2J\u202e 漢字 stat:x")
    _, shown, caret = str(caught.value).split("\n")
    assert shown == "  \\x1b[2J\\u202e 漢字 stat:x"
    assert caret.index("^") == shown.index("stat") + 2  # two characters that take two columns each


def test_a_pattern_without_end_is_stopped() -> None:
    began = time.monotonic()
    with pytest.raises(FilterError, match="takes too long"):
        parse("error~/^(a|a)*$/").matches(seen(error=("E", "a" * 50 + "b")), NOW_MS)
    assert time.monotonic() - began < 10
    assert parse("error:" + "a*" * 40 + "b").matches(seen(error=("E", "a" * 900)), NOW_MS) is False
    assert time.monotonic() - began < 15


def test_a_megabyte_is_searched_and_a_payload_of_any_kind() -> None:
    found = parse("payload~needle OR payload.a.b.c=1 OR payload.*.*=1 needle size>1kb")
    for payload in ("x" * 1_000_000 + "NEEDLE", None, 1.5, [], {}, [[1]], {"a": {"b": {"c": 2}}}, "\ud800"):
        assert found.matches(seen(payload=payload), NOW_MS) is (payload is not None and len(str(payload)) > 9999)


def test_two_filters_are_one() -> None:
    both = parse("state:dead") & parse("a OR b")
    assert str(both) == "state:dead (a OR b)"
    assert both == parse(str(both))
    assert str(parse("") & parse("x")) == "x"
    assert parse("").is_everything
    assert not parse("x").is_everything


# -- any text, any filter ---------------------------------------------------------------------------------------------

_PIECES = [
    *(f"{name}{operator}" for name in FIELDS for operator in (":", "~", ">=", "!=")),
    *(
        "dead",
        "stalled",
        "10m",
        "-1h",
        "2026-01-31",
        "3",
        "/a.b/",
        "(",
        ")",
        " ",
        "-",
        "NOT ",
        " OR ",
        " AND ",
        '"',
        "'",
    ),
    *("\\", "*", "payload.a.", "payload.", ".", "word", "=", "~/", "\n", "\x00", "\u202e", "é", "or"),
]
texts = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(_PIECES), max_size=12).map("".join))


@settings(max_examples=600, deadline=None)
@given(texts)
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    try:
        found = parse(text)
    except FilterError as error:
        assert 0 <= error.position <= len(error.text) == len(text)  # noqa: PT017 - most texts are none, some are
        return
    again = parse(str(found))
    assert again == found
    assert str(again) == str(found)
    assert again.matches(TIMEOUT, NOW_MS) == found.matches(TIMEOUT, NOW_MS)
    for cursor in range(len(text) + 1):
        assert word_start(text, cursor) <= cursor
        completions(text, cursor)


_quoted = st.text(max_size=6).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
_terms = st.one_of(
    st.sampled_from(
        ["state:dead", "state!=pending", "state:stalled", "queue:emails", "queue!=jobs", "age>1m", "size<9"]
    ),
    st.sampled_from(
        ["attempts>=3", "dead_at>-2m", "worker:w*", "payload.user.id=42", "payload:2", "fingerprint:a", "ann"]
    ),
    st.builds(
        lambda name, value: f"{name}~{value}", st.sampled_from(["error", "payload", "payload.x", "reason"]), _quoted
    ),
    _quoted,
)
filters = st.recursive(
    _terms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(" + " OR ".join(parts) + ")"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(" + " ".join(parts) + ")"),
        inner.map(lambda part: f"NOT {part}"),
        inner.map(lambda part: f"-{part}"),
    ),
    max_leaves=8,
)
VIEWS = [TIMEOUT, HELD, seen("pending"), seen("scheduled", {"x": "é"}), seen(queue="jobs", error=("E", "ann"))]


@settings(max_examples=300, deadline=None)
@given(filters, filters)
def test_a_filter_is_what_it_is_made_of(left: str, right: str) -> None:
    one, two = parse(left), parse(right)
    assert parse(str(one)) == one

    def found(text: str) -> list[bool]:
        return [parse(text).matches(view, NOW_MS) for view in VIEWS]

    pairs = list(zip(found(left), found(right), strict=True))
    assert found(f"{left} {right}") == [a and b for a, b in pairs]
    assert found(f"{left} OR {right}") == [a or b for a, b in pairs]
    assert found(f"NOT {left}") == [not a for a, _ in pairs]
    assert [(one & two).matches(view, NOW_MS) for view in VIEWS] == [a and b for a, b in pairs]
    for view in VIEWS:
        if one.matches(view, NOW_MS):
            assert view.state in one.states
            assert one.admits("jobs" if "/jobs/" in view.key else "emails")


# -- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sta", ["state:"]),
        ("state:d", ["state:dead"]),
        ("state:dead -at", ["attempts>="]),
        ("a OR (state:st", ["state:stalled"]),
        ("queue:", ["queue:emails", "queue:jobs"]),
        ('worker:"w', ['worker:"w 1"']),
        ("age>10", ["age>10m"]),
        ("N", ["NOT"]),
        ("nothing:x", []),
        ("'state:d", []),
    ],
)
def test_completions(text: str, found: list[str]) -> None:
    known = {"queue": ["emails", "jobs"], "worker": ["w 1"]}
    assert completions(text, values=known) == found
    if found:
        for each in found:
            made = text[: word_start(text)] + each
            assert made.startswith(text[: word_start(text)])
    assert completions(text + " state:dead", len(text), values=known) == found


def test_every_field_is_offered_and_every_example_can_be_read() -> None:
    offered = completions("")
    assert len(offered) == len(FIELDS)
    for each in offered:
        for made in completions(each) if not each.endswith(".") else ():
            parse(made)
