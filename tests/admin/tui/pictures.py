"""Screens as text with styles, to be compared with those that somebody has looked at: ``TUI_UPDATE=1`` takes them anew."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

from s3queue.text import cells
from s3queue_admin.tui.app import Dashboard

FOLDER = Path(__file__).parent / "snapshots"
_CELL, _LINE = 12.2, 24.4
_RULE = re.compile(r"\.terminal-[\w-]+-(r\d+) \{ (.*?) \}")
_RECT = re.compile(r'<rect fill="(#\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"')
_TEXT = re.compile(r'<text class="terminal-[\w-]+-(r\d+)" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL)


def picture(svg: str) -> str:
    """Return a screenshot as its lines, each followed by its runs of style; what is left of Rich's random names is gone."""
    rules = {name: _style(rule) for name, rule in _RULE.findall(svg)}
    grounds: dict[int, list[tuple[int, int, str]]] = {}
    for colour, x, y, width in _RECT.findall(svg):
        row, start = round((float(y) - 1.5) / _LINE), round(float(x) / _CELL)
        grounds.setdefault(row, []).append((start, start + round(float(width) / _CELL), colour))
    texts: dict[int, list[tuple[int, str, str]]] = {}
    for name, x, y, text in _TEXT.findall(svg):
        words = html.unescape(text).replace("\xa0", " ").rstrip("\n")
        if words:
            texts.setdefault(round((float(y) - 20) / _LINE), []).append((round(float(x) / _CELL), words, rules[name]))
    lines = []
    for row in range(max(texts, default=-1) + 1):
        lines += _row(sorted(texts.get(row, [])), sorted(grounds.get(row, [])))
    return "\n".join(lines) + "\n"


def _style(rule: str) -> str:
    return " ".join(part.strip().removeprefix("fill: ").split(": ")[-1] for part in rule.split(";") if part.strip())


def _row(texts: list[tuple[int, str, str]], grounds: list[tuple[int, int, str]]) -> list[str]:
    line, at = "", 0
    for start, words, _ in texts:
        line += " " * (start - at) + words
        at = max(start, at) + cells(words)
    fore = " ".join(f"{start}:{style.replace(' ', '+')}" for start, words, style in texts if words.strip())
    back = " ".join(f"{start}-{end}:{colour}" for start, end, colour in _merged(grounds))
    return [f"|{line.rstrip()}", f"    {fore} on {back}"]


def _merged(grounds: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    merged: list[tuple[int, int, str]] = []
    for start, end, colour in grounds:
        if merged and merged[-1][2] == colour and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end, colour)
        else:
            merged.append((start, end, colour))
    return merged


def check_picture(app: Dashboard, name: str) -> None:
    """Compare what is on the screen with the picture of that name; AssertionError tells the first line that differs."""
    seen, path = picture(app.export_screenshot()), FOLDER / f"{name}.txt"
    if os.environ.get("TUI_UPDATE"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(seen, encoding="utf-8")
        return
    assert path.exists(), f"There is no picture {name}: look at the screen, then run with TUI_UPDATE=1."
    wanted = path.read_text(encoding="utf-8")
    if seen != wanted:
        pairs = enumerate(zip(wanted.split("\n"), seen.split("\n"), strict=False))
        number, (was, is_) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
        raise AssertionError(f"{name}, line {number // 2} of the screen:\nwanted {was}\nseen   {is_}")


def screen_text(app: Dashboard) -> str:
    """Return what is on the screen, without styles."""
    return "\n".join(line[1:] for line in picture(app.export_screenshot()).split("\n") if line.startswith("|"))
