"""Is a change of a crop drawn from the ranges that were asked for, and never from more numbers than others?"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagscope.feed.augment import UNCHANGED, Augmentation, Change, draw

LAW = settings(derandomize=True, max_examples=50, deadline=None)
RANGES = st.builds(Augmentation, st.booleans(), st.floats(0, 2), st.floats(0, 0.9))
ALL = Augmentation(dihedral=True, gain=0.35, scale=0.2)


def draws(ranges, count=2000, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return [draw(rng, ranges, channels) for _ in range(count)]


@LAW
@given(ranges=RANGES, channels=st.integers(1, 5), seed=st.integers(0, 99))
def test_every_draw_takes_the_same_random_numbers_whatever_the_options(ranges, channels, seed):
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    draw(one, ranges, channels)
    draw(other, UNCHANGED, channels)
    assert one.bit_generator.state == other.bit_generator.state


@LAW
@given(ranges=RANGES, seed=st.integers(0, 99))
def test_an_option_changes_no_other_part_of_the_draw(ranges, seed):
    found, whole = (draw(np.random.default_rng(seed), r, 3) for r in (ranges, ALL))
    assert found.code == (whole.code if ranges.dihedral else 0)
    assert np.log(found.gains) == pytest.approx(ranges.gain / 0.35 * np.log(whole.gains), abs=1e-9)
    assert math.log(found.scale) == pytest.approx(ranges.scale / 0.2 * math.log(whole.scale), abs=1e-9)


@LAW
@given(channels=st.integers(1, 4), seed=st.integers(0, 99))
def test_without_ranges_nothing_changes(channels, seed):
    assert draw(np.random.default_rng(seed), UNCHANGED, channels) == Change(0, (1.0,) * channels, 1.0)


def test_the_eight_turns_come_equally_often():
    times = np.bincount([change.code for change in draws(ALL)], minlength=8)
    assert len(times) == 8
    # 2,000 draws over 8: 250 each, sd 15.
    assert np.abs(times - 250).max() <= 4 * 15


def test_gains_are_lognormal_around_1_and_differ_between_channels():
    logs = np.log([change.gains for change in draws(ALL)])
    assert logs.mean(0) == pytest.approx([0, 0], abs=4 * 0.35 / math.sqrt(2000))
    assert logs.std(0) == pytest.approx([0.35, 0.35], rel=0.07)
    assert abs(np.corrcoef(logs.T)[0, 1]) < 4 / math.sqrt(2000)


def test_scales_are_as_often_larger_as_smaller_and_within_their_range():
    logs = np.log([change.scale for change in draws(ALL)])
    assert np.abs(logs).max() <= 0.2
    assert np.abs(logs).max() > 0.19
    assert logs.mean() == pytest.approx(0, abs=4 * 0.2 / math.sqrt(3 * 2000))
    assert logs.std() == pytest.approx(0.2 / math.sqrt(3), rel=0.05)
