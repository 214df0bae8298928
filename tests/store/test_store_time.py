"""Store time: whatever answers come, the true offset stays within what is believed, and good clocks get exactly zero."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3queue.store.store_time import DRIFT_MS_PER_S, WINDOW_S, StoreTime

START_MS = 1_800_000_000_000


class World:
    """A store whose clock is ``offset_ms`` ahead of ours and gains ``ppm`` on it, and a network."""

    def __init__(self, offset_ms: float, ppm: float = 0) -> None:
        self.offset_ms = offset_ms
        self.ppm = ppm
        self.local_ms = float(START_MS)
        self.monotonic_s = 1000.0
        self.believed = StoreTime()

    def wait(self, ms: float) -> None:
        self.local_ms += ms
        self.monotonic_s += ms / 1000
        self.offset_ms += ms * self.ppm / 1e6

    def request(self, there_ms: float, back_ms: float) -> None:
        sent = int(self.local_ms)
        self.wait(there_ms)
        date = formatdate((self.local_ms + self.offset_ms) // 1000, usegmt=True)
        self.wait(back_ms)
        self.believed.observe(date, sent, int(self.local_ms), self.monotonic_s)


requests = st.lists(
    # idle before it, way there, way back (ms)
    st.tuples(st.floats(0, 90_000), st.floats(0, 3_000), st.floats(0, 3_000)),
    min_size=1,
    max_size=60,
)


@given(offset=st.integers(-3_600_000, 3_600_000), requests=requests)
@example(offset=0, requests=[(0.0, 0.0, 0.0)])
def test_the_error_is_at_most_a_second_and_the_fastest_round_trip(
    offset: int, requests: list[tuple[float, float, float]]
) -> None:
    world = World(offset)
    for idle, there, back in requests:
        world.wait(idle)
        world.request(there, back)
        error = abs(world.believed.offset_ms - offset)
        assert error <= 1000 + there + back + 2  # two more for clocks read in whole milliseconds
        assert abs(world.believed.offset_ms) <= abs(offset) + 1  # never further from zero than the truth


@given(offset=st.integers(-40, 40), requests=requests)
def test_a_clock_no_further_off_than_the_network_hides_is_left_alone(
    offset: int, requests: list[tuple[float, float, float]]
) -> None:
    world = World(offset)
    for idle, there, back in requests:
        world.wait(idle)
        world.request(there + 42, back + 42)
        assert world.believed.offset_ms == 0


@given(
    offset=st.integers(-3_600_000, 3_600_000),
    ppm=st.floats(-DRIFT_MS_PER_S * 1000, DRIFT_MS_PER_S * 1000),
    requests=requests,
)
def test_a_drifting_clock_is_followed_without_contradiction(
    offset: int, ppm: float, requests: list[tuple[float, float, float]]
) -> None:
    world = World(offset, ppm)
    for idle, there, back in requests:
        world.wait(idle)
        oldest = world.believed._spans[0] if world.believed._spans else None
        world.request(there, back)
        spans, now = world.believed._spans, world.monotonic_s
        assert all(low - 5 <= world.offset_ms <= high + 5 for low, high in (span.at(now) for span in spans))
        assert oldest is None or now - oldest.last_s > WINDOW_S or spans[0] is oldest  # nothing was thrown away


def narrow(world: World) -> None:
    """Ask often enough to meet both ends of a second of the store's clock."""
    for _ in range(200):
        world.request(5, 5)
        world.wait(13)


@given(offset=st.integers(-100_000, 100_000), phase=st.floats(0, 999))
def test_many_answers_narrow_the_offset_to_the_round_trip(offset: int, phase: float) -> None:
    world = World(offset)
    world.wait(phase)
    narrow(world)
    assert (
        abs(world.believed.offset_ms - offset) <= 10 + 13 + 3
    )  # a round trip, the gap between two, rounding and drift


@given(before=st.integers(-100_000, 100_000), after=st.integers(-100_000, 100_000))
def test_after_a_clock_was_set_the_newest_answer_is_believed(before: int, after: int) -> None:
    world = World(before)
    for offset in (before, after):
        world.offset_ms = offset
        for _ in range(100):
            world.request(4, 4)
            world.wait(17)
    assert abs(world.believed.offset_ms - after) <= 1000 + 10


def test_what_is_older_than_the_window_is_forgotten() -> None:
    world = World(5_000)
    for _ in range(200):
        world.request(1, 1)
        world.wait(11)
    assert abs(world.believed.offset_ms - 5_000) <= 20
    world.wait(WINDOW_S * 1000 + 60_000)
    world.request(1, 1)
    # One answer alone leaves a second of doubt, and of that the end nearest to zero is taken.
    assert 4_000 - 3 <= world.believed.offset_ms <= 5_000


def test_an_answer_without_a_usable_date_changes_nothing() -> None:
    believed = StoreTime()
    for date in (None, "", "yesterday", "Tue, 99 Nov 2026 03:39:44 GMT", "Tue, 24 Nov 2026 03:39:44"):
        believed.observe(date, START_MS, START_MS + 5, 1.0)
    assert believed.offset_ms == 0


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_narrow_interval_survives_the_drift_of_its_window(direction: int) -> None:
    world = World(5_000, ppm=direction * DRIFT_MS_PER_S * 1000)
    narrow(world)
    oldest = world.believed._spans[0]
    world.wait(WINDOW_S * 1000 - 20_000)  # drifts further than the interval is wide
    narrow(world)
    assert world.believed._spans[0] is oldest  # no contradiction: nothing was thrown away
    assert abs(world.believed.offset_ms - world.offset_ms) <= 30
