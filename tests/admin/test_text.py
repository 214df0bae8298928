"""Whatever strangers write does no harm where it is shown, and secrets are not shown."""

from __future__ import annotations

import csv
import io
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.markup import render

from s3queue.text import clean
from s3queue_admin.text import (
    HIDDEN,
    TOO_DEEP,
    Redactor,
    cell,
    harmless,
    hides,
    html,
    json_text,
    lines,
    markup,
    plain,
    redact_secrets,
    show_all,
)
from tests.admin.views import HOSTILE, seen

any_text = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from([*"[]\\/@=+-#<>&\"'\x1b\r\n\t\u202e\u200f", "[red]", "[/]", "[/red]", "a"]), max_size=10
    ).map("".join),
)


@given(any_text)
def test_no_text_acts_on_a_terminal(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert shown == clean(text)
    assert all(one.isprintable() or one in "\n\t" for one in lines(text))
    assert lines(text).count("\n") == text.count("\n")
    assert len(plain(text, 5)) <= 20


def test_what_is_hostile_is_seen_for_what_it_is() -> None:
    assert plain("\x1b[2J\r\u202eexe\u200b") == "\\x1b[2J\\r\\u202eexe\\u200b"
    assert plain("漢字漢字", 6) == "漢字…"
    assert plain(None) == "None"
    assert lines("a\r\n\tb\x07") == "a\\r\n\tb\\x07"
    assert harmless({"a\x1b": ["\x07", 1, None, {"b": "\n"}]}) == {"a\\x1b": ["\\x07", 1, None, {"b": "\n"}]}


@given(any_text)
def test_no_text_is_markup(text: str) -> None:
    made = render(f"[b]{markup(text)}[/b] [i]x[/i]", emoji=False)
    assert [str(span.style) for span in made.spans] == ["bold", "italic"]
    if "\\" not in text:
        assert made.plain == plain(text) + " x"


def test_markup_is_shown_as_it_was_written_on_a_terminal() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=80, emoji=False, highlight=False).print(
        markup("[link=http://evil]x[/link] \x1b[31m [/]")
    )
    assert out.getvalue().rstrip("\n").endswith("[/]")
    assert "http://evil" in out.getvalue()
    assert "\x1b]8" not in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", " =1", "\uff1d1", "%0A=1", "|x"]
)
def test_a_formula_is_a_text(text: str) -> None:
    assert cell(text).startswith("'")
    assert cell(text).removeprefix("'") == plain(text)


