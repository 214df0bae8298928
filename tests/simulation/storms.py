"""The storms that seeds play: which faults come together, and how often."""

from __future__ import annotations

from tests.simulation.bucket import Faults

CALM = Faults(page=1000)
STORMS: dict[str, Faults] = {
    "calm": CALM,
    "crashes": Faults(crash_before=0.004, crash_after=0.004),
    "lost answers": Faults(lost_answer=0.05),
    "late puts": Faults(late_put=0.05, lost_answer=0.02),
    "very late puts": Faults(late_put=0.05, late_put_s=700.0),
    "throttling": Faults(throttled=0.15, unavailable=0.05, conflict=0.1),
    "pauses": Faults(pause=0.01, pause_s=40.0, crash_after=0.002),
    "skew": Faults(skew_s=1.0, pause=0.003, pause_s=20.0),
    "wild clocks": Faults(skew_s=900.0, jump=0.003, lost_answer=0.01),  # S3 refuses clocks that are further off
    "paging": Faults(page=3, slow_list=0.05, partial_delete=0.2, late_put=0.02),
    "late and paused": Faults(
        late_put=0.03, late_put_s=60.0, slow_birth=0.15, pause=0.02, pause_s=60.0, pause_at_journal=0.2, extra_sweep=0.1
    ),
    "night": Faults(crash_after=0.005, crash_after_move=0.4, lost_answer=0.02, no_sweep=1.0),
    "deaf": Faults(lost_answer=0.5),
    "mute": Faults(mute=0.006),
    "lasting throttling": Faults(throttled=0.8),
    "vandals": Faults(vandals=4, crash_after=0.002),
    "twins": Faults(
        stopped_clock=0.3, crash_at_dispatch=0.15, deaf_at_dispatch=0.15, pause_at_ledger=0.01, pause_s=45.0
    ),
    "undead": Faults(
        pause=0.006,
        pause_s=120.0,
        pause_at_registry=0.05,
        pause_at_ledger=0.02,
        crash_at_dispatch=0.15,
        crash_after=0.002,
    ),
    "everything": Faults(
        crash_before=0.002,
        crash_after=0.002,
        pause=0.004,
        pause_s=30.0,
        slow_birth=0.03,
        extra_sweep=0.03,
        lost_answer=0.02,
        mute=0.0005,
        late_put=0.02,
        unavailable=0.02,
        throttled=0.03,
        conflict=0.03,
        partial_delete=0.1,
        slow_list=0.02,
        skew_s=0.9,
        page=7,
    ),
}
LONG = ("twins", "undead")
"""The storms that are about who leads and who is dead: it takes minutes until somebody is."""
