"""Confidence intervals have their nominal coverage and equal those of published tables and of SciPy."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from bag_sets import LAW
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bagscope.ops import intervals
from bagscope.ops.intervals import bootstrap, wilson


def test_bootstrap_intervals_hold_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        found = bootstrap(rng.normal(5, 2, 25), np.mean, draws=200, level=0.9, seed=trial)
        held += found.low <= 5 <= found.high
    # 25 normal values: the percentile interval of level .9 holds its mean with probability .88 (it uses z for t, n for
    # n - 1). Over 200 trials the share's sd is .023.
    assert held / 200 == pytest.approx(0.88, abs=0.06)


@pytest.mark.parametrize("statistic", [np.mean, np.median])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_bootstrap_interval_is_that_of_scipy(statistic, level):
    values = np.random.default_rng(3).normal(0, 1, (17, 2))
    found = bootstrap(values, statistic, level=level, seed=5)
    for column in range(2):
        expected = stats.bootstrap(
            (values[:, column],), statistic, n_resamples=1000, confidence_level=level, method="percentile",
            rng=np.random.default_rng(5),
        ).confidence_interval  # fmt: skip
        assert (found.low[column], found.high[column]) == pytest.approx(tuple(expected), rel=1e-12)


def test_the_interval_of_a_mean_is_as_wide_as_the_theory_of_means_says():
    values = np.random.default_rng(1).normal(0, 3, 400)
    found = bootstrap(values, np.mean, draws=4000)
    assert found.estimate == values.mean()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(values.mean(), abs=0.05 * values.std() / 20 * 3)


def test_the_median_of_few_wells_lies_between_them():
    found = bootstrap([0.2, 0.9, 0.4])
    assert found.estimate == 0.4
    assert found.low == 0.2
    assert found.high == 0.9


@LAW
@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=8), level=st.floats(0.5, 0.9))
def test_a_higher_level_gives_a_wider_interval_within_the_values(values, level):
    narrow, wide = (bootstrap(values, draws=50, level=share) for share in (level, 0.99))
    assert min(values) <= wide.low <= narrow.low <= narrow.high <= wide.high <= max(values)


def test_entries_are_drawn_as_a_whole():
    # The two classes of an entry add up to 1: so do their estimates, draw by draw.
    first = np.random.default_rng(2).random(12)
    found = bootstrap(np.stack([first, 1 - first], 1), np.mean, draws=300)
    assert found.estimate.shape == found.low.shape == found.high.shape == (2,)
    assert found.low[0] == pytest.approx(1 - found.high[1], abs=1e-12)
    assert found.high[0] == pytest.approx(1 - found.low[1], abs=1e-12)
    alone = bootstrap(first, np.mean, draws=300)
    assert (found.low[0], found.high[0]) == pytest.approx((alone.low, alone.high), abs=1e-12)


def test_the_seed_decides_and_the_portions_of_the_draws_do_not(monkeypatch):
    values = np.random.default_rng(3).random(10)
    one = bootstrap(values, draws=100, seed=1)
    assert bootstrap(values, draws=100, seed=2) != one
    monkeypatch.setattr(intervals, "_PORTION", 35)
    assert bootstrap(values, draws=100, seed=1) == one


def test_one_entry_has_no_interval_and_none_has_no_estimate():
    one = bootstrap([0.7])
    assert one.estimate == 0.7
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    none = bootstrap(np.empty((0, 3)))
    assert np.isnan([none.estimate, none.low, none.high]).all()
    assert none.low.shape == (3,)


def test_a_missing_value_makes_everything_missing_rather_than_a_guess():
    found = bootstrap([0.1, math.nan, 0.3])
    assert np.isnan([found.estimate, found.low, found.high]).all()


@pytest.mark.parametrize("options", [{"draws": 0}, {"level": 0}, {"level": 1}, {"level": math.nan}])
def test_draws_and_levels_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="bootstrap needs"):
        bootstrap([1, 2, 3], **options)


# Newcombe, Stat. Med. 17 (1998) 857, table I: method 3, score without continuity correction, level .95.
NEWCOMBE = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]


@pytest.mark.parametrize(("successes", "trials", "low", "high"), NEWCOMBE)
def test_wilson_intervals_are_the_published_ones(successes, trials, low, high):
    found = wilson(successes, trials)
    assert found.estimate == successes / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)
    mirrored = wilson(trials - successes, trials)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@LAW
@given(trials=st.integers(1, 10**6), share=st.floats(0, 1), level=st.floats(0.01, 0.999))
def test_the_ends_of_wilsons_interval_are_where_the_share_seen_is_just_within_reach(trials, share, level):
    successes = round(share * trials)
    found = wilson(successes, trials, level)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    z = NormalDist().inv_cdf((1 + level) / 2)
    for end in (found.low, found.high):
        # Wilson's definition: |share - p| = z sqrt(p (1 - p) / n); at 0 and n one end is the share itself.
        distance = abs(found.estimate - end)
        assert distance == pytest.approx(z * math.sqrt(end * (1 - end) / trials), abs=1e-9)


def test_wilson_takes_many_shares_at_once_and_without_trials_everything_is_possible():
    found = wilson([0, 3, 5, 0], [5, 5, 5, 0])
    assert found.estimate[:3].tolist() == [0, 0.6, 1]
    assert math.isnan(found.estimate[3])
    assert (found.low[0], found.high[2]) == (0, 1)
    assert (found.low[3], found.high[3]) == (0, 1)
    assert found.low[1] == wilson(3, 5).low


@pytest.mark.parametrize(
    ("successes", "trials", "level"), [(-1, 5, 0.9), (6, 5, 0.9), (1, -1, 0.9), (1, 5, 0), (1, 5, 1)]
)
def test_counts_that_cannot_be_are_refused(successes, trials, level):
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        wilson(successes, trials, level)
