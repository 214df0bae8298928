"""What befell each process, and when: the faults that a repeated execution must be traced to."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

EVERYBODY = "*"
"""The actor of a fault that the whole store or all processes suffer."""


@dataclass(frozen=True)
class Blow:
    """A fault: when, to whom, which; at which key, if at one. It lasts until its actor is next answered in full."""

    at_s: float
    actor: str
    kind: str
    key: str = ""


@dataclass
class Causes:
    """The faults of a run by actor: its blows with what time each took, its death, and what its clock showed."""

    blows: dict[str, list[Blow]] = field(default_factory=lambda: defaultdict(list))
    deaths: dict[str, Blow] = field(default_factory=dict)
    _stalled: dict[str, list[tuple[float, float, str]]] = field(default_factory=lambda: defaultdict(list))
    _open: dict[str, Blow] = field(default_factory=dict)
    _clocks: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    # -- as it happens --

    def befell(self, blow: Blow) -> None:
        """A process was held up, and is until :meth:`answered`."""
        self._close(blow.actor, blow.at_s)
        self.blows[blow.actor].append(blow)
        self._open[blow.actor] = blow

    def answered(self, actor: str, at_s: float) -> None:
        """A process got the answer to a call: it is held up no more."""
        self._close(actor, at_s)

    def stood_still(self, actor: str, since_s: float, until_s: float) -> None:
        """A process' clocks stood still, or will: its leases last longer for it than for the others."""
        self.blows[actor].append(Blow(since_s, actor, "stopped_clock"))
        self._stalled[actor].append((since_s, until_s, "stopped_clock"))

    def died(self, blow: Blow) -> None:
        """A process died of this."""
        self.blows[blow.actor].append(blow)
        self.deaths.setdefault(blow.actor, blow)

    def clock(self, actor: str, at_s: float, skew_s: float) -> None:
        """From now on a process' clock is ahead by so much."""
        self._clocks[actor].append((at_s, skew_s))

    def _close(self, actor: str, at_s: float) -> None:
        blow = self._open.pop(actor, None)
        if blow is not None:
            self._stalled[actor].append((blow.at_s, at_s, blow.kind))

    # -- looking back --

    def death(self, actor: str, since_s: float, until_s: float) -> str | None:
        """Return what an actor died of between two moments, if it did."""
        blow = self.deaths.get(actor)
        return blow.kind if blow is not None and since_s <= blow.at_s <= until_s else None

    def stalled(self, actor: str, since_s: float, until_s: float) -> Counter[str]:
        """Return for how many seconds between two moments each kind of fault held an actor up."""
        found: Counter[str] = Counter()
        for name in (actor, EVERYBODY):
            spans = list(self._stalled[name])
            if name in self._open:
                spans.append((self._open[name].at_s, until_s, self._open[name].kind))
            for start_s, stop_s, kind in spans:
                seconds = min(stop_s, until_s) - max(start_s, since_s)
                if seconds > 0:
                    found[kind] += seconds  # type: ignore[assignment]
        return found

    def skews(self, actor: str, since_s: float, until_s: float) -> list[float]:
        """Return by how much an actor's clock was ahead at any time between two moments."""
        changes = self._clocks[actor]
        ends = [at_s for at_s, _ in changes[1:]] + [float("inf")] * bool(changes)
        return [
            skew_s for (at_s, skew_s), end_s in zip(changes, ends, strict=True) if at_s <= until_s and end_s >= since_s
        ]
