"""The guide's table of keys is what the list of actions says: ``GUIDE_UPDATE=1`` writes it anew."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

from s3queue_admin.tui.actions import ACTIONS, EVERYWHERE, LISTS, Action

GUIDE = Path(__file__).parents[2] / "docs/operator.md"
BEGIN, END = "<!-- keys: made from the list of actions -->\n", "<!-- end of keys -->\n"


def where(action: Action) -> str:
    if action.where == EVERYWHERE:
        return "everywhere"
    return "lists" if action.where == LISTS else ", ".join(action.where)


def keys() -> str:
    lines = ["| where | key | what |", "| --- | --- | --- |"]
    for place, some in groupby(ACTIONS, key=where):
        for number, action in enumerate(some):
            note = " Needs `--write`." if action.write else ""
            key = action.shown_key.replace("|", r"\|")
            said = f"{action.title}: {action.help}" if action.help else action.title
            lines.append(f"| {'' if number else place} | `{key}` | {said.replace('|', chr(92) + '|')}{note} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_keys_in_the_guide_is_that_of_the_program() -> None:
    before, begin, rest = GUIDE.read_text(encoding="utf-8").partition(BEGIN)
    table, end, after = rest.partition(END)
    assert begin, "the guide has no place for the keys"
    assert end
    if os.environ.get("GUIDE_UPDATE"):
        GUIDE.write_text(before + begin + keys() + end + after, encoding="utf-8")
    else:
        assert table == keys()
