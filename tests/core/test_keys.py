"""Names that become keys: what may, what may not, and how they sort."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3queue.core.keys import (
    Keys,
    ObjectName,
    bound_name,
    check_label,
    check_prefix,
    check_queue_name,
    count_of,
    dedup_of,
    group_of,
    letter_name,
    message_id_at,
    parse_letter,
    rank_in,
    rank_of,
    visible_at_ms_of,
)
from s3queue.errors import InvalidName, InvalidSetting
from tests.core.samples import ids, name, object_names

HOSTILE = [
    "",
    ".",
    "..",
    "../other",
    "a/b",
    "a\\b",
    "a b",
    "a\n",
    "\na",
    "a\0b",
    "a\x7fb",
    "ä",
    "\u0663",
    "名前",
    "a\u202eb",
    "\ud800",
    "-a",
    "_a",
    ".a",
    "a.b",
    "a%2fb",
    "x" * 81,
]


@pytest.mark.parametrize("bad", [*HOSTILE, None, 7, b"a"])
def test_a_hostile_queue_name_is_refused(bad: str) -> None:
    with pytest.raises(InvalidName, match="cannot name a queue"):
        check_queue_name(bad)


@pytest.mark.parametrize("good", ["a", "7", "Emails-2_x", "x" * 80])
def test_a_queue_name_is_kept_as_it_is(good: str) -> None:
    assert check_queue_name(good) == good


@pytest.mark.parametrize(
    "bad", ["/", "/a", "a//b", "..", "a/../b", "a..b", ".a", "-a", "a b", "a\n", "a/\n", "ä/", "a?b", "x" * 101]
)
def test_a_hostile_prefix_is_refused(bad: str) -> None:
    with pytest.raises(InvalidName, match="prefix"):
        check_prefix(bad)


@pytest.mark.parametrize(("given_", "kept"), [("", ""), ("a", "a/"), ("a/", "a/"), ("a/b=1/c.d", "a/b=1/c.d/")])
def test_a_prefix_ends_with_a_slash(given_: str, kept: str) -> None:
    assert check_prefix(given_) == kept


@pytest.mark.parametrize("bad", ["", "a\n", "\x1b[2J", "a\u202eb", "\ud800", "x" * 201, 7, b"a"])
def test_a_label_is_printable_and_bounded(bad: str) -> None:
    with pytest.raises(InvalidName):
        check_label("group", bad)


def test_a_label_may_be_any_language_or_none() -> None:
    assert check_label("group", "größe 名前") == "größe 名前"
    assert check_label("group", None) is None


@pytest.mark.parametrize("bad", [-1, 10, True, 1.0, "1", None])
def test_a_priority_is_a_whole_number_of_ten(bad: int) -> None:
    with pytest.raises(InvalidSetting, match="priority"):
        rank_of(bad)


def test_the_most_urgent_priority_sorts_first() -> None:
    assert [rank_of(priority) for priority in (9, 5, 0)] == [0, 4, 9]


@given(object_names())
def test_a_name_reads_back_as_its_parts(which: ObjectName) -> None:
    text = str(which)
    assert ObjectName.parse(text) == which
    assert (rank_in(text), visible_at_ms_of(text), count_of(text)) == (which.rank, which.visible_at_ms, which.count)
    assert (group_of(text), dedup_of(text)) == (which.group, which.dedup)


@given(object_names(), object_names())
def test_names_sort_by_rank_then_time(one: ObjectName, other: ObjectName) -> None:
    if (one.rank, one.visible_at_ms) < (other.rank, other.visible_at_ms):
        assert str(one) < str(other)


@given(object_names(), st.integers(0, 9_999_999_999_999))
def test_a_bound_parts_names_by_time(which: ObjectName, at_ms: int) -> None:
    assert (str(which) >= bound_name(which.rank, at_ms)) == (which.visible_at_ms >= at_ms)


GOOD = name(7, 12)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        GOOD + "\n",
        "\n" + GOOD,
        GOOD + ".json",
        "inbox/" + GOOD,
        GOOD[1:],
        GOOD.replace("9/", "10/"),
        GOOD.replace("-12", "-0"),
        GOOD.replace("-12", "-012"),
        GOOD.replace("-12", "-1001"),
        GOOD.replace("-12", "-"),
        GOOD.replace("-12", "-¹²"),
        GOOD.replace("1750000000000", "175000000000"),
        GOOD.replace("1750000000000", "17500000000000"),
        GOOD.replace("1750000000000", "-750000000000"),
        GOOD.replace("1750000000000", "\u0661750000000000"),
        GOOD.upper().replace("0007", "000A"),
        GOOD.replace("/", "//"),
        GOOD.replace("/", "/../"),
        GOOD + ".0123456",
        GOOD + ".0123456Z",
        GOOD + ".01234567.01234567",
    ],
)
def test_a_foreign_object_name_is_none(bad: str) -> None:
    assert ObjectName.parse(GOOD) is not None
    assert ObjectName.parse(bad) is None


@given(st.integers(0, 9_999_999_999_999), ids, st.integers(0, 999))
def test_a_letters_name_reads_back(at_ms: int, id_: str, index: int) -> None:
    message_id = message_id_at(id_, index)
    assert parse_letter(letter_name(at_ms, message_id)) == (at_ms, message_id)


@pytest.mark.parametrize("bad", ["", "x", "../../x", letter_name(1, message_id_at("0" * 20, 0)) + "\n"])
def test_a_foreign_letters_name_is_none(bad: str) -> None:
    assert parse_letter(bad) is None


def test_everything_lies_below_the_root_and_no_key_is_a_folder_of_another() -> None:
    keys = Keys("s3queue/emails/")
    every = [
        keys.settings,
        keys.ledger(0),
        keys.message(0, GOOD),
        keys.letter("x"),
        keys.journal(0) + "x",
        keys.letter_journal + "x",
        keys.result("x"),
    ]
    assert all(key.startswith("s3queue/emails/") for key in every)
    assert not [(a, b) for a in every for b in every if a != b and b.startswith(a + "/")]


@given(object_names())
def test_a_key_leads_back_to_its_name(which: ObjectName) -> None:
    keys = Keys("q/")
    assert keys.name_in(keys.inbox(3), keys.message(3, str(which))) == str(which)
    assert max(len(segment) for segment in keys.message(3, str(which)).split("/")) <= 255