@pytest.mark.parametrize("text", ["-5", "+3.5e7", "a=b", "", "2026-01-31", "{}"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert cell(text) == text


@given(any_text)
def test_a_cell_is_one_line_and_no_formula(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow(["before", cell(text), "after"])
    ((before, found, after),) = csv.reader(io.StringIO(out.getvalue()))
    assert (before, found, after) == ("before", cell(text), "after")
    assert found[:1] not in set("=+@\t\r") or found.removeprefix("+").replace(".", "").replace("e", "").isdigit()


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@given(any_text)
def test_no_text_is_html(text: str) -> None:
    parser = _Seen()
    parser.feed(f'<p title="{html(text)}">{html(text)}</p>')
    parser.close()
    assert parser.found[0] == ("p", [("title", plain(text))])
    assert "".join(parser.found[1:]) == plain(text)


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["password", "userPassword", "DB_PASSWORD", "token", "access_token", "apiKey", "X-Api-Key", "Authorization", "secret",
     "aws_secret_access_key", "cookie", "Set-Cookie", "private_key", "client-secret", "credentials", "pin"],
)  # fmt: skip
def test_a_key_names_a_secret(key: str) -> None:
    assert hides(key)
    assert redact_secrets(("payload", "x", key), "s3cr3t") == HIDDEN
    assert redact_secrets(("payload", key), {"deep": "s3cr3t"}) == HIDDEN


@pytest.mark.parametrize("key", ["passenger", "tokenizer", "monkey", "key", "author", "pinned", 3, ""])
def test_a_key_names_no_secret(key: str | int) -> None:
    assert not hides(key)


def test_counts_of_tokens_are_shown_and_numbers_of_secrets_are_not() -> None:
    assert redact_secrets(("payload", "max_tokens"), 500) == 500
    assert redact_secrets(("payload", "pin"), 1234) == HIDDEN
    assert redact_secrets(("payload", "password"), None) is None


@pytest.mark.parametrize(
    "text",
    [
        "login failed: password=S3CR3T, user=ann",
        'bad request {"password": "S3CR3T", "user": "ann"}',
        "bad request {'api_key': 'S3CR3T'}",
        r'"{\"password\": \"S3CR3T\"}"',
        "401 for Authorization: Bearer S3CR3Tabc.def",
        "Authorization: Basic S3CR3T==",
        "header was Bearer S3CR3TS3CR3T",
        "postgres://ann:S3CR3T@db:5432/x is down",
        "https://b.s3.amazonaws.com/k?X-Amz-Signature=S3CR3T&a=1",
        "AWS_SECRET_ACCESS_KEY=S3CR3T/abc",
        "key AKIAS3CR3TABCDEFGHIJ is wrong",
        "jwt eyJhbGciOiJIUzI1.S3CR3T.x_y-z",
        "-----BEGIN RSA PRIVATE KEY-----\nS3CR3T\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nS3CR3T\ncut off",
        "token => S3CR3T",
        "Set-Cookie: sid=S3CR3T",
    ],
)
def test_secrets_in_texts_are_hidden(text: str) -> None:
    shown = Redactor().text(text, "error")
    assert "S3CR3T" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    ["KeyError: 'user'", "no such password reset", "timed out after 30 s: host=db-7", "https://a.b/c?d=e", "a:b@c"],
)
def test_texts_without_secrets_stay(text: str) -> None:
    assert Redactor().text(text, "error") == text


def test_a_message_is_shown_without_its_secrets() -> None:
    view = seen(
        payload={"user": {"password": "S3CR3T"}, "list": [{"token": "S3CR3T"}], "url": "ftp://a:S3CR3T@h", "n": 1},
        headers={"Authorization": "S3CR3T", "trace": "t"},
        error=("E", "password=S3CR3T"),
        traceback="  connect(password='S3CR3T')",
        reason="token=S3CR3T",
    )
    shown = Redactor().view(view)
    assert "S3CR3T" not in repr(shown)
    assert shown.payload["n"] == 1
    assert shown.message.headers["trace"] == "t"
    assert "S3CR3T" in repr(Redactor(show_all).view(view))
    assert "S3CR3T" in repr(view)


def test_headers_are_headers_whatever_a_hook_makes_of_them() -> None:
    shown = Redactor(lambda path, value: "?").view(seen(headers={"a": "b"}))
    assert dict(shown.message.headers) == {HIDDEN: "?"}


def test_the_hook_is_told_where_and_what_it_returns_stands() -> None:
    asked: list[Any] = []

    def hook(path: Any, value: Any) -> Any:
        asked.append(path)
        return "gone" if path == ("payload", "a") else value

    assert Redactor(hook).value({"a": {"b": 1}, "c": [2]}, "payload") == {"a": "gone", "c": [2]}
    assert asked[0] == ("payload",)
    assert ("payload", "c", 0) in asked
    assert ("payload", "a", "b") not in asked


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), any_text, st.just("token=x1 a://b:c@d")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "password", "tokens", "x://a:b@c", "Token", "é"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["payload", "password", "tokens", 0]))
def test_the_quick_way_to_redact_is_the_same_as_asking_for_each_value(value: Any, key: str | int) -> None:
    each = Redactor(lambda path, value: redact_secrets(path, value))  # noqa: PLW0108 - not the function that is known
    assert Redactor().value(value, key) == each.value(value, key)


@pytest.mark.parametrize("hook", [redact_secrets, show_all, lambda path, value: value])
def test_what_is_nested_too_deeply_is_not_walked_through(hook: Any) -> None:
    deep: Any = "S3CR3T"
    for _ in range(5_000):
        deep = [deep]
    assert Redactor(hook).value({"a": deep}, "payload") == TOO_DEEP
    assert harmless(deep) == json_text(deep) == TOO_DEEP


def test_a_hook_that_fails_shows_nothing() -> None:
    assert Redactor(lambda path, value: 1 / 0).value({"a": "S3CR3T"}, "payload") == HIDDEN


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "eyJ" * 300_000, "-eyJaaaaaaaaa" * 80_000, "password" * 120_000, "password=" * 110_000, '"' * 10**6,
             "://" * 300_000, "-----BEGIN PRIVATE KEY-----" * 40_000, "\\" * 10**6, "Bearer " * 140_000, HOSTILE * 12_000]
)  # fmt: skip
def test_a_megabyte_takes_no_time(text: str) -> None:
    began = time.process_time()
    Redactor().text(text, "error")
    for made in (plain(text, 80), markup(text, 80), html(text, 80)):
        assert len(made) < 1000
    assert len(cell(text)) >= len(text) // 2
    assert time.process_time() - began < 5
