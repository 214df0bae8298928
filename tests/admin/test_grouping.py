"""Errors of a kind have one fingerprint, others have others."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3queue.clock import to_datetime
from s3queue.core.message import DeadLetter
from s3queue_admin.grouping import LATEST_MS, fingerprint, group_errors, title
from tests.admin.views import HOSTILE, NOW_MS, seen


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("Read of db-7 timed out after 30 s", "Read of db-12 timed out after 4.5 s", "Read of db<n> timed out after <n> s"),
        ("no user 'ann'", "no user 'bob o.'", "no user <…>"),
        ('no "a b"', 'no ""', "no <…>"),
        ("can't open it, won't try", "can't open it, won't try", "can't open it, won't try"),
        ("order 0198c2f0-7a51-7cc3-98e4-2c1a5a1b2c3d gone", "order 0198c2f0-7a51-7cc3-98e4-2c1a5a1b2c3e gone", "order <id> gone"),
        ("at 0x7f3a", "at 0xdeadbeef", "at <id>"),
        ("message 01k2m3n4p5q6r7s8t9v0 lost", "message 01k2m3n4p5q6r7s8t9v1 lost", "message <id> lost"),
        ("GET https://a.b/c?d=1 failed", "GET http://x/ failed", "GET <url> failed"),
        ("no file /var/spool/a.txt", "no file /tmp/x/y", "no file <path>"),
        ("mail to ann@example.org bounced", "mail to b.c+d@mail.example.com bounced", "mail to <email> bounced"),
        ("[1, 2, 3] has no 4", "[7] has no 9", "[<n>] has no <n>"),
        ("2026-01-31T07:15:00: late", "2025-12-01T00:00:01: late", None),
    ],
)  # fmt: skip
def test_numbers_ids_and_names_do_not_count(one: str, other: str, both: str | None) -> None:
    first, second = seen(error=("E", one)), seen(error=("E", other))
    assert title(first) == title(second)
    assert fingerprint(first) == fingerprint(second)
    if both is not None:
        assert title(first) == f"E: {both}"


@pytest.mark.parametrize(
    ("one", "other"),
    [(("E", "lost"), ("F", "lost")), (("E", "read failed"), ("E", "write failed")), (("E", ""), ("E", "x"))],
)
def test_other_errors_have_other_fingerprints(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert fingerprint(seen(error=one)) != fingerprint(seen(error=other))


def test_the_reason_counts_where_there_is_no_error() -> None:
    assert title(seen(reason="failed 3 of 3 attempts")) == "failed <n> of <n> attempts"
    assert title(seen("pending")) == fingerprint(seen("pending")) == ""


def test_groups_are_counted_and_dated() -> None:
    views = [seen(id=f"m{n}", error=("E", f"no {n}"), dead_at_ms=NOW_MS + n) for n in (3, 1, 2)]
    views += [seen("pending", error=("F", "x")), seen("pending")]
    first, second = group_errors(iter(views))
    assert (first.title, first.type, first.count, first.sample.id) == ("E: no <n>", "E", 3, "m3")
    assert (first.first_at, first.last_at) == (to_datetime(NOW_MS + 1), to_datetime(NOW_MS + 3))
    assert first.fingerprint == fingerprint(views[0])
    assert (second.type, second.count, second.first_at) == ("F", 1, to_datetime(NOW_MS - 60_000))
    assert group_errors([]) == []


def test_letters_have_the_fingerprint_of_their_messages() -> None:
    view = seen(error=("E", "x"))
    assert fingerprint(DeadLetter(view.message, NOW_MS, "", "s")) == fingerprint(view)


@given(st.one_of(st.text(), st.sampled_from([HOSTILE, "\ud800", "'" * 50])))
def test_any_text_has_a_fingerprint(text: str) -> None:
    view = seen(error=(text, text), reason=text)
    assert len(fingerprint(view)) == (8 if title(view) else 0)
    assert fingerprint(view) == fingerprint(replace(view, key="other"))


@pytest.mark.parametrize("piece", ["a", "1", "'", "/a", "a1_", "a.", "ann@", "http://", "<n>", " ", "1,", "0x"])
def test_a_megabyte_takes_no_time_and_a_time_may_be_absurd(piece: str) -> None:
    began = time.process_time()
    text = piece * (1_000_000 // len(piece))
    (group,) = group_errors([seen(error=(text, text), dead_at_ms=10**30)])
    assert group.last_at == to_datetime(LATEST_MS)
    assert len(group.title) < 3000
    assert time.process_time() - began < 2
