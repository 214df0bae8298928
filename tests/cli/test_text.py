from __future__ import annotations

import pytest

from s3queue.cli.render import record, table
from s3queue.text import cells, clean, cut


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode, 日本", "plain text, ünïcode, 日本"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("one\ntwo\r", r"one\ntwo\r"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202egnirts", r"\u202egnirts"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_does_not_print_is_written_as_an_escape(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_the_columns_that_a_text_takes(text: str, width: int) -> None:
    assert cells(text) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("日本日本", 5, "日本…"),
        ("日本日本", 4, "日…"),
        ("e" + "\u0301" * 100, 10, "e" + "\u0301" * 39 + "…"),
    ],
)
def test_a_long_text_is_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_a_table_is_aligned_with_numbers_to_the_right() -> None:
    assert table(("name", "count"), [("a", 5), ("日本", 1234)]).splitlines() == [
        "name  count",
        "a         5",
        "日本  1,234",
    ]


def test_a_hostile_cell_can_forge_no_line_and_no_column() -> None:
    lines = table(("name", "last"), [("x\n\x1b[2Jfake", "end")]).splitlines()
    assert lines == ["name            last", r"x\n\x1b[2Jfake  end"]


def test_long_lines_are_cut_at_the_width() -> None:
    lines = table(("name",), [("x" * 1000,)], width=20).splitlines()
    assert lines == ["name", "x" * 19 + "…"]


def test_a_cell_has_its_limit_where_there_is_no_terminal() -> None:
    assert len(table(("name",), [("x" * 10_000,)]).splitlines()[1]) == 300


def test_a_record_is_one_fact_a_line() -> None:
    assert record({"pending": 1200, "paused": True, "oldest": None}) == "pending  1,200\npaused   yes\noldest"
