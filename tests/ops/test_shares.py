"""Do intervals of shares hold what they promise when cells of a well resemble each other?"""

from __future__ import annotations

import numpy as np
import pytest

from bagscope.ops.intervals import wilson
from bagscope.ops.shares import dispersion, share_interval


def wells(rng, groups=30, replicates=4, cells=200, intraclass=0.02, shares=(0.1, 0.5, 0.8)):
    """Shares of wells scatter round their group's by a beta distribution; cells within a well are independent."""
    counted, names, truth = [], [], []
    for g in range(groups):
        p = shares[g % len(shares)]
        own = rng.beta(p * (1 / intraclass - 1), (1 - p) * (1 / intraclass - 1), replicates) if intraclass else p
        counted += list(rng.binomial(cells, np.broadcast_to(own, replicates)))
        names += [g] * replicates
        truth += [p] * replicates
    return np.array(counted), np.full(len(counted), cells), names, np.array(truth)


def test_independent_cells_are_worth_what_they_are():
    counted, trials, names, _ = wells(np.random.default_rng(0), groups=300, intraclass=0)
    assert dispersion(counted, trials, names) == pytest.approx(1, abs=0.1)  # sd of chi-square / 900 is .05


def test_the_factor_is_one_plus_the_resemblance_times_the_other_cells():
    counted, trials, names, _ = wells(np.random.default_rng(1), groups=300)
    assert dispersion(counted, trials, names) == pytest.approx(1 + 0.02 * 199, rel=0.15)


def test_intervals_hold_the_group_share_as_often_as_they_promise():
    counted, trials, names, truth = wells(np.random.default_rng(2), groups=300)
    found = share_interval(counted, trials, dispersion(counted, trials, names))
    inside = ((found.low <= truth) & (truth <= found.high)).mean()
    assert inside == pytest.approx(0.95, abs=0.025)
    naive = wilson(counted, trials)
    assert ((naive.low <= truth) & (truth <= naive.high)).mean() < 0.75


def test_wells_without_replicates_or_without_cells_tell_nothing():
    assert dispersion([3, 50], [100, 100], ["a", "b"]) == 1
    assert dispersion([0, 0, 5], [0, 0, 10], ["a", "a", "b"]) == 1
    assert dispersion([0, 0], [10, 10], ["a", "a"]) == 1


def test_less_scatter_than_chance_is_chance():
    assert dispersion([50] * 6, [100] * 6, ["a"] * 6) == 1


def test_a_larger_factor_gives_a_wider_interval_round_the_same_share():
    one, four = share_interval(30, 100, 1), share_interval(30, 100, 4)
    assert one.estimate == pytest.approx(four.estimate)
    assert four.low < one.low < one.high < four.high
