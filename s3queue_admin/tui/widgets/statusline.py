"""The last line of every screen: how it stands with the bucket, what looking costs, who leads, what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from s3queue_admin.snapshot import BucketSnapshot
from s3queue_admin.text import plain
from s3queue_admin.tui.feed import Standing
from s3queue_admin.tui.shown import dollars, number, short
from s3queue_admin.tui.trouble import counted, tally

READ_ONLY: Final = " READ-ONLY "
WRITE: Final = " WRITE "
_TONES: Final = {"starting": "dim", "live": "good", "slow": "warn", "throttled": "warn"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the line is made from. ``usd`` is what the dashboard has cost so far, ``age_s`` the age of what is shown."""

    standing: Standing
    age_s: float | None
    requests: int
    usd: float
    write: bool
    interval: float
    snapshot: BucketSnapshot | None = None
    queue: str = ""


LEAST: Final = 24
"""Columns that what is wrong needs to be told here."""
Part = tuple[str, str]
"""A text and its tone."""


def condition_part(facts: Facts) -> Part:
    """Return how it stands with the bucket: ``● live 2s``, ``▲ throttled, shown is 40s old``, ``⏸ paused 3m``."""
    standing, age = facts.standing, short(None if facts.age_s is None else int(facts.age_s))
    if standing.condition == "starting":
        return "◌ looking for the first time", "dim"
    tone = _TONES.get(standing.condition, "bad")
    if not standing.is_good:
        at = f"; shown is of {standing.good_at:%H:%M:%S}Z, {age} ago" if standing.good_at else "; nothing was seen yet"
        return f"▲ {standing.condition}{at}", tone
    if standing.paused:
        return f"⏸ paused, {age} old", "warn"
    if standing.condition == "slow":
        return f"◐ slow, {age} old", tone
    return f"● live {age}", tone


def leader_part(facts: Facts) -> Part | None:
    """Return who leads the queue's first lane, or how many queues have a leader."""
    seen = facts.snapshot
    if seen is None or not seen.queues:
        return None
    if facts.queue in seen.queues:
        leader = seen.queues[facts.queue].lanes[0].coordinator if seen.queues[facts.queue].lanes else None
        if leader is None or not leader.leads:
            return "no leader", "dim"
        return f"leader {plain(leader.worker, 20)} e{leader.epoch}", ""
    led = sum(queue.is_led for queue in seen.queues.values())
    return f"{led}/{len(seen.queues)} led", ""


def problem_part(facts: Facts) -> Part | None:
    """Return how much could not be read, and how much needs attention."""
    seen = facts.snapshot
    if seen is None:
        return None
    unread = len(facts.standing.partly) + sum(len(queue.problems) for queue in seen.queues.values())
    errors, warnings = tally(seen.queues.values())
    told = ", ".join(filter(None, [f"{unread} unread" if unread else "", counted(errors, warnings)]))
    return (told, "bad" if errors else "warn") if told else ("no problems", "good")


def cost_part(facts: Facts) -> Part:
    """Return what the last look and all that the dashboard has asked for cost."""
    standing = facts.standing
    return f"{standing.look_requests} req/look, {number(facts.requests)} = {dollars(facts.usd)}", "dim"


def line(facts: Facts, width: int) -> list[Part]:
    """Return the parts that fit into ``width`` columns, the badge last: it and the first are always there."""
    badge = (WRITE, "write") if facts.write else (READ_ONLY, "readonly")
    parts = [condition_part(facts)]
    room = width - len(parts[0][0]) - len(badge[0]) - 2
    if not facts.standing.is_good and facts.standing.trouble and room > LEAST:
        parts.append((plain(facts.standing.trouble, room - 3), ""))
        room -= len(parts[1][0]) + 3
    for part in (problem_part(facts), cost_part(facts), leader_part(facts)):
        if part is not None and len(part[0]) + 3 <= room:
            parts.append(part)
            room -= len(part[0]) + 3
    return [*parts, badge]


class StatusLine(Widget):
    """One line; :meth:`tell` paints it anew."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"status--{tone}" for tone in ("good", "warn", "bad", "dim", "readonly", "write")
    }

    facts: Facts | None = None

    def tell(self, facts: Facts) -> None:
        """Show this."""
        self.facts = facts
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        width, ground = self.size.width, self.rich_style
        if self.facts is None or y:
            return Strip.blank(width, ground)
        *parts, badge = line(self.facts, width)
        segments = [Segment(" ", ground)]
        for at, (words, tone) in enumerate(parts):
            if at:
                segments.append(Segment(" │ ", self._paint("dim")))
            segments.append(Segment(words, self._paint(tone) if tone else ground))
        left = Strip(segments).adjust_cell_length(max(0, width - len(badge[0])), ground)
        return Strip.join([left, Strip([Segment(badge[0], self._paint(badge[1]))])]).adjust_cell_length(width, ground)

    def _paint(self, tone: str) -> Style:
        return self.get_component_rich_style(f"status--{tone}")
