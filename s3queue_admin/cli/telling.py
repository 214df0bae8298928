"""Findings and explanations as lines for people: what is the matter, what was seen, what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from s3queue.cli.render import terminal_width
from s3queue.text import cells
from s3queue_admin.cli.render import Facts
from s3queue_admin.snapshot import Finding
from s3queue_admin.stalls import Explanation
from s3queue_admin.text import Redactor, plain

COLUMNS = ("queue", "severity", "code", "title", "evidence", "remedy", "keys")
_SHOWN = 3
_WIDTH = 100


def wrapped(text: str, indent: str = "") -> str:
    """Return a text of our own or of strangers over as many lines as it takes; harmless, words kept whole."""
    width = terminal_width() or _WIDTH
    return textwrap.fill(
        plain(text), max(width, 40), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def finding_facts(finding: Finding) -> Facts:
    """Return a finding as data."""
    return {name: getattr(finding, name) for name in COLUMNS}


def tell_findings(findings: Iterable[Finding]) -> str:
    """Return findings as a person reads them, the worst first, as they come."""
    return "\n\n".join(map(_told, findings))


def _told(finding: Finding) -> str:
    where = f"{finding.queue}: " if finding.queue else ""
    lines = [wrapped(f"{finding.severity.upper()} {where}{finding.title} [{finding.code}]")]
    lines.append(wrapped(finding.evidence, "  "))
    lines += [f"  {plain(key, _WIDTH)}" for key in finding.keys[:_SHOWN] if cells(key)]
    if len(finding.keys) > _SHOWN:
        lines.append(f"  … {len(finding.keys) - _SHOWN} more: --output json has a hundred")
    lines.append(wrapped(f"→ {finding.remedy}", "  "))
    return "\n".join(lines)


# -- explanations -----------------------------------------------------------------------------------------------------


def explanation_facts(found: Explanation, redactor: Redactor) -> Facts:
    """Return why a message stands as it does, as data."""
    return {
        "id": found.id,
        "state": found.state,
        "since": found.since,
        "why": [redactor.text(each, "error") for each in found.why],
        "remedy": found.remedy,
        "causes": found.causes,
    }


def tell_explanation(found: Explanation, redactor: Redactor) -> str:
    """Return the same as a person reads it."""
    lines = [wrapped(redactor.text(each, "error"), "  ") for each in found.why]
    lines += [wrapped(f"→ {found.remedy}", "  ")] if found.remedy else []
    return "\n".join(["why", *lines])
