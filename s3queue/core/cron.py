"""When a schedule is due: a cron line in a time zone, as ticks in store time.

The line has five fields (minute, hour, day of month, month, day of week) or six with seconds in front, and means what it
means to Debian's cron, the days that the clocks change included: a line with a fixed minute and hour whose time is
skipped is due when the gap ends, and one whose time comes twice is due the first time only. A line with a star (or a
step of a star) in minute or hour goes by real time: it is not due in the gap and due in both passes of the fold.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from s3queue.errors import InvalidSetting

_OF_THE_MACHINE = ("localtime", "posixrules", "Factory")
"""Names that another machine takes for another zone."""
_MAX_CHARS = 200


class Timetable:
    """The ticks of a cron line in a time zone; InvalidSetting for a line or a zone that cannot be read."""

    def __init__(self, cron: str, timezone: str) -> None:
        self._cron, self._zone = cron, _zone(timezone)
        if not isinstance(cron, str) or len(cron) > _MAX_CHARS:
            raise _unreadable(cron, "it is not a short text")
        why = _fault(cron)
        if why:
            raise never_fires(cron) if _has_no_day(cron.split()) else _unreadable(cron, why)

    def after(self, at_ms: int) -> int | None:
        """Return the first tick later than ``at_ms``; None if there is none within fifty years."""
        since = datetime.fromtimestamp(at_ms // 1000, UTC)
        for tick in CronSim(self._cron, since.astimezone(self._zone)):
            if tick > since:  # in the second pass of a fold the line may still name a time of the first
                return int(tick.timestamp()) * 1000
        return None

    def latest(self, after_ms: int, until_ms: int) -> int | None:
        """Return the last tick later than ``after_ms`` and not later than ``until_ms``; None if there is none."""
        found = self.after(after_ms)
        if found is None or found > until_ms:
            return None
        last = until_ms
        while found < last:  # there is no tick between ``last`` and ``until_ms``
            middle = (found + last) // 2
            later = self.after(middle)
            if later is None or later > last:
                last = middle
            else:
                found = later
        return found

    def newest(self, after_ms: int, until_ms: int, limit: int) -> list[int]:
        """Return up to ``limit`` ticks, the last ones of these, in order of time."""
        found: list[int] = []
        while len(found) < limit and (tick := self.latest(after_ms, until_ms)) is not None:
            found.append(tick)
            until_ms = tick - 1
        return found[::-1]


def _zone(name: str) -> ZoneInfo:
    try:
        if isinstance(name, str) and name and name not in _OF_THE_MACHINE:
            return _zone_info(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name at all; a folder of zones
        pass
    raise InvalidSetting(
        f"timezone is {name!r:.80}.",
        remedy="Use a name of the IANA time zone database, such as 'Europe/Berlin' or 'UTC'.",
    )


@lru_cache(maxsize=256)
def _zone_info(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def never_fires(cron: str) -> InvalidSetting:
    """Return the error for a line that can be read, and names a day that there is not: the 30th of February."""
    return InvalidSetting(
        f"cron is {cron!r:.80}: it never fires, as no day is both in its months and of its days.",
        remedy="Name a day that its months have: '0 0 L 2 *' is the last day of each February.",
    )


def _fault(cron: str) -> str:
    """Return why the line cannot be used, '' if it can."""
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError) as error:
        return str(error) or "it cannot be read"
    return ""


def _has_no_day(fields: list[str]) -> bool:
    """Whether day and month of a line that cannot be used can each be read alone."""
    alone = ([*fields[:-3], "*", *fields[-2:]], [*fields[:-2], "*", *fields[-1:]])
    return len(fields) > 4 and not any(_fault(" ".join(each)) for each in alone)


def _unreadable(cron: object, why: str) -> InvalidSetting:
    return InvalidSetting(
        f"cron is {cron!r:.80}: {why}.",
        remedy="Use minute, hour, day of month, month, day of week: '0 3 * * *' is every day at three.",
    )
