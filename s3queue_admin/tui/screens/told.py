"""A message in words and lines, for the screen that shows it: facts, reasons, its timeline, its errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from textual.content import Content

from s3queue.clock import to_datetime
from s3queue.core.message import AttemptError
from s3queue.protocol.viewing import MessageView
from s3queue.text import counted
from s3queue_admin.stalls import Explanation
from s3queue_admin.text import Redactor, lines, plain
from s3queue_admin.tui.shown import ago, span, until

Part = tuple[str, str] | str
_TONES: Final = {
    "pending": "$primary",
    "scheduled": "$accent",
    "processing": "$success",
    "dead": "$error",
    "stalled": "$error",
}
_LATEST_MS: Final = 253_402_300_799_000


def state(view: MessageView, now: datetime) -> Content:
    """Return in a line how it stands with a message."""
    word = "stalled" if view.is_stalled(int(now.timestamp() * 1000)) else view.state
    reason = f", {plain(view.reason)}" if view.reason else ""
    return Content.assemble((f"{word}{reason}", f"bold {_TONES.get(word, '')}"), (f"  {_attempts(view)}", "$dim"))


def facts(view: MessageView, now: datetime) -> Content:
    """Return when it was enqueued, who has it and where it lies, one fact a line."""
    message = view.message
    enqueued = _at(message.enqueued_at_ms)
    rows: list[tuple[str, str, str]] = [
        ("enqueued", f"{_clock(enqueued)}  {ago(enqueued, now)} ago", ""),
        *_claim(view, now),
        ("priority", str(message.priority), "") if message.priority else ("", "", ""),
        ("group", message.group or "", ""),
        ("lies in", view.key, ""),
        ("", f"message {view.index} of it, lane {view.lane}", "$dim"),
        ("moving", f"to be written by {view.line}" if view.line else "", "$warning"),
    ]
    return _rows(rows)


def _attempts(view: MessageView) -> str:
    most = f" of {view.message.max_attempts}" if view.message.max_attempts else ""
    rescued = f", {counted(view.rescues, 'claim')} ran out" if view.rescues else ""
    return f"{view.message.attempts} failed{most}{rescued}"


def _claim(view: MessageView, now: datetime) -> Iterator[tuple[str, str, str]]:
    if view.token:
        left = until(_at(view.expires_at_ms), now)
        yield (
            "worker",
            f"{view.worker}, token {view.token}, since {ago(_at(view.claimed_at_ms), now)}, lease {left}",
            "",
        )
    if view.assigned_to:
        yield "assigned", f"to {view.assigned_to} by the coordinator", ""
    if view.ticket:
        yield "ticket", view.ticket, ""
    if view.state == "scheduled":
        yield "visible", f"{_clock(_at(view.visible_at_ms))}  in {until(_at(view.visible_at_ms), now)}", ""
    if view.dead_at_ms:
        yield "died", f"{_clock(_at(view.dead_at_ms))}  {ago(_at(view.dead_at_ms), now)} ago", ""


def headers(view: MessageView) -> Content:
    """Return the headers, one a line; nothing if there are none."""
    found = view.message.headers
    return (
        Content.assemble(("headers\n", "bold"), _rows((name, value, "") for name, value in found.items()))
        if found
        else Content("")
    )


def why(found: Explanation, redactor: Redactor) -> Content:
    """Return why a message is where it is, and what to do about it."""
    parts: list[Part] = [("why\n", "bold")]
    parts += [f"  {plain(redactor.text(reason, 'error'))}\n" for reason in found.why]
    if found.remedy:
        parts.append((f"  → {plain(found.remedy)}\n", "$dim"))
    return Content.assemble(*parts)


def missing(message_id: str, found: Explanation, view: MessageView | None, now: datetime) -> Content:
    """Return what is left to say of a message that is not there: what has become of it, and what it was if that is known."""
    head = (f"{plain(message_id)}: {found.state}\n", "bold")
    if view is None:
        return Content.assemble(head)
    return Content.assemble(
        head, ("It is not there any more. It was:\n", "$warning"), state(view, now), "\n", facts(view, now)
    )


def unknown(error: Exception) -> Content:
    """Return that it could not be found out."""
    return Content.assemble(("why\n", "bold"), (f"  cannot be asked: {plain(error)}", "$error"))


def last_error(view: MessageView) -> Content:
    """Return what was wrong the last time, without its traceback; nothing if nothing ever was."""
    if not view.errors:
        return Content()
    last = view.errors[-1]
    return Content.assemble((f"{plain(last.type)}: {plain(last.message, 500)}", "bold $error"))


def timeline(view: MessageView, now: datetime) -> Content:
    """Return what happened to a message, oldest first, with the time between; then what it waits for."""
    parts: list[Part] = [("timeline\n", "bold")]
    last_ms = view.message.enqueued_at_ms
    parts += _event("○", "", last_ms, last_ms, "enqueued")
    for error in view.errors:
        what = f"attempt {error.attempt} failed on {error.worker or 'a worker'}: {error.type}"
        parts += _event("✗", "$error", error.at_ms, last_ms, what)
        last_ms = error.at_ms
    if view.rescues:
        rescued = counted(view.rescues, "claim ran out and was", "claims ran out and were")
        parts += [("  ⟲ ", "$warning"), f"{rescued} taken back\n"]
    if view.token:
        parts += _event("▶", "$success", view.claimed_at_ms, last_ms, f"claimed by {view.worker}")
        parts += _next(view.expires_at_ms, now, "its lease ends", "its lease ended")
    elif view.dead_at_ms:
        parts += _event("†", "$error", view.dead_at_ms, last_ms, f"dead: {view.reason}")
    else:
        parts += _next(view.visible_at_ms, now, "it becomes visible", "it waits, visible")
    return Content.assemble(*parts)


def _event(sign: str, tone: str, at_ms: int, last_ms: int, what: str) -> list[Part]:
    gap = f"+{span((at_ms - last_ms) / 1000, 1)}" if at_ms != last_ms else ""
    return [(f"  {sign} ", tone), f"{_clock(_at(at_ms))[11:]} ", (f"{gap:>6} ", "$dim"), f"{plain(what)}\n"]


def _next(at_ms: int, now: datetime, comes: str, came: str) -> list[Part]:
    at = _at(at_ms)
    told = (
        f"in {until(at, now)} {comes}"
        if at > now
        else f"{came} {ago(at, now)} ago"
        if came.endswith("ended")
        else (f"{came} since {ago(at, now)}")
    )
    return [("  … ", "$accent"), f"{_clock(at)[11:]} ", (f"{told}\n", "$accent")]


def errors(view: MessageView) -> Content:
    """Return each error with its traceback, the newest first: that is the one to look at."""
    parts: list[Part] = []
    for error in reversed(view.errors):
        parts += _error(error)
    return Content.assemble(*parts) if parts else Content.assemble(("no errors", "$dim"))


def _error(error: AttemptError) -> list[Part]:
    head = f"\nattempt {error.attempt}  {_clock(_at(error.at_ms))}  {plain(error.worker)}\n"
    parts: list[Part] = [(head, "bold"), (f"{plain(error.type)}: {lines(error.message)}\n", "$error")]
    if error.traceback:
        parts.append((lines(error.traceback).rstrip() + "\n", "$dim"))
    return parts


def _rows(rows: Iterable[tuple[str, str, str]]) -> Content:
    parts: list[Part] = []
    for name, value, tone in rows:
        if value:
            parts += [(f"{plain(name, 10):<10}", "$dim"), (plain(value) + "\n", tone.strip())]
    return Content.assemble(*parts)


def _at(at_ms: int) -> datetime:
    """Return a time; a stranger's letter may name one that no calendar has."""
    return to_datetime(min(max(at_ms, 0), _LATEST_MS))


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
