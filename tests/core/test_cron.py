"""Cron lines in time zones: ticks only go forward, and the days that clocks change neither swallow nor double a job."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3queue.clock import to_datetime, to_ms
from s3queue.core.cron import Timetable
from s3queue.core.schedule import CATCH_UP_LIMIT, MISSED_MS, due
from s3queue.errors import InvalidSetting

DAY_MS = 86_400_000
YEAR = to_ms(datetime(2025, 1, 1, tzinfo=UTC))
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Africa/Cairo",
    "Asia/Kolkata",
    "America/Santiago",
    "Pacific/Chatham",
)

zones = st.sampled_from(ZONES)
minutes = st.sampled_from(["*", "*/7", "*/30", "0", "30", "5,35", "10-20/5"])
hours = st.sampled_from(["*", "*/5", "0", "1", "2", "3", "0,2", "22-23"])
days = st.sampled_from(["* * *", "* * *", "* * SUN", "1 * *", "L * *", "* 3,10 *", "13 * FRI"])
lines = st.builds("{} {} {}".format, minutes, hours, days)
moments = st.integers(0, 366 * DAY_MS).map(lambda ms: YEAR + ms)


def ticks(timetable: Timetable, after_ms: int, until_ms: int) -> list[int]:
    found = []
    tick = timetable.after(after_ms)
    while tick is not None and tick <= until_ms:
        found.append(tick)
        tick = timetable.after(tick)
    return found


@given(lines, zones, moments, st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_the_next_tick_is_the_same_from_wherever_one_looks(line: str, zone: str, at_ms: int, share: int) -> None:
    timetable = Timetable(line, zone)
    tick = timetable.after(at_ms)
    assert tick is not None
    assert tick > at_ms
    assert tick % 1000 == 0
    assert timetable.after(at_ms + (tick - 1 - at_ms) * share // 40) == tick


@given(
    st.sampled_from(["30 * * * *", "*/20 2 * * *", "0 3 * * *", "0 0 1 * *"]),
    zones,
    moments,
    st.integers(0, 9 * DAY_MS),
)
@settings(max_examples=60, deadline=None)
def test_the_latest_is_the_last_of_all(line: str, zone: str, at_ms: int, span_ms: int) -> None:
    timetable = Timetable(line, zone)
    everyone = ticks(timetable, at_ms, at_ms + span_ms)
    assert timetable.newest(at_ms, at_ms + span_ms, 1000) == everyone
    assert timetable.newest(at_ms, at_ms + span_ms, 3) == everyone[-3:]
    assert timetable.latest(at_ms, at_ms + span_ms) == (everyone[-1] if everyone else None)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("clock", ["0 0", "30 0", "0 1", "30 1", "15 2", "45 2", "0 3", "59 23"])
def test_a_daily_job_runs_once_on_each_day_of_the_year(zone: str, clock: str) -> None:
    timetable = Timetable(f"{clock} * * *", zone)
    info = ZoneInfo(zone)
    first = to_ms(datetime(2025, 1, 1, tzinfo=info)) - 1
    found = ticks(timetable, first, to_ms(datetime(2026, 1, 1, tzinfo=info)) - 1)
    per_day = Counter(to_datetime(tick).astimezone(info).date() for tick in found)
    assert per_day == {date(2025, 1, 1) + timedelta(number): 1 for number in range(365)}
    assert all(earlier < later for earlier, later in pairwise(found))


def in_berlin(line: str, day: date) -> list[str]:
    """Return when the line is due on that day, as a clock in Berlin and its offset show it."""
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    end = datetime.combine(day + timedelta(1), datetime.min.time(), zone)
    found = ticks(Timetable(line, "Europe/Berlin"), to_ms(begin) - 1, to_ms(end) - 1)
    return [to_datetime(tick).astimezone(zone).strftime("%H:%M%z") for tick in found]


GAP, FOLD = date(2025, 3, 30), date(2025, 10, 26)


@pytest.mark.parametrize(
    ("line", "day", "expected"),
    [
        ("30 2 * * *", GAP, ["03:00+0200"]),
        ("0 3 * * *", GAP, ["03:00+0200"]),
        ("0,30 1-3 * * *", GAP, ["01:00+0100", "01:30+0100", "03:00+0200", "03:30+0200"]),
        ("*/30 2 * * *", GAP, []),
        ("30 2 * * *", FOLD, ["02:30+0200"]),
        ("0 3 * * *", FOLD, ["03:00+0100"]),
        ("*/30 2 * * *", FOLD, ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]),
    ],
)
def test_the_days_that_clocks_change(line: str, day: date, expected: list[str]) -> None:
    assert in_berlin(line, day) == expected


def test_an_hourly_job_goes_by_real_time() -> None:
    assert len(in_berlin("15 * * * *", GAP)) == 23
    assert len(in_berlin("15 * * * *", FOLD)) == 25


def test_seconds_may_stand_in_front() -> None:
    assert ticks(Timetable("*/20 * * * * *", "UTC"), YEAR, YEAR + 60_000) == [YEAR + s * 1000 for s in (20, 40, 60)]


@pytest.mark.parametrize(
    "cron",
    [
        *("", "0 3 * *", "0 3 * * * * *", "61 * * * *", "x * * * *", "*/0 * * * *", "@daily", "5-1 * * * *", 7, None),
        *("0" * 5000 + " * * * *", "* " * 3000, "0 0 30 x *", "0 0 32 2 *"),
    ],
)
def test_what_is_no_cron_line_is_refused(cron: str) -> None:
    with pytest.raises(InvalidSetting, match="cron is") as refused:
        Timetable(cron, "UTC")
    assert "never fires" not in str(refused.value)


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 0 30-31 FEB *", "0 0 31 4,6 *", "0 0 31 2 */1"])
def test_a_day_that_its_months_have_not_is_told_with_one_that_they_have(cron: str) -> None:
    with pytest.raises(InvalidSetting, match=r"never fires.*Name a day that its months have: '(.+)' is the") as refused:
        Timetable(cron, "UTC")
    meant = re.search("'(0 0 L 2 [*])'", str(refused.value))
    assert meant is not None
    assert ticks(Timetable(meant[1], "UTC"), YEAR, YEAR + 400 * 86_400_000)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/localtime", "localtime", 3, None]
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidSetting, match="timezone is"):
        Timetable("0 3 * * *", zone)


MINUTELY, NOW = Timetable("* * * * *", "UTC"), YEAR + 10_000


@pytest.mark.parametrize(
    ("catch_up", "after_ms", "now_ms", "expected"),
    [
        ("one", YEAR, NOW, []),
        ("one", YEAR - 1, NOW, [YEAR]),
        ("one", YEAR - DAY_MS, NOW, [YEAR]),  # a younger one is due, which makes up for them all
        ("none", YEAR - DAY_MS, NOW, [YEAR]),
        ("all", YEAR - 180_000, NOW, [YEAR - 120_000, YEAR - 60_000, YEAR]),
    ],
)
def test_which_ticks_are_fired(catch_up: str, after_ms: int, now_ms: int, expected: list[int]) -> None:
    assert list(due(MINUTELY, catch_up, after_ms, now_ms)[0]) == expected


def test_what_is_made_up_for() -> None:
    daily, late = Timetable("0 0 * * *", "UTC"), YEAR + MISSED_MS + 1
    assert due(daily, "one", YEAR - 3 * DAY_MS, late) == ([YEAR], YEAR)
    assert due(daily, "none", YEAR - 3 * DAY_MS, late) == ([], YEAR)
    assert due(daily, "all", YEAR - 2 * DAY_MS, late) == ([YEAR - DAY_MS, YEAR], YEAR)
    assert len(due(MINUTELY, "all", YEAR - DAY_MS, late)[0]) == CATCH_UP_LIMIT
    assert len(due(Timetable("* * * * * *", "UTC"), "one", YEAR - DAY_MS, YEAR)[0]) == 61
